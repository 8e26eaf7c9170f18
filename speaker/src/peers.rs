//! From the configured peers to sessions of the data plane.

use metallb_config::{Endpoint, ExposeSecret, Peer, RemoteAs};
use metallb_dataplane::bgp::{self, Password, PeerConfig};

/// Describes the session with `peer` from `node`; `None` if the peer has no address (unnumbered, not supported yet).
#[must_use]
pub(crate) fn session(peer: &Peer, node: &str) -> Option<PeerConfig> {
    let Endpoint::Address(address) = peer.endpoint else {
        return None;
    };
    Some(PeerConfig {
        port: peer.port,
        source: peer.source,
        device: peer.vrf.clone(),
        password: peer
            .password
            .as_ref()
            .map(|p| Password::new(p.expose_secret().as_bytes())),
        local_asn: peer.local_asn,
        router_id: peer.router_id,
        node_name: node.to_owned(),
        hold_time: peer.hold_time,
        keepalive_time: peer.keepalive_time,
        connect_time: peer.connect_time,
        ebgp_multihop: peer.ebgp_multihop,
        dual_stack: peer.dual_stack,
        ..PeerConfig::new(peer.name.clone(), peer.my_asn, remote(peer.remote), address)
    })
}

/// Lists what `peer` asks for and does not get, one sentence each.
#[must_use]
pub(crate) fn unmet(peer: &Peer) -> Vec<String> {
    let name = &peer.name;
    let mut unmet = Vec::new();
    if !matches!(peer.endpoint, Endpoint::Address(_)) {
        unmet.push(format!(
            "BGPPeer {name}: spec.interface: unnumbered peering is not supported yet, there is no session"
        ));
    }
    if let Some(profile) = &peer.bfd_profile {
        unmet.push(format!(
            "BGPPeer {name}: spec.bfdProfile: BFD is not supported yet, profile {profile} has no effect"
        ));
    }
    if peer.graceful_restart {
        unmet.push(format!(
            "BGPPeer {name}: spec.enableGracefulRestart: graceful restart is not supported yet"
        ));
    }
    unmet
}

fn remote(remote: RemoteAs) -> bgp::RemoteAs {
    match remote {
        RemoteAs::Asn(asn) => bgp::RemoteAs::Asn(asn),
        RemoteAs::Internal => bgp::RemoteAs::Internal,
        RemoteAs::External => bgp::RemoteAs::External,
    }
}

/// Tells whether a session carries routes of the family of `prefix`.
#[must_use]
pub(crate) fn carries(session: &PeerConfig, prefix: ipnet::IpNet) -> bool {
    session.dual_stack || session.address.is_ipv4() == prefix.addr().is_ipv4()
}
