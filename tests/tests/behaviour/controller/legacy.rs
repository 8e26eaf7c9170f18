//! AddressPools, the kind that upstream served until 0.13.

use futures::StreamExt;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use metallb_api::{AddressPool, ConfigurationState, IPAddressPool, names};
use serde_json::{Value, json};

use super::line::{Fate, Line, wait_for as wait_long};
use super::{Cluster, addresses, create, wait_for};

const CRD: &str = "addresspools.metallb.io";

impl Cluster {
    async fn legacy(&self, name: &str, spec: Value) {
        let pools = self.ours::<AddressPool>();
        create(&pools, json!({ "metadata": { "name": name }, "spec": spec })).await;
    }

    /// A pool of one of the two kinds; of some nobody gets an address without asking for it.
    async fn any_pool(&self, legacy: bool, name: &str, range: &str, auto: bool) {
        let mut spec = json!({ "addresses": [range], "autoAssign": auto });
        if legacy {
            spec["protocol"] = "layer2".into();
            self.legacy(name, spec).await;
        } else {
            create(
                &self.ours::<IPAddressPool>(),
                json!({ "metadata": { "name": name }, "spec": spec }),
            )
            .await;
        }
    }

    /// A Service that wants its address of this pool.
    async fn asking(&self, name: &str, pool: &str) {
        let metadata = json!({ "name": name, "annotations": { "metallb.io/address-pool": pool } });
        let spec = json!({ "type": "LoadBalancer", "ports": [{ "port": 80 }], "selector": { "app": name } });
        create(&self.services(), json!({ "metadata": metadata, "spec": spec })).await;
    }

    async fn delete_pool(&self, legacy: bool, name: &str) {
        let gone = DeleteParams::default();
        match legacy {
            true => drop(self.ours::<AddressPool>().delete(name, &gone).await.unwrap()),
            false => drop(self.ours::<IPAddressPool>().delete(name, &gone).await.unwrap()),
        }
    }

    /// Follows a Service until its address is of this pool, and returns what addresses it had, version by version.
    fn history(&self, service: &str, pool: &'static str) -> tokio::task::JoinHandle<Vec<String>> {
        let only = watcher::Config::default().fields(&format!("metadata.name={service}"));
        let seen = watcher(self.services(), only)
            .default_backoff()
            .applied_objects()
            .boxed();
        tokio::spawn(async move {
            let mut versions = seen.filter_map(|seen| std::future::ready(seen.ok()));
            let mut all = Vec::new();
            while let Some(service) = versions.next().await {
                let arrived = mark(&service) == Some(pool);
                all.push(addresses(service).join(","));
                if arrived {
                    break;
                }
            }
            all
        })
    }

    async fn pool_of(&self, service: &str) -> Option<String> {
        let service = self.services().get(service).await.unwrap();
        mark(&service).map(str::to_owned)
    }
}

/// The pool that a Service says it has its address of.
fn mark(service: &Service) -> Option<&str> {
    let pool = service.annotations().get(names::ANNOTATION_IP_ALLOCATED_FROM_POOL);
    pool.map(String::as_str)
}

fn layer2(range: &str) -> Value {
    json!({ "protocol": "layer2", "addresses": [range] })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_legacy_pool_gives_addresses_by_the_rules_of_the_new_kind() {
    // CTL-2 CTL-64 CTL-103
    let cluster = Cluster::start().await;
    let plain = json!({ "protocol": "layer2", "addresses": ["192.0.2.0/30"], "avoidBuggyIPs": true });
    cluster.legacy("plain", plain).await;
    let asked = json!({ "protocol": "bgp", "addresses": ["198.51.100.7/32"], "autoAssign": false });
    cluster.legacy("asked", asked).await;
    let controller = cluster.controller("controller-1");
    for (name, ip) in [("a", "192.0.2.1"), ("b", "192.0.2.2"), ("c", "192.0.2.3")] {
        cluster.service(name).await;
        cluster.gets(name, ip).await;
        assert_eq!(cluster.pool_of(name).await.as_deref(), Some("plain"));
    }
    cluster.service("d").await;
    wait_for(|| async { cluster.reason("d").await == "NoAvailableAddresses" }).await;
    let ask = Patch::Merge(json!({ "metadata": { "annotations": { "metallb.io/address-pool": "asked" } } }));
    let services = cluster.services();
    services.patch("d", &PatchParams::default(), &ask).await.unwrap();
    cluster.gets("d", "198.51.100.7").await;
    assert_eq!(cluster.pool_of("d").await.as_deref(), Some("asked"));
    controller.stop().await;
    cluster.api.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn legacy_pools_of_both_versions_are_served_and_a_bad_one_is_reported() {
    // CTL-50
    let cluster = Cluster::start().await;
    let oldest = ApiResource::from_gvk(&GroupVersionKind::gvk("metallb.io", "v1alpha1", "AddressPool"));
    let oldest: Api<DynamicObject> = Api::namespaced_with(cluster.client.clone(), super::NAMESPACE, &oldest);
    create_as(&oldest, "oldest", layer2("192.0.2.0/31")).await;
    let bad =
        json!({ "protocol": "layer2", "addresses": ["198.51.100.0/31"], "bgpAdvertisements": [{ "localPref": 1 }] });
    cluster.legacy("bad", bad).await;
    let controller = cluster.controller("controller-1");
    cluster.service("a").await;
    cluster.gets("a", "192.0.2.0").await;
    let states = cluster.ours::<ConfigurationState>();
    let reported = || async {
        let state = states.get_opt("controller").await.unwrap();
        let summary = state.and_then(|state| state.status).unwrap_or_default().error_summary;
        summary.contains("bgpAdvertisements are only valid with protocol bgp")
    };
    wait_for(reported).await;
    controller.stop().await;
    cluster.api.shutdown().await;
}

async fn create_as(api: &Api<DynamicObject>, name: &str, spec: Value) {
    let object = json!({ "apiVersion": "metallb.io/v1alpha1", "kind": "AddressPool",
        "metadata": { "name": name }, "spec": spec });
    create(api, object).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_replaces_a_legacy_pool_by_a_new_one_moves_no_address() {
    // CTL-39
    let cluster = Cluster::start().await;
    cluster.legacy("old", layer2("192.0.2.0/30")).await;
    let controller = cluster.controller("controller-1");
    for (name, ip) in [("a", "192.0.2.0"), ("b", "192.0.2.1")] {
        cluster.service(name).await;
        cluster.gets(name, ip).await;
    }
    cluster.services().delete("a", &DeleteParams::default()).await.unwrap();
    controller.stop().await;
    let gone = DeleteParams::default();
    cluster.ours::<AddressPool>().delete("old", &gone).await.unwrap();
    cluster.pool("new", "192.0.2.0/30").await;
    let controller = cluster.controller("controller-1");
    wait_for(|| async { cluster.pool_of("b").await.as_deref() == Some("new") }).await;
    assert_eq!(cluster.ip("b").await, "192.0.2.1");
    // And back, without a restart: of two pools with the same addresses the older one counts.
    cluster.legacy("again", layer2("192.0.2.0/30")).await;
    cluster.ours::<IPAddressPool>().delete("new", &gone).await.unwrap();
    wait_for(|| async { cluster.pool_of("b").await.as_deref() == Some("again") }).await;
    assert_eq!(cluster.ip("b").await, "192.0.2.1");
    controller.stop().await;
    cluster.api.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_is_gone_before_its_successor_is_seen_moves_no_address() {
    // CTL-39
    for legacy in [false, true] {
        let cluster = Cluster::start().await;
        cluster.any_pool(legacy, "old", "192.0.2.0/30", true).await;
        let line = Line::to(&cluster);
        // The other kind is listed, and then its watch is silent.
        let late = if legacy { "/ipaddresspools" } else { "/addresspools" };
        line.set(move |call| match call.watch && call.path.ends_with(late) {
            true => Fate::Stuck,
            false => Fate::Good,
        });
        let controller = line.controller("controller-1");
        for name in ["leaves", "stays"] {
            cluster.service(name).await;
            wait_long(|| async { !cluster.ip(name).await.is_empty() }).await;
        }
        cluster
            .services()
            .delete("leaves", &DeleteParams::default())
            .await
            .unwrap();
        let seen = cluster.history("stays", "new");
        cluster.any_pool(!legacy, "new", "192.0.2.0/30", true).await;
        cluster.delete_pool(legacy, "old").await;
        // Whoever knows of this pool knows that the old one is gone.
        cluster.any_pool(legacy, "other", "198.51.100.0/32", false).await;
        cluster.asking("other", "other").await;
        wait_long(|| async { cluster.ip("other").await == "198.51.100.0" }).await;
        line.mend();
        let seen = seen.await.unwrap();
        assert!(seen.iter().all(|ip| ip == "192.0.2.1"), "{seen:?}");
        controller.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_legacy_kind_may_be_installed_after_the_controller_has_started() {
    let cluster = Cluster::start().await;
    let crds: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
    let mut crd = crds.get(CRD).await.unwrap();
    crds.delete(CRD, &DeleteParams::default()).await.unwrap();
    cluster.pool("p", "192.0.2.0/32").await;
    let controller = Line::to(&cluster).controller("controller-1");
    cluster.service("a").await;
    cluster.service("b").await;
    wait_long(|| async { cluster.ip("a").await == "192.0.2.0" }).await;
    crd.metadata.resource_version = None;
    crd.metadata.uid = None;
    crds.create(&kube::api::PostParams::default(), &crd).await.unwrap();
    cluster.legacy("old", layer2("198.51.100.0/32")).await;
    wait_long(|| async { cluster.ip("b").await == "198.51.100.0" }).await;
    controller.stop().await;
}
