//! Handles packets of other members.

use std::time::{Duration, Instant};

use super::Detector;
use crate::fast::{
    Action,
    packet::{Kind, Packet, Stamp},
    peer::Peer,
};

/// Highest number of unanswered pings on behalf of others.
const MAX_RELAYS: usize = 256;
const RELAY_LIMIT: Duration = Duration::from_millis(500);

/// A ping for another member.
#[derive(Debug)]
pub(super) struct Relay {
    asker: String,
    ask: Stamp,
    at: Instant,
}

impl Detector {
    pub(super) fn on_packet(&mut self, packet: Packet) {
        let Packet {
            stamp,
            sender,
            kind,
            accused,
        } = packet;
        let Some(peer) = self.peers.get_mut(&sender) else {
            return;
        };
        if let Kind::Ack(ping) = kind
            && ping.boot == self.config.boot
            && peer.acked(ping.sequence)
        {
            self.hear(&sender, Some(stamp.boot));
            self.accusations.answered(&sender);
            self.relay(&sender, ping.sequence);
        }
        if kind == Kind::Ping {
            self.send(&sender, Kind::Ack(stamp));
        }
        let Some(peer) = self.peers.get_mut(&sender) else {
            return;
        };
        if !peer.is_new(stamp.boot, stamp.sequence) {
            // From a new run of the member or a replay; its answer to a ping tells which.
            if peer.boot != Some(stamp.boot) && self.active && peer.may_be_asked(self.now) {
                self.ping(&sender);
            }
            return;
        }
        if kind == Kind::Ping && !self.accusations.accuses(&sender) {
            // A ping is a sign of life, so one of the two sides suffices; the other pings if none comes.
            let interval = self.config.pace.interval;
            peer.ping_at = peer.ping_at.max(self.now + interval + interval / 8);
        }
        self.hear(&sender, None);
        if self.active {
            self.accusations.learn(&sender, stamp, accused, self.now);
        }
        match kind {
            Kind::Ask(name) => self.on_ask(&sender, stamp, &name),
            Kind::Vouch(ask) if ask.boot == self.config.boot => self.on_vouch(ask.sequence),
            Kind::Ping | Kind::Ack(_) | Kind::Vouch(_) | Kind::News => {}
        }
    }

    /// A member was heard; `boot` is its run, if it has proven it by answering a ping.
    pub(super) fn hear(&mut self, name: &str, boot: Option<u64>) {
        let now = self.now;
        let Some(peer) = self.peers.get_mut(name) else { return };
        peer.hear(boot, now);
        if self.accusations.heard(name, now) {
            self.actions.push(Action::Returned(name.to_owned()));
        }
        for peer in self.peers.values_mut() {
            if let Some(doubt) = &mut peer.doubt {
                doubt.roll.entry(name.to_owned()).or_insert(now);
            }
        }
    }

    fn on_ask(&mut self, asker: &str, ask: Stamp, name: &str) {
        let now = self.now;
        self.relays
            .retain(|_, relay| now.saturating_duration_since(relay.at) < RELAY_LIMIT);
        if self.relays.len() >= MAX_RELAYS {
            return;
        }
        if let Some(sequence) = self.ping(name) {
            let relay = Relay {
                asker: asker.to_owned(),
                ask,
                at: now,
            };
            self.relays.insert(sequence, relay);
        }
    }

    fn relay(&mut self, name: &str, sequence: u64) {
        if let Some(relay) = self.relays.remove(&sequence)
            && relay.asker != name
        {
            self.send(&relay.asker, Kind::Vouch(relay.ask));
        }
    }

    fn on_vouch(&mut self, sequence: u64) {
        let asked =
            |(_, peer): &(&String, &Peer)| peer.doubt.as_ref().is_some_and(|doubt| doubt.asks.contains(&sequence));
        let vouched = self.peers.iter().find(asked).map(|(name, _)| name.clone());
        if let Some(name) = vouched {
            self.hear(&name, None);
        }
    }
}
