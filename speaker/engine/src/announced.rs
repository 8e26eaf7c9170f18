//! What is announced for one Service, and the transitions.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use metallb_announce::election::Ranking;
use metallb_announce::{Decision, Layer2, Path, Reason, Route};
use metallb_config::{Interfaces, Peer};
use tracing::{debug, error, info, warn};

use crate::contributions::Contributions;
use crate::interner::Interner;
use crate::{Effect, EventKind, Families, Links, Protocol, RouteChange, ServiceKey, Standing, StatusContent, peers};

/// The service that is being judged, and what its announcement depends on besides the decision.
pub(crate) struct Context<'a> {
    pub(crate) node: &'a str,
    pub(crate) service: &'a Arc<ServiceKey>,
    pub(crate) uid: Option<&'a str>,
    /// What the Service has in its status.
    pub(crate) addresses: &'a [IpAddr],
    pub(crate) links: Option<&'a Links>,
    pub(crate) sessions: &'a BTreeMap<String, Peer>,
    pub(crate) uncarried: &'a BTreeMap<String, Families>,
    /// If layer 2 is lost, another node takes over.
    pub(crate) planned: bool,
    /// Layer 2 is left to another node for now.
    pub(crate) yielded: bool,
}

/// Why a protocol does not announce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Obstacle {
    Decided(Reason),
    /// None of the interfaces that the advertisement names exists.
    NoInterface,
    /// None of the interfaces to announce on is up and has a carrier.
    InterfaceDown,
    /// A node with a better claim announces, too.
    Yielded,
}

impl Obstacle {
    fn as_str(self) -> &'static str {
        match self {
            Self::Decided(reason) => reason.as_str(),
            Self::NoInterface => "interfaceNotFound",
            Self::InterfaceDown => "interfaceDown",
            Self::Yielded => "yieldedToPeer",
        }
    }
}

/// What the data plane has to change.
#[derive(Debug)]
pub(crate) struct Changes {
    pub(crate) addresses: Vec<(IpAddr, Option<Interfaces>)>,
    /// Addresses that another node takes over.
    pub(crate) handed_over: Vec<IpAddr>,
    pub(crate) routes: Vec<RouteChange>,
}

/// What all Services announce together.
#[derive(Debug, Default)]
pub(crate) struct Announcements {
    addresses: Contributions<IpAddr, Interfaces>,
    /// Those that another node takes over, if no Service is left here that has them.
    left: BTreeSet<IpAddr>,
    routes: Contributions<IpNet, Arc<Path>>,
    paths: Interner<Path>,
    names: Interner<Vec<String>>,
}

impl Announcements {
    /// Returns what changed since this was asked last. An address that Services share is answered on the interfaces of
    /// each.
    pub(crate) fn changes(&mut self) -> Changes {
        let routes = self.routes.changes(|mut paths| {
            paths.sort_unstable();
            paths
        });
        let routes = routes.into_iter().map(|(prefix, paths)| RouteChange {
            prefix,
            paths: paths.unwrap_or_default(),
        });
        let mut addresses = self.addresses.changes(union);
        let left = std::mem::take(&mut self.left);
        let handed_over = addresses.extract_if(.., |(ip, now)| now.is_none() && left.contains(ip));
        Changes {
            handed_over: handed_over.map(|(ip, _)| ip).collect(),
            addresses,
            routes: routes.collect(),
        }
    }

    /// Says whether a Service has this address announced in layer 2.
    pub(crate) fn announces(&self, ip: IpAddr) -> bool {
        self.addresses.contains(ip)
    }

    /// How many prefixes are announced.
    pub(crate) fn prefixes(&self) -> usize {
        self.routes.len()
    }

    /// Forgets what is shared with nobody any more.
    pub(crate) fn sweep(&mut self) {
        self.paths.sweep();
        self.names.sweep();
    }
}

fn union(all: Vec<Interfaces>) -> Interfaces {
    let mut names = BTreeSet::new();
    for interfaces in all {
        match interfaces {
            Interfaces::All => return Interfaces::All,
            Interfaces::Only(only) => names.extend(only),
        }
    }
    Interfaces::Only(names)
}

/// One protocol's part of a Service.
#[derive(Clone, Debug, Default, PartialEq)]
struct Part {
    /// The addresses announced.
    addresses: Option<Vec<IpAddr>>,
    obstacle: Option<Obstacle>,
    status: Option<StatusContent>,
}

/// What is announced for one Service.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Announced {
    layer2: Option<Layer2>,
    routes: Vec<Route>,
    ranking: Option<Ranking>,
    on_layer2: Part,
    on_bgp: Part,
    /// By the last decision this node is to answer, if its interfaces let it.
    elected: bool,
}

impl Announced {
    fn is_announcing(&self) -> bool {
        self.on_layer2.addresses.is_some() || self.on_bgp.addresses.is_some()
    }

    /// Tells whether a decision was made since the Service was forgotten.
    pub(crate) fn is_judged(&self) -> bool {
        *self != Self::default()
    }

    /// Starts anew, after everything was withdrawn.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn depends_on_links(&self) -> bool {
        self.elected
    }

    /// Tells whether this node answers for some address on behalf of the Service.
    pub(crate) fn answers(&self) -> bool {
        self.layer2.is_some()
    }

    /// Tells whether this node answers for the address on behalf of the Service.
    pub(crate) fn answers_for(&self, ip: IpAddr) -> bool {
        self.layer2
            .as_ref()
            .is_some_and(|layer2| layer2.addresses.contains(&ip))
    }

    pub(crate) fn has_routes(&self) -> bool {
        !self.routes.is_empty()
    }

    /// Who was to answer by the last decision, and who stands in.
    pub(crate) fn ranking(&self) -> Option<&Ranking> {
        self.ranking.as_ref()
    }

    pub(crate) fn standing(&self, service: &Arc<ServiceKey>) -> Standing {
        let mut bgp: Vec<IpNet> = self.routes.iter().map(|route| route.prefix).collect();
        bgp.dedup();
        Standing {
            service: Arc::clone(service),
            layer2: self
                .layer2
                .as_ref()
                .map(|layer2| (layer2.addresses.clone(), layer2.interfaces.clone())),
            yielded: Vec::new(),
            bgp,
            no_layer2: self.on_layer2.obstacle.map(Obstacle::as_str),
            no_bgp: self.on_bgp.obstacle.map(Obstacle::as_str),
        }
    }

    fn part(&mut self, protocol: Protocol) -> &mut Part {
        match protocol {
            Protocol::Layer2 => &mut self.on_layer2,
            Protocol::Bgp => &mut self.on_bgp,
        }
    }

    /// Brings the announcement in line with `decision`.
    pub(crate) fn update(
        &mut self,
        context: &Context<'_>,
        decision: Decision,
        all: &mut Announcements,
        effects: &mut Vec<Effect>,
    ) {
        let layer2 = self.reachable(context, decision.layer2);
        let bgp = decision.bgp.map_err(Obstacle::Decided);
        let ranking = std::mem::replace(&mut self.ranking, decision.ranking);
        if self.layer2.is_none()
            && let Ok(layer2) = &layer2
            && let Some(from) = owner(ranking.as_ref()).filter(|from| **from != *context.node)
        {
            effects.push(Effect::Moved {
                service: Arc::clone(context.service),
                from,
                addresses: layer2.addresses.clone(),
            });
        }
        let failed_before = self.on_layer2.obstacle == Some(Obstacle::NoInterface);
        if layer2 == Err(Obstacle::NoInterface) && !failed_before {
            failed(context, effects);
        }
        let yielded = Some(Obstacle::Yielded).filter(|_| context.yielded);
        let silent = layer2.as_ref().err().copied().or(yielded);
        let dropped = [
            self.move_to(context, Protocol::Bgp, bgp.as_ref().err().copied(), effects),
            self.move_to(context, Protocol::Layer2, silent, effects),
        ];
        if context.planned && !context.yielded {
            let answered = self.layer2.iter().flat_map(|layer2| &layer2.addresses);
            all.left
                .extend(answered.filter(|ip| context.addresses.contains(ip)).copied());
        }
        self.announce_addresses(layer2.ok(), all);
        self.announce_routes(bgp.unwrap_or_default(), all);
        self.update_status(context, all, effects);
        if let Some(obstacle) = dropped.into_iter().flatten().last().filter(|_| !self.is_announcing()) {
            let (service, reason) = (context.service, obstacle.as_str());
            let owner = owner(self.ranking.as_ref()).filter(|owner| **owner != *context.node);
            let owner = owner.as_deref();
            info!(event = "serviceWithdrawn", %service, reason, owner, "withdrawing service announcement");
        }
    }

    fn announce_addresses(&mut self, layer2: Option<Layer2>, all: &mut Announcements) {
        fn pairs(layer2: Option<&Layer2>) -> impl Iterator<Item = (IpAddr, Interfaces)> {
            let pair = |layer2: &Layer2, ip: &IpAddr| (*ip, layer2.interfaces.clone());
            layer2
                .into_iter()
                .flat_map(move |layer2| layer2.addresses.iter().map(move |ip| pair(layer2, ip)))
        }
        if self.layer2 != layer2 {
            all.addresses
                .replace(pairs(self.layer2.as_ref()), pairs(layer2.as_ref()));
            self.layer2 = layer2;
        }
    }

    fn announce_routes(&mut self, routes: Vec<Route>, all: &mut Announcements) {
        fn pairs(routes: &[Route]) -> impl Iterator<Item = (IpNet, Arc<Path>)> {
            routes.iter().map(|route| (route.prefix, Arc::clone(&route.path)))
        }
        if self.routes == routes {
            return;
        }
        let routes: Vec<Route> = routes
            .into_iter()
            .map(|route| Route {
                prefix: route.prefix,
                path: all.paths.share(route.path),
            })
            .collect();
        all.routes.replace(pairs(&self.routes), pairs(&routes));
        self.routes = routes;
    }

    /// An announcement on interfaces of which none exists, or none is up, is none.
    ///
    /// Upstream: counts it as announced and does not look again when the interface appears.
    fn reachable(&mut self, context: &Context<'_>, decided: Result<Layer2, Reason>) -> Result<Layer2, Obstacle> {
        self.elected = decided.is_ok();
        let layer2 = decided.map_err(Obstacle::Decided)?;
        let Some(links) = context.links else {
            return Ok(layer2);
        };
        let (exists, usable) = match &layer2.interfaces {
            Interfaces::All => (true, !links.usable.is_empty()),
            Interfaces::Only(names) => (!names.is_disjoint(&links.known), !names.is_disjoint(&links.usable)),
        };
        match (exists, usable) {
            (false, _) => Err(Obstacle::NoInterface),
            (true, false) => Err(Obstacle::InterfaceDown),
            (true, true) => Ok(layer2),
        }
    }

    /// Tells people that a protocol announces, or does not because of an obstacle; returns why it stopped, if it did.
    fn move_to(
        &mut self,
        context: &Context<'_>,
        protocol: Protocol,
        obstacle: Option<Obstacle>,
        effects: &mut Vec<Effect>,
    ) -> Option<Obstacle> {
        let service = context.service;
        let part = self.part(protocol);
        if let Some(obstacle) = obstacle {
            if part.obstacle.replace(obstacle) != Some(obstacle) {
                explain(context, protocol, obstacle, effects);
            }
            part.addresses.take()?;
            effects.push(Effect::Announced(Arc::clone(service), protocol, Vec::new()));
            return Some(obstacle);
        }
        part.obstacle = None;
        let addresses = context.addresses;
        if part
            .addresses
            .as_ref()
            .is_some_and(|before| same_set(before, addresses))
        {
            return None;
        }
        if part.addresses.is_some() {
            info!(event = "serviceWithdrawn", %service, %protocol, reason = "loadBalancerIPChanged");
        }
        info!(event = "serviceAnnounced", %service, %protocol, ips = ?addresses, "service has IP, announcing");
        effects.push(Effect::Announced(Arc::clone(service), protocol, addresses.to_vec()));
        let note = format!("announcing from node {:?} with protocol \"{protocol}\"", context.node);
        effects.push(event(context, EventKind::NodeAssigned, note));
        part.addresses = Some(addresses.to_vec());
        None
    }

    fn update_status(&mut self, context: &Context<'_>, all: &mut Announcements, effects: &mut Vec<Effect>) {
        let mut shared = |names: Vec<String>| all.names.share(Arc::new(names));
        let answering = self.layer2.as_ref().filter(|_| !context.yielded);
        let layer2 = answering.map(|layer2| names(&layer2.interfaces));
        let layer2 = layer2.map(|names| StatusContent::Interfaces(shared(names)));
        let peers = Some(peers(&self.routes, context)).filter(|peers| !peers.is_empty());
        let bgp = peers.map(|peers| StatusContent::Peers(shared(peers)));
        for (protocol, content) in [(Protocol::Layer2, layer2), (Protocol::Bgp, bgp)] {
            let part = self.part(protocol);
            if part.status != content {
                part.status.clone_from(&content);
                effects.push(Effect::Status(Arc::clone(context.service), protocol, content));
            }
        }
    }
}

/// Who is to answer.
fn owner(ranking: Option<&Ranking>) -> Option<Arc<str>> {
    ranking.and_then(|ranking| ranking.nodes().first()).cloned()
}

fn event(context: &Context<'_>, kind: EventKind, note: String) -> Effect {
    Effect::Event {
        service: Arc::clone(context.service),
        uid: context.uid.map(ToOwned::to_owned),
        kind,
        note,
    }
}

fn failed(context: &Context<'_>, effects: &mut Vec<Effect>) {
    for ip in context.addresses {
        let note = format!(
            "the interfaces specified by LB IP \"{ip}\" doesn't exist in assigned node {:?} with protocol \"layer2\"",
            context.node
        );
        effects.push(event(context, EventKind::AnnounceFailed, note));
    }
}

fn explain(context: &Context<'_>, protocol: Protocol, obstacle: Obstacle, effects: &mut Vec<Effect>) {
    let (service, reason) = (context.service, obstacle.as_str());
    match obstacle {
        Obstacle::Decided(Reason::ConflictingAdvertisements) => {
            error!(event = "conflictingAdvertisements", %service, %protocol, reason, "not announced");
            let note = "BGP advertisements for this service have different localPref for the same prefix".to_owned();
            effects.push(event(context, EventKind::ConflictingAdvertisements, note));
        }
        Obstacle::NoInterface
        | Obstacle::InterfaceDown
        | Obstacle::Yielded
        | Obstacle::Decided(
            Reason::NodeNetworkUnavailable | Reason::NodeLabeledExcludeBalancers | Reason::SharedIpWithServiceSelector,
        ) => warn!(event = "notAnnounced", %service, %protocol, reason),
        Obstacle::Decided(_) => debug!(event = "notAnnounced", %service, %protocol, reason),
    }
}

fn same_set(a: &[IpAddr], b: &[IpAddr]) -> bool {
    a.iter().collect::<BTreeSet<_>>() == b.iter().collect()
}

fn names(interfaces: &Interfaces) -> Vec<String> {
    match interfaces {
        Interfaces::All => Vec::new(),
        Interfaces::Only(names) => names.iter().cloned().collect(),
    }
}

/// Peers with a session that are meant for, and carry, one of the routes.
fn peers(routes: &[Route], context: &Context<'_>) -> Vec<String> {
    let told = |(name, peer): &(&String, &Peer)| {
        let uncarried = context.uncarried.get(*name).copied().unwrap_or_default();
        let meant = |route: &Route| route.path.peers.is_empty() || route.path.peers.contains(*name);
        routes
            .iter()
            .any(|route| meant(route) && peers::carries(peer, uncarried, route.prefix))
    };
    let told = context.sessions.iter().filter(told);
    told.map(|(name, _)| name.clone()).collect()
}
