//! The watches of the speaker, turned into events of the engine.

mod owners;
mod wire;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use futures::stream::{BoxStream, SelectAll};
use futures::{FutureExt, StreamExt, stream};
use k8s_openapi::api::core::v1::{Node, Pod, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::reflector::Store;
use kube::{Api, Client, Resource};
use metallb_api::{AddressPool, BFDProfile, BGPAdvertisement, BGPPeer, Community, IPAddressPool, L2Advertisement};
use metallb_config::Resources;
use metallb_runtime::tasks::Spawner;
use metallb_runtime::watch::{Change, Config, Key, ViewChange, Views, Watched, watch, watch_optional, watch_view};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::departure::Standing;
use metallb_engine::{Event, ServiceFacts, ServiceKey, Slice};
use owners::{OWNERS, Owners};
use wire::{Candidate, NodeFacts, Owner, Password, Speaker};

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
    SECRETS,
];
const SERVICES: &str = "services";
const SLICES: &str = "endpointslices";
const NODES: &str = "nodes";
const SECRETS: &str = "secrets";
const PODS: &str = "pods";
const CANDIDATES: &str = "candidates";

/// One change that a watch reports.
#[derive(Debug)]
enum Input {
    /// An event of the engine.
    Event(Event),
    /// An object of the configuration changed.
    Configuration,
    /// A Node changed.
    Node {
        /// Its name.
        name: String,
        /// What it was.
        before: Option<Arc<NodeFacts>>,
        /// What it is.
        now: Option<Arc<NodeFacts>>,
    },
    /// A Secret changed.
    Secret(Key, Option<Arc<Password>>),
    /// A speaker Pod changed.
    Pod(Key, Option<Arc<Speaker>>),
    /// A Pod changed that may be a speaker, where there is no membership.
    Candidate(Key, Option<Arc<Candidate>>),
    /// An object says that another node has a Service.
    Owner {
        /// Its name.
        object: String,
        /// What it said.
        before: Option<Arc<Owner>>,
        /// What it says.
        now: Option<Arc<Owner>>,
    },
    /// A kind was listed for the first time.
    Ready(&'static str),
}

/// All changes of one round.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// For the engine.
    pub(crate) events: Vec<Event>,
    /// The state of the Node of this speaker, if that may have changed.
    pub(crate) standing: Option<Standing>,
    /// The other speakers, complete, if they may have changed.
    pub(crate) peers: Option<BTreeMap<String, SocketAddr>>,
    /// Kinds that were listed for the first time.
    pub(crate) ready: Vec<&'static str>,
}

/// Most changes in one round: the first of many must reach the data plane soon.
const ROUND: usize = 4096;

/// All watches.
pub(crate) struct Inputs {
    /// Name of the node of this speaker.
    node: String,
    news: SelectAll<BoxStream<'static, Input>>,
    stores: Stores,
    waiting: BTreeSet<&'static str>,
    members: Option<Members>,
    candidates: Candidates,
    owners: Owners,
    configuration: bool,
}

struct Members {
    pods: HashMap<Key, Arc<Speaker>>,
    /// Name of the node of this speaker, which is left out of the peers.
    node: String,
    port: u16,
    listed: bool,
}

/// Which nodes have a speaker, as the API server knows.
#[derive(Default)]
struct Candidates {
    pods: HashMap<Key, Arc<Candidate>>,
    listed: bool,
    told: Option<BTreeSet<String>>,
}

/// The objects that the configuration is parsed from.
struct Stores {
    namespace: String,
    pools: Store<IPAddressPool>,
    address_pools: Store<AddressPool>,
    l2_advertisements: Store<L2Advertisement>,
    bgp_advertisements: Store<BGPAdvertisement>,
    peers: Store<BGPPeer>,
    bfd_profiles: Store<BFDProfile>,
    communities: Store<Community>,
    secrets: BTreeMap<Key, Arc<Password>>,
    nodes: BTreeMap<String, Arc<NodeFacts>>,
}

/// Which Pods are the other speakers, for the membership.
#[derive(Clone, Debug)]
pub(crate) struct Speakers {
    /// Label selector.
    pub(crate) labels: String,
    /// Where all speakers listen.
    pub(crate) port: u16,
}

impl Inputs {
    /// Starts all watches for the speaker on `node`; `tasks` own them. `speakers` is `None` without membership.
    #[must_use]
    pub(crate) fn start(
        client: &Client,
        namespace: &str,
        node: &str,
        speakers: Option<Speakers>,
        tasks: &Spawner,
    ) -> Self {
        let all = Config::default;
        // There are thousands of these, so they are decoded one by one as they arrive, and no page is held in memory.
        let many = || Config::default().streaming_lists();
        let services = watch_view(Api::<Service>::all(client.clone()), many(), wire::service, tasks);
        let slices = watch_view(Api::<EndpointSlice>::all(client.clone()), many(), wire::slice, tasks);
        let own_node = node.to_owned();
        let read_node = move |node| wire::node(node, &own_node);
        let nodes = watch_view(Api::<Node>::all(client.clone()), all(), read_node, tasks);
        let own = Own {
            client,
            namespace,
            tasks,
        };
        let secrets = watch_view(own.api::<Secret>(), all(), wire::password, tasks);
        let mut news = SelectAll::new();
        news.push(viewed(services, SERVICES, |key, _, now| service_input(key, now)));
        news.push(viewed(slices, SLICES, |key, _, now| slice_input(key, now)));
        news.push(viewed(nodes, NODES, |key, before, now| Input::Node {
            name: key.name,
            before,
            now,
        }));
        news.push(viewed(secrets, SECRETS, |key, _, now| Input::Secret(key, now)));
        let stores = Stores {
            namespace: namespace.to_owned(),
            pools: own.configuration("ipaddresspools", &mut news),
            address_pools: own.legacy("addresspools", &mut news),
            l2_advertisements: own.configuration("l2advertisements", &mut news),
            bgp_advertisements: own.configuration("bgpadvertisements", &mut news),
            peers: own.configuration("bgppeers", &mut news),
            bfd_profiles: own.configuration("bfdprofiles", &mut news),
            communities: own.configuration("communities", &mut news),
            secrets: BTreeMap::new(),
            nodes: BTreeMap::new(),
        };
        let members = speakers.map(|speakers| own.members(&speakers, node, &mut news));
        Self {
            node: node.to_owned(),
            news,
            stores,
            waiting: KINDS.into(),
            members,
            candidates: Candidates::default(),
            owners: Owners::default(),
            configuration: false,
        }
    }

    /// Follows the speakers, which are Pods of this controller, where there is no membership: nodes without a ready one
    /// are no members.
    pub(crate) fn follow_candidates(&mut self, client: &Client, namespace: &str, controller: String, tasks: &Spawner) {
        let read = move |pod| wire::candidate(pod, &controller);
        let pods = watch_view(
            Api::<Pod>::namespaced(client.clone(), namespace),
            Config::default(),
            read,
            tasks,
        );
        self.news
            .push(viewed(pods, CANDIDATES, |key, _, now| Input::Candidate(key, now)));
    }

    /// Waits for a change, and returns it with all others that have arrived. `None` after the stop signal. Cancel-safe.
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
            Input::Node { name, before, now } => {
                // Selectors see the labels only.
                self.configuration |=
                    before.as_ref().map(|facts| &facts.labels) != now.as_ref().map(|facts| &facts.labels);
                if name == self.node {
                    news.standing = now.as_ref().map_or(Some(Standing::GONE), |facts| facts.standing);
                }
                news.events
                    .push(Event::Node(name.clone(), now.as_ref().map(|facts| facts.view)));
                put(&mut self.stores.nodes, name, now);
            }
            Input::Secret(key, now) => {
                self.configuration = true;
                put(&mut self.stores.secrets, key, now);
            }
            Input::Pod(key, now) => {
                if let Some(members) = &mut self.members {
                    match now {
                        Some(speaker) => drop(members.pods.insert(key, speaker)),
                        None => drop(members.pods.remove(&key)),
                    }
                    news.peers = members.peers();
                }
            }
            Input::Candidate(key, now) => {
                match now {
                    Some(candidate) => drop(self.candidates.pods.insert(key, candidate)),
                    None => drop(self.candidates.pods.remove(&key)),
                }
                news.events.extend(self.candidates.changed());
            }
            Input::Owner { object, before, now } => {
                let changes = self.owners.change(&object, before.as_deref(), now.as_deref());
                news.events.extend(changes);
            }
            Input::Ready(OWNERS) => news.events.push(Event::OwnersListed),
            Input::Ready(CANDIDATES) => {
                self.candidates.listed = true;
                news.events.extend(self.candidates.changed());
            }
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
    tasks: &'a Spawner,
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
        let watched = watch(self.api::<K>(), Config::default(), self.tasks);
        Self::follow(watched, kind, news)
    }

    /// A kind that the cluster may lack: newer releases of upstream do not install it.
    fn legacy<K>(&self, kind: &'static str, news: &mut SelectAll<BoxStream<'static, Input>>) -> Store<K>
    where
        K: Kind + Resource<Scope = kube::core::NamespaceResourceScope>,
    {
        let watched = watch_optional(self.api::<K>(), Config::default(), self.tasks);
        Self::follow(watched, kind, news)
    }

    fn follow<K: Kind>(
        watched: Watched<K>,
        kind: &'static str,
        news: &mut SelectAll<BoxStream<'static, Input>>,
    ) -> Store<K> {
        let store = watched.store.clone();
        news.push(stream(watched.changes, move |change| match change {
            Change::Ready => Input::Ready(kind),
            Change::Applied(_) | Change::Deleted(_) => Input::Configuration,
        }));
        store
    }

    fn members(&self, speakers: &Speakers, node: &str, news: &mut SelectAll<BoxStream<'static, Input>>) -> Members {
        let config = Config::default().labels(&speakers.labels);
        let pods = watch_view(self.api::<Pod>(), config, wire::speaker, self.tasks);
        news.push(viewed(pods, PODS, |key, _, now| Input::Pod(key, now)));
        Members {
            pods: HashMap::new(),
            node: node.to_owned(),
            port: speakers.port,
            listed: false,
        }
    }
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

fn stream<T: Send + 'static>(
    changes: UnboundedReceiver<T>,
    input: impl FnMut(T) -> Input + Send + 'static,
) -> BoxStream<'static, Input> {
    let changes = stream::unfold(changes, async |mut changes| Some((changes.recv().await?, changes)));
    changes.map(input).boxed()
}

fn viewed<V: Send + Sync + 'static>(
    views: Views<V>,
    kind: &'static str,
    convert: impl Fn(Key, Option<Arc<V>>, Option<Arc<V>>) -> Input + Send + 'static,
) -> BoxStream<'static, Input> {
    stream(views.changes, move |change| match change {
        ViewChange::Ready => Input::Ready(kind),
        ViewChange::Changed { key, before, now } => convert(key, before, now),
    })
}

fn service_input(key: Key, facts: Option<Arc<ServiceFacts>>) -> Input {
    Input::Event(Event::Service(service_key(key), facts))
}

fn slice_input(key: Key, slice: Option<Arc<Slice>>) -> Input {
    Input::Event(Event::Slice(service_key(key), slice))
}

fn service_key(Key { namespace, name }: Key) -> ServiceKey {
    ServiceKey { namespace, name }
}

fn put<K: Ord, V>(all: &mut BTreeMap<K, V>, key: K, now: Option<V>) {
    match now {
        Some(now) => drop(all.insert(key, now)),
        None => drop(all.remove(&key)),
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
            nodes: self.nodes.iter().map(|(name, node)| node.object(name)).collect(),
            // Only the allocation of addresses asks for namespaces.
            namespaces: Vec::new(),
            secrets: self.secrets.iter().map(|(key, secret)| secret.object(key)).collect(),
        }
    }
}

fn all<K: Kind>(store: &Store<K>) -> Vec<K> {
    store.state().iter().map(|object| K::clone(object)).collect()
}

impl Members {
    /// The other speakers; `None` before they were listed.
    fn peers(&self) -> Option<BTreeMap<String, SocketAddr>> {
        let others = self.pods.values().filter(|speaker| speaker.node != self.node);
        self.listed.then(|| {
            others
                .map(|speaker| (speaker.node.clone(), SocketAddr::new(speaker.ip, self.port)))
                .collect()
        })
    }
}

impl Candidates {
    /// Who could announce, if that changed. Where no speaker is ready, such as at the first start, those that may be soon
    /// are taken: else nobody would announce until a probe succeeded.
    fn changed(&mut self) -> Option<Event> {
        let names = |ready: bool| -> BTreeSet<String> {
            let pods = self.pods.values().filter(|pod| pod.ready >= ready);
            pods.map(|pod| pod.node.clone()).collect()
        };
        let now = Some(names(true))
            .filter(|ready| !ready.is_empty())
            .unwrap_or_else(|| names(false));
        if !self.listed || self.told.as_ref() == Some(&now) {
            return None;
        }
        self.told = Some(now.clone());
        Some(Event::Members(now))
    }
}

#[cfg(test)]
mod tests;
