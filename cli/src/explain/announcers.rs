//! Who should announce a Service, as election and advertisements have it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use metallb_announce::{Endpoint, Endpoints, Out, Reason, Route, ServiceView, bgp_case, layer2_case};
use metallb_api::names;
use metallb_config::{Community, Peer, Pool};
use metallb_ipam::Key;

use super::explanation::{Bgp, Explanation, Heard, Layer2, OutOf, Rank, Serving, Told};
use crate::facts::Facts;
use crate::sent::{self, Sent};
use crate::world::World;

/// Who would announce what the Service has now.
pub(super) fn announcing(facts: &Facts, service: &Service, world: &World, explanation: &mut Explanation) {
    let view = ServiceView::from(service);
    let pool = view.addresses().and_then(|ips| world.parsed.config.pool_holding(&ips));
    let endpoints = Slices::new(facts).endpoints(&Key::of(service), world);
    explanation.endpoints = facts.slices.is_known().then(|| Serving {
        any: endpoints.any,
        nodes: endpoints.nodes.iter().map(str::to_owned).collect(),
        local: view.local,
    });
    let name = |name: &Option<String>| name.clone().unwrap_or_else(|| "of the AddressPool".to_owned());
    if let Some(pool) = pool {
        let layer2 = pool.l2.iter().filter(|ad| ad.covers(&view.labels));
        explanation.layer2.advertisements = layer2.map(|ad| name(&ad.name)).collect();
        let bgp = pool.bgp.iter().filter(|ad| ad.covers(&view.labels));
        explanation.bgp.advertisements = bgp.map(|ad| name(&ad.name)).collect();
    }
    if explanation.known {
        layer2(world, pool, &view, &endpoints, &mut explanation.layer2);
        let sent = Sent::new(facts, world);
        bgp(world, &sent, pool, &view, &endpoints, &mut explanation.bgp);
    }
}

/// A route that a node should tell a peer.
pub(crate) struct Due {
    pub(crate) node: Arc<str>,
    pub(crate) peer: String,
    pub(crate) route: Route,
}

/// All that nodes should tell their peers of a Service.
pub(crate) fn due(slices: &Slices<'_>, service: &Service, world: &World) -> Vec<Due> {
    let view = ServiceView::from(service);
    let pool = view.addresses().and_then(|ips| world.parsed.config.pool_holding(&ips));
    let endpoints = slices.endpoints(&Key::of(service), world);
    let case = bgp_case(&world.inputs(), pool, &view, &endpoints).unwrap_or_default();
    let mut all = Vec::new();
    for (node, routes) in case.into_iter().filter(|(node, _)| world.announces(node)) {
        let routes = routes.unwrap_or_default();
        let peers = world.parsed.config.peers.values();
        for peer in peers.filter(|peer| peer.nodes.contains(&*node)) {
            all.extend(routes.iter().filter(|route| is_for(peer, route)).map(|route| Due {
                node: Arc::clone(&node),
                peer: peer.name.clone(),
                route: route.clone(),
            }));
        }
    }
    all
}

/// The nodes that may answer for a Service in layer 2, in the order of the election.
pub(crate) fn ranked(slices: &Slices<'_>, service: &Service, world: &World) -> Vec<String> {
    let view = ServiceView::from(service);
    let pool = view.addresses().and_then(|ips| world.parsed.config.pool_holding(&ips));
    let endpoints = slices.endpoints(&Key::of(service), world);
    let case = layer2_case(&world.inputs(), pool, &view, &endpoints);
    let ranked = case.map(|case| case.ranked).unwrap_or_default();
    ranked.iter().map(|rank| rank.node.to_string()).collect()
}

/// Tells whether advertisements choose a peer for a route.
fn is_meant(peer: &Peer, route: &Route) -> bool {
    route.path.peers.is_empty() || route.path.peers.contains(&peer.name)
}

/// Tells whether a peer is to be told of a route: it is meant, and its session carries the family.
pub(crate) fn is_for(peer: &Peer, route: &Route) -> bool {
    is_meant(peer, route) && peer.exchanges(route.prefix.addr().is_ipv4())
}

/// EndpointSlices by the Service that they belong to, so that all Services together look at each once.
pub(crate) struct Slices<'a>(Option<HashMap<(&'a str, &'a str), Vec<&'a EndpointSlice>>>);

impl<'a> Slices<'a> {
    pub(crate) fn new(facts: &'a Facts) -> Self {
        if !facts.slices.is_known() {
            return Self(None);
        }
        let mut all: HashMap<(&str, &str), Vec<&EndpointSlice>> = HashMap::new();
        for slice in facts.slices.list() {
            let namespace = slice.metadata.namespace.as_deref().unwrap_or_default();
            if let Some(service) = slice.labels().get(names::LABEL_SLICE_SERVICE) {
                all.entry((namespace, service)).or_default().push(slice);
            }
        }
        Self(Some(all))
    }

    /// Endpoints of a Service that can serve; if the slices are not known, some on every node.
    pub(crate) fn endpoints(&self, service: &Key, world: &World) -> Endpoints {
        let Some(all) = &self.0 else {
            return everywhere(world);
        };
        let own = all.get(&(service.namespace(), service.name()));
        serving(own.into_iter().flatten().copied())
    }
}

/// Endpoints on every node.
pub(crate) fn everywhere(world: &World) -> Endpoints {
    Endpoints {
        any: true,
        nodes: world.nodes.keys().map(|name| &**name).collect(),
    }
}

/// The endpoints of these slices that can serve.
pub(crate) fn serving<'a>(slices: impl Iterator<Item = &'a EndpointSlice>) -> Endpoints {
    let endpoints = slices.flat_map(|slice| &slice.endpoints).map(|endpoint| {
        let conditions = endpoint.conditions.as_ref();
        Endpoint {
            addressed: !endpoint.addresses.is_empty(),
            ready: conditions.and_then(|conditions| conditions.ready),
            serving: conditions.and_then(|conditions| conditions.serving),
            node: endpoint.node_name.clone(),
        }
    });
    endpoints.collect()
}

fn layer2(world: &World, pool: Option<&Pool>, view: &ServiceView, endpoints: &Endpoints, layer2: &mut Layer2) {
    let case = match layer2_case(&world.inputs(), pool, view, endpoints) {
        Ok(case) => case,
        Err(reason) => {
            layer2.reason = Some(sentence(reason));
            return;
        }
    };
    layer2.decided = case.ranked.first().map(|rank| rank.node.to_string());
    layer2.ranked = case
        .ranked
        .iter()
        .map(|rank| Rank {
            node: rank.node.to_string(),
            hash: rank.place.digest().iter().map(|byte| format!("{byte:02x}")).collect(),
            score: rank.score,
        })
        .collect();
    layer2.out = case
        .out
        .iter()
        .map(|(node, out)| OutOf {
            node: node.to_string(),
            reason: match out {
                Out::NotAlive => "its speaker is not Ready".to_owned(),
                Out::NotSelected => "no advertisement selects it".to_owned(),
                Out::Excluded(reason) => sentence(*reason),
                Out::NoLocalEndpoints => sentence(Reason::NoLocalEndpoints),
            },
        })
        .collect();
    if case.ranked.is_empty() {
        layer2.reason = Some(sentence(Reason::NoCandidate));
    }
}

fn bgp(world: &World, sent: &Sent<'_>, pool: Option<&Pool>, view: &ServiceView, endpoints: &Endpoints, bgp: &mut Bgp) {
    let case = match bgp_case(&world.inputs(), pool, view, endpoints) {
        Ok(case) => case,
        Err(reason) => {
            bgp.reason = Some(sentence(reason));
            return;
        }
    };
    if bgp.advertisements.is_empty() {
        bgp.reason = Some(sentence(Reason::NoMatchingAdvertisement));
        return;
    }
    // Nodes that do the same are told in one row.
    let mut rows: Vec<Told> = Vec::new();
    for (node, decided) in case {
        let own = match decided {
            _ if !world.is_alive(&node) => vec![untold("its speaker is not Ready".to_owned())],
            // The words are upstream's: it is the owner of nothing.
            Err(Reason::NotOwner) => vec![untold("no advertisement selects it".to_owned())],
            Err(reason) => vec![untold(sentence(reason))],
            Ok(_) if world.drained.contains(&node) => {
                vec![untold("label metallb.io/drain: the node is drained".to_owned())]
            }
            Ok(routes) => told(world, sent, &node, &routes, &mut bgp.told),
        };
        for mut row in own {
            match rows.iter_mut().find(|known| known.says() == row.says()) {
                Some(known) => known.nodes.push(node.to_string()),
                None => {
                    row.nodes.push(node.to_string());
                    rows.push(row);
                }
            }
        }
    }
    bgp.rows = rows;
}

fn untold(reason: String) -> Told {
    Told {
        nodes: Vec::new(),
        peers: Vec::new(),
        routes: Vec::new(),
        reason: Some(reason),
        sent: None,
    }
}

/// Routes, why there are none, and whether they were sent.
type Says = (Vec<String>, Option<String>, Option<String>);

/// What a node tells its peers, those that hear the same in one. What has been sent is added to `all`.
fn told(world: &World, sent: &Sent<'_>, node: &Arc<str>, routes: &[Route], all: &mut Vec<Heard>) -> Vec<Told> {
    let mut rows: BTreeMap<Says, Vec<String>> = BTreeMap::new();
    for peer in world
        .parsed
        .config
        .peers
        .values()
        .filter(|peer| peer.nodes.contains(&**node))
    {
        let own = routes.iter().filter(|route| is_for(peer, route));
        let own: Vec<String> = own
            .map(|own| route(own.prefix, own.path.local_pref, &own.path.communities))
            .collect();
        let reason = own
            .is_empty()
            .then(|| match routes.iter().any(|route| is_meant(peer, route)) {
                true => "the session carries no addresses of this family".to_owned(),
                false => "the advertisements name other peers".to_owned(),
            });
        let prefixes = routes
            .iter()
            .filter(|route| is_for(peer, route))
            .map(|route| route.prefix.to_string());
        let heard = prefixes.filter_map(|prefix| Some((sent.told(node, &peer.name, &prefix)?, prefix)));
        let heard: Vec<_> = heard.collect();
        // The one that says most: all are sent, or one is not.
        let worst = heard.iter().map(|(told, _)| told).max().map(sent::Told::text);
        all.extend(heard.into_iter().map(|(told, prefix)| Heard {
            node: node.to_string(),
            peer: peer.name.clone(),
            prefix,
            told,
        }));
        rows.entry((own, reason, worst)).or_default().push(peer.name.clone());
    }
    if rows.is_empty() {
        return vec![untold("no BGPPeer selects it".to_owned())];
    }
    let rows = rows.into_iter().map(|((routes, reason, sent), peers)| Told {
        nodes: Vec::new(),
        peers,
        routes,
        reason,
        sent,
    });
    rows.collect()
}

/// A route in short.
pub(crate) fn route(prefix: IpNet, local_pref: u32, communities: &BTreeSet<Community>) -> String {
    let mut text = prefix.to_string();
    if local_pref != 0 {
        text += &format!(" local-pref {local_pref}");
    }
    for community in communities {
        text += &format!(" {}", self::community(community));
    }
    text
}

/// A community as it is written.
pub(crate) fn community(community: &Community) -> String {
    match community {
        Community::Standard(number) => format!("{}:{}", number >> 16, number & 0xffff),
        Community::Large { global, data1, data2 } => format!("{global}:{data1}:{data2}"),
    }
}

/// The word of the log, and what it means.
pub(crate) fn sentence(reason: Reason) -> String {
    let meaning = match reason {
        Reason::ServiceDeleted => "the Service is gone",
        Reason::NotLoadBalancer => "it is no load balancer",
        Reason::ClassChanged => "its class is another one's",
        Reason::NoIpAllocated => "it has no address",
        Reason::InvalidIp => "its status holds something that is no address",
        Reason::IpNotAllowed => "no pool has all of its addresses",
        Reason::NotOwner => "another node announces",
        Reason::NoCandidate => "no node may announce",
        Reason::NoMatchingAdvertisement => "no advertisement selects pool and Service",
        Reason::ConflictingAdvertisements => "advertisements give one prefix different local preferences",
        Reason::SharedIpWithServiceSelector => "the address is for sharing, and an L2Advertisement selects Services",
        Reason::NodeNetworkUnavailable => "condition NetworkUnavailable",
        Reason::NodeLabeledExcludeBalancers => "label node.kubernetes.io/exclude-from-external-load-balancers",
        Reason::NoLocalEndpoints => "traffic policy Local, and no ready endpoint on it",
        Reason::NoEndpoints => "no ready endpoint",
    };
    format!("{reason}: {meaning}")
}
