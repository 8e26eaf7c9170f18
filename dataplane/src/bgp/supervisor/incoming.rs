//! Which routers may connect, and which peer a connection belongs to.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use ipnet::IpNet;
use metallb_bgp::{
    Dialing, PeerConfig, StopReason,
    wire::{Notification, notification::Code},
};
use tokio::net::TcpStream;

use super::{Order, Slot, Supervisor};
use crate::bgp::listen::{Keys, Listen, News, Place, Range};

impl Supervisor {
    pub(super) fn set_listening(&mut self, listen: Listen) {
        let stays = |slot: &Slot| slot.range.as_ref().is_none_or(|range| listen.ranges.contains(range));
        let gone: Vec<_> = self.peers.extract_if(.., |_, slot| !stays(slot)).collect();
        for (name, slot) in gone {
            self.end(slot, StopReason::Deconfigured.into());
            self.forget(&name);
        }
        self.listen = listen;
        self.listening_changed = true;
    }

    /// Listens where a peer or a range needs it, with the keys of all routers that may connect there.
    pub(super) fn listen(&mut self) {
        let mut places = BTreeMap::<Place, Keys>::new();
        let waiting = self
            .peers
            .values()
            .map(|slot| &slot.config)
            .filter(|config| config.dialing.accepts());
        for config in waiting {
            let keys = places.entry(place(config)).or_default();
            if let Some(key) = config.password.clone().filter(|_| !config.is_unnumbered()) {
                keys.insert(IpNet::from(config.address), key);
            }
        }
        for range in &self.listen.ranges {
            let keys = places.entry(range.place()).or_default();
            keys.extend(range.peer.password.clone().map(|key| (range.prefix.trunc(), key)));
        }
        self.listeners.set(self.listen.port, places);
    }

    pub(super) fn on_news(&mut self, news: News) {
        match news {
            News::Incoming(place, stream, from) => self.on_incoming(&place, stream, from),
            News::Failed(place, reason) => self.on_failed(&place, &reason),
        }
    }

    /// Sets the reason of the sessions that only the peer can open, and cannot there. A listener reports the same failure
    /// again and again; watchers are notified only of what changes.
    fn on_failed(&mut self, failed: &Place, reason: &str) {
        let configs = self.peers.values().map(|slot| &slot.config);
        let stuck = configs.filter(|config| config.dialing == Dialing::Passive && place(config) == *failed);
        self.sessions.send_if_modified(|sessions| {
            let mut news = false;
            for config in stuck {
                let state = sessions.get_mut(&config.name);
                let state = state.filter(|state| !state.up && state.reason.as_deref() != Some(reason));
                news |= state.map(|state| state.down(reason.to_owned())).is_some();
            }
            news
        });
    }

    fn on_incoming(&mut self, place: &Place, stream: TcpStream, from: SocketAddr) {
        if let Some(slot) = self.peers.values_mut().find(|slot| is_from(&slot.config, place, from)) {
            return slot.accept(stream);
        }
        let Some(range) = self.range_of(place, from.ip()) else {
            tracing::debug!(event = "connectionRefused", %from, "no BGP peer is expected from there");
            return self.listeners.refuse(stream, Notification::new(Code::Cease, 5));
        };
        let config = range.member(from.ip());
        let name = config.name.clone();
        self.replace(name.clone(), config);
        if let Some(slot) = self.peers.get_mut(&name) {
            slot.range = Some(range);
            slot.accept(stream);
        }
        self.start(&name);
    }

    /// Returns the range that has room for this router.
    fn range_of(&self, place: &Place, address: IpAddr) -> Option<Range> {
        let of = |range: &&Range| range.place() == *place && range.prefix.contains(&address);
        let range = self.listen.ranges.iter().find(of)?;
        let members = self
            .peers
            .values()
            .filter(|slot| slot.range.as_ref() == Some(range))
            .count();
        if members >= range.limit {
            tracing::warn!(
                event = "rangeFull",
                range = range.peer.name,
                limit = range.limit,
                "no room for another BGP peer"
            );
            return None;
        }
        Some(range.clone())
    }

    pub(super) fn forget(&mut self, name: &str) {
        self.sessions.send_modify(|sessions| drop(sessions.remove(name)));
    }
}

impl Slot {
    /// Hands a connection to the task of the peer, or to the next one when it starts.
    pub(super) fn accept(&mut self, stream: TcpStream) {
        match &self.task {
            // A task that has ended drops it.
            Some((_, orders)) => drop(orders.send(Order::Accepted(stream))),
            None => self.accepted = Some(stream),
        }
    }
}

fn place(config: &PeerConfig) -> Place {
    Place {
        device: config.device.clone(),
        ipv4: config.address.is_ipv4(),
    }
}

/// Tells whether a connection is from this peer; an unnumbered one may have any link-local address on its link.
fn is_from(config: &PeerConfig, at: &Place, from: SocketAddr) -> bool {
    let (scope, link_local) = match from {
        SocketAddr::V6(from) => (from.scope_id(), from.ip().is_unicast_link_local()),
        SocketAddr::V4(_) => (0, false),
    };
    let index = |zone: &str| nix::net::if_::if_nametoindex(zone).unwrap_or_default();
    let here = !link_local || config.zone.as_deref().is_some_and(|zone| index(zone) == scope);
    let same = config.address == from.ip() || (config.is_unnumbered() && link_local);
    config.dialing.accepts() && place(config) == *at && same && here
}

#[cfg(test)]
mod tests {
    use metallb_bgp::RemoteAs;
    use tokio::sync::watch;

    use super::*;
    use crate::bgp::{Command, Posture, Sessions, farewell::Decided, routes::Routes};

    fn supervisor() -> (Supervisor, watch::Sender<Sessions>) {
        let sessions = watch::Sender::new(Sessions::new());
        let supervisor = Supervisor::new(Routes::new(), sessions.clone(), Decided::default());
        (supervisor, sessions)
    }

    fn peer(name: &str, address: &str, dialing: Dialing) -> PeerConfig {
        PeerConfig {
            dialing,
            ..PeerConfig::new(name, 64500, RemoteAs::External, address.parse().unwrap())
        }
    }

    #[tokio::test]
    async fn only_a_change_of_who_may_connect_is_one_for_the_listeners() {
        let (mut supervisor, _sessions) = supervisor();
        let mut changes = |change: &mut dyn FnMut(&mut Supervisor)| {
            change(&mut supervisor);
            std::mem::take(&mut supervisor.listening_changed)
        };
        let dials = || peer("dials", "192.0.2.1", Dialing::Active);
        let waits = || peer("waits", "192.0.2.2", Dialing::Passive);
        assert!(!changes(&mut |supervisor| supervisor.apply(vec![dials()])));
        assert!(changes(&mut |supervisor| supervisor.apply(vec![dials(), waits()])));
        assert!(!changes(&mut |supervisor| supervisor.apply(vec![dials(), waits()])));
        assert!(!changes(&mut |supervisor| supervisor.show(Posture::Shun)));
        let reset = || Command::Reset(StopReason::Reset);
        assert!(!changes(&mut |supervisor| supervisor.pass_on("waits", reset())));
        assert!(!changes(&mut |supervisor| supervisor.apply(vec![waits()])));
        assert!(changes(&mut |supervisor| supervisor.apply(vec![])));
        assert!(changes(&mut |supervisor| supervisor.set_listening(Listen::default())));
    }

    #[tokio::test]
    async fn a_listener_that_fails_is_told_once_to_those_who_depend_on_it() {
        let (mut supervisor, sessions) = supervisor();
        supervisor.apply(vec![
            peer("four", "192.0.2.1", Dialing::Passive),
            peer("six", "2001:db8::1", Dialing::Passive),
            peer("dials", "192.0.2.2", Dialing::Both),
        ]);
        let mut watcher = sessions.subscribe();
        let here = Place {
            device: None,
            ipv4: true,
        };
        supervisor.on_failed(&here, "the port is taken");
        assert!(watcher.has_changed().unwrap());
        let told: Vec<_> = {
            let sessions = watcher.borrow_and_update();
            let told = sessions.iter().filter(|(_, state)| state.reason.is_some());
            told.map(|(name, _)| name.clone()).collect()
        };
        assert_eq!(told, ["four"]);
        supervisor.on_failed(&here, "the port is taken");
        assert!(!watcher.has_changed().unwrap(), "that is no news");
    }
}
