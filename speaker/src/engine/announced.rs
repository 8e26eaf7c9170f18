//! What is announced for one Service, and the transitions.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use metallb_announce::{Decision, Layer2, Reason, Route};
use metallb_config::Interfaces;
use metallb_dataplane::bgp::PeerConfig;
use metallb_dataplane::l2;
use tracing::{debug, error, info, warn};

use super::{Effect, EventKind, Protocol, ServiceKey, StatusContent, interfaces};

/// The service that is being judged, and what its announcement depends on besides the decision.
pub(super) struct Context<'a> {
    pub(super) node: &'a str,
    pub(super) service: &'a ServiceKey,
    pub(super) uid: Option<&'a str>,
    /// What the Service has in its status.
    pub(super) addresses: &'a [IpAddr],
    pub(super) interfaces: Option<&'a BTreeSet<String>>,
    pub(super) sessions: &'a BTreeMap<String, PeerConfig>,
}

/// Why a protocol does not announce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Obstacle {
    Decided(Reason),
    /// None of the interfaces that the advertisement names exists.
    NoInterface,
}

impl Obstacle {
    fn as_str(self) -> &'static str {
        match self {
            Self::Decided(reason) => reason.as_str(),
            Self::NoInterface => "interfaceNotFound",
        }
    }
}

/// What is announced for one Service.
#[derive(Clone, Debug, Default)]
pub(super) struct Announced {
    layer2: Option<Layer2>,
    routes: Vec<Route>,
    addresses: BTreeMap<Protocol, Vec<IpAddr>>,
    obstacles: BTreeMap<Protocol, Obstacle>,
    status: BTreeMap<Protocol, StatusContent>,
    /// The last decision was for certain interfaces only.
    restricted: bool,
}

impl Announced {
    pub(super) fn is_announcing(&self) -> bool {
        !self.addresses.is_empty()
    }

    pub(super) fn depends_on_interfaces(&self) -> bool {
        self.restricted
    }

    /// Brings the announcement in line with `decision`; tells whether the data plane must know.
    pub(super) fn update(&mut self, context: &Context<'_>, decision: Decision, effects: &mut Vec<Effect>) -> bool {
        let layer2 = self.reachable(context, decision.layer2);
        let bgp = decision.bgp.map_err(Obstacle::Decided);
        let failed_before = self.obstacles.get(&Protocol::Layer2) == Some(&Obstacle::NoInterface);
        if layer2 == Err(Obstacle::NoInterface) && !failed_before {
            failed(context, effects);
        }
        let routes = bgp.as_ref().cloned().unwrap_or_default();
        let addresses = |()| context.addresses.to_vec();
        let dropped = [
            self.move_to(context, Protocol::Bgp, bgp.map(drop).map(addresses), effects),
            self.move_to(
                context,
                Protocol::Layer2,
                layer2.as_ref().map(drop).map(addresses).map_err(|o| *o),
                effects,
            ),
        ];
        let layer2 = layer2.ok();
        let changed = self.layer2 != layer2 || self.routes != routes;
        self.layer2 = layer2;
        self.routes = routes;
        self.update_status(context, effects);
        if let Some(obstacle) = dropped.into_iter().flatten().last().filter(|_| !self.is_announcing()) {
            let (service, reason) = (context.service, obstacle.as_str());
            info!(event = "serviceWithdrawn", %service, reason, "withdrawing service announcement");
        }
        changed
    }

    /// An announcement on interfaces of which none exists is none.
    ///
    /// Upstream: counts it as announced and does not look again when the interface appears.
    fn reachable(&mut self, context: &Context<'_>, decided: Result<Layer2, Reason>) -> Result<Layer2, Obstacle> {
        self.restricted = false;
        let layer2 = decided.map_err(Obstacle::Decided)?;
        self.restricted = matches!(layer2.interfaces, Interfaces::Only(_));
        match (&layer2.interfaces, context.interfaces) {
            (Interfaces::Only(names), Some(existing)) if names.is_disjoint(existing) => Err(Obstacle::NoInterface),
            _ => Ok(layer2),
        }
    }

    /// Returns why the protocol stopped announcing, if it did.
    fn move_to(
        &mut self,
        context: &Context<'_>,
        protocol: Protocol,
        wanted: Result<Vec<IpAddr>, Obstacle>,
        effects: &mut Vec<Effect>,
    ) -> Option<Obstacle> {
        let service = context.service;
        let before = self.addresses.get(&protocol);
        match wanted {
            Ok(addresses) => {
                self.obstacles.remove(&protocol);
                if before.is_some_and(|before| same_set(before, &addresses)) {
                    return None;
                }
                if before.is_some() {
                    info!(event = "serviceWithdrawn", %service, %protocol, reason = "loadBalancerIPChanged");
                }
                info!(event = "serviceAnnounced", %service, %protocol, ips = ?addresses, "service has IP, announcing");
                effects.push(Effect::Announced(service.clone(), protocol, addresses.clone()));
                let note = format!("announcing from node {:?} with protocol \"{protocol}\"", context.node);
                effects.push(event(context, EventKind::NodeAssigned, note));
                self.addresses.insert(protocol, addresses);
                None
            }
            Err(obstacle) => {
                if self.obstacles.insert(protocol, obstacle) != Some(obstacle) {
                    explain(context, protocol, obstacle, effects);
                }
                self.addresses.remove(&protocol)?;
                effects.push(Effect::Announced(service.clone(), protocol, Vec::new()));
                Some(obstacle)
            }
        }
    }

    fn update_status(&mut self, context: &Context<'_>, effects: &mut Vec<Effect>) {
        let layer2 = self
            .layer2
            .as_ref()
            .map(|l2| StatusContent::Interfaces(names(&l2.interfaces)));
        let peers = peers(&self.routes, context.sessions);
        let bgp = (!peers.is_empty()).then_some(StatusContent::Peers(peers));
        for (protocol, content) in [(Protocol::Layer2, layer2), (Protocol::Bgp, bgp)] {
            if self.status.get(&protocol) == content.as_ref() {
                continue;
            }
            match &content {
                Some(content) => drop(self.status.insert(protocol, content.clone())),
                None => drop(self.status.remove(&protocol)),
            }
            effects.push(Effect::Status(context.service.clone(), protocol, content));
        }
    }
}

fn event(context: &Context<'_>, kind: EventKind, note: String) -> Effect {
    Effect::Event {
        service: context.service.clone(),
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

/// Peers with a session that are meant for, and can carry, one of the routes.
fn peers(routes: &[Route], sessions: &BTreeMap<String, PeerConfig>) -> Vec<String> {
    let meant = |route: &Route, name: &String| route.peers.is_empty() || route.peers.contains(name);
    sessions
        .iter()
        .filter(|(name, session)| {
            routes
                .iter()
                .any(|r| meant(r, name) && crate::peers::carries(session, r.prefix))
        })
        .map(|(name, _)| name.clone())
        .collect()
}

/// Everything to answer for; an address that Services share is answered on the interfaces of each.
pub(super) fn layer2<'a>(all: impl Iterator<Item = &'a Announced>) -> l2::Desired {
    let mut desired = l2::Desired::new();
    for layer2 in all.filter_map(|announced| announced.layer2.as_ref()) {
        for ip in &layer2.addresses {
            let entry = desired
                .entry(*ip)
                .or_insert_with(|| l2::Interfaces::Only(BTreeSet::new()));
            match (entry, interfaces(&layer2.interfaces)) {
                (l2::Interfaces::Only(names), l2::Interfaces::Only(more)) => names.extend(more),
                (entry, l2::Interfaces::All) => *entry = l2::Interfaces::All,
                (l2::Interfaces::All, _) => {}
            }
        }
    }
    desired
}

/// All routes, each once.
pub(super) fn routes<'a>(all: impl Iterator<Item = &'a Announced>) -> Vec<Route> {
    let unique: BTreeSet<&Route> = all.flat_map(|announced| &announced.routes).collect();
    unique.into_iter().cloned().collect()
}
