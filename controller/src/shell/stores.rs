//! What is watched.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::bail;
use futures::StreamExt;
use futures::stream::{BoxStream, SelectAll};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Namespace, Service};
use kube::api::ListParams;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Client, Resource};
use metallb_api::{AddressPool, Community, IPAddressPool};
use metallb_config::Resources;
use metallb_ipam::Key;
use metallb_runtime::CancellationToken;
use metallb_runtime::admin::Health;
use metallb_runtime::watch::{Change, Config, watch, watch_pruned};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::UnboundedReceiver;
use tracing::warn;

use super::{Shared, behind};
use crate::view;

/// What `/readyz` names while it is not complete.
pub(super) const SERVICES: &str = "Services";
const NAMESPACES: &str = "Namespaces";
const POOLS: &str = "IPAddressPools";
const LEGACY_POOLS: &str = "AddressPools";
const COMMUNITIES: &str = "Communities";
/// The kinds that configuration is made of.
pub(super) const CONFIGURATION: [&str; 4] = [NAMESPACES, POOLS, LEGACY_POOLS, COMMUNITIES];
pub(super) const KINDS: [&str; 5] = [SERVICES, NAMESPACES, POOLS, LEGACY_POOLS, COMMUNITIES];

/// Current objects.
pub(super) struct Stores {
    namespace: String,
    pub(super) services: Store<Service>,
    pub(super) pools: Store<IPAddressPool>,
    namespaces: Store<Namespace>,
    address_pools: Option<Store<AddressPool>>,
    communities: Option<Store<Community>>,
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
    pub(super) async fn watch(client: &Client, namespace: &str, stop: &CancellationToken) -> (Self, Changes) {
        let all = Config::default;
        let services = watch(Api::<Service>::all(client.clone()), all(), stop.clone());
        let namespaces = watch_pruned(Api::<Namespace>::all(client.clone()), all(), prune, stop.clone());
        let pools = watch(
            Api::<IPAddressPool>::namespaced(client.clone(), namespace),
            all(),
            stop.clone(),
        );
        let mut configuration = SelectAll::new();
        configuration.push(touched(namespaces.changes, NAMESPACES));
        configuration.push(touched(pools.changes, POOLS));
        let (address_pools, communities) = futures::join!(
            optional::<AddressPool>(client, namespace, stop),
            optional::<Community>(client, namespace, stop),
        );
        let address_pools = follow(address_pools, LEGACY_POOLS, &mut configuration);
        let communities = follow(communities, COMMUNITIES, &mut configuration);
        let stores = Self {
            namespace: namespace.to_owned(),
            services: services.store,
            pools: pools.store,
            namespaces: namespaces.store,
            address_pools,
            communities,
        };
        let changes = Changes {
            services: services.changes,
            configuration,
        };
        (stores, changes)
    }

    /// Waits until everything is known that was written before this call, as nothing else proves that the watches are
    /// not behind: a standby may have lost one without having noticed yet.
    pub(super) async fn catch_up(&self, client: &Client) {
        futures::join!(
            behind::catch_up(Api::all(client.clone()), &self.services),
            behind::catch_up(Api::namespaced(client.clone(), &self.namespace), &self.pools),
            behind::catch_up(Api::all(client.clone()), &self.namespaces),
        );
        if let Some(store) = &self.address_pools {
            behind::catch_up(Api::namespaced(client.clone(), &self.namespace), store).await;
        }
    }

    pub(super) fn service(&self, key: &Key) -> Option<Arc<Service>> {
        self.services.get(&ObjectRef::new(key.name()).within(key.namespace()))
    }

    /// The objects that decide about pools.
    pub(super) fn resources(&self) -> Resources {
        Resources {
            namespace: self.namespace.clone(),
            pools: copied(Some(&self.pools)),
            address_pools: copied(self.address_pools.as_ref()),
            communities: copied(self.communities.as_ref()),
            namespaces: copied(Some(&self.namespaces)),
            ..Resources::default()
        }
    }
}

fn copied<K: Resource<DynamicType = ()> + Clone>(store: Option<&Store<K>>) -> Vec<K> {
    let objects = store.map(Store::state).unwrap_or_default();
    objects.iter().map(|object| (**object).clone()).collect()
}

/// Of Namespaces only names and labels are read.
fn prune(namespace: &mut Namespace) {
    namespace.spec = None;
    namespace.status = None;
    namespace.metadata.annotations = None;
}

type Watched<K> = metallb_runtime::watch::Watched<K>;

/// Watches a kind that an installation may lack; pools work without it.
async fn optional<K>(client: &Client, namespace: &str, stop: &CancellationToken) -> Option<Watched<K>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let api = Api::<K>::namespaced(client.clone(), namespace);
    match api.list_metadata(&ListParams::default().limit(1)).await {
        Err(kube::Error::Api(status)) if status.code == 404 => {
            warn!(event = "kindMissing", kind = %K::kind(&()), "the kind is not installed and will be ignored until the next start");
            None
        }
        _ => Some(watch(api, Config::default(), stop.clone())),
    }
}

fn follow<K>(
    watched: Option<Watched<K>>,
    kind: &'static str,
    all: &mut SelectAll<BoxStream<'static, Touched>>,
) -> Option<Store<K>>
where
    K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
{
    match watched {
        Some(watched) => {
            all.push(touched(watched.changes, kind));
            Some(watched.store)
        }
        None => {
            all.push(futures::stream::iter([Touched::Ready(kind)]).boxed());
            None
        }
    }
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
                    shared.queue.add(view::key(&service));
                }
            }
        }
    }
    if stop.is_cancelled() {
        return Ok(());
    }
    bail!("the watch of Services ended")
}
