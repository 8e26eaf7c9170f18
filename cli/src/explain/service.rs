//! Why a Service has its address or none, and who announces it: what allocator and election say, put together.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use metallb_announce::reach::{Reach, Surroundings};
use metallb_announce::{Endpoint, Endpoints, Out, Reason, Route, ServiceView, bgp_case, layer2_case};
use metallb_config::{Community, Pool};
use metallb_ipam::{Assigner, Families, Key, Outcome, is_of_class, seniority};
use serde::Serialize;

use crate::facts::Facts;
use crate::report::{NotSeen, Problem, Report, Severity};
use crate::world::World;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Body {
    pub(crate) explanation: Explanation,
}

/// Everything there is to say about a Service.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Explanation {
    pub(crate) service: String,
    /// Traffic policy, families and ports in short.
    pub(crate) summary: String,
    pub(crate) verdict: String,
    /// Whether it is known who should announce it, or need not be.
    pub(crate) known: bool,
    pub(crate) ours: Ours,
    pub(crate) asked: Asked,
    pub(crate) address: Address,
    /// The pools as they would be asked today.
    pub(crate) trials: Vec<Trial>,
    pub(crate) clashes: Vec<Clash>,
    /// None if EndpointSlices are not known.
    pub(crate) endpoints: Option<Serving>,
    pub(crate) layer2: Layer2,
    pub(crate) bgp: Bgp,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ours {
    pub(crate) is_ours: bool,
    pub(crate) class: String,
    pub(crate) our_class: String,
}

/// What the Service asks for.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Asked {
    pub(crate) families: String,
    pub(crate) ips: Vec<IpAddr>,
    pub(crate) pool: Option<String>,
    pub(crate) key: Option<String>,
    /// What of it is not understood.
    pub(crate) error: Option<String>,
}

/// What the Service has, and what the controller makes of it.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Address {
    pub(crate) ips: Vec<IpAddr>,
    pub(crate) pool: Option<String>,
    /// What it is to have; the same as it has if all is well.
    pub(crate) due: Vec<IpAddr>,
    pub(crate) due_pool: Option<String>,
    /// Reason and message of the condition `metallb.io/Allocated` as they are to be.
    pub(crate) reason: String,
    pub(crate) message: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Trial {
    pub(crate) pool: String,
    /// 1 for the first one asked; none for those that are not.
    pub(crate) tried: Option<usize>,
    pub(crate) priority: Option<i64>,
    pub(crate) ok: bool,
    pub(crate) ips: Vec<IpAddr>,
    pub(crate) text: String,
}

/// An address that others are on, and in what the Service agrees with them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Clash {
    pub(crate) ip: IpAddr,
    pub(crate) services: Vec<String>,
    pub(crate) own_key: Option<String>,
    pub(crate) their_key: Option<String>,
    pub(crate) same_backend: bool,
    /// Ports that both want.
    pub(crate) ports: Vec<String>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Serving {
    pub(crate) any: bool,
    pub(crate) nodes: Vec<String>,
    pub(crate) local: bool,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Layer2 {
    pub(crate) advertisements: Vec<String>,
    /// Why no node answers, in the words of the log.
    pub(crate) reason: Option<String>,
    pub(crate) ranked: Vec<Rank>,
    pub(crate) out: Vec<OutOf>,
    pub(crate) decided: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Rank {
    pub(crate) node: String,
    pub(crate) hash: String,
    pub(crate) score: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OutOf {
    pub(crate) node: String,
    pub(crate) reason: String,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Bgp {
    pub(crate) advertisements: Vec<String>,
    /// Why no node announces, in the words of the log.
    pub(crate) reason: Option<String>,
    pub(crate) rows: Vec<Told>,
}

/// What some nodes tell some peers.
#[derive(PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Told {
    pub(crate) nodes: Vec<String>,
    pub(crate) peers: Vec<String>,
    pub(crate) routes: Vec<String>,
    /// Why nothing, if so.
    pub(crate) reason: Option<String>,
}

/// Explains a Service; none if there is none of that name.
pub(crate) fn report(facts: &Facts, world: &World, namespace: &str, name: &str) -> Option<Report<Body>> {
    let mut services: Vec<&Service> = facts.services.list().iter().collect();
    let same = |own: &&&Service| own.name_any() == name && own.namespace().unwrap_or_default() == namespace;
    let service = *services.iter().find(same)?;
    services.sort_by_cached_key(|service| seniority(service));
    let mut explanation = Explanation {
        service: format!("{namespace}/{name}"),
        summary: summary(service),
        ..Explanation::default()
    };
    let mut problems = Vec::new();
    explanation.ours = ours(service, &world.settings.class);
    let local = service
        .spec
        .as_ref()
        .and_then(|spec| spec.external_traffic_policy.as_deref())
        == Some("Local");
    explanation.known = facts.nodes.is_known() && (facts.slices.is_known() || !local);
    if explanation.ours.is_ours {
        let address = addresses(&services, service, world, &mut explanation);
        announcing(facts, service, world, &mut explanation);
        problems = judge(world, service, &mut explanation, &address);
    } else {
        explanation.verdict = not_ours(service, &explanation.ours);
    }
    let is_ours = explanation.ours.is_ours;
    let mut report = Report::new("Explanation", facts, Body { explanation });
    report.problems = problems;
    if is_ours {
        report.assumptions.clone_from(&world.assumptions);
        report.not_seen = not_seen(facts);
    }
    Some(report)
}

fn not_seen(facts: &Facts) -> Vec<NotSeen> {
    let all = [
        NotSeen::of(&facts.nodes, "nodes", "it is not told who announces"),
        NotSeen::of(
            &facts.slices,
            "endpointslices",
            "a ready endpoint is assumed, and traffic policy Local is not judged",
        ),
        NotSeen::of(
            &facts.namespaces,
            "namespaces",
            "pools that select namespaces by labels select none",
        ),
    ];
    all.into_iter().flatten().collect()
}

fn summary(service: &Service) -> String {
    let Some(spec) = &service.spec else {
        return String::new();
    };
    let ports = spec.ports.iter().flatten().map(|port| {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        format!("{protocol}/{}", port.port)
    });
    let ports: Vec<_> = ports.collect();
    format!(
        "{}  policy {}  {} {}  ports {}",
        spec.type_.as_deref().unwrap_or("ClusterIP"),
        spec.external_traffic_policy.as_deref().unwrap_or("Cluster"),
        spec.ip_families
            .as_ref()
            .map_or_else(|| "IPv4".to_owned(), |families| families.join(",")),
        spec.ip_family_policy.as_deref().unwrap_or("SingleStack"),
        ports.join(",")
    )
}

fn ours(service: &Service, our_class: &str) -> Ours {
    let class = service.spec.as_ref().and_then(|spec| spec.load_balancer_class.clone());
    let load_balancer = service.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some("LoadBalancer");
    Ours {
        is_ours: load_balancer && is_of_class(service, our_class),
        class: class.unwrap_or_default(),
        our_class: our_class.to_owned(),
    }
}

fn not_ours(service: &Service, ours: &Ours) -> String {
    let kind = service
        .spec
        .as_ref()
        .and_then(|spec| spec.type_.as_deref())
        .unwrap_or("ClusterIP");
    if kind != "LoadBalancer" {
        return format!("not for MetalLB: its type is {kind}; spec.type: LoadBalancer would make it so.");
    }
    let classes = [&ours.class, &ours.our_class].map(|class| match class.is_empty() {
        true => "none".to_owned(),
        false => format!("{class:?}"),
    });
    let [class, our_class] = classes;
    format!("not for MetalLB: its spec.loadBalancerClass is {class}, and the controller serves {our_class}.")
}

/// Takes in all addresses as the controller does when it starts, and asks it about the Service.
fn addresses(services: &[&Service], service: &Service, world: &World, explanation: &mut Explanation) -> Outcome {
    let mut assigner = Assigner::default();
    assigner.set_pools(&world.parsed.config.pools);
    let (ours, theirs): (Vec<&Service>, Vec<&Service>) = services
        .iter()
        .partition(|service| is_of_class(service, &world.settings.class));
    for service in ours.into_iter().chain(theirs) {
        assigner.import(&metallb_ipam::Service::from(service));
    }
    let seen = metallb_ipam::Service::from(service);
    asked(&assigner, &seen, explanation);
    explanation.address.ips = seen.shown();
    explanation.address.pool = seen.noted_pool().map(str::to_owned);
    let outcome = assigner.converge(&seen);
    if let Some(held) = assigner.allocator().held(&Key::of(service)) {
        explanation.address.due.clone_from(&held.ips);
        explanation.address.due_pool = Some(held.pool.to_string());
    }
    if let Some(standing) = &outcome.standing {
        standing.reason.clone_into(&mut explanation.address.reason);
        explanation.address.message.clone_from(&standing.message);
    }
    outcome
}

fn asked(assigner: &Assigner, seen: &metallb_ipam::Service, explanation: &mut Explanation) {
    let explained = match assigner.explain(seen) {
        Some(Ok(explained)) => explained,
        Some(Err(error)) => {
            explanation.asked.error = Some(error.to_string());
            return;
        }
        None => {
            explanation.asked.error = Some("its cluster addresses are no proper list".to_owned());
            return;
        }
    };
    let request = &explained.request;
    let key = request.sharing.as_ref().map(|sharing| sharing.key.to_string());
    explanation.asked = Asked {
        families: request.families.to_string(),
        ips: request.wanted.clone(),
        pool: request.pool.clone(),
        key: key.clone(),
        error: None,
    };
    let mut tried = 0;
    for trial in explained.trials {
        tried += usize::from(trial.asked);
        explanation.trials.push(Trial {
            text: answer(&trial, request.families, assigner),
            pool: trial.pool.to_string(),
            tried: trial.asked.then_some(tried),
            priority: trial.priority,
            ok: trial.answer.is_ok(),
            ips: trial.answer.unwrap_or_default(),
        });
    }
    explanation.clashes = explained
        .clashes
        .into_iter()
        .map(|clash| Clash {
            ip: clash.ip,
            services: clash
                .neighbours
                .iter()
                .map(|neighbour| neighbour.service.clone())
                .collect(),
            own_key: key.clone(),
            their_key: clash.sharing.as_ref().map(|sharing| sharing.key.to_string()),
            same_backend: clash
                .sharing
                .as_ref()
                .is_none_or(|theirs| request.sharing.as_ref().is_none_or(|own| own.backend == theirs.backend)),
            ports: {
                let ports: BTreeSet<_> = clash.neighbours.iter().flat_map(|neighbour| &neighbour.ports).collect();
                ports.into_iter().map(ToString::to_string).collect()
            },
        })
        .collect();
}

/// What a pool answers, in words.
fn answer(trial: &metallb_ipam::Trial, families: Families, assigner: &Assigner) -> String {
    let ips = match &trial.answer {
        Ok(ips) => ips,
        Err(why) if trial.asked => return format!("no: {why}"),
        Err(why) => return format!("not asked: {why}"),
    };
    let counters = assigner.allocator().counters(&trial.pool).unwrap_or_default();
    let free = |family: &str, free: u128, all: u128| format!("{free} of {all} {family} addresses free");
    let v4 = free("IPv4", counters.available_v4(), counters.capacity_v4);
    let v6 = free("IPv6", counters.available_v6(), counters.capacity_v6);
    let room = match families {
        Families::Dual => format!("{v4}, {v6}"),
        Families::Single(metallb_ipam::Family::V4) => v4,
        Families::Single(metallb_ipam::Family::V6) => v6,
    };
    match trial.asked {
        true => format!("yes: {room}; next is {}", list(ips)),
        false => format!("not reached; {room}"),
    }
}

/// Who would announce what the Service has now.
fn announcing(facts: &Facts, service: &Service, world: &World, explanation: &mut Explanation) {
    let view = ServiceView::from(service);
    let pool = view.addresses().and_then(|ips| world.parsed.config.pool_holding(&ips));
    let endpoints = endpoints(facts, service, world);
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
        bgp(world, pool, &view, &endpoints, &mut explanation.bgp);
    }
}

/// Endpoints that can serve; if nobody knows, some on every node.
fn endpoints(facts: &Facts, service: &Service, world: &World) -> Endpoints {
    if !facts.slices.is_known() {
        return Endpoints {
            any: true,
            nodes: world.nodes.keys().map(|name| &**name).collect(),
        };
    }
    let own = |slice: &&EndpointSlice| {
        let name = slice.labels().get("kubernetes.io/service-name");
        name == service.metadata.name.as_ref() && slice.namespace() == service.namespace()
    };
    let slices = facts.slices.list().iter().filter(own);
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

fn bgp(world: &World, pool: Option<&Pool>, view: &ServiceView, endpoints: &Endpoints, bgp: &mut Bgp) {
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
    let alive = |node: &str| {
        world
            .settings
            .speakers
            .as_ref()
            .is_none_or(|speakers| speakers.contains(node))
    };
    // Nodes that do the same are told in one row.
    let mut rows: Vec<Told> = Vec::new();
    for (node, decided) in case {
        let own = match decided {
            _ if !alive(&node) => vec![untold("its speaker is not Ready".to_owned())],
            // The words are upstream's: it is the owner of nothing.
            Err(Reason::NotOwner) => vec![untold("no advertisement selects it".to_owned())],
            Err(reason) => vec![untold(sentence(reason))],
            Ok(_) if world.drained.contains(&node) => {
                vec![untold("label metallb.io/drain: the node is drained".to_owned())]
            }
            Ok(routes) => told(world, &node, &routes),
        };
        for mut row in own {
            match rows
                .iter_mut()
                .find(|known| (&known.peers, &known.routes, &known.reason) == (&row.peers, &row.routes, &row.reason))
            {
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
    }
}

/// What a node tells its peers, those that hear the same in one.
fn told(world: &World, node: &Arc<str>, routes: &[Route]) -> Vec<Told> {
    let mut rows: BTreeMap<(Vec<String>, Option<String>), Vec<String>> = BTreeMap::new();
    for peer in world
        .parsed
        .config
        .peers
        .values()
        .filter(|peer| peer.nodes.contains(&**node))
    {
        let meant = |route: &&Route| route.path.peers.is_empty() || route.path.peers.contains(&peer.name);
        let carried = |route: &&Route| peer.exchanges(route.prefix.addr().is_ipv4());
        let own: Vec<String> = routes.iter().filter(meant).filter(carried).map(route).collect();
        let reason = own.is_empty().then(|| match routes.iter().any(|route| meant(&route)) {
            true => "the session carries no addresses of this family".to_owned(),
            false => "the advertisements name other peers".to_owned(),
        });
        rows.entry((own, reason)).or_default().push(peer.name.clone());
    }
    if rows.is_empty() {
        return vec![untold("no BGPPeer selects it".to_owned())];
    }
    let rows = rows.into_iter().map(|((routes, reason), peers)| Told {
        nodes: Vec::new(),
        peers,
        routes,
        reason,
    });
    rows.collect()
}

fn route(route: &Route) -> String {
    let mut text = route.prefix.to_string();
    if route.path.local_pref != 0 {
        text += &format!(" local-pref {}", route.path.local_pref);
    }
    for community in &route.path.communities {
        text += &match community {
            Community::Standard(number) => format!(" {}:{}", number >> 16, number & 0xffff),
            Community::Large { global, data1, data2 } => format!(" {global}:{data1}:{data2}"),
        };
    }
    text
}

/// The word of the log, and what it means.
fn sentence(reason: Reason) -> String {
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

/// Sums up, and says what is wrong.
fn judge(world: &World, service: &Service, explanation: &mut Explanation, outcome: &Outcome) -> Vec<Problem> {
    let mut problems = Vec::new();
    let address = &explanation.address;
    let mut problem = |id, text: &str| {
        let (severity, text) = (Severity::Error, text.to_owned());
        problems.push(Problem { id, severity, text });
    };
    explanation.verdict = if address.due.is_empty() {
        let text = format!("no address: {}: {}.", address.reason, address.message);
        problem("control.pending", &text);
        text
    } else if outcome.writes() {
        let pool = address.due_pool.as_deref().unwrap_or_default();
        let has = if address.ips.is_empty() {
            "no address yet".to_owned()
        } else {
            format!("it has {}", list(&address.ips))
        };
        let text = format!(
            "{has}: the controller should give it {} of pool {pool}. Does it run?",
            list(&address.due)
        );
        problem("control.behind", &text);
        text
    } else {
        let has = format!(
            "{} of pool {}",
            list(&address.due),
            address.due_pool.as_deref().unwrap_or_default()
        );
        if outcome.failed {
            problem("control.refused", &address.message);
        }
        let nodes: BTreeSet<&String> = explanation
            .bgp
            .rows
            .iter()
            .filter(|row| row.reason.is_none())
            .flat_map(|row| &row.nodes)
            .collect();
        let peers: BTreeSet<&String> = explanation
            .bgp
            .rows
            .iter()
            .filter(|row| row.reason.is_none())
            .flat_map(|row| &row.peers)
            .collect();
        let layer2 = explanation
            .layer2
            .decided
            .as_ref()
            .map(|node| format!("{node} should answer for it"));
        let bgp = (!peers.is_empty()).then(|| {
            format!(
                "{} should announce it to {}",
                many(nodes.len(), "node"),
                many(peers.len(), "peer")
            )
        });
        let ways: Vec<String> = layer2.into_iter().chain(bgp).collect();
        if !explanation.known {
            format!("{has}; who announces it is not known.")
        } else if ways.is_empty() {
            let text = format!("{has}; {}.", unannounced(world, service, explanation));
            problem("service.not-announced", &text);
            text
        } else {
            format!("{has}; {}.", ways.join("; "))
        }
    };
    problems
}

/// Why nobody announces a Service, in the words of its condition if that can be told by configuration and Nodes alone.
fn unannounced(world: &World, service: &Service, explanation: &Explanation) -> String {
    let view = ServiceView::from(service);
    let pool = view.addresses().and_then(|ips| world.parsed.config.pool_holding(&ips));
    let peers = world.parsed.config.peers.keys().cloned().collect();
    let around = Surroundings {
        nodes: &world.nodes,
        peers: &peers,
        ignore_exclude_label: world.settings.ignore_exclude_label,
    };
    if let Some(pool) = pool
        && let Err(barred) = Reach::new(pool, around).judge(&view)
    {
        return barred.sentence(&pool.name);
    }
    let layer2 = explanation
        .layer2
        .reason
        .as_ref()
        .map(|reason| format!("layer 2: {reason}"));
    let bgp = explanation.bgp.reason.as_ref().map(|reason| format!("BGP: {reason}"));
    let mut reasons: BTreeSet<String> = layer2.into_iter().chain(bgp).collect();
    if reasons.is_empty() {
        reasons = explanation
            .bgp
            .rows
            .iter()
            .filter_map(|row| row.reason.clone())
            .collect();
    }
    let reasons: Vec<String> = reasons.into_iter().collect();
    format!("nobody announces it ({})", reasons.join("; "))
}

pub(crate) fn many(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    }
}

pub(crate) fn list(ips: &[IpAddr]) -> String {
    let texts: Vec<String> = ips.iter().map(ToString::to_string).collect();
    texts.join(", ")
}
