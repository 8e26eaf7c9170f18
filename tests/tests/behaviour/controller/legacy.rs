//! AddressPools, the kind that upstream served until 0.13.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::{Api, ResourceExt};
use metallb_api::{AddressPool, ConfigurationState, IPAddressPool, names};
use serde_json::{Value, json};

use super::line::{Line, wait_for as wait_long};
use super::{Cluster, create, wait_for};

const CRD: &str = "addresspools.metallb.io";

impl Cluster {
    async fn legacy(&self, name: &str, spec: Value) {
        let pools = self.ours::<AddressPool>();
        create(&pools, json!({ "metadata": { "name": name }, "spec": spec })).await;
    }

    async fn pool_of(&self, service: &str) -> Option<String> {
        let service = self.services().get(service).await.unwrap();
        let pool = service.annotations().get(names::ANNOTATION_IP_ALLOCATED_FROM_POOL);
        pool.cloned()
    }
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
