//! Services and who announces them, under a clock that jumps.

use std::time::Duration;

use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, Resource};
use metallb_api::{ServiceBGPStatus, ServiceL2Status, names};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::line::{Call, Fate, Line, wait_for};
use super::{Cluster, create};

/// Nobody can tell by now why something is still to be written.
const LONG: Duration = Duration::from_secs(60);
/// What lasts less is not said.
const SHORT: Duration = Duration::from_secs(5);

/// The statuses of speakers.
trait Told:
    Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
    + Clone
    + DeserializeOwned
    + Serialize
    + std::fmt::Debug
{
}
impl Told for ServiceL2Status {}
impl Told for ServiceBGPStatus {}

impl Cluster {
    /// A speaker says that it announces a Service.
    async fn tells<K: Told>(&self, node: &str, service: &str) {
        let api: Api<K> = self.ours();
        let name = format!("{node}-{service}");
        create(&api, json!({ "metadata": { "name": name } })).await;
        let status = json!({ "status": { "node": node, "serviceName": service, "serviceNamespace": "default" } });
        api.patch_status(&name, &PatchParams::default(), &Patch::Merge(status))
            .await
            .unwrap();
    }

    /// It says so no longer.
    async fn is_silent<K: Told>(&self, node: &str, service: &str) {
        let api: Api<K> = self.ours();
        api.delete(&format!("{node}-{service}"), &DeleteParams::default())
            .await
            .unwrap();
    }

    /// Status, reason and message of the condition.
    async fn announced(&self, name: &str) -> Option<(String, String, String)> {
        let status = self.services().get(name).await.unwrap().status.unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        let own = conditions
            .into_iter()
            .find(|own| own.type_ == names::CONDITION_ANNOUNCED)?;
        Some((own.status, own.reason, own.message))
    }

    async fn says(&self, name: &str, message: &str) {
        let wanted = Some(("True".to_owned(), "Announced".to_owned(), message.to_owned()));
        wait_for(|| async { self.announced(name).await == wanted }).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_says_who_announces_it_with_one_write_for_each_change() {
    let cluster = Cluster::with_pool("192.0.2.0/28").await;
    let line = Line::to(&cluster);
    let controller = line.controller("controller-1");
    cluster.service("a").await;
    cluster.gets("a", "192.0.2.0").await;
    // Two protocols and three nodes that begin at about the same time are one change.
    cluster.tells::<ServiceL2Status>("n1", "a").await;
    for node in ["n1", "n2", "n3"] {
        cluster.tells::<ServiceBGPStatus>(node, "a").await;
    }
    cluster.says("a", "by layer 2 from node \"n1\" and by BGP").await;
    tokio::time::sleep(LONG).await;
    assert_eq!(line.writes(), 2, "the address and the condition");

    // A node of BGP more or less changes nothing.
    cluster.is_silent::<ServiceBGPStatus>("n3", "a").await;
    tokio::time::sleep(LONG).await;
    assert_eq!(line.writes(), 2);

    // The address moves: for a moment nobody has it.
    cluster.is_silent::<ServiceL2Status>("n1", "a").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    cluster.tells::<ServiceL2Status>("n2", "a").await;
    cluster.says("a", "by layer 2 from node \"n2\" and by BGP").await;
    tokio::time::sleep(LONG).await;
    assert_eq!(line.writes(), 3);

    cluster.is_silent::<ServiceL2Status>("n2", "a").await;
    for node in ["n1", "n2"] {
        cluster.is_silent::<ServiceBGPStatus>(node, "a").await;
    }
    let not = || async {
        let (status, reason, _) = cluster.announced("a").await?;
        Some((status, reason))
    };
    let wanted = Some(("False".to_owned(), "NotAnnounced".to_owned()));
    wait_for(|| async { not().await == wanted }).await;
    tokio::time::sleep(LONG).await;
    assert_eq!(line.writes(), 4);
    controller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn speakers_that_restart_and_a_controller_that_does_write_nothing() {
    let cluster = Cluster::with_pool("192.0.2.0/28").await;
    let controller = Line::to(&cluster).controller("controller-1");
    let services = ["a", "b", "c"];
    cluster.services_named(&services).await;
    wait_for(|| async { cluster.assigned().await == 3 }).await;
    for name in ["a", "b"] {
        cluster.tells::<ServiceL2Status>("n1", name).await;
        cluster.says(name, "by layer 2 from node \"n1\"").await;
    }
    wait_for(|| async {
        cluster
            .announced("c")
            .await
            .is_some_and(|(status, ..)| status == "False")
    })
    .await;
    let before = cluster.versions().await;
    controller.stop().await;

    let line = Line::to(&cluster);
    let controller = line.controller("controller-2");
    tokio::time::sleep(LONG).await;
    assert_eq!((cluster.versions().await, line.writes()), (before.clone(), 0));

    // A speaker restarts, and another stands in for it meanwhile.
    for name in ["a", "b"] {
        cluster.is_silent::<ServiceL2Status>("n1", name).await;
        cluster.tells::<ServiceL2Status>("n2", name).await;
    }
    tokio::time::sleep(SHORT).await;
    for name in ["a", "b"] {
        cluster.is_silent::<ServiceL2Status>("n2", name).await;
        cluster.tells::<ServiceL2Status>("n1", name).await;
    }
    tokio::time::sleep(LONG).await;
    assert_eq!((cluster.versions().await, line.writes()), (before, 0));
    controller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_condition_goes_with_the_address() {
    let cluster = Cluster::with_pool("192.0.2.0/28").await;
    let line = Line::to(&cluster);
    let controller = line.controller("controller-1");
    cluster.service("a").await;
    cluster.gets("a", "192.0.2.0").await;
    cluster.tells::<ServiceL2Status>("n1", "a").await;
    cluster.says("a", "by layer 2 from node \"n1\"").await;
    let spec = json!({ "spec": { "type": "ClusterIP" } });
    let params = PatchParams::default();
    cluster
        .services()
        .patch("a", &params, &Patch::Merge(spec))
        .await
        .unwrap();
    wait_for(|| async { cluster.announced("a").await.is_none() }).await;
    tokio::time::sleep(LONG).await;
    assert_eq!(
        line.writes(),
        3,
        "all conditions go with the write that takes the address away"
    );
    controller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn without_the_right_to_watch_statuses_addresses_are_assigned_and_nothing_is_claimed() {
    let cluster = Cluster::with_pool("192.0.2.0/28").await;
    let line = Line::to(&cluster);
    line.set(|call: &Call| {
        if call.path.ends_with("/servicebgpstatuses") {
            Fate::Refused(403)
        } else {
            Fate::Good
        }
    });
    let controller = line.controller("controller-1");
    cluster.service("a").await;
    cluster.gets("a", "192.0.2.0").await;
    cluster.tells::<ServiceL2Status>("n1", "a").await;
    tokio::time::sleep(LONG).await;
    assert_eq!((cluster.announced("a").await, line.writes()), (None, 1));
    line.mend();
    cluster.says("a", "by layer 2 from node \"n1\"").await;
    controller.stop().await;
}
