//! Which of the configured peers this node has sessions with.

use std::collections::BTreeMap;

use ipnet::IpNet;
use metallb_config::{Backend, BfdProfile, Peer};

use crate::Families;

/// Describes `peer` without the other nodes that have sessions with it: which those are is no concern of this one.
pub(crate) fn here(peer: &Peer, own: &str) -> Peer {
    Peer {
        nodes: peer.nodes.iter().filter(|node| *node == own).cloned().collect(),
        ..peer.clone()
    }
}

/// Lists what `peer` asks for and does not get, one sentence each.
pub(crate) fn unmet(peer: &Peer, profiles: &BTreeMap<String, BfdProfile>, backend: Backend) -> Option<String> {
    let name = &peer.name;
    if backend.is_frr() {
        return peer
            .ttl_security
            .then(|| format!("BGPPeer {name}: spec.ttlSecurity: only the native back-end has it"));
    }
    let profile = peer.bfd_profile.as_ref().and_then(|name| profiles.get(name))?;
    (profile.echo_mode && peer.ebgp_multihop).then(|| {
        format!(
            "BGPPeer {name}: spec.bfdProfile: echoMode of BFDProfile {} has no effect with ebgpMultiHop: echoes go over one hop \
             only (RFC 5883)",
            profile.name
        )
    })
}

/// Tells whether a session carries routes of the family of `prefix`, as far as is known.
pub(crate) fn carries(peer: &Peer, uncarried: Families, prefix: IpNet) -> bool {
    let ipv4 = prefix.addr().is_ipv4();
    let refused = if ipv4 { uncarried.ipv4 } else { uncarried.ipv6 };
    peer.exchanges(ipv4) && !refused
}
