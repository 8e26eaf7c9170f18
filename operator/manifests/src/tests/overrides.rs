use std::collections::BTreeSet;

use metallb_config::metallb::privileges::{CONTAINERS, INIT_CONTAINERS};

use super::*;

fn overridden(kind: &str, name: &str, patch: &Value) -> Result<Vec<Object>, Refusal> {
    let spec = json!({ "overrides": [{ "kind": kind, "name": name, "patch": patch }] });
    desired(&read(spec), &environment())
}

// W-23
#[test]
fn a_patch_is_merged_by_the_names_of_list_items() {
    let patch = json!({ "spec": { "template": { "spec": { "containers": [
        { "name": "speaker", "imagePullPolicy": "Never" } ] } } } });
    let objects = overridden("DaemonSet", "speaker", &patch).unwrap();
    let speaker = find(&objects, "DaemonSet/speaker");
    let pod = pod(&speaker);
    assert_eq!(names_in(&pod["containers"]), ["speaker"]);
    let speaker = container(pod, "speaker");
    assert_eq!(
        (&speaker["imagePullPolicy"], &speaker["image"]),
        (&json!("Never"), &json!("host:5000/speaker:1"))
    );
}

#[test]
fn a_patch_of_a_container_of_another_back_end_waits() {
    let patch = json!({ "spec": { "template": { "spec": {
        "containers": [{ "name": "frr", "imagePullPolicy": "Never" }],
        "initContainers": [{ "name": "cp-metrics", "imagePullPolicy": "Never" }] } } } });
    let objects = overridden("DaemonSet", "speaker", &patch).unwrap();
    assert_eq!(objects, rendered(json!({}), &environment()));
    let override_ = json!({ "kind": "DaemonSet", "name": "speaker", "patch": patch });
    let objects = rendered(json!({ "bgpBackend": "frr", "overrides": [override_] }), &environment());
    let speaker = find(&objects, "DaemonSet/speaker");
    for name in ["frr", "cp-metrics"] {
        assert_eq!(container(pod(&speaker), name)["imagePullPolicy"], "Never", "{name}");
    }
}

#[test]
fn exactly_the_containers_of_all_back_ends_can_be_named() {
    let (mut containers, mut inits) = (BTreeSet::new(), BTreeSet::new());
    for backend in ["native", "frr", "frr-k8s", "frr-k8s-external"] {
        let spec = json!({ "bgpBackend": backend, "frrk8sConfig": { "namespace": "frr-k8s-system" } });
        for object in rendered(spec, &environment()) {
            let object = json(&object);
            let names = |list: &str| {
                names_in(&pod(&object)[list])
                    .into_iter()
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            };
            containers.extend(names("containers"));
            inits.extend(names("initContainers"));
        }
    }
    assert_eq!(containers, CONTAINERS.map(str::to_owned).into());
    assert_eq!(inits, INIT_CONTAINERS.map(str::to_owned).into());
}

#[test]
fn an_empty_patch_changes_nothing() {
    let basis = rendered(json!({}), &environment());
    for (kind, name) in [
        ("DaemonSet", "speaker"),
        ("Deployment", "controller"),
        ("ServiceAccount", "speaker"),
    ] {
        assert_eq!(overridden(kind, name, &json!({})).unwrap(), basis, "{kind}");
    }
}

#[rstest]
#[case(json!({ "metadata": { "name": "x" } }), "metadata.name")]
#[case(json!({ "spec": { "selector": { "matchLabels": { "app": "x" } } } }), "spec.selector")]
#[case(json!({ "spec": { "template": { "spec": { "hostPID": true } } } }), "spec.template.spec.hostPID")]
fn names_selectors_and_rights_stay_though_admission_was_passed_by(#[case] patch: Value, #[case] path: &str) {
    let refusal = overridden("Deployment", "controller", &patch).unwrap_err().to_string();
    assert!(refusal.contains(&format!("{path} cannot be overridden")), "{refusal}");
}

#[test]
fn a_patch_of_what_is_not_deployed_now_waits() {
    let objects = overridden("DaemonSet", "frr-k8s", &json!({ "spec": { "minReadySeconds": 5 } })).unwrap();
    assert_eq!(objects, rendered(json!({}), &environment()));
}

#[rstest]
#[case(json!({ "spec": { "replicas": "many" } }))]
#[case(json!({ "spec": { "replicsa": 2 } }))]
fn a_patch_that_does_not_fit_is_refused_by_its_place(#[case] patch: Value) {
    let refusal = overridden("Deployment", "controller", &patch).unwrap_err();
    assert_eq!(refusal.reason(), "InvalidSpec");
    assert!(refusal.to_string().starts_with("spec.overrides[0].patch"), "{refusal}");
}
