use std::time::{Duration, Instant};

use metallb_config::Backend;
use metallb_rules::{Entry, NAME, Object, PEER, Stage};
use serde_json::{Value, json};

use super::*;
use crate::input::files::Text;

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

/// The object of an example; what a BGPPeer leaves out is filled in.
fn object(kind: &str, name: &str, text: &str) -> Value {
    let mut body = yaml(text);
    if ["metadata", "spec", "status", "data"]
        .iter()
        .all(|key| body.get(key).is_none())
    {
        body = json!({ "spec": body });
    }
    if kind == "BGPPeer" {
        let mut spec = yaml(PEER);
        for (key, value) in body["spec"].as_object().unwrap() {
            spec[key] = value.clone();
        }
        spec.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        body["spec"] = spec;
    }
    let version = match kind {
        "BGPPeer" => "metallb.io/v1beta2",
        "Node" | "Namespace" | "Service" => "v1",
        _ => "metallb.io/v1beta1",
    };
    let mut metadata = json!({"name": name, "namespace": "metallb-system"});
    for (key, value) in body["metadata"].as_object().into_iter().flatten() {
        metadata[key] = value.clone();
    }
    body["apiVersion"] = version.into();
    body["kind"] = kind.into();
    body["metadata"] = metadata;
    body
}

fn linted(objects: &[Value], backend: Backend) -> Vec<Finding> {
    let texts: Vec<Text> = objects
        .iter()
        .enumerate()
        .map(|(n, object)| Text {
            name: n.to_string(),
            text: object.to_string(),
        })
        .collect();
    judge::judge(&texts, None, Some("metallb-system"), Some(backend))
        .unwrap()
        .findings
}

/// What is said of an example; `text` is the object that the rule is about.
fn said(entry: &Entry, text: &str, backend: Backend) -> Vec<Finding> {
    let kind = entry.kinds[0];
    let name = if kind == "MetalLB" { "metallb" } else { NAME };
    let beside = entry.beside.iter().filter(|Object { kind, .. }| *kind != "Secret");
    let beside = beside.map(|own| object(own.kind, own.name, own.text));
    // It comes last, and so it is the newer one of two.
    let mut all: Vec<Value> = beside.collect();
    all.push(object(kind, name, text));
    linted(&all, backend)
}

// CLI-24
#[test]
fn every_rule_that_admission_keeps_is_told_by_its_name() {
    let (mut told, mut missed) = (0, Vec::new());
    for entry in metallb_rules::all() {
        // A rule about a change, or a deletion, has no place in files; Secrets are not read.
        let admission = entry.at.iter().find(|(stage, _)| *stage == Stage::Admission);
        let Some((_, effect)) = admission.filter(|_| entry.before.is_none() && entry.rule != Rule::B10) else {
            continue;
        };
        for backend in entry.backends {
            let bad = said(entry, entry.bad, *backend);
            let rule = entry.rule.id();
            let severity = if *effect == Effect::Refused {
                Severity::Error
            } else {
                Severity::Warning
            };
            // What the schema knows, too, it says in its own name.
            let by_schema = bad
                .iter()
                .any(|finding| finding.rule == "schema" && finding.severity == Severity::Error);
            let by_name = bad
                .iter()
                .any(|finding| finding.rule == rule && finding.severity == severity);
            if !by_name && !by_schema {
                missed.push(format!("{rule} {backend:?}: {bad:?}"));
            }
            told += usize::from(by_name);
            let good = said(entry, entry.good, *backend);
            assert!(
                good.iter().all(|finding| finding.rule != rule),
                "{rule}, though it is kept: {good:#?}"
            );
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
    assert!(told > 100, "{told} by name");
}

fn pool(number: usize) -> String {
    let (high, low) = (number / 256, number % 256);
    format!(
        "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {{name: pool-{number}}}\nspec: {{addresses: \
         [10.{high}.{low}.0/24]}}\n---\n"
    )
}

fn body(text: String) -> Body {
    let judged = judge::judge(
        &[Text {
            name: "a.yaml".into(),
            text,
        }],
        None,
        None,
        None,
    )
    .unwrap();
    Body {
        findings: judged.findings,
        objects: judged.objects,
        files: 1,
        skipped: judged.skipped,
    }
}

// CLI-28
#[test]
fn fingerprints_survive_inserted_lines_and_are_sarif() {
    let text = format!("{}{}", pool(1), pool(1).replace("pool-1", "pool-2"));
    let before = print::sarif(&body(text.clone()));
    let after = print::sarif(&body(format!("# moved\n\n{text}")));
    let results = |sarif: &Value| sarif["runs"][0]["results"].as_array().unwrap().clone();
    assert!(!results(&before).is_empty());
    for (before, after) in results(&before).iter().zip(results(&after)) {
        assert_eq!(before["partialFingerprints"], after["partialFingerprints"]);
        assert_ne!(before["locations"], after["locations"]);
        let rules = print::sarif(&body(text.clone()))["runs"][0]["tool"]["driver"]["rules"].clone();
        assert!(
            rules
                .as_array()
                .unwrap()
                .iter()
                .any(|rule| rule["id"] == before["ruleId"])
        );
    }
}

// CLI-28
#[test]
fn annotations_are_escaped_and_no_more_than_ten_of_a_kind() {
    let text: String = (0..12).map(|n| pool(n).replace("addresses", "adresses")).collect();
    let mut body = body(text);
    body.findings[0].text = "50%\r\nof: a,b".into();
    body.findings[0].file = "a:b,c.yaml".into();
    let text = print::github(&body);
    assert_eq!(text.lines().filter(|line| line.starts_with("::error ")).count(), 10);
    assert!(
        text.contains("50%25%0D%0Aof: a,b") && text.contains("file=a%3Ab%2Cc.yaml,"),
        "{text}"
    );
    assert!(text.contains("::notice::and "), "{text}");
}

// CLI-29
#[test]
fn an_annotation_suppresses_a_warning_and_no_error() {
    let half = "apiVersion: metallb.io/v1beta1\nkind: BGPAdvertisement\nmetadata: {name: all, annotations: \
                {lint.metallb.io/suppress: \"W-12, P-4\"}}\nspec: {ipAddressPools: [nowhere]}\n---\n";
    let judged = judge::judge(
        &[Text {
            name: "a".into(),
            text: format!("{half}{}{}", pool(1), pool(1).replace("pool-1", "other")),
        }],
        None,
        None,
        None,
    );
    let mut judged = judged.unwrap();
    suppress(&mut judged.findings, &judged.suppressed, &[]).unwrap();
    let of = |rule: &str| judged.findings.iter().find(|finding| finding.rule == rule).unwrap();
    assert!(of("W-12").suppressed && !of("P-4").suppressed);
    assert!(suppress(&mut judged.findings, &judged.suppressed, &["P-4".to_owned()]).is_err());
    assert!(suppress(&mut judged.findings, &judged.suppressed, &["P-99".to_owned()]).is_err());
}

/// A bound against a mistake of order, generous for builds without optimization.
#[test]
fn ten_thousand_objects_are_judged_in_seconds() {
    let text: String = (0..10_000).map(pool).collect();
    let begun = Instant::now();
    let body = body(text);
    assert_eq!((body.objects, body.findings.len()), (10_000, 0));
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}
