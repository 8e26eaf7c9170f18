//! What all reports have in common: problems, what was not seen, exit code.

use std::fmt::{self, Display};

use k8s_openapi::jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::args::FailOn;
use crate::facts::{Facts, Read, Source};
use crate::table::{Mark, Style, many};

/// Where every problem is described.
const CHECKS: &str = "https://github.com/metallb-rs/metallb-rs/blob/main/docs/cli/checks.md";

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Severity {
    Warning,
    Error,
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Problem {
    /// Stable: `control.pending` for instance.
    pub(crate) id: &'static str,
    pub(crate) severity: Severity,
    /// What it is about.
    pub(crate) subject: Option<Subject>,
    /// Where, if it is there alone.
    pub(crate) node: Option<String>,
    pub(crate) text: String,
    /// The command that says more.
    pub(crate) next: Option<String>,
    /// Where it is described what it means and what to do.
    pub(crate) docs: String,
}

/// An object, or a Service as `NAMESPACE/NAME`.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Subject {
    pub(crate) kind: String,
    pub(crate) name: String,
}

impl Problem {
    pub(crate) fn new(id: &'static str, severity: Severity, text: impl Into<String>) -> Self {
        Self {
            id,
            severity,
            subject: None,
            node: None,
            text: text.into(),
            next: None,
            docs: format!("{CHECKS}#{}", id.replace('.', "-")),
        }
    }

    pub(crate) fn about(mut self, kind: &str, name: &str) -> Self {
        let (kind, name) = (kind.to_owned(), name.to_owned());
        self.subject = Some(Subject { kind, name });
        self
    }

    pub(crate) fn is_about(&self, name: &str) -> bool {
        self.subject.as_ref().is_some_and(|subject| subject.name == name)
    }

    pub(crate) fn on(mut self, node: &str) -> Self {
        self.node = Some(node.to_owned());
        self
    }

    pub(crate) fn next(mut self, command: String) -> Self {
        self.next = Some(command);
        self
    }
}

/// The part of a text that lists problems.
pub(crate) fn problems(problems: &[Problem], style: Style) -> String {
    let all: Vec<&Problem> = problems.iter().collect();
    format!("Problems ({})\n{}", problems.len(), lines(&all, style))
}

/// A line for each of these problems, and one for what to do next.
fn lines(problems: &[&Problem], style: Style) -> String {
    let widths = problems.iter().map(|problem| problem.id.len());
    let widest = widths.max().unwrap_or_default();
    let mut text = String::new();
    for problem in problems {
        let mark = style.mark(match problem.severity {
            Severity::Error => Mark::Bad,
            Severity::Warning => Mark::Doubtful,
        });
        text += &format!("{mark} {:widest$}  {}\n", problem.id, problem.text);
        let indent = widest + if style.ascii { 7 } else { 4 };
        let next = problem.next.iter().map(|next| format!("{:indent$}→ {next}\n", ""));
        text.extend(next);
    }
    text
}

/// What was seen, or `?`; in JSON `"unknown"`.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize)]
#[serde(untagged)]
pub(crate) enum Known<T> {
    Seen(T),
    Not(Unknown),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Unknown {
    Unknown,
}

impl<T> From<Option<T>> for Known<T> {
    fn from(seen: Option<T>) -> Self {
        seen.map_or(Self::Not(Unknown::Unknown), Self::Seen)
    }
}

impl<T> Known<T> {
    pub(crate) fn get(&self) -> Option<&T> {
        match self {
            Self::Seen(value) => Some(value),
            Self::Not(_) => None,
        }
    }
}

impl<T: Display> Display for Known<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seen(value) => value.fmt(f),
            Self::Not(_) => f.write_str("?"),
        }
    }
}

/// Objects that were not seen, and what cannot be said without them.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NotSeen {
    pub(crate) what: &'static str,
    pub(crate) why: String,
    pub(crate) without: &'static str,
}

impl NotSeen {
    pub(crate) fn of<T>(read: &Read<T>, what: &'static str, without: &'static str) -> Option<Self> {
        let why = read.why_not()?;
        Some(Self { what, why, without })
    }

    /// The line of a text that names it.
    pub(crate) fn line(&self) -> String {
        format!("Not seen: {} ({}). Without: {}.\n", self.what, self.why, self.without)
    }
}

/// What every report begins and ends with; `body` is the report's own.
#[derive(Clone, Debug, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report<T> {
    pub(crate) api_version: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) time: String,
    pub(crate) source: Source,
    pub(crate) problems: Vec<Problem>,
    pub(crate) assumptions: Vec<String>,
    pub(crate) not_seen: Vec<NotSeen>,
    /// How many speakers have answered, of how many; absent if none was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) speakers_asked: Option<[usize; 2]>,
    pub(crate) exit_code: u8,
    /// The main question cannot be answered.
    #[serde(skip)]
    pub(crate) unknown: bool,
    /// What ages are told by.
    #[serde(skip)]
    pub(crate) now: Timestamp,
    #[serde(flatten)]
    pub(crate) body: T,
}

impl<T> Report<T> {
    pub(crate) fn new(kind: &'static str, facts: &Facts, body: T) -> Self {
        Self {
            api_version: "cli.metallb.io/v1",
            kind,
            time: time(facts.now),
            source: facts.source.clone(),
            problems: Vec::new(),
            assumptions: Vec::new(),
            not_seen: Vec::new(),
            speakers_asked: facts.asked.count(),
            exit_code: 0,
            unknown: false,
            now: facts.now,
            body,
        }
    }

    /// Notes what the program is to end with.
    pub(crate) fn judged(mut self, fail_on: impl Into<Option<FailOn>>) -> Self {
        self.exit_code = code(
            self.problems.iter().map(|problem| problem.severity),
            self.unknown,
            fail_on,
        );
        self
    }

    /// The lines of some problems.
    pub(crate) fn problem_lines(&self, style: Style, which: impl Fn(&&Problem) -> bool) -> String {
        let some: Vec<&Problem> = self.problems.iter().filter(which).collect();
        lines(&some, style)
    }

    /// The last lines of a text.
    pub(crate) fn footer(&self) -> String {
        let mut text = String::new();
        for assumed in &self.assumptions {
            text += &format!("Assumed: {assumed}.\n");
        }
        for unseen in &self.not_seen {
            text += &unseen.line();
        }
        let of = match &self.source {
            Source::Files(1) => " in 1 file".to_owned(),
            Source::Files(count) => format!(" in {count} files"),
            Source::Cluster(_) | Source::Nothing => String::new(),
        };
        let asked = match self.speakers_asked {
            Some([answered, all]) => format!("{answered} of {} answered", many(all, "speaker")),
            None => "no speaker was asked".to_owned(),
        };
        text + &format!("Rests on: objects of {}{of}; {asked}, nothing was probed.\n", self.time)
    }
}

/// The exit code: what was found wins over what could not be told.
pub(crate) fn code(found: impl Iterator<Item = Severity>, unknown: bool, fail_on: impl Into<Option<FailOn>>) -> u8 {
    let least = match fail_on.into().unwrap_or(FailOn::Error) {
        FailOn::Error => Some(Severity::Error),
        FailOn::Warning => Some(Severity::Warning),
        FailOn::Never => None,
    };
    let fails = found
        .max()
        .is_some_and(|worst| least.is_some_and(|least| worst >= least));
    match (fails, unknown) {
        (true, _) => 1,
        (false, true) => 3,
        (false, false) => 0,
    }
}

/// How long ago something was: `42s`, `4m`, `7h`, `12d`.
pub(crate) fn age(now: Timestamp, since: Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(since.as_second()).max(0);
    let units = [(86_400, 'd'), (3_600, 'h'), (60, 'm')];
    match units.into_iter().find(|(unit, _)| seconds >= 2 * unit) {
        Some((unit, letter)) => format!("{}{letter}", seconds / unit),
        None => format!("{seconds}s"),
    }
}

/// The same of a time as RFC 3339 has it.
pub(crate) fn ago(now: Timestamp, since: &str) -> String {
    since.parse().map_or_else(|_| "?".to_owned(), |since| age(now, since))
}

/// Whole seconds, as the API writes them.
pub(crate) fn time(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_told_as_kubectl_does_and_are_never_negative() {
        let told = |seconds| {
            age(
                Timestamp::UNIX_EPOCH + std::time::Duration::from_secs(seconds),
                Timestamp::UNIX_EPOCH,
            )
        };
        let texts = [0, 119, 120, 7_199, 7_200, 200_000].map(told);
        assert_eq!(texts, ["0s", "119s", "2m", "119m", "2h", "2d"]);
        assert_eq!(age(Timestamp::UNIX_EPOCH, Timestamp::MAX), "0s");
    }

    // CLI-2
    #[test]
    fn the_exit_code_says_what_was_found() {
        let error = || [Severity::Warning, Severity::Error].into_iter();
        let warning = || [Severity::Warning].into_iter();
        assert_eq!(code(error(), true, FailOn::Error), 1);
        assert_eq!(code(warning(), false, FailOn::Error), 0);
        assert_eq!(code(warning(), false, FailOn::Warning), 1);
        assert_eq!(code(warning(), true, FailOn::Error), 3);
        assert_eq!(code(error(), false, FailOn::Never), 0);
        assert_eq!(code([].into_iter(), false, FailOn::Warning), 0);
    }
}
