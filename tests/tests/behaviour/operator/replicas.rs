//! Several operators, and those who look after operators.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{ApiResource, DeleteParams, DynamicObject, PostParams};
use kube::core::GroupVersionKind;
use serde_json::json;

use super::faults::freeze;
use super::{Cluster, Operator, environment, wait_for};

const LEASE: &str = "metallb.io.metallboperator";

/// The OperatorCondition of this operator.
const CONDITION: &str = "metallb-operator.v1";

impl Cluster {
    async fn leader(&self) -> String {
        let lease = self.ours::<Lease>().get_opt(LEASE).await.unwrap();
        lease.and_then(|lease| lease.spec?.holder_identity).unwrap_or_default()
    }

    /// An operator that leads, in the middle of its first pass: what it writes is on its way.
    async fn writing(&self) -> Operator {
        let operator = self.operator_with("operator-1", true, environment(&[]), None);
        operator.between.hold_up(super::Call::is_write);
        self.create(json!({})).await;
        wait_for("a write", || async { !operator.between.writes().is_empty() }).await;
        operator
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_replicas_writes_and_the_other_takes_over() {
    // OP-48
    let cluster = Cluster::start().await;
    let first = cluster.operator_with("operator-1", true, environment(&[]), None);
    wait_for("a leader", || async { cluster.leader().await == "operator-1" }).await;
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

#[tokio::test(start_paused = true)]
async fn a_leader_that_lost_the_lease_applies_nothing_more() {
    // OP-48
    let cluster = Cluster::start().await;
    let operator = cluster.writing().await;
    operator
        .between
        .refuse(|call| call.path.contains("/leases").then_some((500, "no lease")));
    tokio::time::sleep(Duration::from_secs(20)).await;
    let before = operator.between.writes();
    // What it wanted to write is let through, and so is what it goes on with.
    operator.between.let_go();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(operator.between.writes(), before);
    operator.stop().await;
    cluster.end().await;
}

#[tokio::test(start_paused = true)]
async fn the_lease_is_given_up_after_the_last_write() {
    // OP-48
    for in_time in [true, false] {
        let cluster = Cluster::start().await;
        let operator = cluster.writing().await;
        let between = operator.between.clone();
        let stopping = tokio::spawn(operator.stop());
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(cluster.leader().await, "operator-1", "it writes still");
        if in_time {
            between.let_go();
        }
        stopping.await.unwrap();
        let left = if in_time { "" } else { "operator-1" };
        assert_eq!(cluster.leader().await, left);
        cluster.end().await;
    }
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

/// The condition of the operator, as the Lifecycle Manager makes it: with nothing in it.
async fn operator_condition(cluster: &Cluster) -> Api<DynamicObject> {
    let (group, kind) = ("operators.coreos.com", "OperatorCondition");
    cluster
        .serve(group, "v2", kind, "operatorconditions", "Namespaced")
        .await;
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v2", kind));
    let api = cluster.of(&kind);
    let empty = DynamicObject::new(CONDITION, &kind);
    wait_for("the kind to be served", || async {
        api.create(&PostParams::default(), &empty).await.is_ok()
    })
    .await;
    api
}

/// Waits until the Lifecycle Manager is told so, and why.
async fn upgradeable(conditions: &Api<DynamicObject>, status: &str, reason: &str, part: &str) {
    wait_for(&format!("Upgradeable to be {status}"), || async {
        let found = conditions.get(CONDITION).await.unwrap();
        let told = &found.data["spec"]["conditions"];
        let said = told[0]["message"].as_str().unwrap_or_default();
        let right = told[0]["type"] == "Upgradeable" && told[0]["status"] == status && told[0]["reason"] == reason;
        told.as_array().is_some_and(|all| all.len() == 1) && right && said.contains(part)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lifecycle_manager_is_told_when_an_upgrade_is_welcome() {
    let cluster = Cluster::start().await;
    let conditions = operator_condition(&cluster).await;
    let operator = cluster.operator_with("operator-1", false, environment(&[]), Some(CONDITION.to_owned()));
    cluster.create(json!({})).await;
    upgradeable(&conditions, "True", "Upgradeable", "").await;
    freeze(&cluster, json!({ "numberReady": 1 })).await;
    upgradeable(&conditions, "False", "Progressing", "1 of 2 pods are ready").await;
    freeze(&cluster, json!({ "numberReady": 2 })).await;
    upgradeable(&conditions, "True", "Upgradeable", "").await;
    // What is wrong for good may be what the next version mends.
    cluster.change(json!({ "bgpBackend": "foo" })).await;
    cluster.degraded("InvalidSpec", "foo").await;
    upgradeable(&conditions, "True", "Upgradeable", "").await;
    operator.stop().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lifecycle_manager_that_is_gone_keeps_nothing_from_working() {
    let cluster = Cluster::start().await;
    let operator = cluster.operator_with("operator-1", false, environment(&[]), Some(CONDITION.to_owned()));
    cluster.create(json!({})).await;
    wait_for("the operator to try", || async {
        let calls = operator.between.calls();
        calls
            .iter()
            .any(|call| call.method == "PATCH" && call.path.ends_with(CONDITION))
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
