//! The networks: that of the members, and the segment of the addresses.

use std::time::Duration;

use metallb_members::StreamId;

use crate::{
    host::{State, Target, address, node_at},
    world::{Happening, World},
};

/// Longest delay of a datagram that is late.
const LATE: u64 = 50_000;
/// A lost segment of a stream is sent again after this.
const RESENT: Duration = Duration::from_millis(220);
/// Longest way of a frame on the segment, in microseconds.
const FRAME: u64 = 800;

impl World {
    /// Says whether something that one node sends to another's membership arrives.
    pub(crate) fn reaches(&self, from: usize, to: usize) -> bool {
        let wired = !self.plan.shared || (self.hosts[from].carrier && self.hosts[to].carrier);
        wired && !self.parts.values().any(|part| part.members && part.blocks(from, to))
    }

    /// Says whether a frame that one node sends is heard by another.
    pub(crate) fn hears(&self, from: usize, to: usize) -> bool {
        let wired = self.hosts[from].carrier && self.hosts[to].carrier;
        wired && !self.parts.values().any(|part| part.segment && part.blocks(from, to))
    }

    fn is_lost(&mut self) -> bool {
        self.rng.u32(0..1000) < self.loss
    }

    fn latency(&mut self) -> Duration {
        let late = self.rng.u32(0..1000) < self.plan.late;
        let most = if late { LATE } else { self.plan.latency };
        Duration::from_micros(60 + self.rng.u64(0..most))
    }

    /// The way of what goes over a stream: whatever is lost comes later.
    fn stream_latency(&mut self) -> Duration {
        let mut latency = self.latency();
        while self.is_lost() {
            latency += RESENT;
        }
        latency
    }

    pub(crate) fn send(&mut self, from: usize, to: std::net::SocketAddr, bytes: Vec<u8>) {
        let to = node_at(to);
        if to >= self.hosts.len() || !self.reaches(from, to) || self.is_lost() {
            return;
        }
        if self.rng.u32(0..1000) < self.plan.twice {
            let (latency, bytes) = (self.latency(), bytes.clone());
            self.after(latency, Happening::Datagram { from, to, bytes });
        }
        let latency = self.latency();
        self.after(latency, Happening::Datagram { from, to, bytes });
    }

    /// Opens a stream, and says when there is no answer.
    pub(crate) fn exchange(&mut self, from: usize, id: StreamId, to: usize, request: Vec<u8>, timeout: Duration) {
        let run = self.hosts[from].run;
        let mut fails = timeout;
        if to < self.hosts.len() && self.reaches(from, to) && self.reaches(to, from) {
            // The handshake, and the way there.
            let way = self.stream_latency() + self.stream_latency() + self.stream_latency();
            match self.hosts[to].state {
                State::Off { host_down: true } => {}
                State::Off { host_down: false } => fails = timeout.min(way),
                State::Running | State::Paused | State::Leaving => {
                    self.streams += 1;
                    let stream = self.streams;
                    self.asked.insert(stream, (from, run, id));
                    let bytes = request;
                    self.after(
                        way,
                        Happening::Request {
                            from,
                            to,
                            stream,
                            bytes,
                        },
                    );
                }
            }
        }
        self.after(fails, Happening::Failed { to: from, run, id });
    }

    /// Answers on a stream.
    pub(crate) fn answer(&mut self, from: usize, stream: StreamId, bytes: Vec<u8>) {
        let Some((to, run, id)) = self.asked.remove(&stream) else {
            return;
        };
        if self.reaches(from, to) && self.reaches(to, from) {
            let way = self.stream_latency();
            self.after(way, Happening::Reply { to, run, id, bytes });
        }
    }

    /// Asks the segment who has an address.
    pub(crate) fn probe(&mut self, from: usize, target: Target) {
        if !self.is_lost() {
            let (way, run) = (Duration::from_micros(self.rng.u64(50..FRAME)), self.hosts[from].run);
            self.after(way, Happening::Probe { from, run, target });
        }
    }

    /// Who has the address hears the request, and answers.
    pub(crate) fn probed(&mut self, from: usize, run: u32, target: Target) {
        let connected = |other: usize| self.hears(from, other) && self.hears(other, from);
        let answered = match target {
            Target::Gateway => {
                // It is on the near side of every cut.
                let cut = self.parts.values().any(|part| part.segment && part.far[from]);
                self.plan.gateway && self.hosts[from].carrier && !cut
            }
            Target::Address(address) => (0..self.hosts.len())
                .any(|other| other != from && self.hosts[other].is_answering(address) && connected(other)),
        };
        if answered && !self.is_lost() {
            let way = Duration::from_micros(self.rng.u64(50..FRAME));
            self.after(way, Happening::Found { to: from, run, target });
        }
    }

    /// Tells the segment that a node answers for an address. Only who does so, too, cares.
    pub(crate) fn claim(&mut self, by: usize, address: usize) {
        for to in 0..self.hosts.len() {
            if to != by && self.hosts[to].answers.contains(&address) && self.hears(by, to) {
                let (way, run) = (Duration::from_micros(self.rng.u64(50..FRAME)), self.hosts[to].run);
                let by = Some(by);
                self.after(way, Happening::Claimed { to, run, address, by });
            }
        }
    }

    /// The source address of a node's datagrams.
    pub(crate) fn source(node: usize) -> std::net::SocketAddr {
        address(node)
    }
}
