//! Who may connect, and to which peer a connection goes.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use ipnet::IpNet;
use metallb_bgp::{
    PeerConfig, StopReason,
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
            self.end(slot, StopReason::Deconfigured);
            self.forget(&name);
        }
        self.listen = listen;
    }

    /// Listens where somebody wants it, with the keys of all who may connect there.
    pub(super) fn listen(&mut self) {
        let mut places = BTreeMap::<Place, Keys>::new();
        let waiting = self
            .peers
            .values()
            .map(|slot| &slot.config)
            .filter(|config| takes(config));
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

    /// Who cannot be connected to is down for that reason, if that is the only way.
    fn on_failed(&mut self, failed: &Place, reason: &str) {
        let waiting = self
            .peers
            .iter()
            .filter(|(_, slot)| slot.config.passive && place(&slot.config) == *failed);
        let names: Vec<_> = waiting.map(|(name, _)| name.clone()).collect();
        self.sessions.send_modify(|sessions| {
            for (_, state) in sessions
                .iter_mut()
                .filter(|(name, state)| names.contains(name) && !state.up)
            {
                state.down(reason.to_owned());
            }
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

fn takes(config: &PeerConfig) -> bool {
    config.passive || config.accepts
}

fn place(config: &PeerConfig) -> Place {
    Place {
        device: config.device.clone(),
        ipv4: config.address.is_ipv4(),
    }
}

/// Tells whether a connection is from this peer; one to be found on a link may have any link-local address there.
fn is_from(config: &PeerConfig, at: &Place, from: SocketAddr) -> bool {
    let (scope, link_local) = match from {
        SocketAddr::V6(from) => (from.scope_id(), from.ip().is_unicast_link_local()),
        SocketAddr::V4(_) => (0, false),
    };
    let index = |zone: &str| nix::net::if_::if_nametoindex(zone).unwrap_or_default();
    let here = !link_local || config.zone.as_deref().is_some_and(|zone| index(zone) == scope);
    let same = config.address == from.ip() || (config.is_unnumbered() && link_local);
    takes(config) && place(config) == *at && same && here
}
