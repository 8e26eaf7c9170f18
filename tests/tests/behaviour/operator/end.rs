//! Announcements end before what makes them: deletion, and the switch between back-ends.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::Api;
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, PostParams, PropagationPolicy};
use kube::core::GroupVersionKind;
use metallb_api::MetalLB;
use serde_json::{Value, json};

use super::{Call, Cluster, FINALIZER, NAMESPACE, labels, wait_for};

async fn pod(cluster: &Cluster, name: &str, component: &str, env: Value) {
    let pod = json!({ "metadata": { "name": name, "labels": labels(component) },
        "spec": { "nodeName": "node-a", "containers": [{ "name": component, "image": "x", "env": env }] } });
    let pods = cluster.ours::<Pod>();
    pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap())
        .await
        .unwrap();
}

async fn end_pod(cluster: &Cluster, name: &str) {
    let now = DeleteParams::default().grace_period(0);
    cluster.ours::<Pod>().delete(name, &now).await.unwrap();
}

/// The kind of frr-k8s, and two objects of it in a namespace.
async fn frr_k8s(cluster: &Cluster, namespace: &str) -> Api<DynamicObject> {
    let group = "frrk8s.metallb.io";
    cluster
        .serve(group, "v1beta1", "FRRConfiguration", "frrconfigurations", "Namespaced")
        .await;
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1beta1", "FRRConfiguration"));
    let api = Api::namespaced_with(cluster.client.clone(), namespace, &kind);
    for (name, node) in [("metallb-node-a", "node-a"), ("metallb-of-a-user", "node-a")] {
        let object = json!({ "apiVersion": "frrk8s.metallb.io/v1beta1", "kind": "FRRConfiguration", "metadata": { "name": name },
            "spec": { "nodeSelector": { "matchLabels": { "kubernetes.io/hostname": node } } } });
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        wait_for("the kind to be served", || async {
            api.create(&PostParams::default(), &object).await.is_ok()
        })
        .await;
    }
    api
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_ends_the_speakers_then_the_controller_then_the_rest() {
    // OP-43
    let cluster = Cluster::start().await;
    let operator = cluster.operator();
    let configurations = frr_k8s(&cluster, "elsewhere").await;
    let external = json!({ "bgpBackend": "frr-k8s-external", "frrk8sConfig": { "namespace": "elsewhere" } });
    cluster.create(external).await;
    cluster.available().await;
    pod(&cluster, "speaker-1", "speaker", json!([])).await;
    pod(&cluster, "controller-1", "controller", json!([])).await;
    let (sets, deployments, maps) = (
        cluster.ours::<DaemonSet>(),
        cluster.ours::<Deployment>(),
        cluster.ours::<ConfigMap>(),
    );
    let resources = cluster.ours::<MetalLB>();
    resources.delete("metallb", &DeleteParams::background()).await.unwrap();
    wait_for("the speakers to go", || async {
        sets.get_opt("speaker").await.unwrap().is_none()
    })
    .await;
    cluster.told(NAMESPACE, "Withdrawing", "1 speakers").await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(
        deployments.get_opt("controller").await.unwrap().is_some(),
        "the controller did not wait"
    );
    assert!(resources.get_opt("metallb").await.unwrap().is_some());
    end_pod(&cluster, "speaker-1").await;
    wait_for("the controller to go", || async {
        deployments.get_opt("controller").await.unwrap().is_none()
    })
    .await;
    assert!(
        configurations.get_opt("metallb-node-a").await.unwrap().is_none(),
        "frr-k8s still announces"
    );
    assert!(
        maps.get_opt("metallb-excludel2").await.unwrap().is_some(),
        "the rest did not wait"
    );
    end_pod(&cluster, "controller-1").await;
    wait_for("the end", || async {
        resources.get_opt("metallb").await.unwrap().is_none()
    })
    .await;
    assert!(maps.get_opt("metallb-excludel2").await.unwrap().is_none());
    assert!(configurations.get_opt("metallb-node-a").await.unwrap().is_none());
    assert!(configurations.get_opt("metallb-of-a-user").await.unwrap().is_some());
    // And it can be created again.
    cluster.create(json!({})).await;
    cluster.available().await;
    operator.stop().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_ends_though_kinds_and_rights_are_missing() {
    // OP-44
    let cluster = Cluster::start().await;
    let operator = cluster.operator();
    cluster.create(json!({})).await;
    cluster.available().await;
    operator.between.refuse(|call: &Call| {
        let refused = call.path.ends_with("/pods") || call.path.ends_with("/frrconfigurations");
        refused.then_some((403, "is forbidden: User \"x\" cannot list resource"))
    });
    let resources = cluster.ours::<MetalLB>();
    resources.delete("metallb", &DeleteParams::background()).await.unwrap();
    wait_for("the end", || async {
        resources.get_opt("metallb").await.unwrap().is_none()
    })
    .await;
    operator.stop().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_never_waits_for_an_operator_that_is_gone() {
    // OP-44
    let cluster = Cluster::start().await;
    let operator = cluster.operator();
    cluster.create(json!({})).await;
    cluster.available().await;
    assert_eq!(cluster.resource().await.metadata.finalizers.unwrap(), [FINALIZER]);
    operator.stop().await;
    assert_eq!(
        cluster.resource().await.metadata.finalizers.unwrap_or_default(),
        [""; 0]
    );
    let resources = cluster.ours::<MetalLB>();
    resources.delete("metallb", &DeleteParams::background()).await.unwrap();
    assert!(resources.get_opt("metallb").await.unwrap().is_none());
    // What the garbage collector may not collect is for the next operator.
    let operator = cluster.operator();
    wait_for("nothing to be left", || async {
        cluster
            .ours::<DaemonSet>()
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .is_empty()
    })
    .await;
    operator.stop().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_deletion_orphans_goes_on_until_another_resource_takes_it_over() {
    // OP-43
    let cluster = Cluster::start().await;
    let operator = cluster.operator();
    cluster.create(json!({})).await;
    cluster.available().await;
    let (wanted, resources, sets) = (
        cluster.wanted().await,
        cluster.ours::<MetalLB>(),
        cluster.ours::<DaemonSet>(),
    );
    let before = sets.get("speaker").await.unwrap().metadata;
    let orphan = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Orphan),
        ..DeleteParams::default()
    };
    resources.delete("metallb", &orphan).await.unwrap();
    wait_for("the resource to go", || async {
        resources.get_opt("metallb").await.unwrap().is_none()
    })
    .await;
    cluster.told(NAMESPACE, "Orphaned", "goes on").await;
    operator.stop().await;

    // Nor does an operator that was not there at that time take anything away.
    let operator = cluster.operator();
    cluster.create_named(NAMESPACE, "other", json!({})).await;
    wait_for("a look at the cluster", || async {
        cluster.state(NAMESPACE, "other").await.0 == "Degraded"
    })
    .await;
    for object in &wanted {
        assert!(cluster.exists(object).await, "{object}");
    }
    let left = sets.get("speaker").await.unwrap().metadata;
    assert_eq!(left.uid, before.uid);
    assert_eq!(left.owner_references.unwrap_or_default(), []);

    cluster.create(json!({})).await;
    cluster.available().await;
    let adopted = sets.get("speaker").await.unwrap().metadata;
    let owner = cluster.resource().await.metadata.uid.unwrap();
    assert_eq!(adopted.uid, before.uid);
    assert_eq!(adopted.owner_references.unwrap()[0].uid, owner);
    assert_eq!(adopted.generation, before.generation, "its pods were restarted");
    operator.stop().await;
    cluster.end().await;
}

/// Everything that the operator wants, as it is in the cluster.
async fn deployed(cluster: &Cluster, wanted: &[metallb_manifests::Object]) -> Vec<DynamicObject> {
    let mut found = Vec::new();
    for object in wanted.iter().filter(|object| object.is_namespaced()) {
        let live = cluster.of(&object.api_resource()).get_opt(object.name()).await;
        found.extend(live.unwrap());
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_pass_writes_while_a_deletion_orphans_is_left_alone_too() {
    // OP-43
    let cluster = Cluster::start().await;
    let operator = cluster.operator();
    cluster.create(json!({})).await;
    cluster.available().await;
    let resources = cluster.ours::<MetalLB>();
    // A pass that would write both workloads is on its way while the owner is taken away from them.
    operator
        .between
        .hold_up(|call: &Call| call.is_write() && call.path.contains("/apis/apps/"));
    cluster.change(json!({ "logLevel": "debug" })).await;
    wait_for("the writes to be on their way", || async {
        let writes = operator.between.writes();
        ["deployments/controller", "daemonsets/speaker"]
            .iter()
            .all(|end| writes.iter().filter(|write| write.ends_with(end)).count() == 2)
    })
    .await;
    let orphan = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Orphan),
        ..DeleteParams::default()
    };
    resources.delete("metallb", &orphan).await.unwrap();
    wait_for("the garbage collector", || async {
        cluster.resource().await.metadata.finalizers.unwrap_or_default() == [FINALIZER]
    })
    .await;
    let wanted = cluster.wanted().await;
    operator.between.let_go();
    wait_for("the resource to go", || async {
        resources.get_opt("metallb").await.unwrap().is_none()
    })
    .await;
    // Time for the garbage collector to take what it would.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let left = deployed(&cluster, &wanted).await;
    assert_eq!(
        left.len(),
        wanted.iter().filter(|object| object.is_namespaced()).count()
    );
    for object in left {
        assert_eq!(
            object.metadata.owner_references.unwrap_or_default(),
            [],
            "{:?}",
            object.metadata.name
        );
    }
    operator.stop().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_switch_of_back_ends_leaves_nothing_of_the_old_one() {
    // OP-24 OP-45
    let cluster = Cluster::start().await;
    let configurations = frr_k8s(&cluster, NAMESPACE).await;
    let operator = cluster.operator();
    pod(
        &cluster,
        "speaker-1",
        "speaker",
        json!([{ "name": "METALLB_BGP_TYPE", "value": "frr-k8s" }]),
    )
    .await;
    let mut old: Vec<metallb_manifests::Object> = Vec::new();
    for backend in ["frr-k8s", "frr", "native", "frr-k8s-external", "frr-k8s", ""] {
        let spec = json!({ "bgpBackend": backend, "frrk8sConfig": { "namespace": "elsewhere" } });
        if old.is_empty() {
            cluster.create(spec).await;
        } else {
            cluster.change(spec).await;
        }
        let wanted = cluster.wanted().await;
        if backend == "frr" {
            // The speaker of the old kind still runs: what it hands over stays, and so does frr-k8s.
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(configurations.get_opt("metallb-node-a").await.unwrap().is_some());
            assert!(cluster.ours::<DaemonSet>().get_opt("frr-k8s").await.unwrap().is_some());
            end_pod(&cluster, "speaker-1").await;
        }
        // Accounts stay: the installation gave rights to them.
        let of_old = |object: &&metallb_manifests::Object| {
            let stays = object.api_resource().kind == "ServiceAccount";
            !stays && !wanted.iter().any(|it| it.to_string() == object.to_string())
        };
        for object in old.iter().filter(of_old) {
            wait_for(&format!("{object} to go on the way to {backend:?}"), || async {
                !cluster.exists(object).await
            })
            .await;
        }
        for object in &wanted {
            wait_for(&format!("{object}"), || cluster.exists(object)).await;
            // OP-45: the garbage collector would take cluster-scoped ones for orphans.
            let owners = object.metadata().owner_references.as_ref();
            assert!(object.is_namespaced() || owners.is_none(), "{object}");
        }
        if backend != "frr-k8s" {
            assert!(configurations.get_opt("metallb-node-a").await.unwrap().is_none());
        }
        cluster.available().await;
        old = wanted;
    }
    cluster
        .told(NAMESPACE, "BackendChanged", "frr-k8s is replaced with frr")
        .await;
    cluster.told(NAMESPACE, "Removed", "DaemonSet/frr-k8s").await;
    assert!(configurations.get_opt("metallb-of-a-user").await.unwrap().is_some());
    operator.stop().await;
    cluster.end().await;
}
