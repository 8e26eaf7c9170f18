//! The operator's alerts, read and judged by programs that are not ours. Those of the chart are judged where Helm is.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use metallb_tests::monitoring;
use serde_json::{Value, json};

const TESTS: &str = include_str!("../../data/alerts.yaml");

/// A regular expression of pools that are left out, which holds what ends a string.
const EXCLUDED: &str = r#"lab"\\a|c"#;

/// Labels that a scrape adds.
const SCRAPED: [&str; 3] = ["pod", "job", "container"];

fn alerts() -> Vec<Value> {
    let alerts = monitoring::alerts(EXCLUDED);
    assert_eq!(alerts.len(), 18);
    alerts
}

fn name(alert: &Value) -> &str {
    alert["alert"].as_str().unwrap()
}

/// What is expected of each alert: at which minutes it fires and with which labels.
fn expected() -> BTreeMap<String, Vec<Value>> {
    let tests: Value = serde_saphyr::from_str(TESTS).unwrap();
    let mut expected: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for test in tests["tests"].as_array().unwrap() {
        for look in test["alert_rule_test"].as_array().unwrap() {
            let name = look["alertname"].as_str().unwrap().to_owned();
            expected.entry(name).or_default().push(look["exp_alerts"].clone());
        }
    }
    expected
}

/// What the lab has recorded, see `prometheus_gets_what_alerts_and_dashboard_ask_for`.
const SEEN: [&str; 3] = [
    include_str!("../../data/metrics/controller.prom"),
    include_str!("../../data/metrics/speaker.prom"),
    include_str!("../../data/metrics/webhook-server.prom"),
];

// OP-69, CLI-65
#[test]
fn alerts_and_dashboard_read_only_what_the_programs_were_seen_to_expose() {
    assert_eq!(monitoring::missing(&SEEN.map(str::to_owned)), Vec::<String>::new());
}

#[test]
fn a_metric_or_label_that_vanishes_is_missed() {
    let gone = SEEN.map(|text| {
        text.replace("metallb_speaker_members ", "x ")
            .replace("reason=", "why=")
    });
    let missing = monitoring::missing(&gone);
    for name in [
        "metallb_speaker_members",
        "metallb_allocator_pending_services: [\"reason\"]",
    ] {
        assert!(missing.contains(&name.to_owned()), "{missing:?}");
    }
}

// CLI-66, CLI-68, CLI-70
#[test]
fn alerts_fire_when_they_should_as_prometheus_itself_sees_it() {
    if Command::new("promtool").arg("--version").output().is_err() {
        // Not by a macro, whose output the harness keeps to itself.
        let why = "SKIPPED: promtool judges no alerts: it is not installed (Debian: prometheus)";
        writeln!(std::io::stderr(), "{why}").unwrap();
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let judged = |what: &str, file: &str| {
        let mut command = Command::new("promtool");
        let output = command.arg(what).args(["rules", file]).current_dir(&dir).output();
        let output = output.unwrap();
        let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
        assert!(output.status.success(), "promtool {what} rules: {out}{err}");
    };
    let write = |file: &str, rules: &[Value]| {
        let groups = json!({ "groups": [{ "name": "metallb.rules", "rules": rules }] });
        std::fs::write(dir.path().join(file), groups.to_string()).unwrap();
    };
    let mut alerts = alerts();
    write("checked.yaml", &alerts);
    judged("check", "checked.yaml");
    for alert in &mut alerts {
        // Else each test would have to repeat them.
        alert.as_object_mut().unwrap().remove("annotations");
    }
    write("rules.yaml", &alerts);
    std::fs::write(dir.path().join("alerts.yaml"), TESTS).unwrap();
    judged("test", "alerts.yaml");
}

// CLI-66
#[test]
fn every_alert_is_tried_firing_and_silent_and_names_labels_that_it_has() {
    let expected = expected();
    for alert in alerts() {
        let name = name(&alert);
        let looks = expected.get(name).unwrap_or_else(|| panic!("{name} is not tried"));
        let fires = looks.iter().find(|look| look[0].is_object());
        let fires = fires.unwrap_or_else(|| panic!("{name} never fires"));
        assert!(looks.iter().any(|look| look == &json!([])), "{name} is never silent");
        let texts = alert["annotations"].to_string();
        for label in texts.split("$labels.").skip(1) {
            let label = label.split(' ').next().unwrap();
            let known = fires[0]["exp_labels"].get(label).is_some() || SCRAPED.contains(&label);
            assert!(known, "{name} has no label {label}");
        }
    }
}

// CLI-66
#[test]
fn every_alert_has_a_runbook_and_every_runbook_its_alert() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = std::fs::read_to_string(root.join("docs/alerts.md")).unwrap();
    let headings: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("## MetalLB"))
        .map(|rest| format!("metallb{}", rest.to_lowercase()))
        .collect();
    let named = |url: &Value| url.as_str().unwrap().split_once('#').unwrap().1.to_owned();
    let wanted: BTreeSet<String> = alerts()
        .iter()
        .map(|alert| named(&alert["annotations"]["runbook_url"]))
        .collect();
    assert_eq!(headings, wanted);
}
