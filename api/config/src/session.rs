//! The session of the native back-end with a peer.

use metallb_bgp::{GracefulRestart, Offer, Password, PeerConfig};
use secrecy::ExposeSecret;

use crate::model::{Endpoint, Peer};

impl Peer {
    /// Describes the session with this peer from `node`; `restart` is the speaker's own part of graceful restart.
    #[must_use]
    pub fn session(&self, node: &str, restart: GracefulRestart) -> PeerConfig {
        let (name, my_asn, remote) = (self.name.as_str(), self.my_asn, self.remote);
        let of_kind = match &self.endpoint {
            Endpoint::Address(address) => PeerConfig::new(name, my_asn, remote, *address),
            Endpoint::LinkLocal(address, interface) => PeerConfig {
                zone: Some(interface.clone()),
                ..PeerConfig::new(name, my_asn, remote, (*address).into())
            },
            Endpoint::Interface(interface) => PeerConfig::unnumbered(name, my_asn, remote, interface),
        };
        let dual_stack = self.dual_stack || of_kind.dual_stack;
        PeerConfig {
            port: self.port,
            source: self.source,
            device: self.vrf.clone(),
            password: self
                .password
                .as_ref()
                .map(|p| Password::new(p.expose_secret().as_bytes())),
            local_asn: self.local_asn,
            router_id: self.router_id,
            node_name: node.to_owned(),
            hold_time: self.hold_time,
            keepalive_time: self.keepalive_time,
            connect_time: self.connect_time,
            ebgp_multihop: self.ebgp_multihop,
            ttl_security: self.ttl_security,
            dual_stack,
            offer: Offer {
                route_refresh: true,
                enhanced_refresh: true,
                host_name: true,
                extended_message: true,
                // IPv4 routes over an IPv6 session have nothing but IPv6 next hops.
                extended_next_hop: dual_stack && of_kind.address.is_ipv6(),
            },
            graceful_restart: self.graceful_restart.then_some(restart),
            ..of_kind
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use metallb_api::BGPPeer;
    use serde_json::json;

    use super::*;
    use crate::{Options, RemoteAs, Resources};

    fn parsed(spec: &serde_json::Value) -> Peer {
        let peer: BGPPeer = serde_json::from_value(json!({
            "apiVersion": "metallb.io/v1beta2", "kind": "BGPPeer", "metadata": { "name": "tor" }, "spec": spec,
        }))
        .unwrap();
        let resources = Resources {
            peers: vec![peer],
            ..Resources::default()
        };
        let parsed = crate::parse(&resources, &Options::default());
        assert_eq!(parsed.refused, []);
        parsed.config.peers["tor"].clone()
    }

    fn peer(spec: &serde_json::Value) -> PeerConfig {
        parsed(spec).session("node-a", GracefulRestart::default())
    }

    #[test]
    fn every_field_of_a_peer_reaches_its_session() {
        let seconds = |seconds| Some(std::time::Duration::from_secs(seconds));
        let all = peer(&json!({
            "myASN": 1, "peerASN": 2, "localASN": 3, "peerAddress": "192.0.2.1", "sourceAddress": "192.0.2.2",
            "peerPort": 1790, "holdTime": "30s", "keepaliveTime": "7s", "connectTime": "5s", "routerID": "192.0.2.3",
            "password": "secret", "ebgpMultiHop": true, "vrf": "red", "dualStackAddressFamily": true, "disableMP": true,
        }));
        let expected = PeerConfig {
            port: 1790,
            source: Some("192.0.2.2".parse().unwrap()),
            device: Some("red".to_owned()),
            password: Some(Password::new(*b"secret")),
            local_asn: Some(3),
            router_id: Some("192.0.2.3".parse().unwrap()),
            node_name: "node-a".to_owned(),
            hold_time: seconds(30),
            keepalive_time: seconds(7),
            connect_time: seconds(5),
            ebgp_multihop: true,
            dual_stack: true,
            offer: all.offer,
            ..PeerConfig::new("tor", 1, RemoteAs::Asn(2), "192.0.2.1".parse().unwrap())
        };
        assert_eq!(all, expected);
        let near = peer(&json!({ "myASN": 1, "peerASN": 2, "peerAddress": "192.0.2.1", "ttlSecurity": true }));
        assert!(near.ttl_security && !near.ebgp_multihop);
        let internal = peer(&json!({ "myASN": 1, "dynamicASN": "internal", "peerAddress": "192.0.2.1" }));
        assert_eq!(internal.remote, RemoteAs::Internal);
    }

    // BGP-41, BGP-79
    #[test]
    fn link_local_and_unnumbered_peers_have_their_interface() {
        let near = peer(&json!({ "myASN": 1, "peerASN": 2, "peerAddress": "fe80::1%eth0" }));
        let fe80 = "fe80::1".parse::<std::net::IpAddr>().unwrap();
        assert_eq!(
            (near.address, near.zone.as_deref(), near.dual_stack),
            (fe80, Some("eth0"), false)
        );
        let found = peer(&json!({ "myASN": 1, "dynamicASN": "external", "interface": "eth1" }));
        assert!(found.is_unnumbered() && found.dual_stack && found.offer.extended_next_hop);
        assert_eq!(
            (found.zone.as_deref(), found.remote),
            (Some("eth1"), RemoteAs::External)
        );
    }

    #[test]
    fn graceful_restart_is_agreed_on_where_it_is_enabled() {
        for enabled in [true, false] {
            let peer = parsed(&json!({
                "myASN": 1, "peerASN": 2, "peerAddress": "192.0.2.1", "enableGracefulRestart": enabled,
            }));
            let restart = GracefulRestart {
                restart_time: Duration::from_secs(7),
            };
            let session = peer.session("node", restart);
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
            let spec = json!({
                "myASN": 1, "peerASN": 2, "peerAddress": address, "dualStackAddressFamily": dual_stack,
            });
            let offer = peer(&spec).offer;
            assert!(offer.route_refresh && offer.enhanced_refresh && offer.host_name && offer.extended_message);
            assert_eq!(offer.extended_next_hop, next_hops, "{address} {dual_stack}");
        }
    }
}
