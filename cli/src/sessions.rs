//! How BGP sessions are doing, as speakers and frr-k8s have written.

use std::collections::BTreeMap;
use std::net::IpAddr;

use metallb_api::BGPSessionStateStatus;
use metallb_config::Peer;

use crate::facts::Facts;
use crate::world::World;

/// The state of a session that is up.
pub(crate) const UP: &str = "Established";

/// The states of all sessions that are to be, by node and peer.
pub(crate) struct Sessions<'a>(BTreeMap<(&'a str, &'a str), &'a BGPSessionStateStatus>);

impl<'a> Sessions<'a> {
    /// Sorts what was read; none if nobody has written anything, as FRR and upstream's native mode do, or if it is not known
    /// which nodes are to have sessions.
    pub(crate) fn new(facts: &'a Facts, world: &'a World) -> Option<Self> {
        let names = PeerNames::new(world);
        let found = facts.session_states.list().iter().filter_map(|state| {
            let status = state.status.as_ref()?;
            Some(((status.node.as_str(), names.of(status)?), status))
        });
        let found: BTreeMap<_, _> = found.collect();
        (facts.nodes.is_known() && !found.is_empty()).then_some(Self(found))
    }

    pub(crate) fn of(&self, node: &'a str, peer: &'a str) -> Option<&'a BGPSessionStateStatus> {
        self.0.get(&(node, peer)).copied()
    }
}

/// Names of peers by address and VRF, which is all that frr-k8s says of them.
pub(crate) struct PeerNames<'a>(BTreeMap<(String, &'a str), &'a str>);

impl<'a> PeerNames<'a> {
    pub(crate) fn new(world: &'a World) -> Self {
        let all = world.parsed.config.peers.values().map(|peer| {
            let vrf = peer.vrf.as_deref().unwrap_or_default();
            ((peer.endpoint.to_string(), vrf), peer.name.as_str())
        });
        Self(all.collect())
    }

    /// The name of the peer that a state is about; none if it is not configured.
    pub(crate) fn of(&self, status: &'a BGPSessionStateStatus) -> Option<&'a str> {
        if !status.peer_name.is_empty() {
            return Some(&status.peer_name);
        }
        let address = status.peer.parse().map(|ip: IpAddr| ip.to_string());
        let address = address.unwrap_or_else(|_| status.peer.clone());
        self.0.get(&(address, status.vrf.as_str())).copied()
    }
}

pub(crate) fn is_up(state: &BGPSessionStateStatus) -> bool {
    state.bgp_status == UP
}

/// The nodes that are to have a session with a peer, and whose speakers are alive.
pub(crate) fn wanted<'a>(world: &'a World, peer: &'a Peer) -> impl Iterator<Item = &'a str> {
    peer.nodes
        .iter()
        .map(String::as_str)
        .filter(|node| world.is_alive(node))
}

/// The autonomous system that a peer is to be in.
pub(crate) fn asn(peer: &Peer) -> String {
    match peer.remote {
        metallb_config::RemoteAs::Asn(asn) => asn.to_string(),
        metallb_config::RemoteAs::Internal => "internal".to_owned(),
        metallb_config::RemoteAs::External => "external".to_owned(),
    }
}
