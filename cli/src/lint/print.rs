//! Findings for people, for GitHub's annotations, and as SARIF.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Body, Finding, RULES};
use crate::input::files::Text;
use crate::report::{Report, Severity};
use crate::table::{Style, many};

/// GitHub shows no more annotations of a kind for a step.
const SHOWN: usize = 10;

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

impl Finding {
    /// Object and what is wrong.
    fn sentence(&self) -> String {
        match self.object.is_empty() {
            true => self.text.clone(),
            false => format!("{}: {}", self.object, self.text),
        }
    }
}

pub(super) fn text(report: &Report<Body>, texts: &[Text], style: Style) -> String {
    let body = &report.body;
    let lines: BTreeMap<&str, Vec<&str>> = texts
        .iter()
        .map(|text| (text.name.as_str(), text.text.lines().collect()))
        .collect();
    let mut out = String::new();
    for finding in body.findings.iter().filter(|finding| !finding.suppressed) {
        let Finding {
            file,
            line,
            column,
            rule,
            ..
        } = finding;
        let severity = word(finding.severity);
        out += &format!("{file}:{line}:{column}: {severity} {rule}: {}\n", finding.sentence());
        if !style.quiet {
            out += &snippet(lines.get(file.as_str()).map_or(&[], Vec::as_slice), *line, *column);
        }
    }
    for unseen in &report.not_seen {
        out += &unseen.line();
    }
    out + &summary(body)
}

/// The line of a finding and the one before it, with the value underlined.
fn snippet(lines: &[&str], line: u64, column: u64) -> String {
    let (Ok(at), Ok(column)) = (usize::try_from(line), usize::try_from(column)) else {
        return String::new();
    };
    let Some(text) = at.checked_sub(1).and_then(|at| lines.get(at)) else {
        return String::new();
    };
    let mut out = String::new();
    if let Some(before) = at.checked_sub(2).and_then(|at| lines.get(at)) {
        out += &format!("{:>5} | {before}\n", at - 1);
    }
    let rest: String = text.chars().skip(column.saturating_sub(1)).collect();
    let value = rest.split([',', '}', ']', '#']).next().unwrap_or_default().trim_end();
    let length = value.chars().count().max(1);
    out + &format!(
        "{at:>5} | {text}\n      | {:>indent$}{}\n",
        "",
        "^".repeat(length),
        indent = column.saturating_sub(1)
    )
}

fn summary(body: &Body) -> String {
    let told = || body.findings.iter().filter(|finding| !finding.suppressed);
    let count = |severity| told().filter(|finding| finding.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let verdict = match (errors, warnings) {
        (0, 0) => "no problems found".to_owned(),
        (errors, warnings) => format!("{}, {}", many(errors, "error"), many(warnings, "warning")),
    };
    let mut text = format!(
        "{} in {}: {verdict}",
        many(body.objects, "object"),
        many(body.files, "file")
    );
    let suppressed = body.findings.len() - told().count();
    if suppressed > 0 {
        text += &format!(", {suppressed} suppressed");
    }
    if body.skipped > 0 {
        text += &format!("; {} of other kinds skipped", body.skipped);
    }
    if errors + warnings > 0 {
        text += &format!(". Rules: {RULES}");
    }
    text + "\n"
}

pub(super) fn github(body: &Body) -> String {
    let mut text = String::new();
    for severity in [Severity::Error, Severity::Warning] {
        let told: Vec<_> = body
            .findings
            .iter()
            .filter(|finding| !finding.suppressed && finding.severity == severity)
            .collect();
        for finding in told.iter().take(SHOWN) {
            text += &format!(
                "::{} file={},line={},col={},title={}::{}\n",
                word(severity),
                property(&finding.file),
                finding.line,
                finding.column,
                property(&finding.rule),
                data(&finding.sentence())
            );
        }
        if told.len() > SHOWN {
            text += &format!(
                "::notice::and {}\n",
                many(told.len() - SHOWN, &format!("more {}", word(severity)))
            );
        }
    }
    text
}

/// Escapes the text of a command of GitHub's.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escapes a property of such a command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

pub(super) fn sarif(body: &Body) -> Value {
    let rules: BTreeSet<&str> = body.findings.iter().map(|finding| finding.rule.as_str()).collect();
    let all = metallb_rules::all();
    let described = rules.iter().map(|rule| {
        let entry = all.iter().find(|entry| entry.rule.id() == *rule);
        let meaning = entry.map_or("what the schema or the parser of YAML says", |entry| entry.meaning);
        json!({"id": rule, "shortDescription": {"text": meaning}, "helpUri": RULES})
    });
    let described: Vec<Value> = described.collect();
    let results: Vec<Value> = body.findings.iter().map(result).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "kubectl-metallb",
                "version": env!("CARGO_PKG_VERSION"),
                "informationUri": "https://github.com/metallb-rs/metallb-rs",
                "rules": described,
            }},
            "results": results,
        }],
    })
}

fn result(finding: &Finding) -> Value {
    let mut result = json!({
        "ruleId": finding.rule,
        "level": word(finding.severity),
        "message": {"text": finding.sentence()},
        "locations": [{"physicalLocation": {
            "artifactLocation": {"uri": finding.file},
            "region": {"startLine": finding.line.max(1), "startColumn": finding.column.max(1)},
        }}],
        // Without line and column: what moves stays the same finding.
        "partialFingerprints": {"metallb/v1": format!("{}/{}", finding.object, finding.rule)},
    });
    if finding.suppressed {
        result["suppressions"] = json!([{"kind": "inSource"}]);
    }
    result
}
