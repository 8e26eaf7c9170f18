//! What the speaker watches, and how it becomes events of the engine.
//!
//! Every object is cut down to what is read before it is stored: most Services and EndpointSlices of a cluster have
//! nothing to do with load balancing, and every node holds all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;

use futures::stream::{BoxStream, SelectAll};
use futures::{FutureExt, StreamExt, stream};
use k8s_openapi::api::core::v1::{Node, Pod, Secret, Service, ServiceSpec, ServiceStatus};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::reflector::Store;
use kube::{Api, Client, Resource, ResourceExt};
use metallb_announce::{Endpoints, NodeView, ServiceView};
use metallb_api::{
    AddressPool, BFDProfile, BGPAdvertisement, BGPPeer, Community, IPAddressPool, L2Advertisement, names,
};
use metallb_config::Resources;
use metallb_runtime::CancellationToken;
use metallb_runtime::watch::{Change, Config, Watched, watch, watch_optional, watch_pruned};

use metallb_engine::{Event, ServiceFacts, ServiceKey, Slice};

/// Everything that must be listed before anything is announced; shown by `/readyz`.
pub(crate) const KINDS: [&str; 11] = [
    SERVICES,
    SLICES,
    NODES,
    "ipaddresspools",
    "addresspools",
    "l2advertisements",
    "bgpadvertisements",
    "bgppeers",
    "bfdprofiles",
    "communities",
    "secrets",
];
const SERVICES: &str = "services";
const SLICES: &str = "endpointslices";
const NODES: &str = "nodes";
const PODS: &str = "pods";

/// News that came in.
#[derive(Debug)]
enum Input {
    /// For the engine.
    Event(Event),
    /// Something that configuration is made of changed.
    Configuration,
    /// A speaker Pod changed.
    Pods,
    /// A kind was listed for the first time.
    Ready(&'static str),
}

/// What one round of news amounts to.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// For the engine.
    pub(crate) events: Vec<Event>,
    /// The other speakers, complete, if they may have changed.
    pub(crate) peers: Option<BTreeMap<String, SocketAddr>>,
    /// Kinds that were listed for the first time.
    pub(crate) ready: Vec<&'static str>,
}

/// Rounds are cut here, so that the data plane hears of the first of many changes soon.
const ROUND: usize = 4096;

/// All watches.
pub(crate) struct Inputs {
    news: SelectAll<BoxStream<'static, Input>>,
    stores: Stores,
    waiting: BTreeSet<&'static str>,
    members: Option<Members>,
    configuration: bool,
}

struct Members {
    pods: Store<Pod>,
    node: String,
    port: u16,
    listed: bool,
}

struct Stores {
    namespace: String,
    pools: Store<IPAddressPool>,
    address_pools: Store<AddressPool>,
    l2_advertisements: Store<L2Advertisement>,
    bgp_advertisements: Store<BGPAdvertisement>,
    peers: Store<BGPPeer>,
    bfd_profiles: Store<BFDProfile>,
    communities: Store<Community>,
    secrets: Store<Secret>,
    nodes: Store<Node>,
}

/// Which Pods are the other speakers.
#[derive(Clone, Debug)]
pub(crate) struct Speakers {
    /// Label selector.
    pub(crate) labels: String,
    /// Name of this node, whose speaker is not another one.
    pub(crate) node: String,
    /// Where all speakers listen.
    pub(crate) port: u16,
}

impl Inputs {
    /// Starts all watches. `speakers` is `None` without membership.
    #[must_use]
    pub(crate) fn start(
        client: &Client,
        namespace: &str,
        speakers: Option<Speakers>,
        stop: &CancellationToken,
    ) -> Self {
        let mut news = SelectAll::new();
        let everywhere = (client, stop);
        let services = everywhere_pruned(everywhere, prune_service);
        news.push(stream(services, SERVICES, service_event));
        let slices = everywhere_pruned(everywhere, prune_slice);
        news.push(stream(slices, SLICES, slice_event));
        let nodes = everywhere_pruned(everywhere, prune_node);
        let node_store = nodes.store.clone();
        news.push(stream(nodes, NODES, node_events()));
        let own = Own {
            client,
            namespace,
            stop,
        };
        let stores = Stores {
            namespace: namespace.to_owned(),
            pools: own.configuration("ipaddresspools", &mut news),
            address_pools: own.legacy("addresspools", &mut news),
            l2_advertisements: own.configuration("l2advertisements", &mut news),
            bgp_advertisements: own.configuration("bgpadvertisements", &mut news),
            peers: own.configuration("bgppeers", &mut news),
            bfd_profiles: own.configuration("bfdprofiles", &mut news),
            communities: own.configuration("communities", &mut news),
            secrets: own.passwords(&mut news),
            nodes: node_store,
        };
        let members = speakers.map(|speakers| own.members(speakers, &mut news));
        Self {
            news,
            stores,
            waiting: KINDS.into(),
            members,
            configuration: false,
        }
    }

    /// Waits for news, and takes along what else has arrived. `None` after the stop signal. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<News> {
        let first = self.news.next().await?;
        let mut news = News::default();
        self.take(first, &mut news);
        for _ in 1..ROUND {
            let Some(Some(input)) = self.news.next().now_or_never() else {
                break;
            };
            self.take(input, &mut news);
        }
        if self.configuration && self.is_listed(&KINDS[2..]) {
            self.configuration = false;
            news.events.push(Event::Resources(Box::new(self.stores.resources())));
        }
        Some(news)
    }

    fn is_listed(&self, kinds: &[&str]) -> bool {
        kinds.iter().all(|kind| !self.waiting.contains(kind))
    }

    fn take(&mut self, input: Input, news: &mut News) {
        match input {
            Input::Event(event) => news.events.push(event),
            Input::Configuration => self.configuration = true,
            Input::Pods => news.peers = self.members.as_ref().and_then(Members::peers),
            Input::Ready(PODS) => {
                if let Some(members) = &mut self.members {
                    members.listed = true;
                    news.peers = members.peers();
                }
            }
            Input::Ready(kind) => {
                self.waiting.remove(kind);
                self.configuration = true;
                news.ready.push(kind);
                if self.is_listed(&[SERVICES, SLICES, NODES]) && [SERVICES, SLICES, NODES].contains(&kind) {
                    news.events.push(Event::Listed);
                }
            }
        }
    }
}

/// MetalLB's namespace, seen through a client.
struct Own<'a> {
    client: &'a Client,
    namespace: &'a str,
    stop: &'a CancellationToken,
}

impl Own<'_> {
    fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), self.namespace)
    }

    fn configuration<K>(&self, kind: &'static str, news: &mut SelectAll<BoxStream<'static, Input>>) -> Store<K>
    where
        K: Kind + Resource<Scope = kube::core::NamespaceResourceScope>,
    {
        let watched = watch(self.api::<K>(), Config::default(), self.stop.clone());
        Self::follow(watched, kind, news)
    }

    /// A kind that newer installs of upstream do not have.
    fn legacy<K>(&self, kind: &'static str, news: &mut SelectAll<BoxStream<'static, Input>>) -> Store<K>
    where
        K: Kind + Resource<Scope = kube::core::NamespaceResourceScope>,
    {
        let watched = watch_optional(self.api::<K>(), Config::default(), self.stop.clone());
        Self::follow(watched, kind, news)
    }

    fn passwords(&self, news: &mut SelectAll<BoxStream<'static, Input>>) -> Store<Secret> {
        let watched = watch_pruned(self.api(), Config::default(), prune_secret, self.stop.clone());
        Self::follow(watched, "secrets", news)
    }

    fn follow<K: Kind>(
        watched: Watched<K>,
        kind: &'static str,
        news: &mut SelectAll<BoxStream<'static, Input>>,
    ) -> Store<K> {
        let store = watched.store.clone();
        news.push(stream(watched, kind, |_| vec![Input::Configuration]));
        store
    }

    fn members(&self, speakers: Speakers, news: &mut SelectAll<BoxStream<'static, Input>>) -> Members {
        let config = Config::default().labels(&speakers.labels);
        let watched = watch_pruned(self.api(), config, prune_pod, self.stop.clone());
        let pods = watched.store.clone();
        news.push(stream(watched, PODS, |_| vec![Input::Pods]));
        Members {
            pods,
            node: speakers.node,
            port: speakers.port,
            listed: false,
        }
    }
}

/// Of a Secret of another type its type is enough, to say that it is the wrong one; the rest is none of our business.
fn prune_secret(secret: &mut Secret) {
    if secret.type_.as_deref() != Some(names::BASIC_AUTH) {
        secret.data = None;
    }
    secret.metadata.annotations = None;
}

/// What a watched kind must be able to do.
trait Kind:
    Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + Sync + 'static
{
}
impl<K> Kind for K where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + Sync + 'static
{
}

fn everywhere_pruned<K: Kind>(
    (client, stop): (&Client, &CancellationToken),
    prune: impl Fn(&mut K) + Send + Sync + 'static,
) -> Watched<K> {
    watch_pruned(Api::all(client.clone()), Config::default(), prune, stop.clone())
}

fn stream<K: Kind>(
    watched: Watched<K>,
    kind: &'static str,
    mut convert: impl FnMut(&Object<K>) -> Vec<Input> + Send + 'static,
) -> BoxStream<'static, Input> {
    let changes = stream::unfold(watched.changes, async |mut changes| {
        Some((changes.recv().await?, changes))
    });
    let inputs = changes.flat_map(move |change| {
        stream::iter(match change {
            Change::Ready => vec![Input::Ready(kind)],
            Change::Applied(object) => convert(&Object::There(object)),
            Change::Deleted(object) => convert(&Object::Gone(object)),
        })
    });
    inputs.boxed()
}

/// An object that changed.
enum Object<K> {
    There(Arc<K>),
    Gone(Arc<K>),
}

impl<K: ResourceExt> Object<K> {
    fn key(&self) -> ServiceKey {
        let (Self::There(object) | Self::Gone(object)) = self;
        ServiceKey {
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
        }
    }

    fn present(&self) -> Option<&K> {
        match self {
            Self::There(object) => Some(object),
            Self::Gone(_) => None,
        }
    }
}

fn service_event(service: &Object<Service>) -> Vec<Input> {
    let facts = service.present().map(|s| {
        Arc::new(ServiceFacts {
            view: ServiceView::from(s),
            uid: s.uid(),
        })
    });
    vec![Input::Event(Event::Service(service.key(), facts))]
}

/// A slice without the label of a Service belongs to none.
fn slice_event(slice: &Object<EndpointSlice>) -> Vec<Input> {
    let content = slice.present().and_then(|s| {
        let service = s.labels().get(names::LABEL_SLICE_SERVICE)?;
        Some(Arc::new(Slice {
            service: service.clone(),
            endpoints: Endpoints::from_slices([s]),
        }))
    });
    vec![Input::Event(Event::Slice(slice.key(), content))]
}

/// Heartbeats change the status of a Node all the time; selectors see its labels only.
fn node_events() -> impl FnMut(&Object<Node>) -> Vec<Input> {
    let hasher = RandomState::new();
    let mut labels = BTreeMap::new();
    move |node| {
        let name = node.key().name;
        let now = node.present().map(|node| hasher.hash_one(node.labels()));
        let before = match now {
            Some(now) => labels.insert(name.clone(), now),
            None => labels.remove(&name),
        };
        let mut inputs = vec![Input::Event(Event::Node(name, node.present().map(NodeView::from)))];
        if before != now {
            inputs.push(Input::Configuration);
        }
        inputs
    }
}

impl Stores {
    fn resources(&self) -> Resources {
        Resources {
            namespace: self.namespace.clone(),
            pools: all(&self.pools),
            address_pools: all(&self.address_pools),
            l2_advertisements: all(&self.l2_advertisements),
            bgp_advertisements: all(&self.bgp_advertisements),
            peers: all(&self.peers),
            bfd_profiles: all(&self.bfd_profiles),
            communities: all(&self.communities),
            nodes: all(&self.nodes),
            // Only the allocation of addresses asks for namespaces.
            namespaces: Vec::new(),
            secrets: all(&self.secrets),
        }
    }
}

fn all<K: Kind>(store: &Store<K>) -> Vec<K> {
    store.state().iter().map(|object| K::clone(object)).collect()
}

impl Members {
    /// The other speakers; `None` before they were listed.
    fn peers(&self) -> Option<BTreeMap<String, SocketAddr>> {
        let pods = self.pods.state();
        let peer = |pod: &Arc<Pod>| Some((pod.spec.as_ref()?.node_name.clone()?, address(pod, self.port)?));
        self.listed.then(|| {
            pods.iter()
                .filter_map(peer)
                .filter(|(node, _)| *node != self.node)
                .collect()
        })
    }
}

/// Where the speaker in `pod` listens; one that has ended does not.
fn address(pod: &Pod, port: u16) -> Option<SocketAddr> {
    let status = pod.status.as_ref()?;
    if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
        return None;
    }
    Some(SocketAddr::new(status.pod_ip.as_ref()?.parse().ok()?, port))
}

fn prune_service(service: &mut Service) {
    let meta = &mut service.metadata;
    meta.owner_references = None;
    if let Some(annotations) = &mut meta.annotations {
        annotations.retain(|name, _| {
            [
                names::ANNOTATION_ALLOW_SHARED_IP,
                names::DEPRECATED_ANNOTATION_ALLOW_SHARED_IP,
            ]
            .contains(&name.as_str())
        });
    }
    service.spec = service.spec.take().map(|spec| ServiceSpec {
        type_: spec.type_,
        load_balancer_class: spec.load_balancer_class,
        external_traffic_policy: spec.external_traffic_policy,
        ..ServiceSpec::default()
    });
    service.status = service.status.take().map(|status| ServiceStatus {
        load_balancer: status.load_balancer,
        conditions: None,
    });
}

fn prune_slice(slice: &mut EndpointSlice) {
    slice.metadata.annotations = None;
    slice.metadata.owner_references = None;
    if let Some(labels) = &mut slice.metadata.labels {
        labels.retain(|name, _| name == names::LABEL_SLICE_SERVICE);
    }
    slice.ports = None;
    for endpoint in &mut slice.endpoints {
        // Whether there is an address counts, not which.
        endpoint.addresses.truncate(1);
        endpoint.deprecated_topology = None;
        endpoint.hints = None;
        endpoint.hostname = None;
        endpoint.target_ref = None;
        endpoint.zone = None;
    }
}

fn prune_node(node: &mut Node) {
    node.metadata.annotations = None;
    node.spec = None;
    if let Some(status) = &mut node.status {
        let mut conditions = status.conditions.take();
        if let Some(conditions) = &mut conditions {
            conditions.retain(|condition| condition.type_ == "NetworkUnavailable");
        }
        *status = k8s_openapi::api::core::v1::NodeStatus {
            conditions,
            ..Default::default()
        };
    }
}

fn prune_pod(pod: &mut Pod) {
    pod.metadata.annotations = None;
    pod.metadata.labels = None;
    pod.spec = pod.spec.take().map(|spec| k8s_openapi::api::core::v1::PodSpec {
        node_name: spec.node_name,
        ..Default::default()
    });
    pod.status = pod.status.take().map(|status| k8s_openapi::api::core::v1::PodStatus {
        phase: status.phase,
        pod_ip: status.pod_ip,
        ..Default::default()
    });
}

#[cfg(test)]
mod tests;
