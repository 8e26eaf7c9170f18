//! From the resource to a running MetalLB, and the state after it.

use std::time::{Duration, Instant};

use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Patch, PatchParams};
use metallb_api::MetalLB;
use serde_json::json;

use super::{Cluster, FINALIZER, NAMESPACE, wait_for};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_minimal_resource_becomes_a_running_metallb_and_its_story_is_told() {
    // OP-12 OP-23 OP-39
    let cluster = Cluster::start().await;
    let operator = cluster.operator();
    // The first sight of the cluster is not what is measured.
    wait_for("a look at the cluster", || async {
        operator.between.calls().len() > 20
    })
    .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let begin = Instant::now();
    cluster.create(json!({})).await;
    let wanted = cluster.wanted().await;
    let last = wanted.last().unwrap();
    wait_for("the last object", || cluster.exists(last)).await;
    println!(
        "MetalLB resource created → all {} objects applied: {:?}",
        wanted.len(),
        begin.elapsed()
    );
    cluster.available().await;
    println!("MetalLB resource created → Available: {:?}", begin.elapsed());

    let resource = cluster.resource().await;
    let status = resource.status.unwrap();
    let types: Vec<_> = status.conditions.iter().map(|it| it.type_.as_str()).collect();
    assert_eq!(types, ["Available", "Upgradeable", "Progressing", "Degraded"]);
    assert_eq!(status.bgp_backend.as_deref(), Some("native"));
    assert_eq!(status.version.as_deref(), Some(env!("CARGO_PKG_VERSION")));
    assert_eq!(status.ready.as_deref(), Some("3/3"));
    assert!(
        status
            .components
            .iter()
            .any(|it| it.name == "speaker" && it.ready == 2 && it.desired == 2)
    );
    assert_eq!(resource.metadata.finalizers.unwrap(), [FINALIZER]);

    for (reason, part) in [
        ("Deploying", "with back-end native"),
        ("Created", "DaemonSet/speaker"),
        ("Available", ""),
    ] {
        cluster.told(NAMESPACE, reason, part).await;
    }
    operator.stop().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_settled_operator_writes_nothing_and_neither_does_its_successor() {
    // OP-37 OP-46
    let cluster = Cluster::start().await;
    let operator = cluster.operator();
    cluster.create(json!({})).await;
    cluster.available().await;
    // Whatever is under way comes to an end.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (revisions, writes) = (cluster.revisions().await, operator.between.writes());
    let status = cluster.resource().await.status;
    // Something changes that is none of its business.
    let note = Patch::Merge(json!({ "metadata": { "annotations": { "note": "x" } } }));
    let api = cluster.ours::<MetalLB>();
    api.patch("metallb", &PatchParams::default(), &note).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(operator.between.writes(), writes);
    assert_eq!(cluster.revisions().await, revisions);
    operator.stop().await;

    let operator = cluster.operator();
    wait_for("the finalizer", || async {
        cluster.resource().await.metadata.finalizers.is_some()
    })
    .await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    // Taking the finalizer is all: nothing is applied to see whether it changes anything, not even as a rehearsal.
    let calls = operator.between.calls();
    let asked: Vec<_> = calls.iter().filter(|call| call.is_about_deployment()).collect();
    assert!(
        matches!(asked[..], [call] if call.path.ends_with("/metallbs/metallb")),
        "{asked:?}"
    );
    assert_eq!(cluster.revisions().await, revisions);
    assert_eq!(cluster.resource().await.status, status);
    operator.stop().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_listed_or_watched_without_a_selector() {
    // Whatever else is in the cluster costs no memory: 10,000 foreign ConfigMaps are never sent.
    let cluster = Cluster::start().await;
    let operator = cluster.operator();
    cluster.create(json!({})).await;
    cluster.available().await;
    let calls = operator.between.calls();
    let last = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    // Lists end with the plural of a kind. The MetalLB resource is asked for in all namespaces on purpose.
    let kinds = [
        "configmaps",
        "secrets",
        "services",
        "deployments",
        "daemonsets",
        "pods",
        "events",
        "serviceaccounts",
    ];
    let lists = calls
        .iter()
        .filter(|call| call.method == "GET" && kinds.contains(&last(&call.path).as_str()));
    let lists: Vec<_> = lists.collect();
    assert!(lists.len() >= kinds.len() - 2, "{lists:?}");
    for call in lists {
        assert!(call.query.contains("Selector="), "{call:?}");
    }
    operator.stop().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resource_of_another_name_or_place_has_no_effect_and_says_so() {
    // OP-9 OP-10
    let cluster = Cluster::start().await;
    let operator = cluster.operator();
    cluster.create_named(NAMESPACE, "other", json!({})).await;
    cluster.create_named("elsewhere", "metallb", json!({})).await;
    for (namespace, name) in [(NAMESPACE, "other"), ("elsewhere", "metallb")] {
        wait_for("Degraded", || async {
            let (type_, reason, message) = cluster.state(namespace, name).await;
            type_ == "Degraded"
                && reason == "IncorrectMetalLBResourceName"
                && message.contains("metallb-system/metallb")
        })
        .await;
        cluster
            .told(namespace, "IncorrectMetalLBResourceName", "metallb-system/metallb")
            .await;
    }
    assert!(
        !operator
            .between
            .writes()
            .iter()
            .any(|write| write.contains("/daemonsets/"))
    );

    cluster.create(json!({})).await;
    cluster.available().await;
    let revisions = cluster.revisions().await;
    let other = cluster.ours::<MetalLB>();
    other.delete("other", &Default::default()).await.unwrap();
    wait_for("the deletion", || async {
        other.get_opt("other").await.unwrap().is_none()
    })
    .await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(cluster.revisions().await, revisions);
    operator.stop().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_of_the_resource_reach_the_pods_and_leave_them() {
    // OP-15 OP-16 OP-20
    let cluster = Cluster::start().await;
    let operator = cluster.operator();
    cluster
        .create(
            json!({ "nodeSelector": { "rack": "a" }, "speakerTolerations": [{ "key": "x", "operator": "Exists" }] }),
        )
        .await;
    cluster.available().await;
    let speaker = || async {
        let set = cluster
            .ours::<k8s_openapi::api::apps::v1::DaemonSet>()
            .get("speaker")
            .await
            .unwrap();
        set.spec.unwrap().template.spec.unwrap()
    };
    let pod = speaker().await;
    let selector = pod.node_selector.unwrap();
    assert_eq!(
        (selector["kubernetes.io/os"].as_str(), selector["rack"].as_str()),
        ("linux", "a")
    );
    assert_eq!(pod.tolerations.unwrap().last().unwrap().key.as_deref(), Some("x"));
    cluster
        .change(json!({ "nodeSelector": null, "speakerTolerations": null }))
        .await;
    wait_for("the selector to go", || async {
        let pod = speaker().await;
        pod.node_selector.unwrap().len() == 1 && pod.tolerations.unwrap().len() == 2
    })
    .await;
    cluster.told(NAMESPACE, "Updated", "DaemonSet/speaker").await;
    operator.stop().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_environment_switches_off_goes_and_comes_back() {
    // OP-30
    let cluster = Cluster::start().await;
    cluster.create(json!({})).await;
    let policies = cluster.ours::<NetworkPolicy>();
    for (disabled, wanted) in [("false", true), ("true", false), ("", true)] {
        let settings = super::environment(&[("DISABLE_NETWORK_POLICIES", disabled)]);
        let operator = cluster.operator_with("operator-1", false, settings, None);
        wait_for("the policy to follow", || async {
            policies.get_opt("controller").await.unwrap().is_some() == wanted
        })
        .await;
        cluster.available().await;
        operator.stop().await;
    }
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_without_its_definition_asks_for_nothing_else_and_begins_when_it_comes() {
    let cluster = Cluster::start().await;
    let operator = cluster.operator_before(|call| {
        let missing = call.path.starts_with("/apis/metallb.io/v1beta1/metallbs");
        missing.then_some((404, "404 page not found"))
    });
    wait_for("a second look", || async { operator.between.calls().len() > 1 }).await;
    for call in operator.between.calls() {
        assert_eq!(
            (call.method.as_str(), call.path.as_str()),
            ("GET", "/apis/metallb.io/v1beta1/metallbs")
        );
    }
    operator.between.mend();
    cluster.create(json!({})).await;
    cluster.available().await;
    operator.stop().await;
    cluster.end().await;
}
