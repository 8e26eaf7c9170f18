//! Probing: is a member there? Directly, then through others and over TCP, and until its deadline.

use std::{net::SocketAddr, time::Instant};

use crate::{
    Members, Refusal,
    exchange::Purpose,
    state::Node,
    wire::{
        message::{Accusation, IndirectPing, Message, Ping, Source},
        packet::compound,
        stream::{State, StreamMessage},
    },
};

/// Highest number of probes on behalf of others, against a flood of requests.
const MAX_RELAYS: usize = 1024;
/// From this version on members answer pings over TCP, and from the next one on they send nacks.
const TCP_PING_VERSION: u8 = 3;
const NACK_VERSION: u8 = 4;
/// When a nack is sent, as part of the time that an answer may take.
///
/// Upstream: at its end, which with the usual profiles is when the one who asked no longer waits for it.
const NACK_PART: f64 = 0.8;

/// The current probe; there is one at a time.
#[derive(Debug)]
pub(crate) struct Probe {
    sequence: u32,
    accusation: Accusation,
    address: SocketAddr,
    version: u8,
    /// When others are asked, until they have been.
    indirect_at: Option<Instant>,
    deadline: Instant,
    nacks: u32,
    nacks_expected: u32,
    /// It has answered over TCP.
    contacted: bool,
}

impl Probe {
    pub(crate) fn next_deadline(&self) -> Instant {
        self.indirect_at.map_or(self.deadline, |at| at.min(self.deadline))
    }
}

/// A probe for another member.
#[derive(Debug)]
pub(crate) struct Relay {
    to: SocketAddr,
    sequence: u32,
    /// When it is told that there is no answer, if it wants that and has not been.
    nack_at: Option<Instant>,
    deadline: Instant,
}

impl Relay {
    pub(crate) fn next_deadline(&self) -> Instant {
        self.nack_at.map_or(self.deadline, |at| at.min(self.deadline))
    }
}

impl Members {
    fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    /// Says whether a node is being probed.
    #[cfg(test)]
    pub(crate) fn probes(&self, name: &str) -> bool {
        self.probe.as_ref().is_some_and(|probe| probe.accusation.node == name)
    }

    fn source(&self) -> Source {
        Source {
            address: Some(self.config.address),
            node: self.config.node.clone(),
        }
    }

    /// Does what is due of the current probe, and begins the next one.
    pub(crate) fn advance_probe(&mut self) {
        if let Some(at) = self.probe.as_ref().and_then(|probe| probe.indirect_at)
            && at <= self.now
        {
            self.ask_others(at);
        }
        if self.probe.as_ref().is_some_and(|probe| probe.deadline <= self.now) {
            self.end_probe();
        }
        if self.probe.is_none() && self.probe_at <= self.now {
            self.begin_probe();
            let interval = self.config.timing.probe_interval;
            let next = self.probe_at + interval;
            self.probe_at = if next > self.now { next } else { self.now + interval };
        }
    }

    /// Probes the next member in order, if there is another.
    fn begin_probe(&mut self) {
        for _ in 0..=self.order.len() {
            if self.next_in_order >= self.order.len() {
                self.reap();
                self.next_in_order = 0;
            }
            let Some(name) = self.order.get(self.next_in_order).cloned() else {
                return;
            };
            self.next_in_order += 1;
            if name != self.config.node && self.is_present(&name) {
                self.probe(&name);
                return;
            }
        }
    }

    fn probe(&mut self, name: &str) {
        let sequence = self.next_sequence();
        let ping = Message::Ping(Ping {
            sequence,
            node: name.to_owned(),
            source: self.source(),
        });
        let Some(node) = self.nodes.get(name) else { return };
        let (state, address) = (node.state, node.alive.address);
        let accusation = Accusation {
            incarnation: node.alive.incarnation,
            node: name.to_owned(),
            from: self.config.node.clone(),
        };
        let version = node.alive.versions.get(1).copied().unwrap_or_default();
        if state == State::Alive {
            self.send(address, &ping);
        } else {
            // It learns thereby that it should refute.
            let suspect = Message::Suspect(accusation.clone());
            self.send_alone(address, compound(vec![ping.encode(), suspect.encode()]));
        }
        let interval = self.config.timing.probe_interval * (self.awareness + 1);
        self.probe = Some(Probe {
            sequence,
            accusation,
            address,
            version,
            indirect_at: Some(self.now + self.config.timing.probe_timeout.min(interval)),
            deadline: self.now + interval,
            nacks: 0,
            nacks_expected: 0,
            contacted: false,
        });
    }

    /// The direct probe is late: others try, and TCP does. They have as long as if this had been done when it was `due`.
    fn ask_others(&mut self, due: Instant) {
        let Some(probe) = &mut self.probe else { return };
        probe.indirect_at = None;
        probe.deadline += self.now.saturating_duration_since(due);
        let (sequence, target, deadline) = (probe.sequence, probe.address, probe.deadline);
        let (name, version) = (probe.accusation.node.clone(), probe.version);
        let other = |(other, node): &(&String, &Node)| {
            **other != self.config.node && **other != name && node.state == State::Alive
        };
        let others = self.nodes.iter().filter(other);
        let others = others.map(|(_, node)| (node.alive.address, node.alive.versions.get(1).copied()));
        let others = self.random.choose(self.config.timing.indirect_checks, others.collect());
        for (to, version) in others {
            let nack = version >= Some(NACK_VERSION);
            let ping = Message::IndirectPing(IndirectPing {
                sequence,
                target,
                node: name.clone(),
                nack,
                source: self.source(),
            });
            self.send(to, &ping);
            if let Some(probe) = self.probe.as_mut().filter(|_| nack) {
                probe.nacks_expected += 1;
            }
        }
        if self.config.timing.tcp_pings && version >= TCP_PING_VERSION {
            let ping = StreamMessage::Ping(Ping {
                sequence,
                node: name,
                source: self.source(),
            });
            let timeout = deadline.saturating_duration_since(self.now);
            self.exchange(target, &ping, timeout, Purpose::Ping(sequence));
        }
    }

    fn end_probe(&mut self) {
        let Some(probe) = self.probe.take() else { return };
        // Only a pause of this process makes it so late; that says nothing about the other member.
        let late = self.now.saturating_duration_since(probe.deadline);
        if late > self.config.timing.probe_interval {
            return;
        }
        if probe.contacted {
            self.slower(-1);
            return;
        }
        // Whoever hears no nack either should doubt itself.
        let missing = match probe.nacks_expected {
            0 => 1,
            expected => expected.saturating_sub(probe.nacks),
        };
        self.slower(i32::try_from(missing).unwrap_or(i32::MAX));
        self.suspect(probe.accusation);
    }

    pub(crate) fn on_ack(&mut self, sequence: u32) {
        if let Some(probe) = self.probe.take_if(|probe| probe.sequence == sequence) {
            self.hear(&probe.accusation.node);
            self.slower(-1);
        } else if let Some(relay) = self.relays.remove(&sequence) {
            self.send(relay.to, &Message::Ack(relay.sequence));
        }
    }

    pub(crate) fn on_nack(&mut self, sequence: u32) {
        if let Some(probe) = self.probe.as_mut().filter(|probe| probe.sequence == sequence) {
            probe.nacks += 1;
        }
    }

    /// An answer over TCP.
    pub(crate) fn on_contact(&mut self, sequence: u32) {
        if let Some(probe) = self.probe.as_mut().filter(|probe| probe.sequence == sequence) {
            probe.contacted = true;
        }
    }

    pub(crate) fn on_ping(&mut self, from: SocketAddr, ping: &Ping) -> Result<(), Refusal> {
        if !self.is_meant(&ping.node) {
            return Err(Refusal::Misdirected);
        }
        self.hear(&ping.source.node);
        self.send(ping.source.address.unwrap_or(from), &Message::Ack(ping.sequence));
        Ok(())
    }

    /// A node was heard. That does not end a suspicion: the suspect has to refute it.
    fn hear(&mut self, name: &str) {
        if let Some(node) = self.nodes.get_mut(name) {
            node.heard = self.now;
        }
    }

    /// An empty name means whoever listens.
    pub(crate) fn is_meant(&self, name: &str) -> bool {
        name.is_empty() || name == self.config.node
    }

    pub(crate) fn on_indirect_ping(&mut self, from: SocketAddr, asked: IndirectPing) {
        if self.relays.len() >= MAX_RELAYS {
            return;
        }
        let sequence = self.next_sequence();
        let timeout = self.config.timing.probe_timeout;
        let relay = Relay {
            to: asked.source.address.unwrap_or(from),
            sequence: asked.sequence,
            nack_at: asked.nack.then_some(self.now + timeout.mul_f64(NACK_PART)),
            deadline: self.now + timeout,
        };
        self.relays.insert(sequence, relay);
        let ping = Message::Ping(Ping {
            sequence,
            node: asked.node,
            source: self.source(),
        });
        self.send(asked.target, &ping);
    }

    /// Says to whom it asked for a probe that there is no answer yet; then forgets it.
    pub(crate) fn end_relays(&mut self) {
        let now = self.now;
        let mut nacks = Vec::new();
        self.relays.retain(|_, relay| {
            if relay.nack_at.is_some_and(|at| at <= now) {
                relay.nack_at = None;
                nacks.push((relay.to, relay.sequence));
            }
            relay.deadline > now
        });
        for (to, sequence) in nacks {
            self.send(to, &Message::Nack(sequence));
        }
    }
}
