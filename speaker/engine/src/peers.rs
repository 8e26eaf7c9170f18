//! Which of the configured peers this node has sessions with, and what those cannot do yet.

use std::collections::BTreeMap;

use ipnet::IpNet;
use metallb_config::{Backend, BfdProfile, Endpoint, Peer};

use crate::Families;

/// Tells whether the back-end can hold a session with `peer`.
pub(crate) fn is_reachable(peer: &Peer, backend: Backend) -> bool {
    backend.is_frr() || matches!(peer.endpoint, Endpoint::Address(_))
}

/// Describes `peer` without the other nodes that have sessions with it: which those are is no concern of this one.
pub(crate) fn here(peer: &Peer, own: &str) -> Peer {
    Peer {
        nodes: peer.nodes.iter().filter(|node| *node == own).cloned().collect(),
        ..peer.clone()
    }
}

/// Lists what `peer` asks for and does not get, one sentence each.
pub(crate) fn unmet(peer: &Peer, profiles: &BTreeMap<String, BfdProfile>, backend: Backend) -> Vec<String> {
    let name = &peer.name;
    let mut unmet = Vec::new();
    if !is_reachable(peer, backend) {
        unmet.push(format!(
            "BGPPeer {name}: spec.interface: unnumbered peering is not supported yet, there is no session"
        ));
    }
    if backend.is_frr() {
        return unmet;
    }
    let profile = peer.bfd_profile.as_ref().and_then(|name| profiles.get(name));
    if let Some(profile) = profile.filter(|profile| profile.echo_mode && peer.ebgp_multihop) {
        unmet.push(format!(
            "BGPPeer {name}: spec.bfdProfile: echoMode of BFDProfile {} has no effect with ebgpMultiHop: echoes go over one hop \
             only (RFC 5883)",
            profile.name
        ));
    }
    if peer.graceful_restart {
        unmet.push(format!(
            "BGPPeer {name}: spec.enableGracefulRestart: graceful restart is not supported yet"
        ));
    }
    unmet
}

/// Tells whether a session carries routes of the family of `prefix`, as far as is known.
pub(crate) fn carries(peer: &Peer, uncarried: Families, prefix: IpNet) -> bool {
    let ipv4 = prefix.addr().is_ipv4();
    let own = match peer.endpoint {
        Endpoint::Address(address) => address.is_ipv4() == ipv4,
        Endpoint::Interface(_) => true,
    };
    let refused = if ipv4 { uncarried.ipv4 } else { uncarried.ipv6 };
    (own || peer.dual_stack) && !refused
}
