//! The six static tests of `operator-sdk scorecard`.

use serde_json::Value;

use super::{crds, csv, examples, list, owned, schema};

fn keys(value: &Value) -> Vec<String> {
    value
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, _)| key.clone())
        .collect()
}

/// The owned entry of an example's kind.
fn entry(example: &Value) -> Value {
    let api_version = example["apiVersion"].as_str().unwrap();
    let (_, version) = api_version.split_once('/').unwrap();
    let found = owned()
        .into_iter()
        .find(|entry| entry["kind"] == example["kind"] && entry["version"] == version);
    found.unwrap()
}

fn described(entry: &Value, list_of: &str, key: &str) -> bool {
    list(&entry[list_of]).iter().any(|descriptor| descriptor["path"] == key)
}

// OP-90: basic-check-spec
#[test]
fn every_example_has_a_spec() {
    for example in examples() {
        assert!(example["spec"].is_object(), "{example}");
    }
}

// OP-90: olm-crds-have-validation
#[test]
fn every_field_of_an_example_is_in_the_schema() {
    for example in examples() {
        for part in ["spec", "status"] {
            for key in keys(&example[part]) {
                let schema = &schema(&example)["properties"][part]["properties"];
                assert!(!schema[&key].is_null(), "{} {part}.{key}", example["kind"]);
            }
        }
    }
}

// OP-90: olm-crds-have-resources, OP-82
#[test]
fn every_owned_kind_lists_resources() {
    for entry in owned() {
        assert!(!list(&entry["resources"]).is_empty(), "{}", entry["kind"]);
        for text in ["displayName", "description"] {
            assert!(
                entry[text].as_str().is_some_and(|text| !text.is_empty()),
                "{} {text}",
                entry["kind"]
            );
        }
    }
}

// OP-90: olm-spec-descriptors and olm-status-descriptors, OP-82
#[test]
fn every_field_of_every_kind_has_a_descriptor() {
    for entry in owned() {
        let crd = crds()
            .into_iter()
            .find(|crd| crd["metadata"]["name"] == entry["name"])
            .unwrap();
        let version = list(&crd["spec"]["versions"])
            .into_iter()
            .find(|version| version["name"] == entry["version"]);
        let properties = version.unwrap()["schema"]["openAPIV3Schema"]["properties"].clone();
        for (part, list_of) in [("spec", "specDescriptors"), ("status", "statusDescriptors")] {
            let fields = keys(&properties[part]["properties"]);
            assert_eq!(fields.len(), list(&entry[list_of]).len(), "{} {part}", entry["kind"]);
            for field in fields {
                assert!(described(&entry, list_of, &field), "{} {part}.{field}", entry["kind"]);
            }
        }
    }
    for example in examples() {
        for key in keys(&example["spec"]) {
            assert!(
                described(&entry(&example), "specDescriptors", &key),
                "{} {key}",
                example["kind"]
            );
        }
    }
}

// OP-90: olm-bundle-validation is what `structure` checks, and `operator-verify` where there is Go.
#[test]
fn the_configuration_of_scorecard_names_the_six_tests() {
    let files = &*super::FILES;
    let config: Value = serde_saphyr::from_str(&files["bundle/tests/scorecard/config.yaml"]).unwrap();
    assert_eq!(list(&config["stages"][0]["tests"]).len(), 6);
    assert_eq!(config["kind"], "Configuration");
    assert_eq!(csv()["kind"], "ClusterServiceVersion");
}
