//! What OpenShift says of itself is followed while running.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::{Cluster, NAMESPACE, environment, wait_for};

/// Turns the cluster into an OpenShift, as far as the operator can tell.
async fn openshift(cluster: &Cluster) -> Platform {
    cluster
        .serve("route.openshift.io", "v1", "Route", "routes", "Namespaced")
        .await;
    let constraints = ("SecurityContextConstraints", "securitycontextconstraints");
    let config = "config.openshift.io";
    Platform {
        constraints: cluster
            .serve("security.openshift.io", "v1", constraints.0, constraints.1, "Cluster")
            .await,
        api_servers: cluster.serve(config, "v1", "APIServer", "apiservers", "Cluster").await,
        operators: cluster
            .serve(config, "v1", "ClusterOperator", "clusteroperators", "Cluster")
            .await,
        networks: cluster
            .serve("operator.openshift.io", "v1", "Network", "networks", "Cluster")
            .await,
    }
}

struct Platform {
    constraints: Api<DynamicObject>,
    api_servers: Api<DynamicObject>,
    operators: Api<DynamicObject>,
    networks: Api<DynamicObject>,
}

async fn create(api: &Api<DynamicObject>, object: Value) {
    let object: DynamicObject = serde_json::from_value(object).unwrap();
    wait_for("the kind to be served", || async {
        api.create(&PostParams::default(), &object).await.is_ok()
    })
    .await;
}

async fn change(api: &Api<DynamicObject>, name: &str, change: Value) {
    api.patch(name, &PatchParams::default(), &Patch::Merge(change))
        .await
        .unwrap();
}

fn network_operator(version: &str) -> Value {
    json!({ "apiVersion": "config.openshift.io/v1", "kind": "ClusterOperator", "metadata": { "name": "network" },
        "status": { "versions": [{ "name": "operator", "version": version }] } })
}

fn profile(profile: &Value) -> Value {
    json!({ "apiVersion": "config.openshift.io/v1", "kind": "APIServer", "metadata": { "name": "cluster" },
        "spec": { "tlsSecurityProfile": profile } })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_network_operator_is_waited_for_and_a_newer_one_is_asked_once() {
    // OP-57
    let cluster = Cluster::start().await;
    let platform = openshift(&cluster).await;
    create(&platform.operators, network_operator("4.16.7")).await;
    let network = json!({ "apiVersion": "operator.openshift.io/v1", "kind": "Network", "metadata": { "name": "cluster" },
        "spec": { "additionalRoutingCapabilities": { "providers": [] } } });
    create(&platform.networks, network).await;
    let settings = environment(&[
        ("DEPLOY_FRRK8S_FROM_CNO", "true"),
        ("CNO_MIN_FRRK8S_VERSION", "4.17.0-0"),
        ("FRRK8S_EXTERNAL_NAMESPACE", "openshift-frr-k8s"),
    ]);
    let operator = cluster.operator_with("operator-1", false, settings, None);
    cluster.create(json!({})).await;
    wait_for("the waiting to be told", || async {
        let (type_, _, message) = cluster.state(NAMESPACE, "metallb").await;
        type_ == "Progressing" && message.contains("version 4.16.7, frr-k8s takes 4.17.0-0 or newer")
    })
    .await;
    assert!(cluster.ours::<DaemonSet>().get_opt("speaker").await.unwrap().is_none());
    let providers = || async {
        let network = platform.networks.get("cluster").await.unwrap();
        network.data["spec"]["additionalRoutingCapabilities"]["providers"].clone()
    };
    assert_eq!(providers().await, json!([]));

    let nightly = "4.17.0-0.nightly-2026-01-02-030405";
    change(
        &platform.operators,
        "network",
        json!({ "status": network_operator(nightly)["status"] }),
    )
    .await;
    cluster.available().await;
    assert_eq!(providers().await, json!(["FRR"]));
    cluster
        .told(NAMESPACE, "RoutingRequested", "asked for an frr-k8s")
        .await;
    let status = cluster.resource().await.status.unwrap();
    // OP-23
    assert_eq!(status.bgp_backend.as_deref(), Some("frr-k8s-external"));

    // Another pass does not ask again, and nobody else's provider is lost.
    let both = json!({ "spec": { "additionalRoutingCapabilities": { "providers": ["FRR", "Other"] } } });
    change(&platform.networks, "cluster", both).await;
    cluster.change(json!({ "logLevel": "debug" })).await;
    cluster.available().await;
    assert_eq!(providers().await, json!(["FRR", "Other"]));
    let asked = |write: &&String| write.contains("/networks/");
    assert_eq!(operator.between.writes().iter().filter(asked).count(), 1);
    operator.stop().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_operator_that_is_not_there_is_told() {
    // OP-57
    let cluster = Cluster::start().await;
    openshift(&cluster).await;
    let settings = environment(&[
        ("DEPLOY_FRRK8S_FROM_CNO", "true"),
        ("CNO_MIN_FRRK8S_VERSION", "4.17.0-0"),
        ("FRRK8S_EXTERNAL_NAMESPACE", "openshift-frr-k8s"),
    ]);
    let operator = cluster.operator_with("operator-1", false, settings, None);
    cluster.create(json!({})).await;
    cluster
        .degraded("NetworkOperatorUnknown", "ClusterOperator/network does not exist")
        .await;
    // Whoever does not want that frr-k8s does not need the network operator.
    cluster.change(json!({ "bgpBackend": "native" })).await;
    cluster.available().await;
    operator.stop().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tls_profile_of_the_cluster_is_followed_without_a_restart() {
    // OP-53 OP-58
    let cluster = Cluster::start().await;
    let platform = openshift(&cluster).await;
    create(&platform.api_servers, profile(&json!({ "type": "Modern" }))).await;
    let settings = environment(&[("TLS_MIN_VERSION", "VersionTLS12")]);
    let operator = cluster.operator_with("operator-1", false, settings, None);
    cluster.create(json!({})).await;
    let serves = |version: &'static str, suites: &'static str| {
        let cluster = &cluster;
        async move {
            let map = cluster.ours::<ConfigMap>().get_opt("metallb-tls-config").await.unwrap();
            let data = map.and_then(|map| map.data).unwrap_or_default();
            let value = |name: &str| data.get(name).map_or("", String::as_str);
            let controller = cluster.ours::<Deployment>().get_opt("controller").await.unwrap();
            let speaker = cluster.ours::<DaemonSet>().get_opt("speaker").await.unwrap();
            let pods = format!("{}{}", json!(controller), json!(speaker));
            let flags = |flag: String| pods.matches(&flag).count();
            value("TLS_MIN_VERSION") == version
                && value("TLS_CIPHER_SUITES") == suites
                && flags(format!("\"--tls-min-version={version}\"")) == 2
                && flags(format!("\"--tls-cipher-suites={suites}\"")) == if suites.is_empty() { 0 } else { 2 }
        }
    };
    wait_for("the profile to have effect", || serves("VersionTLS13", "")).await;
    let custom = json!({ "type": "Custom",
        "custom": { "minTLSVersion": "VersionTLS12", "ciphers": ["ECDHE-RSA-AES128-GCM-SHA256", "AES128-SHA"] } });
    change(&platform.api_servers, "cluster", profile(&custom)).await;
    // OP-56
    let constraints = &platform.constraints;
    wait_for("the constraints of the speaker", || async {
        constraints.get_opt("metallb-speaker").await.unwrap().is_some()
    })
    .await;
    let set = cluster.ours::<DaemonSet>().get("speaker").await.unwrap();
    let annotations = set.spec.unwrap().template.metadata.unwrap().annotations.unwrap();
    assert_eq!(annotations["openshift.io/required-scc"], "metallb-speaker");
    wait_for("another profile to have effect", || {
        serves("VersionTLS12", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256")
    })
    .await;
    cluster.available().await;
    operator.stop().await;
    cluster.end().await;
}
