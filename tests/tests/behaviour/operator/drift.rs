//! Whatever is deleted or edited behind the operator's back comes back.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams};
use kube::{Api, ResourceExt};
use metallb_api::names;
use rstest::rstest;
use serde_json::{Value, json};

use super::{Cluster, NAMESPACE, wait_for};

fn api(cluster: &Cluster, object: &metallb_manifests::Object) -> Api<DynamicObject> {
    if object.is_namespaced() {
        cluster.of(&object.api_resource())
    } else {
        Api::all_with(cluster.client.clone(), &object.api_resource())
    }
}

/// Edits of what the operator wants, for each kind: values that it set, in maps, in lists, and in what lists hold.
fn edits(object: &metallb_manifests::Object) -> Vec<Value> {
    let wanted = serde_json::to_value(object).unwrap();
    let mut edits = vec![json!({ "metadata": { "labels": { "app": "junk" } } })];
    edits.extend(match object.api_resource().kind.as_str() {
        "ConfigMap" => {
            let keys = wanted["data"].as_object().unwrap().keys();
            keys.map(|key| json!({ "data": { key: "junk" } })).collect()
        }
        "DaemonSet" | "Deployment" => {
            let name = &wanted["spec"]["template"]["spec"]["containers"][0]["name"];
            let bare = json!({ "name": name, "image": "example.com/another:1" });
            let pod = |edit: Value| json!({ "spec": { "template": { "spec": edit } } });
            vec![
                pod(json!({ "nodeSelector": { "kubernetes.io/os": "none" } })),
                // All other containers go, and all of this one but its name.
                pod(json!({ "containers": [bare] })),
                pod(json!({ "serviceAccountName": "another", "terminationGracePeriodSeconds": 99 })),
            ]
        }
        "NetworkPolicy" => vec![json!({ "spec": { "policyTypes": [] } })],
        "Service" => {
            let mut ports = wanted["spec"]["ports"].clone();
            ports[0]["targetPort"] = 1.into();
            vec![json!({ "spec": { "ports": ports } })]
        }
        "ValidatingWebhookConfiguration" => vec![json!({ "webhooks": [] })],
        _ => Vec::new(),
    });
    edits
}

/// What people put into an object: all but what the API server and controllers keep in it themselves.
fn content(live: &DynamicObject) -> Value {
    let mut content = serde_json::to_value(live).unwrap();
    content["status"].take();
    for own in [
        "generation",
        "managedFields",
        "resourceVersion",
        "uid",
        "creationTimestamp",
    ] {
        content["metadata"][own].take();
    }
    content
}

/// Deletes and edits one object after the other; returns how many there are.
async fn every_object_comes_back(spec: Value) -> usize {
    let cluster = Cluster::start().await;
    let operator = cluster.operator();
    cluster.create(spec).await;
    cluster.available().await;
    let wanted = cluster.wanted().await;
    let mut slowest = Duration::ZERO;
    for object in &wanted {
        let api = api(&cluster, object);
        let before = api.get(object.name()).await.unwrap();
        let begin = Instant::now();
        api.delete(object.name(), &DeleteParams::background()).await.unwrap();
        wait_for(&format!("{object} to be back"), || async {
            api.get_opt(object.name())
                .await
                .unwrap()
                .is_some_and(|live| live.uid() != before.uid())
        })
        .await;
        slowest = slowest.max(begin.elapsed());
    }
    println!(
        "{} objects deleted one by one, the slowest was back after {slowest:?}",
        wanted.len()
    );
    cluster.told(NAMESPACE, "Repaired", "DaemonSet/speaker").await;

    slowest = Duration::ZERO;
    for object in &wanted {
        let api = api(&cluster, object);
        // Others may add what they like, and it stays.
        let foreign = Patch::Merge(
            json!({ "metadata": { "annotations": { "example.com/mine": "x" }, "labels": { "mine": "x" } } }),
        );
        api.patch(object.name(), &PatchParams::default(), &foreign)
            .await
            .unwrap();
        let good = content(&api.get(object.name()).await.unwrap());
        let begin = Instant::now();
        for bad in edits(object) {
            let (params, edit) = (PatchParams::default(), Patch::Merge(&bad));
            let edited = api.patch(object.name(), &params, &edit).await.unwrap();
            assert_ne!(content(&edited), good, "{object}: {bad} is no edit");
            wait_for(&format!("{object} to be as it was before {bad}"), || async {
                let live = api.get_opt(object.name()).await.unwrap();
                live.is_some_and(|live| content(&live) == good)
            })
            .await;
        }
        slowest = slowest.max(begin.elapsed());
        let live = api.get(object.name()).await.unwrap();
        assert_eq!(live.annotations()["example.com/mine"], "x", "{object}");
        assert_eq!(live.labels()["mine"], "x", "{object}");
    }
    println!(
        "{} objects edited one by one, the slowest was mended after {slowest:?}",
        wanted.len()
    );
    cluster.available().await;
    operator.stop().await;
    cluster.end().await;
    wanted.len()
}

// OP-35 OP-36
#[rstest]
#[case::native(json!({}), 0)]
#[case::frr(json!({ "bgpBackend": "frr" }), 1)]
#[case::frr_k8s(json!({ "bgpBackend": "frr-k8s" }), 7)]
#[case::frr_k8s_external(json!({ "bgpBackend": "frr-k8s-external", "frrk8sConfig": { "namespace": "elsewhere" } }), 0)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_object_of_the_mode_comes_back(#[case] spec: Value, #[case] more: usize) {
    let plain = metallb_manifests::desired(&Default::default(), &super::environment(&[])).unwrap();
    assert_eq!(every_object_comes_back(spec).await, plain.len() + more);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_of_the_monitors_comes_back_and_goes_with_them() {
    // OP-29 OP-35
    let cluster = Cluster::start().await;
    let group = "monitoring.coreos.com";
    cluster
        .serve(group, "v1", "PodMonitor", "podmonitors", "Namespaced")
        .await;
    let settings = super::environment(&[("DEPLOY_PODMONITORS", "true")]);
    let operator = cluster.operator_with("operator-1", false, settings, None);
    cluster.create(json!({})).await;
    cluster.available().await;
    let secrets = cluster.ours::<Secret>();
    let token = names::METRICS_TOKEN_SECRET;
    let first = secrets.get(token).await.unwrap().uid();
    secrets.delete(token, &DeleteParams::default()).await.unwrap();
    wait_for("the token to be back", || async {
        let found = secrets.get_opt(token).await.unwrap();
        found.is_some_and(|found| found.uid() != first)
    })
    .await;
    operator.stop().await;
    // Another one never saw it, and does without monitors.
    let operator = cluster.operator();
    wait_for("the token to go", || async {
        secrets.get_opt(token).await.unwrap().is_none()
    })
    .await;
    operator.stop().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_of_which_a_field_was_added_is_left_alone() {
    // OP-36
    let cluster = Cluster::start().await;
    let operator = cluster.operator();
    cluster.create(json!({})).await;
    cluster.available().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let sets = cluster.ours::<k8s_openapi::api::apps::v1::DaemonSet>();
    let restart = json!({ "spec": { "template": { "metadata": { "annotations": { "kubectl.kubernetes.io/restartedAt": "now" } } } } });
    sets.patch("speaker", &PatchParams::default(), &Patch::Merge(restart))
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let set = sets.get("speaker").await.unwrap();
    let annotations = set.spec.unwrap().template.metadata.unwrap().annotations.unwrap();
    assert_eq!(annotations["kubectl.kubernetes.io/restartedAt"], "now");
    operator.stop().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happened_while_no_operator_ran_is_mended_by_the_next() {
    // OP-15 OP-36
    let cluster = Cluster::start().await;
    let operator = cluster.operator();
    cluster.create(json!({ "nodeSelector": { "rack": "a" } })).await;
    cluster.available().await;
    operator.stop().await;
    // What was deployed has all that is wanted now, and a selector more.
    cluster.change(json!({ "nodeSelector": null })).await;
    let deployments = cluster.ours::<k8s_openapi::api::apps::v1::Deployment>();
    let elsewhere = json!({ "kubernetes.io/os": "none" });
    let edit = Patch::Merge(json!({ "spec": { "template": { "spec": { "nodeSelector": elsewhere } } } }));
    deployments
        .patch("controller", &PatchParams::default(), &edit)
        .await
        .unwrap();

    let operator = cluster.operator();
    wait_for("the selector to go", || async {
        let sets = cluster.ours::<k8s_openapi::api::apps::v1::DaemonSet>();
        let pod = sets.get("speaker").await.unwrap().spec.unwrap().template.spec.unwrap();
        !pod.node_selector.unwrap().contains_key("rack")
    })
    .await;
    wait_for("the edit to be undone", || async {
        let found = deployments.get("controller").await.unwrap();
        let pod = found.spec.unwrap().template.spec.unwrap();
        pod.node_selector.unwrap()["kubernetes.io/os"] == "linux"
    })
    .await;
    cluster.available().await;
    operator.stop().await;
    cluster.end().await;
}
