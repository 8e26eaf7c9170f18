//! Nodes, pools and peers, each as a row.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use metallb_announce::ServiceView;
use metallb_api::{ConfigurationResult, names};
use metallb_config::{Namespaces, Peer, Pool};
use metallb_ipam::{Assigner, Counters};
use schemars::JsonSchema;
use serde::Serialize;

use super::problems::problems;
use crate::explain::sentence;
use crate::facts::Facts;
use crate::report::{Known, NotSeen, Report, age, time};
use crate::sessions::{Sessions, asn, is_up, wanted};
use crate::world::{self, World, is_of, is_ready, speaker_pods};

#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Body {
    pub(crate) status: Status,
}

/// How MetalLB is doing.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Status {
    pub(crate) namespace: String,
    pub(crate) backend: &'static str,
    pub(crate) class: String,
    /// The images of the pods, by component.
    pub(crate) versions: BTreeMap<&'static str, BTreeSet<String>>,
    pub(crate) controller: Controller,
    /// None if the controller serves them.
    pub(crate) webhooks: Option<Ready>,
    pub(crate) speakers: Vec<Speaker>,
    pub(crate) pools: Vec<PoolRow>,
    pub(crate) peers: Vec<PeerRow>,
    /// How many Services are for MetalLB.
    pub(crate) services: Known<usize>,
}

#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Controller {
    pub(crate) ready: Known<Ready>,
    pub(crate) config: Known<Config>,
    /// Who holds the Lease.
    pub(crate) leader: Option<String>,
    pub(crate) renewed: Option<String>,
}

/// How many of something are as they should be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ready {
    pub(crate) ready: usize,
    pub(crate) total: usize,
}

/// Whether a component accepts the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Config {
    /// All of it. Whether it has the newest cannot be told from its ConfigurationState.
    Valid,
    /// It refuses some, and goes on with what it had of that.
    LastGood,
}

/// A node and its speaker.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Speaker {
    pub(crate) node: String,
    pub(crate) pod: Option<String>,
    pub(crate) image: Option<String>,
    pub(crate) restarts: Option<i32>,
    pub(crate) ready: Known<bool>,
    pub(crate) config: Known<Config>,
    pub(crate) l2_addresses: Known<usize>,
    pub(crate) sessions: Known<Ready>,
    /// How many prefixes the best informed peer is to be told.
    pub(crate) routes: Known<i64>,
    /// What is remarkable about it.
    pub(crate) note: Option<String>,
}

#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PoolRow {
    pub(crate) name: String,
    pub(crate) v4: Usage,
    pub(crate) v6: Usage,
    /// How many have addresses of it.
    pub(crate) services: Known<u64>,
    pub(crate) auto_assign: bool,
    #[serde(rename = "for")]
    pub(crate) whom: String,
    pub(crate) advertised_by: Vec<String>,
}

/// Addresses of a family; 2^63 - 1 is that many or more.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Usage {
    pub(crate) total: i64,
    pub(crate) used: Known<i64>,
}

#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PeerRow {
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) vrf: Option<String>,
    pub(crate) asn: String,
    pub(crate) sessions: Known<Ready>,
    /// None without BFD.
    pub(crate) bfd: Option<Known<Ready>>,
    /// How many prefixes the best informed node has told it, as of some minutes ago.
    pub(crate) routes: Known<i64>,
}

impl fmt::Display for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.total {
            0 => f.write_str("-"),
            total => write!(f, "{}/{total}", self.ready),
        }
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Valid => "valid",
            Self::LastGood => "last good",
        })
    }
}

pub(crate) fn report(facts: &Facts, world: &World) -> Report<Body> {
    let sessions = Sessions::new(facts, world);
    let mut assigner = world.assigner(facts);
    let peers = world.parsed.config.peers.values();
    let ours = |service: &&_| metallb_ipam::is_of_class(service, &world.settings.class);
    let status = Status {
        namespace: world.namespace.clone(),
        backend: world.settings.backend.name(),
        class: world.settings.class.clone(),
        versions: world::versions(facts),
        controller: controller(facts, world),
        webhooks: replicas(facts, world, names::WEBHOOK_SERVER),
        speakers: speakers(facts, world, sessions.as_ref()),
        pools: pools(facts, world, &assigner),
        peers: peers.map(|peer| self::peer(world, peer, sessions.as_ref())).collect(),
        services: facts
            .services
            .is_known()
            .then(|| facts.services.list().iter().filter(ours).count())
            .into(),
    };
    let problems = problems(facts, world, &status, sessions.as_ref(), &mut assigner);
    let unheard = sessions.is_none() && facts.nodes.is_known() && !status.peers.is_empty();
    let not_seen = not_seen(facts, unheard);
    let mut report = Report::new("StatusReport", facts, Body { status });
    report.problems = problems;
    report.assumptions.clone_from(&world.assumptions);
    report.not_seen = not_seen;
    report
}

fn not_seen(facts: &Facts, no_sessions: bool) -> Vec<NotSeen> {
    const SESSIONS: &str = "bgpsessionstates";
    let without = "nodes are those of speaker pods, and their labels are not judged";
    let mut all = vec![NotSeen::of(&facts.nodes, "nodes", without)];
    let without = "how full pools are is what they say, and nobody is known to wait";
    all.push(NotSeen::of(&facts.services, "services", without));
    let without = "pools that select namespaces by labels select none";
    all.push(NotSeen::of(&facts.namespaces, "namespaces", without));
    let without = "it is not told which speakers are Ready";
    all.push(NotSeen::of(&facts.pods, "pods", without));
    let without = "it is not told whether the controller is Ready";
    all.push(NotSeen::of(&facts.deployments, "deployments", without));
    let without = "it is not told which controller leads";
    all.push(NotSeen::of(&facts.leases, "leases", without));
    let without = "it is not told what components refuse";
    all.push(NotSeen::of(&facts.config_states, "configurationstates", without));
    let without = "it is not told who answers in layer 2";
    all.push(NotSeen::of(&facts.l2_statuses, "servicel2statuses", without));
    if no_sessions {
        all.push(Some(NotSeen {
            what: SESSIONS,
            why: facts
                .session_states
                .why_not()
                .unwrap_or_else(|| "nobody writes any".to_owned()),
            without: "it is not told which BGP sessions are up",
        }));
    }
    all.into_iter().flatten().collect()
}

/// How many pods of the Deployments of a component are ready; none if there is no such Deployment.
pub(super) fn replicas(facts: &Facts, world: &World, component: &str) -> Option<Ready> {
    let own = facts.deployments.list().iter();
    let own = own.filter(|own| is_of(*own, &world.namespace, component));
    let count = |count: Option<i32>| usize::try_from(count.unwrap_or_default()).unwrap_or_default();
    let each = own.map(|own| Ready {
        ready: count(own.status.as_ref().and_then(|status| status.ready_replicas)),
        total: count(own.spec.as_ref().map(|spec| spec.replicas.unwrap_or(1))),
    });
    each.reduce(|all, one| Ready {
        ready: all.ready + one.ready,
        total: all.total + one.total,
    })
}

fn controller(facts: &Facts, world: &World) -> Controller {
    let ready = replicas(facts, world, names::CONTROLLER);
    let lease = facts.leases.list().iter();
    let lease = lease
        .filter(|lease| lease.name_any() == names::CONTROLLER_LEASE)
        .find_map(|lease| lease.spec.as_ref());
    Controller {
        ready: facts.deployments.is_known().then(|| ready.unwrap_or_default()).into(),
        config: configs(facts, world).get(names::CONTROLLER_STATE).copied().into(),
        leader: lease.and_then(|lease| lease.holder_identity.clone()),
        renewed: lease.and_then(|lease| Some(time(lease.renew_time.as_ref()?.0))),
    }
}

/// What components say of the configuration, by the names of their ConfigurationStates.
fn configs(facts: &Facts, world: &World) -> BTreeMap<String, Config> {
    let own = facts.config_states.list().iter();
    let own = own.filter(|state| state.namespace().as_deref() == Some(&*world.namespace));
    let said = own.filter_map(|state| {
        let config = match state.status.as_ref()?.result? {
            ConfigurationResult::Valid => Config::Valid,
            ConfigurationResult::Invalid => Config::LastGood,
            ConfigurationResult::Unknown => return None,
        };
        Some((state.name_any(), config))
    });
    said.collect()
}

fn speakers(facts: &Facts, world: &World, sessions: Option<&Sessions<'_>>) -> Vec<Speaker> {
    let mut pods: Vec<&Pod> = speaker_pods(facts, &world.namespace).collect();
    // Of two pods of a node the one that is Ready counts.
    pods.sort_by_key(|pod| is_ready(pod));
    let on = |pod: &'_ Pod| pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    let pods: BTreeMap<String, &Pod> = pods.into_iter().filter_map(|pod| Some((on(pod)?, pod))).collect();
    let nodes: BTreeMap<String, Option<&Node>> = match facts.nodes.is_known() {
        true => facts
            .nodes
            .list()
            .iter()
            .map(|node| (node.name_any(), Some(node)))
            .collect(),
        false => pods.keys().map(|node| (node.clone(), None)).collect(),
    };
    let (configs, addresses) = (configs(facts, world), addresses(facts));
    let row = |(name, node): (String, Option<&Node>)| {
        let pod = pods.get(&name).copied();
        let alive = world.is_alive(&name);
        let peers = world.parsed.config.peers.values();
        let peers: Vec<&Peer> = peers.filter(|peer| peer.nodes.contains(&name)).collect();
        let none = facts.nodes.is_known() && peers.is_empty();
        let states = sessions.map(|sessions| peers.iter().filter_map(|peer| sessions.of(&name, &peer.name)));
        let up = states.clone().map(|states| states.filter(|state| is_up(state)).count());
        let up = up.or_else(|| none.then_some(0));
        let routes = states.and_then(|states| states.filter_map(|state| state.prefixes_wanted).max());
        let status = pod.and_then(|pod| pod.status.as_ref());
        let containers = status.map(|status| status.container_statuses.iter().flatten());
        let addresses = addresses.get(name.as_str()).map_or(0, BTreeSet::len);
        let routes = routes.or_else(|| none.then_some(0));
        let config = configs.get(&names::speaker_state(&name)).copied();
        Speaker {
            pod: pod.map(ResourceExt::name_any),
            image: pod.and_then(world::image),
            restarts: containers.map(|all| all.map(|container| container.restart_count).sum()),
            ready: facts.pods.is_known().then_some(alive).into(),
            config: config.filter(|_| alive).into(),
            l2_addresses: (alive && facts.l2_statuses.is_known()).then_some(addresses).into(),
            sessions: up
                .filter(|_| alive)
                .map(|ready| Ready {
                    ready,
                    total: peers.len(),
                })
                .into(),
            routes: routes.filter(|_| alive).into(),
            note: against(facts, world, &name, node, pod).into_iter().next(),
            node: name,
        }
    };
    nodes
        .into_iter()
        .filter(|(_, node)| !node.is_some_and(is_windows))
        .map(row)
        .collect()
}

fn is_windows(node: &Node) -> bool {
    node.labels().get("kubernetes.io/os").is_some_and(|os| os == "windows")
}

/// What speaks against a node, the worst first.
pub(crate) fn against(facts: &Facts, world: &World, name: &str, node: Option<&Node>, pod: Option<&Pod>) -> Vec<String> {
    let conditions = node.and_then(|node| node.status.as_ref()?.conditions.as_ref());
    let ready = conditions
        .into_iter()
        .flatten()
        .find(|own| own.type_ == "Ready" && own.status != "True");
    let unready = ready.map(|condition| {
        let since = condition.last_transition_time.as_ref();
        let since = since.map(|since| format!(" for {}", age(facts.now, since.0)));
        format!("NotReady{}", since.unwrap_or_default())
    });
    let speaker = match (facts.pods.is_known() && !world.is_alive(name), pod) {
        (false, _) => None,
        (true, None) => Some("no speaker runs there".to_owned()),
        (true, Some(_)) => Some("its speaker is not Ready".to_owned()),
    };
    let excluded = world
        .nodes
        .get(name)
        .and_then(|node| node.excluded_by(world.settings.ignore_exclude_label));
    let drained = world
        .drained
        .contains(name)
        .then(|| format!("label {}: drained of BGP", names::LABEL_DRAIN));
    [unready, speaker, excluded.map(sentence), drained]
        .into_iter()
        .flatten()
        .collect()
}

/// The addresses that the speaker of a node says it answers for; if the Services are not known, the Services.
fn addresses(facts: &Facts) -> BTreeMap<&str, BTreeSet<String>> {
    let services = facts.services.list().iter().map(|service| {
        let ips = ServiceView::from(service).addresses().unwrap_or_default();
        ((service.namespace().unwrap_or_default(), service.name_any()), ips)
    });
    let services: BTreeMap<_, _> = services.collect();
    let mut found: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for status in facts
        .l2_statuses
        .list()
        .iter()
        .filter_map(|state| state.status.as_ref())
    {
        let own = found.entry(&status.node).or_default();
        match services.get(&(status.service_namespace.clone(), status.service_name.clone())) {
            Some(ips) => own.extend(ips.iter().map(ToString::to_string)),
            None if facts.services.is_known() => {}
            None => own.extend([format!("{}/{}", status.service_namespace, status.service_name)]),
        }
    }
    found
}

fn pools(facts: &Facts, world: &World, assigner: &Assigner) -> Vec<PoolRow> {
    let said: BTreeMap<String, _> = match facts.services.is_known() {
        true => BTreeMap::new(),
        false => facts
            .pools
            .list()
            .iter()
            .filter_map(|pool| Some((pool.name_any(), pool.status?)))
            .collect(),
    };
    let row = |pool: &Pool| {
        let counters = assigner.allocator().counters(&pool.name).unwrap_or_default();
        let seen = facts.services.is_known().then_some(counters);
        let said = said.get(&pool.name);
        let usage = |total, counted: Option<u128>, said: Option<i64>| Usage {
            total: Counters::export(total),
            used: counted.map(Counters::export).or(said).into(),
        };
        PoolRow {
            name: pool.name.clone(),
            v4: usage(
                counters.capacity_v4,
                seen.map(|own| own.in_use_v4),
                said.map(|own| own.assigned_ipv4),
            ),
            v6: usage(
                counters.capacity_v6,
                seen.map(|own| own.in_use_v6),
                said.map(|own| own.assigned_ipv6),
            ),
            services: seen.map(|own| own.services).into(),
            auto_assign: pool.auto_assign,
            whom: whom(pool),
            advertised_by: advertised_by(pool),
        }
    };
    world.parsed.config.pools.values().map(row).collect()
}

/// Who may have addresses of a pool.
pub(crate) fn whom(pool: &Pool) -> String {
    let Some(allocation) = &pool.allocation else {
        return "all".to_owned();
    };
    let namespaces = match &allocation.namespaces {
        Namespaces::Any => "all".to_owned(),
        Namespaces::Only(names) if names.is_empty() => return "nobody".to_owned(),
        Namespaces::Only(names) => format!("ns {}", names.iter().cloned().collect::<Vec<_>>().join(", ")),
    };
    match allocation.services.is_empty() {
        true => namespaces,
        false => format!("{namespaces}, by labels"),
    }
}

/// The advertisements of a pool.
pub(crate) fn advertised_by(pool: &Pool) -> Vec<String> {
    let named = |name: &Option<String>, how| format!("{} ({how})", name.as_ref().unwrap_or(&pool.name));
    let layer2 = pool.l2.iter().map(|ad| named(&ad.name, "layer 2"));
    let bgp = pool.bgp.iter().map(|ad| named(&ad.name, "BGP"));
    layer2.chain(bgp).collect()
}

fn peer(world: &World, peer: &Peer, sessions: Option<&Sessions<'_>>) -> PeerRow {
    let total = wanted(world, peer).count();
    let states = sessions.map(|sessions| {
        wanted(world, peer)
            .filter_map(|node| sessions.of(node, &peer.name))
            .collect::<Vec<_>>()
    });
    let count = |good: fn(&metallb_api::BGPSessionStateStatus) -> bool| {
        let ready = states
            .as_ref()
            .map(|states| states.iter().filter(|state| good(state)).count());
        Known::from(ready.map(|ready| Ready { ready, total }))
    };
    PeerRow {
        name: peer.name.clone(),
        address: peer.endpoint.to_string(),
        vrf: peer.vrf.clone(),
        asn: asn(peer),
        sessions: count(is_up),
        bfd: peer
            .bfd_profile
            .as_ref()
            .map(|_| count(|state| state.bfd_status == "up")),
        routes: states
            .as_ref()
            .and_then(|states| states.iter().filter_map(|state| state.prefixes).max())
            .into(),
    }
}
