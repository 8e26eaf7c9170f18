//! What all reports have in common: problems, what was not seen, exit code.

use k8s_openapi::jiff::Timestamp;
use serde::Serialize;

use crate::args::FailOn;
use crate::facts::{Facts, Read, Source};
use crate::table::{Mark, Style, many};

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Severity {
    Warning,
    Error,
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Problem {
    /// Stable: `control.pending` for instance.
    pub(crate) id: &'static str,
    pub(crate) severity: Severity,
    pub(crate) text: String,
}

/// Objects that were not seen, and what cannot be said without them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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
#[derive(Clone, Debug, Serialize)]
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
    pub(crate) fn judged(mut self, fail_on: FailOn) -> Self {
        self.exit_code = code(
            self.problems.iter().map(|problem| problem.severity),
            self.unknown,
            fail_on,
        );
        self
    }

    /// A line for each of these problems.
    pub(crate) fn problem_lines(&self, style: Style, which: impl Fn(&&Problem) -> bool) -> String {
        let line = |problem: &Problem| {
            let sign = match problem.severity {
                Severity::Error => style.mark(Mark::Bad),
                Severity::Warning => "!".to_owned(),
            };
            format!("{sign} {}  {}\n", problem.id, problem.text)
        };
        self.problems.iter().filter(which).map(line).collect()
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
pub(crate) fn code(found: impl Iterator<Item = Severity>, unknown: bool, fail_on: FailOn) -> u8 {
    let least = match fail_on {
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

/// How long ago something was (RFC 3339), as kubectl tells ages: `12d`, `6m`, `3s`.
pub(crate) fn ago(now: Timestamp, since: &str) -> String {
    let Ok(since) = since.parse::<Timestamp>() else {
        return "?".to_owned();
    };
    let seconds = now.duration_since(since).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Whole seconds, as the API writes them.
pub(crate) fn time(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

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
