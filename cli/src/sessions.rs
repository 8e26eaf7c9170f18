//! How BGP sessions are doing, as speakers and frr-k8s have written.

use std::collections::BTreeMap;
use std::net::IpAddr;

use metallb_api::BGPSessionStateStatus;
use metallb_config::Peer;

use crate::facts::Facts;
use crate::world::World;

/// The state of a session that is up.
const UP: &str = "Established";

/// The states of all sessions that are to be, by node and peer.
pub(crate) struct Sessions<'a>(BTreeMap<(&'a str, &'a str), &'a BGPSessionStateStatus>);

impl<'a> Sessions<'a> {
    /// Sorts what was read; none if nobody has written anything, as FRR and upstream's native mode do, or if it is not known
    /// which nodes are to have sessions.
    pub(crate) fn new(facts: &'a Facts, world: &'a World) -> Option<Self> {
        let states = facts.session_states.list().iter();
        // frr-k8s names the address alone.
        let peers = world.parsed.config.peers.values();
        let by_address: BTreeMap<(String, &str), &str> = peers
            .map(|peer| {
                let vrf = peer.vrf.as_deref().unwrap_or_default();
                ((peer.endpoint.to_string(), vrf), peer.name.as_str())
            })
            .collect();
        let found = states.filter_map(|state| {
            let status = state.status.as_ref()?;
            let address = status
                .peer
                .parse()
                .map_or_else(|_| status.peer.clone(), |ip: IpAddr| ip.to_string());
            let peer = match status.peer_name.as_str() {
                "" => by_address.get(&(address, status.vrf.as_str())).copied()?,
                name => name,
            };
            Some(((status.node.as_str(), peer), status))
        });
        let found: BTreeMap<_, _> = found.collect();
        (facts.nodes.is_known() && !found.is_empty()).then_some(Self(found))
    }

    pub(crate) fn of(&self, node: &'a str, peer: &'a str) -> Option<&'a BGPSessionStateStatus> {
        self.0.get(&(node, peer)).copied()
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
