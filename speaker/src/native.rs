//! From the engine's vocabulary to that of our own data plane.

use metallb_config::{Community, Endpoint, ExposeSecret, Peer};
use metallb_dataplane::bgp::{self, Attributes, GracefulRestart, LargeCommunity, Offer, Password, PeerConfig};
use metallb_engine::RouteChange;

/// What to advertise.
pub(crate) fn routes(changes: &[RouteChange]) -> Vec<bgp::RouteChange> {
    changes.iter().map(route).collect()
}

fn route(change: &RouteChange) -> bgp::RouteChange {
    let path = |path: &metallb_announce::Path| bgp::Path {
        peers: path.peers.clone(),
        attributes: attributes(path).into(),
    };
    bgp::RouteChange {
        prefix: change.prefix,
        paths: change.paths.iter().map(|shared| path(shared)).collect(),
    }
}

fn attributes(path: &metallb_announce::Path) -> Attributes {
    let mut attributes = Attributes {
        local_pref: path.local_pref,
        ..Attributes::default()
    };
    for community in &path.communities {
        match *community {
            Community::Standard(value) => drop(attributes.communities.insert(value)),
            Community::Large { global, data1, data2 } => {
                let community = LargeCommunity { global, data1, data2 };
                attributes.large_communities.insert(community);
            }
        }
    }
    attributes
}

/// Describes the session with `peer` from `node`; `None` for a peer without an address, which the engine has reported.
pub(crate) fn session(peer: &Peer, node: &str, restart: GracefulRestart) -> Option<PeerConfig> {
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
            enhanced_refresh: true,
            host_name: true,
            extended_message: true,
            // IPv4 routes over an IPv6 session have nothing but IPv6 next hops.
            extended_next_hop: peer.dual_stack && address.is_ipv6(),
        },
        graceful_restart: peer.graceful_restart.then_some(restart),
        ..PeerConfig::new(peer.name.clone(), peer.my_asn, peer.remote, address)
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use metallb_api::BGPPeer;
    use metallb_config::{Options, Resources};
    use serde_json::json;

    use super::*;

    #[test]
    fn graceful_restart_is_agreed_on_where_it_is_enabled() {
        for enabled in [true, false] {
            let peer: BGPPeer = serde_json::from_value(json!({
                "apiVersion": "metallb.io/v1beta2", "kind": "BGPPeer", "metadata": { "name": "tor" },
                "spec": { "myASN": 1, "peerASN": 2, "peerAddress": "192.0.2.1", "enableGracefulRestart": enabled },
            }))
            .unwrap();
            let resources = Resources {
                peers: vec![peer],
                ..Resources::default()
            };
            let parsed = metallb_config::parse(&resources, &Options::default());
            let restart = GracefulRestart {
                restart_time: Duration::from_secs(7),
            };
            let session = session(&parsed.config.peers["tor"], "node", restart).unwrap();
            assert_eq!(session.graceful_restart, enabled.then_some(restart));
        }
    }

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
            let peer = &parsed.config.peers["tor"];
            let offer = session(peer, "node", GracefulRestart::default()).unwrap().offer;
            assert!(offer.route_refresh && offer.enhanced_refresh && offer.host_name && offer.extended_message);
            assert_eq!(offer.extended_next_hop, next_hops, "{address} {dual_stack}");
        }
    }
}
