//! Several operators, and those who look after operators.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::DeleteParams;
use serde_json::json;

use super::{Cluster, environment, wait_for};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_replicas_writes_and_the_other_takes_over() {
    // OP-48
    let cluster = Cluster::start().await;
    let first = cluster.operator_with("operator-1", true, environment(&[]), None);
    let leases = cluster.ours::<Lease>();
    wait_for("a leader", || async {
        let lease = leases.get_opt("metallb.io.metallboperator").await.unwrap();
        lease.and_then(|lease| lease.spec?.holder_identity).as_deref() == Some("operator-1")
    })
    .await;
    let second = cluster.operator_with("operator-2", true, environment(&[]), None);
    cluster.create(json!({})).await;
    cluster.available().await;
    assert!(!first.between.writes().is_empty());
    assert_eq!(second.between.writes(), [""; 0]);
    first.stop().await;
    let maps = cluster.ours::<ConfigMap>();
    maps.delete("metallb-excludel2", &DeleteParams::default())
        .await
        .unwrap();
    wait_for("the ConfigMap to be back", || async {
        maps.get_opt("metallb-excludel2").await.unwrap().is_some()
    })
    .await;
    assert!(!second.between.writes().is_empty());
    second.stop().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tls_settings_of_the_webhook_server_are_kept() {
    // OP-53
    let cluster = Cluster::start().await;
    let settings = environment(&[("TLS_MIN_VERSION", "VersionTLS12"), ("TLS_CURVE_PREFERENCES", "29")]);
    let operator = cluster.operator_with("operator-1", false, settings, None);
    let maps = cluster.ours::<ConfigMap>();
    let right = || async {
        let data = maps
            .get_opt("metallb-tls-config")
            .await
            .unwrap()
            .and_then(|map| map.data)
            .unwrap_or_default();
        let value = |name: &str| data.get(name).cloned();
        data.len() == 3
            && value("TLS_MIN_VERSION").as_deref() == Some("VersionTLS12")
            && value("TLS_CURVE_PREFERENCES").as_deref() == Some("29")
            && value("TLS_CIPHER_SUITES").as_deref() == Some("")
    };
    wait_for("the settings", right).await;
    maps.delete("metallb-tls-config", &DeleteParams::default())
        .await
        .unwrap();
    wait_for("the settings to be back", right).await;
    operator.stop().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lifecycle_manager_is_told_when_an_upgrade_is_welcome() {
    let cluster = Cluster::start().await;
    let condition = Some("metallb-operator.v1".to_owned());
    let operator = cluster.operator_with("operator-1", false, environment(&[]), condition);
    cluster.create(json!({})).await;
    let path = "/operatorconditions/metallb-operator.v1";
    // The kind is not there, and that keeps nothing from working.
    wait_for("the condition", || async {
        operator.between.calls().iter().any(|call| call.path.ends_with(path))
    })
    .await;
    cluster.available().await;
    operator.stop().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_can_be_stopped_at_any_moment_of_its_start() {
    let cluster = Cluster::start().await;
    cluster.create(json!({})).await;
    for millis in 0..40 {
        for elect in [false, true] {
            let operator = cluster.operator_with("operator-1", elect, environment(&[]), None);
            tokio::time::sleep(Duration::from_millis(millis)).await;
            operator.stop().await;
        }
    }
    cluster.end().await;
}
