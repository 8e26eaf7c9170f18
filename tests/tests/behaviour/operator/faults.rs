//! What goes wrong is told truthfully, leaves what works alone, and is recovered from without a restart.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use metallb_api::MetalLB;
use serde_json::json;

use super::{Call, Cluster, NAMESPACE, labels, wait_for, wait_for_long};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_object_leaves_all_others_unwritten_and_is_told_in_the_servers_words() {
    // OP-41
    let cluster = Cluster::start().await;
    let operator = cluster.operator();
    let refusal = "DaemonSet.apps \"speaker\" is invalid: spec.template.spec.affinity: Invalid value: \"x\": bad";
    operator.between.refuse(move |call: &Call| {
        (call.method == "PATCH" && call.path.ends_with("/daemonsets/speaker")).then_some((422, refusal))
    });
    cluster.create(json!({})).await;
    cluster.degraded("ApplyFailed", refusal).await;
    cluster.told(NAMESPACE, "ApplyFailed", refusal).await;
    let deployment = cluster.ours::<Deployment>().get_opt("controller").await.unwrap();
    assert!(deployment.is_none(), "half of it was applied");
    operator.between.mend();
    cluster.available().await;
    operator.stop().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_right_is_told_with_verb_and_resource_and_its_return_is_noticed() {
    // OP-42
    let cluster = Cluster::start().await;
    let operator = cluster.operator();
    let refusal = "configmaps \"metallb-excludel2\" is forbidden: User \"system:serviceaccount:metallb-system:manager-account\" \
                   cannot patch resource \"configmaps\" in API group \"\" in the namespace \"metallb-system\"";
    operator.between.refuse(move |call: &Call| {
        (call.method == "PATCH" && call.path.ends_with("/configmaps/metallb-excludel2")).then_some((403, refusal))
    });
    cluster.create(json!({})).await;
    cluster
        .degraded("MissingPermissions", "cannot patch resource \"configmaps\"")
        .await;
    operator.between.mend();
    cluster.available().await;
    operator.stop().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kinds_that_may_not_be_watched_do_not_keep_it_from_starting() {
    // OP-42
    let cluster = Cluster::start().await;
    let operator = cluster.operator_before(|call: &Call| {
        let kept = ["/networkpolicies", "/api/v1/namespaces"];
        let refused = call.method == "GET" && kept.iter().any(|end| call.path.ends_with(end));
        refused.then_some((403, "is forbidden: User \"x\" cannot list resource"))
    });
    cluster.create(json!({})).await;
    cluster.available().await;
    operator.stop().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_spec_keeps_the_last_good_state_and_goes_on_repairing_it() {
    // OP-41
    let cluster = Cluster::start().await;
    let operator = cluster.operator();
    cluster.create(json!({})).await;
    cluster.available().await;
    let speaker = cluster.ours::<DaemonSet>().get("speaker").await.unwrap().metadata;
    // Admission would refuse it; here nobody asks that.
    cluster.change(json!({ "bgpBackend": "foo" })).await;
    cluster
        .degraded("InvalidSpec", "native, frr, frr-k8s, frr-k8s-external")
        .await;
    let patch = json!({ "spec": { "template": { "spec": { "hostPID": true } } } });
    let overrides = json!([{ "kind": "DaemonSet", "name": "speaker", "patch": patch }]);
    cluster
        .change(json!({ "bgpBackend": null, "overrides": overrides }))
        .await;
    cluster
        .degraded("InvalidSpec", "spec.template.spec.hostPID cannot be overridden")
        .await;
    let kept = cluster.ours::<DaemonSet>().get("speaker").await.unwrap().metadata;
    assert_eq!((kept.uid, kept.generation), (speaker.uid, speaker.generation));
    let maps = cluster.ours::<ConfigMap>();
    maps.delete("metallb-excludel2", &DeleteParams::default())
        .await
        .unwrap();
    wait_for("the ConfigMap to be back", || async {
        maps.get_opt("metallb-excludel2").await.unwrap().is_some()
    })
    .await;
    assert_eq!(
        cluster.resource().await.status.unwrap().bgp_backend.as_deref(),
        Some("native")
    );
    cluster.change(json!({ "overrides": null })).await;
    cluster.available().await;
    operator.stop().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_server_that_is_away_costs_nothing_but_time() {
    // OP-41
    let cluster = Cluster::start().await;
    let operator = cluster.operator();
    cluster.create(json!({})).await;
    cluster.available().await;
    operator.between.refuse(|_: &Call| Some((503, "away")));
    cluster.change(json!({ "logLevel": "debug" })).await;
    let sets = cluster.ours::<DaemonSet>();
    sets.delete("speaker", &DeleteParams::default()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    operator.between.mend();
    wait_for("the DaemonSet with the new setting", || async {
        let set = sets.get_opt("speaker").await.unwrap();
        set.is_some_and(|set| serde_json::to_string(&set).unwrap().contains("--log-level=debug"))
    })
    .await;
    cluster.available().await;
    operator.stop().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_of_the_server_that_lasts_is_told() {
    // OP-41
    let cluster = Cluster::start().await;
    let operator = cluster.operator();
    operator.between.refuse(|call: &Call| {
        let refused = call.method == "PATCH" && call.path.ends_with("/deployments/controller");
        refused.then_some((500, "failed calling webhook \"x\": no endpoints available"))
    });
    cluster.create(json!({})).await;
    cluster.degraded("ApplyFailed", "no endpoints available").await;
    operator.between.mend();
    cluster.available().await;
    operator.stop().await;
    cluster.end().await;
}

pub(super) async fn freeze(cluster: &Cluster, status: serde_json::Value) {
    let sets = cluster.ours::<DaemonSet>();
    let frozen = json!({ "metadata": { "annotations": { "frozen": "" } } });
    sets.patch("speaker", &PatchParams::default(), &Patch::Merge(frozen))
        .await
        .unwrap();
    sets.patch_status(
        "speaker",
        &PatchParams::default(),
        &Patch::Merge(json!({ "status": status })),
    )
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_that_cannot_be_pulled_is_the_reason() {
    // OP-40
    let cluster = Cluster::start().await;
    let operator = cluster.operator();
    cluster.create(json!({})).await;
    cluster.available().await;
    let waiting = json!({ "waiting": { "reason": "ImagePullBackOff", "message": "Back-off pulling image \"example.com/metallb:1\"" } });
    let container =
        json!({ "name": "speaker", "image": "x", "imageID": "", "ready": false, "restartCount": 0, "state": waiting });
    let pod = json!({ "metadata": { "name": "speaker-x", "labels": labels("speaker") },
        "spec": { "containers": [{ "name": "speaker", "image": "x" }] } });
    let pods = cluster.ours::<Pod>();
    pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap())
        .await
        .unwrap();
    let status = json!({ "status": { "containerStatuses": [container] } });
    pods.patch_status("speaker-x", &PatchParams::default(), &Patch::Merge(status))
        .await
        .unwrap();
    freeze(&cluster, json!({ "numberReady": 1 })).await;
    cluster
        .degraded("ImagePullFailed", "DaemonSet speaker: 1 of 2 pods are ready")
        .await;
    cluster
        .degraded("ImagePullFailed", "Back-off pulling image \"example.com/metallb:1\"")
        .await;
    pods.delete("speaker-x", &DeleteParams::default().grace_period(0))
        .await
        .unwrap();
    freeze(&cluster, json!({ "numberReady": 2 })).await;
    cluster.available().await;
    operator.stop().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_that_a_quota_refuses_are_the_reason() {
    // OP-40
    let cluster = Cluster::start().await;
    let operator = cluster.operator();
    cluster.create(json!({})).await;
    cluster.available().await;
    let message = "Error creating: pods \"speaker-\" is forbidden: exceeded quota: few, requested: pods=1, used: pods=2, limited: pods=2";
    let event = json!({ "metadata": { "name": "speaker.1" }, "reason": "FailedCreate", "type": "Warning", "message": message,
        "involvedObject": { "kind": "DaemonSet", "name": "speaker", "namespace": NAMESPACE } });
    let events = cluster.ours::<k8s_openapi::api::core::v1::Event>();
    events
        .create(&PostParams::default(), &serde_json::from_value(event).unwrap())
        .await
        .unwrap();
    freeze(&cluster, json!({ "desiredNumberScheduled": 3 })).await;
    cluster.degraded("QuotaExceeded", "exceeded quota: few").await;
    freeze(&cluster, json!({ "desiredNumberScheduled": 2 })).await;
    cluster.available().await;
    operator.stop().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn speakers_on_no_node_are_available_and_a_warning() {
    let cluster = Cluster::start().await;
    let operator = cluster.operator();
    cluster.create(json!({})).await;
    cluster.available().await;
    let none = json!({ "desiredNumberScheduled": 0, "currentNumberScheduled": 0, "updatedNumberScheduled": 0, "numberReady": 0 });
    freeze(&cluster, none).await;
    wait_for("the warning", || async {
        cluster.state(NAMESPACE, "metallb").await.1 == "NothingScheduled"
    })
    .await;
    assert_eq!(cluster.state(NAMESPACE, "metallb").await.0, "Available");
    cluster.told(NAMESPACE, "NothingScheduled", "runs on no node").await;
    operator.stop().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_is_told_with_counts_and_times_move_with_the_status_only() {
    // OP-38 OP-40
    let cluster = Cluster::start().await;
    let operator = cluster.operator();
    cluster.create(json!({})).await;
    cluster.available().await;
    let since = |status: &metallb_api::MetalLBStatus, type_: &str| {
        let found = status.conditions.iter().find(|it| it.type_ == type_);
        found.unwrap().last_transition_time.clone()
    };
    let before = cluster.resource().await.status.unwrap();
    for ready in [0, 1] {
        freeze(&cluster, json!({ "numberReady": ready })).await;
        let part = format!("DaemonSet speaker: {ready} of 2 pods are ready");
        wait_for(&part, || async {
            cluster.state(NAMESPACE, "metallb").await.2.contains(&part)
        })
        .await;
    }
    let waiting = cluster.resource().await.status.unwrap();
    assert_eq!(waiting.ready.as_deref(), Some("2/3"));
    assert_eq!(since(&waiting, "Degraded"), since(&before, "Degraded"));
    freeze(&cluster, json!({ "numberReady": 2 })).await;
    cluster.available().await;
    operator.stop().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_on_objects_is_told_and_its_end_is_noticed() {
    // OP-41
    let cluster = Cluster::start().await;
    let operator = cluster.operator();
    let refusal = "configmaps \"metallb-excludel2\" is forbidden: exceeded quota: few, requested: count/configmaps=1, \
                   used: count/configmaps=1, limited: count/configmaps=1";
    operator.between.refuse(move |call: &Call| {
        let refused = call.method == "PATCH" && call.path.ends_with("/configmaps/metallb-excludel2");
        refused.then_some((403, refusal))
    });
    cluster.create(json!({})).await;
    cluster.degraded("QuotaExceeded", "exceeded quota: few").await;
    operator.between.mend();
    cluster.available().await;
    operator.stop().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kind_that_vanishes_is_told_and_used_again_when_it_is_back() {
    // OP-29 OP-44
    let cluster = Cluster::start().await;
    let serve = async || {
        let group = "monitoring.coreos.com";
        cluster
            .serve(group, "v1", "ServiceMonitor", "servicemonitors", "Namespaced")
            .await
    };
    let monitors = serve().await;
    let settings = super::environment(&[("DEPLOY_SERVICEMONITORS", "true")]);
    let operator = cluster.operator_with("operator-1", false, settings, None);
    cluster.create(json!({})).await;
    let deployed = || async {
        monitors
            .list(&Default::default())
            .await
            .is_ok_and(|list| list.items.len() == 2)
    };
    wait_for("the monitors", deployed).await;
    cluster.available().await;

    let crds: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
    let name = "servicemonitors.monitoring.coreos.com";
    crds.delete(name, &DeleteParams::default()).await.unwrap();
    let told = "the cluster does not serve that kind";
    wait_for_long("the status to say so", || async {
        let (type_, _, message) = cluster.state(NAMESPACE, "metallb").await;
        type_ == "Available" && message.contains(told)
    })
    .await;
    serve().await;
    wait_for_long("the monitors to be back", deployed).await;
    wait_for("the status to follow", || async {
        let (type_, _, message) = cluster.state(NAMESPACE, "metallb").await;
        type_ == "Available" && !message.contains(told)
    })
    .await;
    operator.stop().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_definition_that_is_removed_takes_metallb_with_it_and_may_come_back() {
    // OP-43 OP-44
    let cluster = Cluster::start().await;
    let operator = cluster.operator();
    cluster.create(json!({})).await;
    cluster.available().await;
    let crds: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
    crds.delete("metallbs.metallb.io", &DeleteParams::default())
        .await
        .unwrap();
    wait_for("the speakers to go", || async {
        cluster.ours::<DaemonSet>().get_opt("speaker").await.unwrap().is_none()
    })
    .await;
    wait_for("the definition to go", || async {
        crds.get_opt("metallbs.metallb.io").await.unwrap().is_none()
    })
    .await;
    let definitions = metallb_crdgen::crds();
    let definition = definitions.iter().find(|crd| crd.name_any() == "metallbs.metallb.io");
    crds.create(&PostParams::default(), definition.unwrap()).await.unwrap();
    wait_for("the kind to be served", || async {
        cluster.ours::<MetalLB>().list(&Default::default()).await.is_ok()
    })
    .await;
    cluster.create(json!({})).await;
    // Nobody asks every second for what is not there.
    wait_for_long("the speakers to be back", || async {
        cluster.ours::<DaemonSet>().get_opt("speaker").await.unwrap().is_some()
    })
    .await;
    cluster.available().await;
    operator.stop().await;
    cluster.end().await;
}
