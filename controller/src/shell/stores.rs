//! What is watched.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::bail;
use futures::StreamExt;
use futures::stream::{BoxStream, SelectAll};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Namespace, Node, ObjectReference, Service};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Client, Resource};
use metallb_api::{AddressPool, BGPAdvertisement, BGPPeer, Community, IPAddressPool, L2Advertisement};
use metallb_config::Resources;
use metallb_ipam::Key;
use metallb_runtime::CancellationToken;
use metallb_runtime::admin::Health;
use metallb_runtime::tasks::Spawner;
use metallb_runtime::watch::{Change, Config, watch, watch_optional, watch_pruned};
use tokio::sync::mpsc::UnboundedReceiver;

use super::{Shared, behind, nodes};

/// What `/readyz` names while it is not complete.
pub(super) const SERVICES: &str = "Services";
const NAMESPACES: &str = "Namespaces";
const POOLS: &str = "IPAddressPools";
const LEGACY_POOLS: &str = "AddressPools";
const COMMUNITIES: &str = "Communities";
/// The kinds that configuration is made of.
pub(super) const CONFIGURATION: [&str; 4] = [NAMESPACES, POOLS, LEGACY_POOLS, COMMUNITIES];
const NODES: &str = "Nodes";
const L2_ADVERTISEMENTS: &str = "L2Advertisements";
const BGP_ADVERTISEMENTS: &str = "BGPAdvertisements";
const PEERS: &str = "BGPPeers";
/// The kinds that tell who may announce. Without the right to read them, that is not known, and nothing is said about it.
pub(super) const ANNOUNCEMENTS: [&str; 4] = [NODES, L2_ADVERTISEMENTS, BGP_ADVERTISEMENTS, PEERS];
pub(super) const KINDS: [&str; 5] = [SERVICES, NAMESPACES, POOLS, LEGACY_POOLS, COMMUNITIES];

/// Current objects.
pub(super) struct Stores {
    namespace: String,
    pub(super) services: Store<Service>,
    pub(super) pools: Store<IPAddressPool>,
    namespaces: Store<Namespace>,
    address_pools: Store<AddressPool>,
    communities: Store<Community>,
    nodes: Store<Node>,
    l2_advertisements: Store<L2Advertisement>,
    bgp_advertisements: Store<BGPAdvertisement>,
    peers: Store<BGPPeer>,
}

/// Something about the configuration.
pub(super) enum Touched {
    /// The first list of the kind is complete.
    Ready(&'static str),
    /// Some object changed.
    Changed,
}

/// What has changed.
pub(super) struct Changes {
    pub(super) services: UnboundedReceiver<Change<Service>>,
    pub(super) configuration: SelectAll<BoxStream<'static, Touched>>,
}

impl Stores {
    pub(super) fn watch(client: &Client, namespace: &str, tasks: &Spawner) -> (Self, Changes) {
        let all = Config::default;
        let services = watch(Api::<Service>::all(client.clone()), all(), tasks);
        let namespaces = watch_pruned(Api::<Namespace>::all(client.clone()), all(), prune, tasks);
        let pools = watch(own::<IPAddressPool>(client, namespace), all(), tasks);
        let address_pools = watch_optional(own::<AddressPool>(client, namespace), all(), tasks);
        let communities = watch_optional(own::<Community>(client, namespace), all(), tasks);
        let nodes = watch_pruned(Api::<Node>::all(client.clone()), all(), nodes::prune, tasks);
        let l2_advertisements = watch(own::<L2Advertisement>(client, namespace), all(), tasks);
        let bgp_advertisements = watch(own::<BGPAdvertisement>(client, namespace), all(), tasks);
        let peers = watch(own::<BGPPeer>(client, namespace), all(), tasks);
        let configuration = [
            nodes::touched(nodes.changes, NODES),
            touched(l2_advertisements.changes, L2_ADVERTISEMENTS),
            touched(bgp_advertisements.changes, BGP_ADVERTISEMENTS),
            touched(peers.changes, PEERS),
            touched(namespaces.changes, NAMESPACES),
            touched(pools.changes, POOLS),
            touched(address_pools.changes, LEGACY_POOLS),
            touched(communities.changes, COMMUNITIES),
        ];
        let stores = Self {
            namespace: namespace.to_owned(),
            services: services.store,
            pools: pools.store,
            namespaces: namespaces.store,
            address_pools: address_pools.store,
            communities: communities.store,
            nodes: nodes.store,
            l2_advertisements: l2_advertisements.store,
            bgp_advertisements: bgp_advertisements.store,
            peers: peers.store,
        };
        let changes = Changes {
            services: services.changes,
            configuration: configuration.into_iter().collect(),
        };
        (stores, changes)
    }

    /// Stores of which the test fills the pools.
    #[cfg(test)]
    pub(super) fn with_pools(namespace: &str, pools: Store<IPAddressPool>, address_pools: Store<AddressPool>) -> Self {
        use kube::runtime::reflector::store;
        Self {
            namespace: namespace.to_owned(),
            services: store().0,
            pools,
            namespaces: store().0,
            address_pools,
            communities: store().0,
            nodes: store().0,
            l2_advertisements: store().0,
            bgp_advertisements: store().0,
            peers: store().0,
        }
    }

    /// Waits until everything is known that was written before this call, as nothing else proves that the watches are
    /// not behind: a standby may have lost one without having noticed yet.
    pub(super) async fn catch_up(&self, client: &Client) {
        futures::join!(
            behind::catch_up(Api::all(client.clone()), &self.services),
            behind::catch_up(Api::all(client.clone()), &self.namespaces),
            self.catch_up_pools(client),
        );
    }

    /// Does so for pools of both kinds, which come by two watches: what is seen in one says nothing about the other.
    pub(super) async fn catch_up_pools(&self, client: &Client) {
        futures::join!(
            behind::catch_up(own(client, &self.namespace), &self.pools),
            behind::catch_up_optional(own(client, &self.namespace), &self.address_pools),
        );
    }

    pub(super) fn service(&self, key: &Key) -> Option<Arc<Service>> {
        self.services.get(&ObjectRef::new(key.name()).within(key.namespace()))
    }

    /// The objects that decide about pools, and, if they are `known`, those that tell who announces.
    pub(super) fn resources(&self, known: bool) -> Resources {
        let mut resources = Resources {
            namespace: self.namespace.clone(),
            pools: copied(&self.pools),
            address_pools: copied(&self.address_pools),
            communities: copied(&self.communities),
            namespaces: copied(&self.namespaces),
            ..Resources::default()
        };
        if known {
            resources.nodes = copied(&self.nodes);
            resources.l2_advertisements = copied(&self.l2_advertisements);
            resources.bgp_advertisements = copied(&self.bgp_advertisements);
            resources.peers = copied(&self.peers);
        }
        resources
    }

    /// What an event is about; none if the object is gone.
    pub(super) fn reference(&self, object: &metallb_config::ObjectRef) -> Option<ObjectReference> {
        let (namespace, name) = (self.namespace.as_str(), object.name.as_str());
        match object.kind.as_str() {
            "IPAddressPool" => reference(&self.pools, namespace, name),
            "AddressPool" => reference(&self.address_pools, namespace, name),
            "Community" => reference(&self.communities, namespace, name),
            "L2Advertisement" => reference(&self.l2_advertisements, namespace, name),
            "BGPAdvertisement" => reference(&self.bgp_advertisements, namespace, name),
            "BGPPeer" => reference(&self.peers, namespace, name),
            _ => None,
        }
    }
}

fn reference<K>(store: &Store<K>, namespace: &str, name: &str) -> Option<ObjectReference>
where
    K: Resource<DynamicType = ()> + Clone,
{
    let object = store.get(&ObjectRef::new(name).within(namespace))?;
    Some(object.object_ref(&()))
}

/// A kind in MetalLB's namespace.
fn own<K>(client: &Client, namespace: &str) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    Api::namespaced(client.clone(), namespace)
}

fn copied<K: Resource<DynamicType = ()> + Clone>(store: &Store<K>) -> Vec<K> {
    store.state().iter().map(|object| (**object).clone()).collect()
}

/// Of Namespaces only names and labels are read.
fn prune(namespace: &mut Namespace) {
    namespace.spec = None;
    namespace.status = None;
    namespace.metadata.annotations = None;
}

fn touched<K: Send + Sync + 'static>(
    changes: UnboundedReceiver<Change<K>>,
    kind: &'static str,
) -> BoxStream<'static, Touched> {
    let next = move |mut changes: UnboundedReceiver<Change<K>>| async move {
        let touched = match changes.recv().await? {
            Change::Ready => Touched::Ready(kind),
            Change::Applied(_) | Change::Deleted(_) => Touched::Changed,
        };
        Some((touched, changes))
    };
    futures::stream::unfold(changes, next).boxed()
}

/// Turns changed Services into keys. A standby needs none: at the start of its term all are due anyway.
pub(super) async fn feed(
    mut changes: UnboundedReceiver<Change<Service>>,
    shared: Arc<Shared>,
    health: Health,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    while let Some(change) = changes.recv().await {
        match change {
            Change::Ready => health.ready(SERVICES),
            Change::Applied(service) | Change::Deleted(service) => {
                if shared.assigning.load(Ordering::SeqCst) {
                    shared.queue.add(Key::of(&service));
                }
            }
        }
    }
    if stop.is_cancelled() {
        return Ok(());
    }
    bail!("the watch of Services ended")
}
