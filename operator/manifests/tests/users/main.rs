//! As whom everything runs that we render: added capabilities have an effect, mounted files can be read, and whoever
//! needs neither is not root.

#![allow(clippy::unwrap_used, reason = "clippy takes the helpers of tests for no tests")]

mod judge;

use std::path::{Path, PathBuf};

use metallb_manifests::{Environment, desired};
use rstest::rstest;
use serde_json::{Value, json};

use judge::{Platform, judge};

fn assert_sound(objects: &[Value], platform: Platform, what: &str) -> usize {
    let mut containers = 0;
    for object in objects {
        let verdict = judge(object, platform);
        containers += verdict.containers;
        let name = &object["metadata"]["name"];
        assert!(
            verdict.complaints.is_empty(),
            "{what}, {name}: {:#?}",
            verdict.complaints
        );
    }
    containers
}

fn environment(openshift: bool) -> Environment {
    let mut environment = Environment::from_variables(|name| match name {
        "OPERATOR_NAMESPACE" => Some("metallb-system".to_owned()),
        "CONTROLLER_IMAGE" | "SPEAKER_IMAGE" => Some("example.com/metallb:v1".to_owned()),
        _ => None,
    })
    .unwrap();
    environment.platform.openshift = openshift;
    environment.platform.service_monitors = true;
    environment
}

// OP-56
#[rstest]
#[case("native", 2)]
#[case("frr", 8)]
#[case("frr-k8s", 12)]
#[case("frr-k8s-external", 2)]
fn what_the_operator_deploys_can_do_what_it_must(
    #[case] backend: &str,
    #[case] containers: usize,
    #[values(Platform::Plain, Platform::OpenShift)] platform: Platform,
    #[values("{}", r#"{ "metrics": { "monitor": "ServiceMonitor" } }"#)] metrics: &str,
) {
    let mut spec: Value = serde_json::from_str(metrics).unwrap();
    spec["bgpBackend"] = backend.into();
    let spec = serde_json::from_value(spec).unwrap();
    let objects = desired(&spec, &environment(platform == Platform::OpenShift)).unwrap();
    let objects: Vec<_> = objects
        .iter()
        .map(|object| serde_json::to_value(object).unwrap())
        .collect();
    assert_eq!(assert_sound(&objects, platform, backend), containers);
}

fn yaml_files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder);
    let entries = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .filter(|path| path.extension().is_some_and(|it| it == "yaml"))
        .collect()
}

#[rstest]
// Of each of the three modes, with and without monitors; the operator and the webhook server, for OpenShift or not.
#[case("manifests", 2 * (2 + 8 + 12) + 2 * 2)]
#[case("bundle/manifests", 2)]
#[case("charts/metallb-operator/files", 2)]
fn what_people_apply_can_do_what_it_must(#[case] folder: &str, #[case] containers: usize) {
    let mut seen = 0;
    for path in yaml_files(folder) {
        let text = std::fs::read_to_string(&path).unwrap();
        let objects: Vec<Option<Value>> = serde_saphyr::from_multiple(&text).unwrap();
        let objects: Vec<_> = objects.into_iter().flatten().collect();
        seen += assert_sound(&objects, Platform::Plain, &path.display().to_string());
    }
    assert_eq!(seen, containers);
}

fn workload(pod: &Value, container: &Value) -> Value {
    let mut pod = pod.clone();
    pod["containers"] = json!([container]);
    json!({ "spec": { "template": { "spec": pod } } })
}

#[rstest]
#[case::as_the_image_says(json!({}), json!({ "capabilities": { "add": ["NET_RAW"] } }), "must run as root")]
#[case::as_somebody(json!({ "runAsUser": 1 }), json!({ "capabilities": { "add": ["NET_RAW"] } }), "must run as root")]
#[case::contradiction(
    json!({ "runAsNonRoot": true }),
    json!({ "runAsUser": 0, "capabilities": { "add": ["NET_RAW"] } }),
    "kubelet refuses it"
)]
#[case::maybe_root(json!({}), json!({ "runAsUser": 5 }), "need not run as root")]
#[case::by_name(json!({ "runAsNonRoot": true }), json!({}), "must run as a number")]
#[case::private_file(json!({ "runAsNonRoot": true, "runAsUser": 5 }), json!({}), "cannot read \"/file\"")]
fn what_cannot_work_is_found(#[case] pod: Value, #[case] container: Value, #[case] complaint: &str) {
    let pod = json!({ "securityContext": pod,
        "volumes": [{ "name": "v", "configMap": { "defaultMode": 0o400 } }] });
    let container = json!({ "name": "c", "securityContext": container,
        "volumeMounts": [{ "name": "v", "mountPath": "/file" }] });
    let verdict = judge(&workload(&pod, &container), Platform::Plain);
    let found = verdict.complaints.iter().any(|it| it.contains(complaint));
    assert!(found, "{:#?}", verdict.complaints);
}
