//! Services that no node may announce, and what is in use otherwise than written, under a clock that jumps.

use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use metallb_api::{BGPAdvertisement, BGPPeer, ConfigurationResult, ConfigurationState, L2Advertisement, names};
use serde_json::{Value, json};

use super::line::{Call, Fate, Line, wait_for};
use super::{Cluster, create};

const EXCLUDE: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

impl Cluster {
    async fn node(&self, name: &str) {
        create(&self.nodes(), json!({ "metadata": { "name": name } })).await;
    }

    fn nodes(&self) -> Api<Node> {
        Api::all(self.client.clone())
    }

    async fn patch_node(&self, name: &str, patch: Value) {
        let patch = Patch::Merge(patch);
        self.nodes().patch(name, &PatchParams::default(), &patch).await.unwrap();
    }

    /// Sets the exclude label of all nodes, or takes it away.
    async fn exclude(&self, nodes: &[&str], label: Value) {
        for name in nodes {
            let labels = json!({ "metadata": { "labels": { EXCLUDE: label } } });
            self.patch_node(name, labels).await;
        }
    }

    async fn advertise(&self, name: &str, spec: Value) {
        let object = json!({ "metadata": { "name": name }, "spec": spec });
        create(&self.ours::<L2Advertisement>(), object).await;
    }

    /// Why no node may announce a Service, as its condition says it.
    async fn barred(&self, name: &str) -> Option<String> {
        let status = self.services().get(name).await.unwrap().status.unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        let own = conditions
            .into_iter()
            .find(|c| c.type_ == names::CONDITION_ANNOUNCEABLE)?;
        assert_eq!(own.status, "False");
        Some(own.reason)
    }

    /// The events of a reason: about what, and how often each was repeated.
    async fn events_of(&self, reason: &str) -> Vec<(String, i32)> {
        let events: Api<Event> = Api::all(self.client.clone());
        let events = events.list(&ListParams::default()).await.unwrap().items;
        let events = events
            .into_iter()
            .filter(|event| event.reason.as_deref() == Some(reason));
        let about = |event: &Event| event.regarding.clone().unwrap_or_default().name.unwrap_or_default();
        let mut told: Vec<(String, i32)> = events
            .map(|event| (about(&event), event.series.as_ref().map_or(1, |series| series.count)))
            .collect();
        told.sort();
        told
    }
}

#[tokio::test(start_paused = true)]
async fn services_say_so_while_all_nodes_are_excluded() {
    let cluster = Cluster::with_pool("192.0.2.0/28").await;
    cluster.node("n1").await;
    cluster.node("n2").await;
    cluster.advertise("all", json!({})).await;
    let line = Line::to(&cluster);
    let controller = line.controller("controller-1");
    cluster.services_named(&["a", "b"]).await;
    wait_for(|| async { cluster.assigned().await == 2 }).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    // For the addresses, and because nobody announces them.
    assert_eq!((cluster.barred("a").await, line.writes()), (None, 4));

    // One of two is not enough.
    cluster.exclude(&["n1"], json!("")).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(line.writes(), 4);
    cluster.exclude(&["n2"], json!("")).await;
    for name in ["a", "b"] {
        wait_for(|| async { cluster.barred(name).await.as_deref() == Some("NodesExcluded") }).await;
        assert_eq!(cluster.reason(name).await, "Allocated");
    }
    let once = vec![("a".to_owned(), 1), ("b".to_owned(), 1)];
    wait_for(|| async { cluster.events_of("NodesExcluded").await == once }).await;
    assert_eq!(line.writes(), 6);

    // Neither heartbeats nor a restart nor time write or say anything.
    let before = cluster.versions().await;
    for beat in 0..10 {
        let beat = format!("{beat}");
        cluster
            .patch_node("n1", json!({ "metadata": { "annotations": { "beat": beat } } }))
            .await;
    }
    controller.stop().await;
    let line = Line::to(&cluster);
    let controller = line.controller("controller-2");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!((cluster.versions().await, line.writes()), (before, 0));
    assert_eq!(cluster.events_of("NodesExcluded").await, once);

    cluster.exclude(&["n1"], Value::Null).await;
    for name in ["a", "b"] {
        wait_for(|| async { cluster.barred(name).await.is_none() }).await;
        assert_eq!(cluster.reason(name).await, "Allocated");
    }
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(line.writes(), 2);
    controller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn services_say_what_of_the_configuration_keeps_nodes_from_announcing_them() {
    let cluster = Cluster::with_pool("192.0.2.0/28").await;
    cluster.node("n1").await;
    let controller = Line::to(&cluster).controller("controller-1");
    cluster.service("a").await;
    let says = async |reason: &str| {
        wait_for(|| async { cluster.barred("a").await.as_deref() == Some(reason) }).await;
    };
    says("NoAdvertisement").await;
    cluster
        .advertise(
            "selective",
            json!({ "serviceSelectors": [{ "matchLabels": { "tier": "db" } }] }),
        )
        .await;
    says("ServiceNotSelected").await;
    let nowhere = json!({ "nodeSelectors": [{ "matchLabels": { "rack": "b" } }] });
    cluster.advertise("nowhere", nowhere).await;
    says("NoMatchingNode").await;
    let routes = json!({ "metadata": { "name": "routes" }, "spec": {} });
    create(&cluster.ours::<BGPAdvertisement>(), routes).await;
    says("NoPeer").await;
    let peer =
        json!({ "metadata": { "name": "tor" }, "spec": { "myASN": 1, "peerASN": 2, "peerAddress": "10.0.0.1" } });
    create(&cluster.ours::<BGPPeer>(), peer).await;
    wait_for(|| async { cluster.barred("a").await.is_none() }).await;
    for reason in ["NoAdvertisement", "ServiceNotSelected", "NoMatchingNode", "NoPeer"] {
        wait_for(|| async { cluster.events_of(reason).await == [("a".to_owned(), 1)] }).await;
    }
    controller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_in_use_otherwise_than_written_is_named_by_the_state_and_one_event() {
    let cluster = Cluster::with_pool("192.0.2.0/28").await;
    cluster.node("n1").await;
    let routes = json!({ "metadata": { "name": "routes" }, "spec": { "peers": ["tor"] } });
    create(&cluster.ours::<BGPAdvertisement>(), routes).await;
    let controller = Line::to(&cluster).controller("controller-1");
    let states = cluster.ours::<ConfigurationState>();
    let message = || async {
        let status = states.get_opt("controller").await.unwrap()?.status?;
        assert_eq!(status.error_summary, "");
        let valid = status.result == Some(ConfigurationResult::Valid);
        Some(status.conditions.into_iter().next().filter(|_| valid)?.message)
    };
    let expected = "BGPAdvertisement routes: spec.peers[0]: there is no BGPPeer \"tor\"";
    wait_for(|| async { message().await.as_deref() == Some(expected) }).await;
    let once = vec![("routes".to_owned(), 1)];
    wait_for(|| async { cluster.events_of("ConfigDoubtful").await == once }).await;
    controller.stop().await;

    let controller = Line::to(&cluster).controller("controller-2");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(cluster.events_of("ConfigDoubtful").await, once);
    assert_eq!(message().await.as_deref(), Some(expected));
    let peer =
        json!({ "metadata": { "name": "tor" }, "spec": { "myASN": 1, "peerASN": 2, "peerAddress": "10.0.0.1" } });
    create(&cluster.ours::<BGPPeer>(), peer).await;
    wait_for(|| async { message().await.as_deref() == Some("") }).await;
    controller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_told_of_a_condition_that_cannot_be_written() {
    let cluster = Cluster::with_pool("192.0.2.0/28").await;
    cluster.node("n1").await;
    let line = Line::to(&cluster);
    let controller = line.controller("controller-1");
    cluster.service("a").await;
    cluster.gets("a", "192.0.2.0").await;
    line.set(|call| {
        if call.is_write() {
            Fate::Refused(500)
        } else {
            Fate::Good
        }
    });
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(
        (cluster.barred("a").await, cluster.events_of("NoAdvertisement").await),
        (None, Vec::new())
    );
    line.mend();
    let once = vec![("a".to_owned(), 1)];
    wait_for(|| async { cluster.events_of("NoAdvertisement").await == once }).await;
    assert_eq!(cluster.barred("a").await.as_deref(), Some("NoAdvertisement"));
    controller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn without_the_right_to_watch_nodes_addresses_are_assigned_and_nothing_is_claimed() {
    let cluster = Cluster::with_pool("192.0.2.0/28").await;
    cluster.node("n1").await;
    let line = Line::to(&cluster);
    let is_of_nodes = |call: &Call| call.path == "/api/v1/nodes";
    line.set(move |call| {
        if is_of_nodes(call) {
            Fate::Refused(403)
        } else {
            Fate::Good
        }
    });
    let controller = line.controller("controller-1");
    cluster.service("a").await;
    cluster.gets("a", "192.0.2.0").await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!((cluster.barred("a").await, line.writes()), (None, 2));
    controller.stop().await;
}
