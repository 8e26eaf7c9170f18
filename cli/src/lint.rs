//! `lint`: files as one configuration, judged as admission would.
//!
//! Each object goes through the schema of its kind; all of them together through the parser as admission reads them. The
//! webhooks say the same of each object, one after the other.

mod judge;
mod print;
mod schema;
mod tree;

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};
use metallb_config::Rule;
use metallb_rules::Effect;
use metallb_verdict::Kind;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::args::{FailOn, Global, Lint, Output};
use crate::facts::{Facts, Source};
use crate::input::{self, Failure, Wanted, files};
use crate::program::Printed;
use crate::report::{NotSeen, Report, Severity, code};
use crate::table::{Style, table};

/// Where each rule is told in words, with examples.
const RULES: &str = "https://github.com/metallb-rs/metallb-rs/blob/main/docs/validation.md";

/// Something that is wrong with an object of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Finding {
    file: String,
    line: u64,
    column: u64,
    /// Of `docs/validation.md`; `yaml`, `schema`, `duplicate` or `service` for what has no rule there.
    rule: String,
    severity: Severity,
    object: String,
    text: String,
    suppressed: bool,
}

#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Body {
    findings: Vec<Finding>,
    /// Objects of MetalLB, and Services.
    objects: usize,
    files: usize,
    /// Objects of other kinds.
    skipped: usize,
}

pub(crate) async fn run(global: &Global, lint: &Lint) -> Printed {
    if lint.rules {
        return Ok((rules(), 0));
    }
    if let Some(rule) = &lint.explain {
        return explain(rule).map(|text| (text, 0)).map_err(Failure::Usage);
    }
    let texts = files::texts(&lint.files).map_err(Failure::Usage)?;
    let beside = match lint.with_cluster || !global.from.is_empty() {
        true => Some(input::read(global, Wanted::Configuration).await?),
        false => None,
    };
    report(global, lint, &texts, beside.as_ref()).map_err(Failure::Usage)
}

fn report(global: &Global, lint: &Lint, texts: &[files::Text], beside: Option<&Facts>) -> Result<(String, u8)> {
    let mut judged = judge::judge(texts, beside, global.metallb_namespace.as_deref(), lint.backend)?;
    suppress(&mut judged.findings, &judged.suppressed, &lint.suppress)?;
    let fail_on = match lint.strict {
        true => Some(FailOn::Warning),
        false => global.fail_on,
    };
    let unread = judged.findings.iter().any(|finding| finding.rule == "yaml");
    let empty = judged.objects == 0 && !unread;
    ensure!(
        !empty || lint.allow_empty,
        "there is no object of MetalLB in the input (--allow-empty accepts that)"
    );
    let now = beside.map_or_else(input::now, |facts| facts.now);
    let source = Source::Files(texts.len());
    let body = Body {
        objects: judged.objects,
        files: texts.len(),
        skipped: judged.skipped,
        findings: judged.findings,
    };
    let mut report = Report::new(
        "LintReport",
        &Facts {
            now,
            source,
            ..Facts::default()
        },
        body,
    );
    report.not_seen = beside.map(not_seen).unwrap_or_default();
    let told = report.body.findings.iter().filter(|finding| !finding.suppressed);
    report.exit_code = match unread {
        true => 2,
        false => code(told.map(|finding| finding.severity), false, fail_on),
    };
    let style = Style::of(global);
    let text = match global.output {
        Output::Sarif => serde_json::to_string_pretty(&print::sarif(&report.body))? + "\n",
        Output::Github => print::github(&report.body),
        output => crate::program::print(&report, output, |style| print::text(&report, texts, style), style)?,
    };
    Ok((text, report.exit_code))
}

fn not_seen(facts: &Facts) -> Vec<NotSeen> {
    const WITHOUT: &str = "what refers to them is not judged";
    let all = [
        NotSeen::of(&facts.pools, "ipaddresspools", WITHOUT),
        NotSeen::of(&facts.peers, "bgppeers", WITHOUT),
        NotSeen::of(&facts.l2_advertisements, "l2advertisements", WITHOUT),
        NotSeen::of(&facts.bgp_advertisements, "bgpadvertisements", WITHOUT),
        NotSeen::of(&facts.communities, "communities", WITHOUT),
        NotSeen::of(&facts.bfd_profiles, "bfdprofiles", WITHOUT),
        NotSeen::of(&facts.nodes, "nodes", WITHOUT),
    ];
    all.into_iter().flatten().collect()
}

/// The objects of files in their order, each with what the schema of its kind says against it.
pub(crate) fn objects(texts: &[files::Text]) -> Result<Vec<(Value, Vec<String>)>> {
    let mut trees = Vec::new();
    for files::Text { name, text } in texts {
        let documents = tree::documents(text).with_context(|| format!("{name} is no YAML"))?;
        trees.extend(documents.into_iter().flat_map(items));
    }
    let judged = trees.into_iter().map(|tree| {
        let (group, version) = tree.text("apiVersion").split_once('/').unwrap_or_default();
        let kind = tree.text("kind");
        let ours = group == judge::GROUP && Kind::named(kind).is_some();
        let misfits = ours.then(|| schema::Schemas::get().check(kind, version, &tree));
        let texts = match misfits {
            None => Vec::new(),
            Some(None) => vec![format!("there is no version {version} of this kind")],
            Some(Some(misfits)) => misfits.into_iter().map(|misfit| misfit.text).collect(),
        };
        (tree.value(), texts)
    });
    Ok(judged.collect())
}

/// An object as the API server keeps it, with the defaults of its kind.
pub(crate) fn with_defaults(mut object: Value) -> Value {
    let text = |name: &str| object[name].as_str().unwrap_or_default().to_owned();
    let (version, kind) = (text("apiVersion"), text("kind"));
    let version = version.split_once('/').map_or("", |(_, version)| version);
    if let Some(schema) = schema::Schemas::get().of(&kind, version) {
        schema::fill(&mut object, schema);
    }
    object
}

/// The items of a list; anything else is one by itself.
fn items(tree: tree::Tree) -> Vec<tree::Tree> {
    match tree.get("items").map(|items| items.node.clone()) {
        Some(tree::Node::List(list)) if tree.text("kind").ends_with("List") => {
            list.into_iter().flat_map(items).collect()
        }
        _ => vec![tree],
    }
}

/// Marks what was said to be left out: `RULE`, or `RULE=Kind/name`.
fn suppress(findings: &mut [Finding], of_objects: &BTreeSet<(String, String)>, asked: &[String]) -> Result<()> {
    let known =
        |rule: &str| Rule::ALL.iter().any(|known| known.id() == rule) || ["duplicate", "service"].contains(&rule);
    for text in asked {
        let rule = text.split('=').next().unwrap_or_default();
        ensure!(known(rule), "--suppress {text}: there is no rule {rule}");
    }
    for finding in findings {
        let named = |text: &String| match text.split_once('=') {
            None => *text == finding.rule,
            Some((rule, object)) => rule == finding.rule && object.replacen('/', " ", 1) == finding.object,
        };
        let by_flag = asked.iter().any(named);
        let by_annotation = of_objects.contains(&(finding.object.clone(), finding.rule.clone()));
        if by_flag && finding.severity == Severity::Error {
            bail!(
                "{}: {} is an error, which cannot be suppressed",
                finding.object,
                finding.rule
            );
        }
        finding.suppressed = (by_flag || by_annotation) && finding.severity == Severity::Warning;
    }
    Ok(())
}

/// All rules, with what they say.
fn rules() -> String {
    let rows: Vec<Vec<String>> = metallb_rules::all()
        .into_iter()
        .filter(|entry| !entry.at.is_empty())
        .map(|entry| {
            vec![
                entry.rule.id().to_owned(),
                entry.kinds.join(","),
                entry.meaning.to_owned(),
            ]
        })
        .collect();
    table(0, &["RULE", "KINDS", "MEANING"], &rows)
}

/// What a rule means, with the object that breaks it and the one that does not.
fn explain(rule: &str) -> Result<String> {
    let all = metallb_rules::all();
    let found: Vec<_> = all
        .into_iter()
        .filter(|entry| entry.rule.id().eq_ignore_ascii_case(rule))
        .collect();
    ensure!(!found.is_empty(), "there is no rule {rule}: lint --rules lists them");
    let mut text = String::new();
    for entry in found {
        text += &format!("{} ({})\n{}\n", entry.rule.id(), entry.kinds.join(", "), entry.meaning);
        for (stage, effect) in entry.at {
            let effect = if *effect == Effect::Refused {
                "refused"
            } else {
                "warned of"
            };
            text += &format!("  {stage:?}: {effect}\n");
        }
        text += &format!("  bad:   {}\n  good:  {}\n", entry.bad, entry.good);
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
