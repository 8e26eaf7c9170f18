//! What speakers have handed to an frr-k8s is withdrawn, and nothing that another installation or a user wrote.

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::Api;
use kube::api::{ApiResource, DeleteParams, DynamicObject, PostParams};
use kube::core::GroupVersionKind;
use metallb_api::MetalLB;
use serde_json::{Value, json};

use super::{Cluster, FINALIZER, NAMESPACE, labels, wait_for};

const GROUP: &str = "frrk8s.metallb.io";
const NAME: &str = "metallb-node-a";

/// The namespaces of three frr-k8s: the one that our speakers write to, the one they wrote to before, and one of others.
const ROUTERS: &str = "routers";
const BEFORE: &str = "before";
const THEIRS: &str = "theirs";

fn of(cluster: &Cluster, namespace: &str) -> Api<DynamicObject> {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk(GROUP, "v1beta1", "FRRConfiguration"));
    Api::namespaced_with(cluster.client.clone(), namespace, &kind)
}

async fn is_there(cluster: &Cluster, namespace: &str) -> bool {
    of(cluster, namespace).get_opt(NAME).await.unwrap().is_some()
}

/// What the speaker of node-a writes to a namespace.
async fn write(cluster: &Cluster, namespace: &str) {
    let object = json!({ "apiVersion": format!("{GROUP}/v1beta1"), "kind": "FRRConfiguration", "metadata": { "name": NAME },
        "spec": { "nodeSelector": { "matchLabels": { "kubernetes.io/hostname": "node-a" } } } });
    let object: DynamicObject = serde_json::from_value(object).unwrap();
    wait_for("the kind to be served", || async {
        let params = PostParams::default();
        of(cluster, namespace).create(&params, &object).await.is_ok()
    })
    .await;
}

async fn cluster() -> Cluster {
    let cluster = Cluster::start().await;
    cluster
        .serve(GROUP, "v1beta1", "FRRConfiguration", "frrconfigurations", "Namespaced")
        .await;
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    for name in [ROUTERS, BEFORE, THEIRS] {
        let namespace = serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap();
        namespaces.create(&PostParams::default(), &namespace).await.unwrap();
        write(&cluster, name).await;
    }
    cluster
}

fn external(namespace: &str) -> Value {
    json!({ "bgpBackend": "frr-k8s-external", "frrk8sConfig": { "namespace": namespace } })
}

async fn withdrawn(cluster: &Cluster, namespace: &str) {
    wait_for(&format!("the end of {namespace}/{NAME}"), || async {
        !is_there(cluster, namespace).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_withdraws_what_our_speakers_wrote_and_leaves_what_others_did() {
    // OP-24 OP-43
    let cluster = cluster().await;
    let operator = cluster.operator();
    cluster.create(external(ROUTERS)).await;
    cluster.available().await;
    // Whoever ends it need not be who began it.
    operator.stop().await;
    let operator = cluster.operator();
    wait_for("the next operator to serve the resource", || async {
        let held = cluster.resource().await.metadata.finalizers;
        held.is_some_and(|held| held.iter().any(|it| it == FINALIZER))
    })
    .await;
    let resources = cluster.ours::<MetalLB>();
    resources.delete("metallb", &DeleteParams::background()).await.unwrap();
    wait_for("the end", || async {
        resources.get_opt("metallb").await.unwrap().is_none()
    })
    .await;
    withdrawn(&cluster, ROUTERS).await;
    assert!(is_there(&cluster, THEIRS).await, "another installation's");
    cluster.told(NAMESPACE, "NotWithdrawn", "theirs/metallb-node-a").await;
    operator.stop().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_namespace_of_frr_k8s_leaves_nothing_in_the_old_one() {
    // OP-24
    let cluster = cluster().await;
    let operator = cluster.operator();
    cluster.create(external(BEFORE)).await;
    cluster.available().await;
    operator.stop().await;
    cluster.change(external(ROUTERS)).await;
    let operator = cluster.operator();
    withdrawn(&cluster, BEFORE).await;
    cluster.available().await;
    assert!(is_there(&cluster, ROUTERS).await, "the speakers write it");
    assert!(is_there(&cluster, THEIRS).await, "another installation's");

    cluster.change(json!({ "bgpBackend": "native" })).await;
    withdrawn(&cluster, ROUTERS).await;
    cluster.available().await;
    assert!(is_there(&cluster, THEIRS).await, "another installation's");
    wait_for("nothing to be remembered", || async {
        cluster.resource().await.status.unwrap().frrk8s_namespaces.is_empty()
    })
    .await;
    operator.stop().await;
    cluster.end().await;
}

/// Upstream's speakers, as upstream's operator deploys them.
async fn upstreams_speakers(cluster: &Cluster) {
    let container = json!({ "name": "speaker", "image": "x", "args": ["--port=9120", "--frrk8s-namespace=before"],
        "env": [{ "name": "METALLB_BGP_TYPE", "value": "frr-k8s" }] });
    let set = json!({ "metadata": { "name": "speaker", "labels": { "app.kubernetes.io/managed-by": "Helm" } },
        "spec": { "selector": { "matchLabels": labels("speaker") },
            "template": { "metadata": { "labels": labels("speaker") }, "spec": { "containers": [container] } } } });
    let sets = cluster.ours::<DaemonSet>();
    sets.create(&PostParams::default(), &serde_json::from_value(set).unwrap())
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_upstreams_speakers_handed_over_is_withdrawn_once_ours_have_taken_over() {
    // OP-24 OP-47
    let cluster = cluster().await;
    upstreams_speakers(&cluster).await;
    cluster.create(json!({ "bgpBackend": "native" })).await;
    let operator = cluster.operator();
    withdrawn(&cluster, BEFORE).await;
    cluster.available().await;
    for others in [ROUTERS, THEIRS] {
        assert!(is_there(&cluster, others).await, "another installation's");
    }
    operator.stop().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_upstreams_speakers_wrote_is_known_to_the_next_operator_too() {
    // OP-24 OP-47
    let cluster = cluster().await;
    upstreams_speakers(&cluster).await;
    let container = json!({ "name": "speaker", "image": "x", "args": ["--frrk8s-namespace=before"],
        "env": [{ "name": "METALLB_BGP_TYPE", "value": "frr-k8s" }] });
    let pod = json!({ "metadata": { "name": "speaker-1", "labels": labels("speaker") },
        "spec": { "nodeName": "node-a", "containers": [container] } });
    let pods = cluster.ours::<Pod>();
    pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap())
        .await
        .unwrap();
    cluster.create(json!({ "bgpBackend": "native" })).await;
    let operator = cluster.operator();
    wait_for("the speakers to be ours", || async {
        let set = cluster.ours::<DaemonSet>().get("speaker").await.unwrap();
        set.metadata.owner_references.is_some()
    })
    .await;
    operator.stop().await;
    assert!(is_there(&cluster, BEFORE).await, "its speaker still runs");
    assert_eq!(cluster.resource().await.status.unwrap().frrk8s_namespaces, [BEFORE]);

    // Neither the set nor a pod of it tells the next operator where they wrote.
    pods.delete("speaker-1", &DeleteParams::default().grace_period(0))
        .await
        .unwrap();
    let operator = cluster.operator();
    withdrawn(&cluster, BEFORE).await;
    for others in [ROUTERS, THEIRS] {
        assert!(is_there(&cluster, others).await, "another installation's");
    }
    operator.stop().await;
    cluster.end().await;
}
