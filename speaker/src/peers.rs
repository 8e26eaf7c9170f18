//! From the configured peers to sessions of the data plane.

use metallb_config::{Endpoint, ExposeSecret, Peer, RemoteAs};
use metallb_dataplane::bgp::{self, Offer, Password, PeerConfig};

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
        offer: Offer {
            route_refresh: true,
            extended_message: true,
            // IPv4 routes over an IPv6 session have nothing but IPv6 next hops.
            extended_next_hop: peer.dual_stack && address.is_ipv6(),
        },
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

#[cfg(test)]
mod tests {
    use metallb_api::BGPPeer;
    use metallb_config::{Options, Resources};
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_core_can_do_is_offered_where_it_is_of_use() {
        for (address, dual_stack, next_hops) in [
            ("192.0.2.1", false, false),
            ("192.0.2.1", true, false),
            ("2001:db8::1", false, false),
            ("2001:db8::1", true, true),
        ] {
            let peer: BGPPeer = serde_json::from_value(json!({
                "apiVersion": "metallb.io/v1beta2", "kind": "BGPPeer", "metadata": { "name": "tor" },
                "spec": { "myASN": 1, "peerASN": 2, "peerAddress": address, "dualStackAddressFamily": dual_stack },
            }))
            .unwrap();
            let resources = Resources {
                peers: vec![peer],
                ..Resources::default()
            };
            let parsed = metallb_config::parse(&resources, &Options::default());
            let offer = session(&parsed.config.peers["tor"], "node").unwrap().offer;
            assert!(offer.route_refresh && offer.extended_message);
            assert_eq!(offer.extended_next_hop, next_hops, "{address} {dual_stack}");
        }
    }
}
