//! Translates the engine's model into FRR's configuration.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use metallb_announce::Path;
use metallb_config::{self as config, ExposeSecret, Peer, RemoteAs};
use metallb_dataplane::bgp::Posture;
use metallb_frr::word::{Device, Host, Password, ProfileName, Refusal};
use metallb_frr::{
    Attributes, BfdProfile, Community, Desired, Endpoint, Extras, Level, Neighbour, Router, Routes, Session, Timers,
};

use super::model::Model;

/// Has routers prefer other paths (RFC 8326).
const GRACEFUL_SHUTDOWN: Community = Community::Standard(metallb_bgp::Attributes::GRACEFUL_SHUTDOWN);

/// What does not change while the speaker runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Fixed {
    pub(super) level: Level,
    pub(super) hostname: Option<Host>,
    /// For sessions without a configured identifier, where FRR would have to take 0.0.0.0.
    pub(super) router_id: Option<Ipv4Addr>,
}

/// The configuration for FRR, and one sentence for everything that cannot be part of it.
pub(super) fn desired(model: &Model, fixed: &Fixed) -> (Desired, Vec<String>) {
    let mut problems = Vec::new();
    let bfd_profiles = profiles(model, &mut problems);
    let sessions = sessions(model, fixed.router_id, password, &mut problems);
    let extras = Extras::new(model.extras()).unwrap_or_else(|refusal| {
        problems.push(format!("ConfigMap bgpextras: {refusal}, none of them is used"));
        Extras::default()
    });
    let desired = Desired {
        level: fixed.level,
        hostname: fixed.hostname.clone(),
        sessions: sessions.into_iter().map(|(_, session)| session).collect(),
        bfd_profiles,
        extras,
    };
    (desired, problems)
}

/// All BFD profiles that FRR can have.
pub(crate) fn profiles(model: &Model, problems: &mut Vec<String>) -> Vec<BfdProfile> {
    let mut profiles = Vec::new();
    for it in &model.peers.bfd_profiles {
        match profile(it) {
            Ok(profile) => profiles.push(profile),
            Err(refusal) => problems.push(format!("BFDProfile {}: {refusal}", it.name)),
        }
    }
    profiles
}

/// All sessions that FRR can have, with what is told; `password` says what it is to know of the peer's.
pub(crate) fn sessions<'a>(
    model: &'a Model,
    router_id: Option<Ipv4Addr>,
    password: impl Fn(&Peer) -> Result<Option<Password>, Refusal>,
    problems: &mut Vec<String>,
) -> Vec<(&'a Peer, Session)> {
    let (mut routers, mut sessions) = (BTreeMap::new(), Vec::new());
    for peer in &model.peers.peers {
        let made = password(peer).and_then(|password| session(peer, router_id, password));
        let made = made.map_err(|refusal| refusal.to_string());
        let made = made.and_then(|session| one_router(&mut routers, peer, session));
        match made {
            Ok(session) => {
                let routes = routes(model, peer);
                sessions.push((peer, Session { routes, ..session }));
            }
            Err(why) => problems.push(format!("BGPPeer {}: {why}, there is no session", peer.name)),
        }
    }
    sessions
}

/// FRR has one BGP instance for each VRF.
fn one_router<'a>(
    routers: &mut BTreeMap<Option<Device>, (Router, &'a Peer)>,
    peer: &'a Peer,
    session: Session,
) -> Result<Session, String> {
    let vrf = session.router.vrf.clone();
    let (router, first) = routers.entry(vrf).or_insert_with(|| (session.router.clone(), peer));
    if *router != session.router {
        let name = &first.name;
        return Err(format!(
            "its myASN and routerID must be those of BGPPeer {name}, which is in the same VRF"
        ));
    }
    Ok(session)
}

fn session(peer: &Peer, router_id: Option<Ipv4Addr>, password: Option<Password>) -> Result<Session, Refusal> {
    let vrf = peer
        .vrf
        .as_ref()
        .map(|name| Device::new("spec.vrf", name))
        .transpose()?;
    let router = Router {
        asn: peer.my_asn,
        id: peer.router_id.or(router_id),
        vrf,
    };
    Ok(Session::new(router, neighbour(peer, password)?))
}

fn neighbour(peer: &Peer, password: Option<Password>) -> Result<Neighbour, Refusal> {
    let endpoint = match &peer.endpoint {
        config::Endpoint::Address(address) => Endpoint::Address(*address),
        config::Endpoint::LinkLocal(..) => {
            let (what, must) = (
                "spec.peerAddress",
                "not be link-local: FRR finds such a router by spec.interface",
            );
            return Err(Refusal::Shape { what, must });
        }
        config::Endpoint::Interface(name) => Endpoint::Interface(Device::new("spec.interface", name)?),
    };
    let remote = match peer.remote {
        RemoteAs::Asn(asn) => metallb_frr::RemoteAs::Asn(asn),
        RemoteAs::Internal => metallb_frr::RemoteAs::Internal,
        RemoteAs::External => metallb_frr::RemoteAs::External,
    };
    Ok(Neighbour {
        local_asn: peer.local_asn,
        port: peer.port,
        timers: timers(peer),
        connect: peer.connect_time.map(seconds),
        password,
        source: peer.source,
        graceful_restart: peer.graceful_restart,
        bfd_profile: peer.bfd_profile.as_deref().map(ProfileName::new).transpose()?,
        ebgp_multihop: peer.ebgp_multihop,
        dual_stack: peer.dual_stack,
        ..Neighbour::new(endpoint, remote)
    })
}

/// The password in clear text.
pub(crate) fn password(peer: &Peer) -> Result<Option<Password>, Refusal> {
    match &peer.password {
        Some(password) => Password::new(password.expose_secret()).map(Some),
        None if peer.password_secret.is_some() => {
            // No session rather than one without a password.
            let (what, must) = ("the password", "be known");
            Err(Refusal::Shape { what, must })
        }
        None => Ok(None),
    }
}

/// FRR counts in whole seconds. Half a second must not become 0, which switches keepalives off.
fn timers(peer: &Peer) -> Option<Timers> {
    let keepalive = peer.keepalive_time?;
    Some(Timers {
        keepalive: seconds(keepalive).max(u16::from(!keepalive.is_zero())),
        hold: seconds(peer.hold_time?),
    })
}

fn seconds(duration: Duration) -> u16 {
    u16::try_from(duration.as_secs()).unwrap_or(u16::MAX)
}

fn profile(profile: &config::BfdProfile) -> Result<BfdProfile, Refusal> {
    Ok(BfdProfile {
        receive_interval: Some(profile.receive_interval),
        transmit_interval: Some(profile.transmit_interval),
        detect_multiplier: Some(profile.detect_multiplier),
        echo_interval: Some(profile.echo_interval),
        echo_mode: profile.echo_mode,
        passive_mode: profile.passive_mode,
        minimum_ttl: profile.minimum_ttl,
        ..BfdProfile::new(ProfileName::new(&profile.name)?)
    })
}

fn routes(model: &Model, peer: &Peer) -> Routes {
    let mut routes = Routes::new();
    if model.posture == Posture::Withdraw {
        return routes;
    }
    let shun = (model.posture == Posture::Shun).then_some(GRACEFUL_SHUTDOWN);
    for (prefix, paths) in &model.routes {
        let is_for = |path: &&Path| path.peers.is_empty() || path.peers.contains(&peer.name);
        for path in paths.iter().map(AsRef::as_ref).filter(is_for) {
            let attributes = routes.entry(*prefix).or_default();
            attributes.merge(&self::attributes(path));
            attributes.communities.extend(shun);
        }
    }
    routes
}

fn attributes(path: &Path) -> Attributes {
    let community = |community: &config::Community| match *community {
        config::Community::Standard(value) => Community::Standard(value),
        config::Community::Large { global, data1, data2 } => Community::Large { global, data1, data2 },
    };
    Attributes {
        local_pref: path.local_pref,
        communities: path.communities.iter().map(community).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use metallb_engine::RouteChange;
    use serde_json::json;

    use super::*;
    use crate::backend::Change;
    use crate::bfd::tests::peers;

    fn model(peers: metallb_engine::Peers, paths: &[(&str, &[&str], u32)]) -> Model {
        let mut model = Model::default();
        model.apply(Change::Peers(peers));
        let change = |(prefix, peers, local_pref): &(&str, &[&str], u32)| RouteChange {
            prefix: prefix.parse().unwrap(),
            paths: vec![Arc::new(Path {
                local_pref: *local_pref,
                communities: [config::Community::Standard(7)].into(),
                peers: peers.iter().map(|name| (*name).to_owned()).collect(),
            })],
        };
        model.apply(Change::Routes(paths.iter().map(change).collect()));
        model
    }

    fn text(model: &Model) -> String {
        let (desired, problems) = desired(model, &Fixed::default());
        assert_eq!(problems, [""; 0]);
        desired.render().as_str().to_owned()
    }

    #[test]
    fn every_field_of_a_peer_reaches_frr() {
        let far = json!({
            "peerAddress": "192.0.2.1", "peerPort": 1790, "ebgpMultiHop": true, "sourceAddress": "192.0.2.9",
            "holdTime": "9s", "keepaliveTime": "500ms", "connectTime": "7s", "routerID": "192.0.2.8", "password": "x",
            "enableGracefulRestart": true, "dualStackAddressFamily": true, "vrf": "red", "localASN": 64999,
        });
        let text = text(&model(peers(&[("tor", far)], &[("fast", json!({}))]), &[]));
        for line in [
            "router bgp 64500 vrf red",
            "bgp router-id 192.0.2.8",
            "neighbor 192.0.2.1 remote-as 64501",
            "neighbor 192.0.2.1 ebgp-multihop 255",
            "neighbor 192.0.2.1 local-as 64999 no-prepend replace-as",
            "neighbor 192.0.2.1 port 1790",
            "neighbor 192.0.2.1 timers 1 9",
            "neighbor 192.0.2.1 timers connect 7",
            "neighbor 192.0.2.1 password x",
            "neighbor 192.0.2.1 update-source 192.0.2.9",
            "neighbor 192.0.2.1 graceful-restart",
            "neighbor 192.0.2.1 bfd profile fast",
            "address-family ipv6 unicast",
            "profile fast",
        ] {
            assert!(text.lines().any(|it| it.trim() == line), "{line}: {text}");
        }
    }

    #[test]
    fn routes_go_to_the_peers_they_are_for() {
        let two = [
            ("l", json!({ "peerAddress": "192.0.2.1" })),
            ("r", json!({ "interface": "eth1" })),
        ];
        let paths: [(&str, &[&str], u32); 2] = [("198.51.100.1/32", &[], 0), ("198.51.100.2/32", &["r"], 100)];
        let text = text(&model(peers(&two, &[("fast", json!({}))]), &paths));
        assert!(text.contains("192.0.2.1-allowed-ipv4 seq") && text.contains("eth1-0:7-ip-community-prefixes"));
        let told = |list: &str, prefix: &str| text.lines().any(|it| it.contains(list) && it.ends_with(prefix));
        assert!(told("192.0.2.1-allowed-ipv4", "198.51.100.1/32") && told("eth1-allowed-ipv4", "198.51.100.1/32"));
        assert!(!told("192.0.2.1-allowed-ipv4", "198.51.100.2/32") && told("eth1-allowed-ipv4", "198.51.100.2/32"));
        assert!(told("eth1-100-ip-localpref-prefixes", "198.51.100.2/32"));
    }

    // BGP-72
    #[test]
    fn routes_of_a_drained_node_are_shunned_and_then_withdrawn() {
        let one = [("tor", json!({ "peerAddress": "192.0.2.1" }))];
        let mut model = model(peers(&one, &[("fast", json!({}))]), &[("198.51.100.1/32", &[], 0)]);
        let announced = text(&model);
        assert!(model.apply(Change::Show(Posture::Shun)));
        let shunned = text(&model);
        assert!(
            shunned.contains("65535:0") && shunned.contains("198.51.100.1/32"),
            "{shunned}"
        );
        model.apply(Change::Show(Posture::Withdraw));
        assert!(!text(&model).contains("198.51.100.1/32"));
        model.apply(Change::Show(Posture::Announce));
        assert_eq!(text(&model), announced);
        assert!(!model.apply(Change::Show(Posture::Announce)), "no news");
    }

    #[test]
    fn a_link_local_address_is_named() {
        let one = [("tor", json!({ "peerAddress": "fe80::1%eth0" }))];
        let (desired, problems) = desired(&model(peers(&one, &[("fast", json!({}))]), &[]), &Fixed::default());
        assert!(
            desired.sessions.is_empty() && problems[0].contains("link-local"),
            "{problems:?}"
        );
    }

    // BGP-111, FRR-68
    #[test]
    fn identifier_is_the_configured_one_before_that_of_a_node_without_ipv4() {
        let two = [
            ("l", json!({ "peerAddress": "192.0.2.1" })),
            (
                "r",
                json!({ "peerAddress": "192.0.2.1", "routerID": "192.0.2.8", "vrf": "red" }),
            ),
        ];
        let fixed = Fixed {
            router_id: Some("192.0.2.7".parse().unwrap()),
            ..Fixed::default()
        };
        let model = model(peers(&two, &[("fast", json!({}))]), &[]);
        let text = desired(&model, &fixed).0.render();
        for id in ["192.0.2.7", "192.0.2.8"] {
            assert_eq!(text.as_str().matches(&format!("bgp router-id {id}\n")).count(), 1);
        }
    }

    // FRR-69, BGP-112, BGP-115
    #[test]
    fn what_cannot_be_written_is_left_out_and_named() {
        let four = [
            ("bad", json!({ "peerAddress": "192.0.2.1" })),
            ("good", json!({ "peerAddress": "192.0.2.2" })),
            ("other", json!({ "peerAddress": "192.0.2.3", "vrf": "red" })),
            ("secret", json!({ "peerAddress": "192.0.2.4" })),
        ];
        let mut peers = peers(&four, &[("fast", json!({}))]);
        peers.peers[0].vrf = Some("a\nb".to_owned());
        peers.peers[2].vrf = None;
        peers.peers[2].my_asn = 64999;
        peers.peers[3].password_secret = Some(config::SecretRef::default());
        let mut model = model(peers, &[]);
        model.set_extras(Some("hello\0"));
        let (desired, problems) = desired(&model, &Fixed::default());
        assert_eq!(desired.sessions.len(), 1);
        let wanted = [
            "BGPPeer bad: spec.vrf must not contain control characters, there is no session",
            "BGPPeer other: its myASN and routerID must be those of BGPPeer good, which is in the same VRF, there is no session",
            "BGPPeer secret: the password must be known, there is no session",
            "ConfigMap bgpextras: the extra lines must not contain control characters, none of them is used",
        ];
        assert_eq!(problems, wanted);
    }
}
