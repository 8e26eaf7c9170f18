//! The optional suites of `operator-sdk bundle validate`; what they warn of is listed here, each with its reason.

use serde_json::Value;

use super::{annotation, csv, list, manifests, owned};

/// APIs that newer Kubernetes has no more, by apiVersion and kind.
const REMOVED: [(&str, &str); 6] = [
    ("policy/v1beta1", "PodDisruptionBudget"),
    ("policy/v1beta1", "PodSecurityPolicy"),
    ("apiextensions.k8s.io/v1beta1", "CustomResourceDefinition"),
    ("rbac.authorization.k8s.io/v1beta1", "Role"),
    ("networking.k8s.io/v1beta1", "NetworkPolicy"),
    ("extensions/v1beta1", "NetworkPolicy"),
];

// OP-80: capabilities, categories
#[test]
fn capability_level_and_category_are_known_ones() {
    let levels = [
        "Basic Install",
        "Seamless Upgrades",
        "Full Lifecycle",
        "Deep Insights",
        "Auto Pilot",
    ];
    assert!(levels.contains(&annotation("capabilities").as_str()));
    assert_eq!(annotation("categories"), "Networking");
}

// OP-80: operatorhubv2
#[test]
fn whoever_is_behind_it_can_be_found() {
    let spec = &csv()["spec"];
    assert!(spec["provider"]["name"].is_string() && spec["version"] != "0.0.0");
    for maintainer in list(&spec["maintainers"]) {
        assert!(maintainer["name"].is_string() && maintainer["email"].as_str().unwrap().contains('@'));
    }
    for link in list(&spec["links"]) {
        assert!(link["name"].is_string() && link["url"].as_str().unwrap().starts_with("https://"));
    }
    assert_eq!(list(&spec["icon"]).len(), 1);
    assert_eq!(spec["icon"][0]["mediatype"], "image/svg+xml");
    assert!(spec["description"].as_str().unwrap().lines().count() > 10);
}

// OP-80: alpha-deprecated-apis. The tool itself warns of the rules for `events.k8s.io` and `discovery.k8s.io`, whatever
// their version: it knows that a beta of these groups is gone, and a rule names no version.
#[test]
fn no_object_and_no_rule_is_of_a_removed_api() {
    for (name, object) in manifests() {
        for (api_version, kind) in REMOVED {
            assert!(object["apiVersion"] != api_version || object["kind"] != kind, "{name}");
        }
    }
    assert!(!csv().to_string().contains("podsecuritypolicies"));
}

/// Every rule of the ClusterServiceVersion, with the account that has it.
fn rules() -> Vec<(String, Value)> {
    let strategy = &csv()["spec"]["install"]["spec"];
    let all = ["permissions", "clusterPermissions"]
        .map(|part| list(&strategy[part]))
        .concat();
    let of = |entry: &Value| {
        let account = entry["serviceAccountName"].as_str().unwrap().to_owned();
        list(&entry["rules"])
            .into_iter()
            .map(move |rule| (account.clone(), rule))
            .collect::<Vec<_>>()
    };
    all.iter().flat_map(of).collect()
}

// OP-80: good-practices
#[test]
fn every_container_asks_for_resources() {
    for deployment in list(&csv()["spec"]["install"]["spec"]["deployments"]) {
        for container in list(&deployment["spec"]["template"]["spec"]["containers"]) {
            let requests = &container["resources"]["requests"];
            assert!(
                requests["cpu"].is_string() && requests["memory"].is_string(),
                "{}",
                container["name"]
            );
        }
    }
}

// OP-80: good-practices warns of any patch of a definition. Ours is one by name, of the one field that the conversion
// webhook's certificate authority is in; under OLM it is not used, for OLM writes that field.
#[test]
fn only_the_definition_with_a_conversion_webhook_may_be_changed() {
    let changes = ["create", "patch", "*"];
    for (account, rule) in rules() {
        let definitions = list(&rule["resources"]).contains(&"customresourcedefinitions".into());
        let verbs = list(&rule["verbs"]);
        if definitions && verbs.iter().any(|verb| changes.contains(&verb.as_str().unwrap())) {
            assert_eq!(
                rule["resourceNames"],
                serde_json::json!(["bgppeers.metallb.io"]),
                "{account}"
            );
            assert!(
                !verbs.contains(&"create".into()) && !verbs.contains(&"*".into()),
                "{account}"
            );
        }
    }
}

// OP-80: good-practices
#[test]
fn kinds_are_described_and_channels_named_as_usual() {
    assert!(
        owned()
            .iter()
            .all(|kind| !kind["description"].as_str().unwrap().is_empty())
    );
    let files = &*super::FILES;
    let annotations: Value = serde_saphyr::from_str(&files["bundle/metadata/annotations.yaml"]).unwrap();
    let channels = &annotations["annotations"]["operators.operatorframework.io.bundle.channels.v1"];
    for channel in channels.as_str().unwrap().split(',') {
        assert!(
            ["stable", "candidate", "fast"]
                .iter()
                .any(|usual| channel.starts_with(usual)),
            "{channel}"
        );
    }
}

// OP-80: object checks
#[test]
fn no_budget_forbids_every_eviction() {
    for (name, object) in manifests() {
        let spec = &object["spec"];
        assert!(
            object["kind"] != "PodDisruptionBudget" || spec["maxUnavailable"] != 0,
            "{name}"
        );
        assert_ne!(object["kind"], "PriorityClass", "{name}");
    }
}
