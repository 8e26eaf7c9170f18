//! BFD of the native back-end: the sessions that BGPPeers need, and the BGP sessions that end with them.

use std::cell::LazyCell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use metallb_config::{BfdProfile, Peer, RemoteAs};
use metallb_dataplane::bfd::{
    self, BfdHandle, Guarded, Hops, Networks, Refusal, SessionConfig, SessionKey, Sessions, State,
};
use metallb_dataplane::bgp::{self, BgpHandle};
use metallb_engine::Peers;
use metallb_runtime::CancellationToken;
use tokio::sync::watch;

/// The running BFD sessions; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Bfd {
    handle: BfdHandle,
    guarded: watch::Sender<Guarded>,
    asked: Arc<Mutex<Asked>>,
    stop: CancellationToken,
}

/// What was asked for last.
#[derive(Debug, Default)]
struct Asked {
    peers: Peers,
    found: Found,
    sessions: BTreeMap<SessionKey, SessionConfig>,
}

impl Bfd {
    /// Starts without sessions; the future is its work and ends after [`Bfd::shutdown`].
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub(crate) fn start(bgp: BgpHandle) -> Result<(Self, impl Future<Output = Result<()>> + Send + 'static + use<>)> {
        let stop = CancellationToken::new();
        let (handle, run) = bfd::start(stop.clone())?;
        let (guarded, reader) = watch::channel(Guarded::new());
        let routers = bgp.sessions();
        let guard = bfd::guard(handle.clone(), bgp, reader);
        let this = Self {
            handle,
            guarded,
            asked: Arc::default(),
            stop,
        };
        let follower = this.clone();
        let addresses = bfd::follow_addresses(move || follower.ask(|_| {}));
        let routers = this.clone().follow_routers(routers);
        let work = async move {
            // The two followers have no end of their own and are dropped with the rest.
            let done = tokio::select! {
                (done, ()) = async { tokio::join!(run, guard) } => done,
                never = addresses => match never {},
                never = routers => match never {},
            };
            Ok(done?)
        };
        Ok((this, work))
    }

    /// Adds a BFD session for each router of an unnumbered peer once it is found.
    async fn follow_routers(self, mut sessions: watch::Receiver<bgp::Sessions>) -> Infallible {
        let mut known = Found::new();
        while sessions.changed().await.is_ok() {
            let found = found(&sessions.borrow_and_update());
            if found != known {
                known.clone_from(&found);
                self.ask(|asked| asked.found = found);
            }
        }
        // BGP has ended, so no more routers are found.
        std::future::pending().await
    }

    /// Takes in the peers; never waits. Sessions that are still needed stay up.
    pub(crate) fn apply(&self, peers: Peers) {
        self.ask(|asked| asked.peers = peers);
    }

    /// Applies a change, and requests the sessions that are needed now.
    fn ask(&self, change: impl FnOnce(&mut Asked)) {
        // Locked to the end, so that an older request cannot overtake a newer one.
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut asked);
        let (guarded, sessions) = {
            let table = self.handle.sessions();
            let table = table.borrow();
            // Read at most once, and not at all if no peer needs it.
            let networks = LazyCell::new(Networks::read);
            desired(&asked.peers, &asked.found, |peer| {
                is_near(&table, peer, |peer| networks.contain(peer))
            })
        };
        // A peer must be released before its BFD session ends, or its BGP session would end too.
        self.guarded.send_if_modified(|before| {
            let changed = *before != guarded;
            *before = guarded;
            changed
        });
        if asked.sessions != sessions {
            asked.sessions.clone_from(&sessions);
            self.handle.set_sessions(sessions);
        }
    }

    /// The sessions that were asked for last.
    #[cfg(test)]
    pub(crate) fn asked(&self) -> BTreeMap<SessionKey, SessionConfig> {
        self.asked.lock().unwrap().sessions.clone()
    }

    /// How the sessions are doing.
    pub(crate) fn sessions(&self) -> watch::Receiver<Sessions> {
        self.handle.sessions()
    }

    /// Follows which session guards which peer.
    pub(crate) fn guarded(&self) -> watch::Receiver<Guarded> {
        self.guarded.subscribe()
    }

    /// How many packets were discarded, by reason.
    pub(crate) fn refusals(&self) -> BTreeMap<Refusal, u64> {
        self.handle.refusals()
    }

    /// Ends the sessions with AdminDown, which is no failure to the peers.
    pub(crate) fn shutdown(&self) {
        self.stop.cancel();
    }
}

/// The peer of a session, with the interface of a link-local address: the same address may be on every link.
pub(crate) fn peer_name(key: &SessionKey) -> String {
    match &key.zone {
        Some(zone) => format!("{}%{zone}", key.peer),
        None => key.peer.to_string(),
    }
}

/// The routers of unnumbered peers that have been found, by peer.
type Found = BTreeMap<String, Ipv6Addr>;

fn found(sessions: &bgp::Sessions) -> Found {
    let found = sessions.iter().filter_map(|(name, state)| Some((name, state.found?)));
    found.map(|(name, router)| (name.clone(), router)).collect()
}

/// The BFD session of each peer, and the parameters of each session.
fn desired(
    peers: &Peers,
    found: &Found,
    is_on_link: impl Fn(IpAddr) -> bool,
) -> (Guarded, BTreeMap<SessionKey, SessionConfig>) {
    let (mut guarded, mut sessions) = (Guarded::new(), BTreeMap::new());
    for peer in &peers.peers {
        let profile = peer
            .bfd_profile
            .as_ref()
            .and_then(|name| peers.bfd_profiles.iter().find(|profile| profile.name == *name));
        let Some(profile) = profile else { continue };
        let Some(key) = key(peer, found, &is_on_link) else {
            continue;
        };
        let config = config(profile);
        // Peers at one address, behind different ports, share a session: the fastest of what they ask for.
        if sessions
            .get(&key)
            .is_none_or(|other| detection(&config) < detection(other))
        {
            sessions.insert(key.clone(), config);
        }
        guarded.insert(peer.name.clone(), key);
    }
    (guarded, sessions)
}

/// Whether a peer is one hop away. A session that is up keeps its kind: it must not end because an address of this node is
/// gone for a moment.
fn is_near(table: &Sessions, peer: IpAddr, is_on_link: impl Fn(IpAddr) -> bool) -> bool {
    let mut up = table
        .iter()
        .filter(|(key, session)| key.peer == peer && session.status.state == State::Up);
    up.next()
        .map_or_else(|| is_on_link(peer), |(key, _)| key.hops == Hops::Single)
}

fn detection(config: &SessionConfig) -> Duration {
    config.receive_interval * u32::from(config.multiplier)
}

fn key(peer: &Peer, found: &Found, is_on_link: impl Fn(IpAddr) -> bool) -> Option<SessionKey> {
    let discovered = || found.get(&peer.name).map(|router| IpAddr::from(*router));
    let address = peer.endpoint.address().or_else(discovered)?;
    let internal = match peer.remote {
        RemoteAs::Asn(asn) => asn == peer.local_asn.unwrap_or(peer.my_asn),
        RemoteAs::Internal => true,
        RemoteAs::External => false,
    };
    // As FRR's bgpd: an internal peer may be several hops away, but need not.
    let far = peer.ebgp_multihop || (internal && peer.endpoint.interface().is_none() && !is_on_link(address));
    Some(SessionKey {
        local: peer.source,
        zone: peer.endpoint.interface().map(ToOwned::to_owned),
        device: peer.vrf.clone(),
        ..SessionKey::new(address, if far { Hops::Multi } else { Hops::Single })
    })
}

fn config(profile: &BfdProfile) -> SessionConfig {
    SessionConfig {
        transmit_interval: profile.transmit_interval,
        receive_interval: profile.receive_interval,
        multiplier: profile.detect_multiplier,
        // Also over several hops: that it has no effect there is reported as the session's error.
        echo_transmit: Some(profile.echo_interval).filter(|_| profile.echo_mode),
        // As bfdd: it returns echoes whether or not it sends any.
        echo_receive: Some(profile.echo_interval),
        passive: profile.passive_mode,
        minimum_ttl: profile.minimum_ttl,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use metallb_api::{BFDProfile, BGPPeer};
    use metallb_config::{Options, Resources};
    use serde_json::{Value, json};

    use super::*;

    pub(crate) fn peers(specs: &[(&str, Value)], profiles: &[(&str, Value)]) -> Peers {
        let peer = |(name, spec): &(&str, Value)| -> BGPPeer {
            let mut spec = spec.clone();
            let all = json!({ "myASN": 64500, "peerASN": 64501, "bfdProfile": "fast" });
            for (field, value) in all.as_object().unwrap() {
                spec.as_object_mut().unwrap().entry(field).or_insert(value.clone());
            }
            serde_json::from_value(json!({
                "apiVersion": "metallb.io/v1beta2", "kind": "BGPPeer", "metadata": { "name": name }, "spec": spec,
            }))
            .unwrap()
        };
        let profile = |(name, spec): &(&str, Value)| -> BFDProfile {
            serde_json::from_value(json!({
                "apiVersion": "metallb.io/v1beta1", "kind": "BFDProfile", "metadata": { "name": name }, "spec": spec,
            }))
            .unwrap()
        };
        let resources = Resources {
            peers: specs.iter().map(peer).collect(),
            bfd_profiles: profiles.iter().map(profile).collect(),
            ..Resources::default()
        };
        let config = metallb_config::parse(&resources, &Options::default()).config;
        Peers {
            peers: config.peers.into_values().collect(),
            bfd_profiles: config.bfd_profiles.into_values().collect(),
        }
    }

    fn only(peers: &Peers) -> (SessionKey, SessionConfig) {
        let (guarded, sessions) = desired(peers, &Found::new(), |address| {
            address.to_string().starts_with("192.0.2.")
        });
        assert_eq!((guarded.len(), sessions.len()), (1, 1));
        sessions.into_iter().next().unwrap()
    }

    // BGP-84
    #[test]
    fn an_empty_profile_is_as_frr_has_it() {
        let (key, config) = only(&peers(
            &[("tor", json!({ "peerAddress": "192.0.2.1" }))],
            &[("fast", json!({}))],
        ));
        assert_eq!(key, SessionKey::new("192.0.2.1".parse().unwrap(), Hops::Single));
        let frr = SessionConfig {
            echo_receive: Some(Duration::from_millis(50)),
            ..SessionConfig::default()
        };
        assert_eq!(config, frr);
    }

    // BGP-84
    #[test]
    fn every_field_of_a_profile_counts() {
        let profile = json!({
            "receiveInterval": 60, "transmitInterval": 70, "detectMultiplier": 5, "echoInterval": 20,
            "echoMode": true, "passiveMode": true, "minimumTtl": 250,
        });
        let far =
            json!({ "peerAddress": "192.0.2.1", "ebgpMultiHop": true, "sourceAddress": "192.0.2.9", "vrf": "red" });
        let near = json!({ "peerAddress": "192.0.2.1" });
        let (key, config) = only(&peers(&[("tor", far)], &[("fast", profile.clone())]));
        assert_eq!((key.hops, key.device.as_deref()), (Hops::Multi, Some("red")));
        assert_eq!(key.local, Some("192.0.2.9".parse().unwrap()));
        let expected = SessionConfig {
            receive_interval: Duration::from_millis(60),
            transmit_interval: Duration::from_millis(70),
            multiplier: 5,
            echo_transmit: Some(Duration::from_millis(20)),
            echo_receive: Some(Duration::from_millis(20)),
            passive: true,
            minimum_ttl: Some(250),
        };
        assert_eq!(config, expected);
        let (key, config) = only(&peers(&[("tor", near)], &[("fast", profile)]));
        assert_eq!((key.hops, config), (Hops::Single, expected));
    }

    // BGP-86
    #[test]
    fn inside_of_an_as_it_matters_whether_the_peer_is_on_the_link() {
        for (address, asn, hops) in [
            ("192.0.2.1", 64500, Hops::Single),
            ("198.51.100.1", 64500, Hops::Multi),
            ("198.51.100.1", 64501, Hops::Single),
        ] {
            let peer = json!({ "peerAddress": address, "peerASN": asn });
            let (key, _) = only(&peers(&[("tor", peer)], &[("fast", json!({}))]));
            assert_eq!(key.hops, hops, "{address} {asn}");
        }
    }

    // BGP-93
    #[test]
    fn a_router_on_a_link_is_watched_from_when_it_is_found() {
        let zone = Some("eth0".to_owned());
        let link_local = peers(
            &[("tor", json!({ "peerAddress": "fe80::1%eth0", "peerASN": 64500 }))],
            &[("fast", json!({}))],
        );
        let (key, _) = only(&link_local);
        assert_eq!((key.zone, key.hops), (zone.clone(), Hops::Single));
        let unnumbered = peers(&[("tor", json!({ "interface": "eth0" }))], &[("fast", json!({}))]);
        assert!(desired(&unnumbered, &Found::new(), |_| false).1.is_empty());
        let router = "fe80::7".parse().unwrap();
        let (guarded, sessions) = desired(&unnumbered, &[("tor".to_owned(), router)].into(), |_| false);
        let key = SessionKey {
            zone,
            ..SessionKey::new(router.into(), Hops::Single)
        };
        assert_eq!(guarded["tor"], key);
        assert!(sessions.contains_key(&key));
    }

    // BGP-114
    #[test]
    fn a_profile_that_no_peer_names_changes_nothing() {
        let specs = [("tor", json!({ "peerAddress": "192.0.2.1" }))];
        let before = peers(&specs, &[("fast", json!({}))]);
        for unused in [json!({}), json!({ "receiveInterval": 20 }), json!({ "echoMode": true })] {
            let after = peers(&specs, &[("fast", json!({})), ("unused", unused)]);
            assert_eq!(
                desired(&after, &Found::new(), |_| true),
                desired(&before, &Found::new(), |_| true)
            );
        }
    }

    #[tokio::test]
    async fn a_session_that_is_up_stays_what_it_is_and_others_follow_the_addresses_of_the_node() {
        let (near, far) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let (handle, _work) = bfd::start(CancellationToken::new()).unwrap();
        let keys = [SessionKey::new(near, Hops::Single), SessionKey::new(far, Hops::Multi)];
        handle.set_sessions(keys.map(|key| (key, SessionConfig::default())).into());
        let mut sessions = handle.sessions();
        let mut table = sessions.wait_for(|table| table.len() == 2).await.unwrap().clone();
        for on_link in [true, false] {
            for peer in [near, far] {
                assert_eq!(is_near(&table, peer, |_| on_link), on_link, "{peer}");
            }
        }
        table.values_mut().for_each(|session| session.status.state = State::Up);
        for on_link in [true, false] {
            assert!(is_near(&table, near, |_| on_link));
            assert!(!is_near(&table, far, |_| on_link));
        }
    }

    #[test]
    fn peers_without_a_profile_are_not_guarded_and_those_at_one_address_share_the_fastest_session() {
        let all = peers(
            &[
                ("none", json!({ "peerAddress": "192.0.2.1", "bfdProfile": "" })),
                ("one", json!({ "peerAddress": "192.0.2.2", "bfdProfile": "slow" })),
                ("two", json!({ "peerAddress": "192.0.2.2", "peerPort": 1790 })),
            ],
            &[("fast", json!({ "receiveInterval": 50 })), ("slow", json!({}))],
        );
        let (guarded, sessions) = desired(&all, &Found::new(), |_| true);
        assert_eq!(guarded.keys().collect::<Vec<_>>(), ["one", "two"]);
        assert_eq!(guarded["one"], guarded["two"]);
        assert_eq!(sessions[&guarded["one"]].receive_interval, Duration::from_millis(50));
    }
}
