//! Bundle and catalog judged by OLM's own tools, which are built once where there is Go.

use std::path::PathBuf;
use std::process::Command;

use metallb_judges::repository;
use metallb_judges::tools::{OPERATOR_VERIFY, OPM, run};
use serde_json::Value;

fn file(name: &str) -> PathBuf {
    repository().join(name)
}

/// What `operator-verify` complains of. It ends well whatever it finds.
fn complaints(flags: &[&str]) -> Vec<String> {
    let program = OPERATOR_VERIFY.program();
    let mut command = Command::new(program);
    let output = command
        .arg("manifests")
        .args(flags)
        .arg(file("bundle"))
        .output()
        .unwrap();
    assert!(output.status.success());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    text.lines()
        .filter(|line| line.contains("level="))
        .map(ToOwned::to_owned)
        .collect()
}

// OP-79
pub(crate) fn operator_verify_finds_nothing_in_the_bundle() {
    let complaints = complaints(&[]);
    assert!(complaints.is_empty(), "{complaints:#?}");
}

// OP-80
pub(crate) fn operator_verify_finds_nothing_new_in_the_bundle_for_operator_hub() {
    let complaints = complaints(&["--operatorhub_validate", "--object_validate"]);
    let known = [
        // The tool says so of itself.
        r#"The \"operatorhub\" validator is deprecated"#,
        // It takes any rule for these groups for one of the betas that are gone; rules name no version.
        "removed in v1.25",
    ];
    for complaint in complaints {
        let harmless = complaint.contains("level=warning") && known.iter().any(|known| complaint.contains(known));
        assert!(harmless, "{complaint}");
        for api in complained(&complaint) {
            assert!(
                ["endpointslices", "events", "poddisruptionbudgets"].contains(&api),
                "{complaint}"
            );
        }
    }
}

/// The APIs that a complaint is about: each is followed by a list of the rules.
fn complained(complaint: &str) -> Vec<&str> {
    let (_, apis) = complaint.split_once("Migrate the API(s) for ").unwrap_or_default();
    let before = apis.split(": ([").map(|before| before.rsplit([' ', ',']).next());
    let mut names: Vec<_> = before.flatten().collect();
    // What comes after the last list.
    names.pop();
    names
}

// OP-93
pub(crate) fn opm_accepts_the_catalog() {
    let opm = OPM.program();
    run(Command::new(opm).arg("validate").arg(file("olm/configs"))).unwrap();
}

// OP-88, OP-93
pub(crate) fn opm_makes_the_same_of_the_bundle_as_the_catalog_has() {
    let opm = OPM.program();
    let mut command = Command::new(opm);
    command.args([
        "render",
        "./bundle",
        "--output",
        "json",
        "--migrate-level",
        "bundle-object-to-csv-metadata",
        // Only what has an image is migrated.
        "--alpha-image-ref-template",
        "ghcr.io/metallb-rs/metallb-operator-bundle:v{{.Version}}",
    ]);
    let made = run(command.current_dir(file("."))).unwrap();
    let made: Value = serde_json::from_str(&made).unwrap();
    let text = std::fs::read_to_string(file("olm/configs/metallb-operator/catalog.yaml")).unwrap();
    let blobs: Vec<Option<Value>> = serde_saphyr::from_multiple(&text).unwrap();
    let ours = blobs
        .into_iter()
        .flatten()
        .find(|blob| blob["schema"] == "olm.bundle")
        .unwrap();
    for part in ["name", "package", "image"] {
        assert_eq!(made[part], ours[part]);
    }
    let (made, ours) = (properties(&made), properties(&ours));
    assert_eq!(made.len(), ours.len());
    for (made, ours) in made.iter().zip(&ours) {
        assert!(made == ours, "{made}\nis not\n{ours}");
    }
}

/// The properties in an order, without what is empty.
fn properties(bundle: &Value) -> Vec<String> {
    let properties = bundle["properties"].as_array().unwrap();
    let mut all: Vec<String> = properties.iter().map(|property| sorted(property).to_string()).collect();
    all.sort();
    all
}

/// The same value, its keys in an order, without empty lists and maps.
fn sorted(value: &Value) -> Value {
    let empty = |value: &Value| {
        value.is_null()
            || value.as_array().is_some_and(Vec::is_empty)
            || value.as_object().is_some_and(serde_json::Map::is_empty)
    };
    match value {
        Value::Array(items) => items.iter().map(sorted).collect(),
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().map(|(key, value)| (key.clone(), sorted(value))).collect();
            fields.retain(|(_, value)| !empty(value));
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            fields.into_iter().collect()
        }
        other => other.clone(),
    }
}
