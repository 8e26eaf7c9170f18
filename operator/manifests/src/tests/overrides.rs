use super::*;

fn overridden(kind: &str, name: &str, patch: &Value) -> Result<Vec<Object>, Refusal> {
    let spec = json!({ "overrides": [{ "kind": kind, "name": name, "patch": patch }] });
    desired(&read(spec), &environment())
}

// W-23
#[test]
fn a_patch_is_merged_by_the_names_of_list_items() {
    let patch = json!({ "spec": { "template": { "spec": { "containers": [
        { "name": "speaker", "imagePullPolicy": "Never" }, { "name": "sidecar", "image": "x:1" } ] } } } });
    let objects = overridden("DaemonSet", "speaker", &patch).unwrap();
    let speaker = find(&objects, "DaemonSet/speaker");
    let pod = pod(&speaker);
    assert_eq!(names_in(&pod["containers"]), ["speaker", "sidecar"]);
    let speaker = container(pod, "speaker");
    assert_eq!(
        (&speaker["imagePullPolicy"], &speaker["image"]),
        (&json!("Never"), &json!("host:5000/speaker:1"))
    );
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

#[test]
fn names_and_selectors_stay_whatever_a_patch_says() {
    let patch = json!({ "metadata": { "name": "x", "labels": { "team": "net" } },
        "spec": { "selector": { "matchLabels": { "app": "x" } } } });
    let objects = overridden("Deployment", "controller", &patch).unwrap();
    let controller = find(&objects, "Deployment/controller");
    assert_eq!(controller["metadata"]["labels"]["team"], "net");
    let selector = json!({ "matchLabels": { "app": "metallb", "component": "controller" } });
    assert_eq!(controller["spec"]["selector"], selector);
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
