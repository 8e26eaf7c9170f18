//! The state of a session, combined from BGP and BFD.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use metallb_api::BGPSessionStateStatus;
use metallb_dataplane::bfd::{self, Guarded, State};
use metallb_dataplane::bgp::{Family, SessionState, Sessions, Trouble};
use tokio::sync::watch;

use crate::backend::Bgp;

/// What frr-k8s says of a session without BFD.
const NO_BFD: &str = "N/A";

/// The state of the session with one peer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Picture {
    /// Address of the peer, or the interface on which it is found.
    pub(super) address: String,
    /// The device (VRF) of the session, if it is not in the main one.
    pub(super) vrf: Option<String>,
    /// Whether routes are exchanged.
    pub(super) up: bool,
    /// Time of the last change of that.
    pub(super) since: SystemTime,
    /// What went wrong last.
    pub(super) trouble: Option<Trouble>,
    /// The families that are carried.
    pub(super) families: Vec<Family>,
    /// The families that should be carried and are not.
    pub(super) lacking: Vec<Family>,
    /// Prefixes that the peer has been sent.
    pub(super) advertised: u64,
    /// Prefixes that it should be sent.
    pub(super) desired: u64,
    /// Its BFD, if it has any.
    pub(super) bfd: Option<Path>,
}

/// What BFD says of the path to a peer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Path {
    /// The state of the session.
    pub(super) state: State,
    /// Since when.
    pub(super) since: SystemTime,
    /// Whether it worked at any time.
    pub(super) was_up: bool,
    /// Whether it worked, and does not although nobody switched it off.
    pub(super) failed: bool,
    /// The reason for that state.
    pub(super) why: String,
}

/// Converts times of the data plane to wall-clock times, from one fixed pair, so that one moment always reads the same.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    pub(super) instant: Instant,
    pub(super) wall: SystemTime,
}

impl Clock {
    pub(super) fn now() -> Self {
        Self {
            instant: Instant::now(),
            wall: SystemTime::now(),
        }
    }

    fn wall(&self, at: Instant) -> SystemTime {
        match at.checked_duration_since(self.instant) {
            Some(after) => self.wall + after,
            None => self.wall - self.instant.saturating_duration_since(at),
        }
    }
}

/// The channels that the state of sessions comes from.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) sessions: watch::Receiver<Sessions>,
    pub(crate) paths: watch::Receiver<bfd::Sessions>,
    pub(crate) guarded: watch::Receiver<Guarded>,
    pub(super) clock: Clock,
}

impl Source {
    /// `None` with FRR, whose sessions are not ours.
    pub(crate) fn new(bgp: &Bgp) -> Option<Self> {
        let bfd = bgp.bfd()?;
        Some(Self {
            sessions: bgp.sessions(),
            paths: bfd.sessions(),
            guarded: bfd.guarded(),
            clock: Clock::now(),
        })
    }

    /// When something happened in the data plane, for people.
    pub(crate) fn wall(&self, at: Instant) -> SystemTime {
        self.clock.wall(at)
    }

    /// The state of all sessions, by the name of the peer.
    pub(super) fn pictures(&self) -> BTreeMap<String, Picture> {
        let sessions = self.sessions.borrow();
        let (paths, guarded) = (self.paths.borrow(), self.guarded.borrow());
        let picture = |(peer, session): (&String, &SessionState)| {
            let path = guarded.get(peer).and_then(|key| paths.get(key));
            (peer.clone(), picture(session, path, &self.clock))
        };
        sessions.iter().map(picture).collect()
    }

    /// The state of the session with one peer.
    pub(super) fn picture(&self, peer: &str) -> Option<Picture> {
        let sessions = self.sessions.borrow();
        let (paths, guarded) = (self.paths.borrow(), self.guarded.borrow());
        let path = guarded.get(peer).and_then(|key| paths.get(key));
        Some(picture(sessions.get(peer)?, path, &self.clock))
    }
}

pub(super) fn picture(session: &SessionState, path: Option<&bfd::SessionState>, clock: &Clock) -> Picture {
    Picture {
        address: address(session),
        vrf: session.device.clone(),
        up: session.up,
        since: session.since,
        trouble: session.trouble.clone(),
        families: session.carries.clone(),
        lacking: session.lacking.clone(),
        advertised: session.counters.advertised(),
        desired: session.counters.desired(),
        bfd: path.map(|path| Path {
            state: path.status.state,
            since: clock.wall(path.status.since),
            was_up: path.status.was_up,
            failed: path.status.has_failed() && path.status.state != State::AdminDown,
            why: path.error.clone().unwrap_or_else(|| path.status.diagnostic.to_string()),
        }),
    }
}

/// How people name the peer: by its address, with the interface of a link-local one, or by the interface on which it is found.
fn address(session: &SessionState) -> String {
    let ip = session.peer.ip();
    match &session.zone {
        None => ip.to_string(),
        Some(zone) if ip.is_unspecified() => zone.clone(),
        Some(zone) => format!("{ip}%{zone}"),
    }
}

impl Picture {
    /// What the object of this session on `node` says.
    pub(super) fn status(&self, node: &str, peer: &str) -> BGPSessionStateStatus {
        let count = |count: u64| Some(i64::try_from(count).unwrap_or(i64::MAX));
        let trouble = self.trouble.as_ref();
        BGPSessionStateStatus {
            // The states between Idle and Established change with every retry, and each would be a write.
            bgp_status: if self.up { "Established" } else { "Active" }.to_owned(),
            bfd_status: self.bfd.as_ref().map_or(NO_BFD, |path| state(path.state)).to_owned(),
            node: node.to_owned(),
            peer: self.address.clone(),
            vrf: self.vrf.clone().unwrap_or_default(),
            peer_name: peer.to_owned(),
            since: time(self.since),
            last_error: trouble.map(|trouble| trouble.text.clone()).unwrap_or_default(),
            last_error_time: trouble.and_then(|trouble| time(trouble.since)),
            families: self.families.iter().map(|family| name(*family).to_owned()).collect(),
            prefixes: count(self.advertised),
            prefixes_wanted: count(self.desired),
            bfd_since: self
                .bfd
                .as_ref()
                .filter(|path| path.was_up)
                .and_then(|path| time(path.since)),
        }
    }
}

/// The words of FRR's `show bfd peers`.
pub(crate) fn state(state: State) -> &'static str {
    match state {
        State::AdminDown => "shutdown",
        State::Down => "down",
        State::Init => "init",
        State::Up => "up",
    }
}

/// The name of a family in objects, events and answers.
pub(crate) fn name(family: Family) -> &'static str {
    match family {
        Family::IPV6_UNICAST => "ipv6",
        _ => "ipv4",
    }
}

/// For people, to the second.
pub(crate) fn rfc3339(at: SystemTime) -> String {
    time(at).map(|time| time.0.to_string()).unwrap_or_default()
}

/// To the second, as the API server keeps it.
pub(super) fn time(at: SystemTime) -> Option<Time> {
    let seconds = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs();
    Timestamp::from_second(i64::try_from(seconds).ok()?).ok().map(Time)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::sessions) fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    pub(in crate::sessions) fn up(since: u64) -> Picture {
        Picture {
            address: "192.0.2.1".into(),
            vrf: None,
            up: true,
            since: at(since),
            trouble: None,
            families: vec![Family::IPV4_UNICAST],
            lacking: vec![],
            advertised: 3,
            desired: 3,
            bfd: None,
        }
    }

    pub(in crate::sessions) fn trouble(text: &str, since: u64, lost: bool) -> Trouble {
        Trouble {
            direction: None,
            code: None,
            text: text.into(),
            lost,
            since: at(since),
            at: at(since),
            count: 1,
        }
    }

    pub(in crate::sessions) fn down(since: u64, text: &str, lost: bool) -> Picture {
        Picture {
            up: false,
            since: at(since),
            trouble: Some(trouble(text, since, lost)),
            families: vec![],
            advertised: 0,
            ..up(since)
        }
    }

    pub(in crate::sessions) fn path(state: State, since: u64) -> Path {
        Path {
            state,
            since: at(since),
            was_up: true,
            failed: state != State::Up,
            why: "control detection time expired".into(),
        }
    }

    #[test]
    fn an_object_has_upstreams_words_and_ours() {
        let picture = Picture {
            vrf: Some("red".into()),
            bfd: Some(path(State::Down, 90)),
            ..down(60, "connection closed", true)
        };
        let status = serde_json::to_value(picture.status("node-a", "tor")).unwrap();
        let expected = serde_json::json!({
            "bgpStatus": "Active", "bfdStatus": "down", "node": "node-a", "peer": "192.0.2.1", "vrf": "red",
            "peerName": "tor", "since": "1970-01-01T00:01:00Z", "lastError": "connection closed",
            "lastErrorTime": "1970-01-01T00:01:00Z", "prefixes": 0, "prefixesWanted": 3,
            "bfdSince": "1970-01-01T00:01:30Z",
        });
        assert_eq!(status, expected);
        let status = up(5).status("node-a", "tor");
        assert_eq!(
            (status.bgp_status.as_str(), status.bfd_status.as_str()),
            ("Established", "N/A")
        );
        assert_eq!((status.families, status.bfd_since), (vec!["ipv4".to_owned()], None));
    }

    // BGP-109
    #[test]
    fn retries_change_nothing_that_is_written() {
        let first = down(60, "connection closed", true);
        let mut later = first.clone();
        let trouble = later.trouble.as_mut().unwrap();
        (trouble.at, trouble.count) = (at(500), 8);
        assert_ne!(first, later);
        assert_eq!(first.status("node-a", "tor"), later.status("node-a", "tor"));
    }

    #[test]
    fn a_moment_of_the_data_plane_is_the_same_whenever_it_is_asked_for() {
        let clock = Clock {
            instant: Instant::now() + Duration::from_secs(5),
            wall: at(100),
        };
        assert_eq!(clock.wall(clock.instant - Duration::from_secs(3)), at(97));
        assert_eq!(clock.wall(clock.instant + Duration::from_secs(3)), at(103));
    }
}
