//! Two nodes, a link between them that loses, delays and doubles, and a clock that is moved by hand.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use super::{MS, SECOND};
use crate::{Action, Arrival, Bfd, Control, Event, Hops, Refusal, SessionConfig, SessionKey, State, Status};

/// Draws the same numbers in every run (xorshift64*).
#[derive(Clone)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    pub(super) fn fill(&mut self, buffer: &mut [u8]) {
        for byte in buffer {
            *byte = self.next() as u8;
        }
    }
}

/// What a node has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Sent(Control),
    Echoed,
    Changed(Status),
    Refused(Refusal),
    Closed,
}

pub(super) struct Node {
    pub(super) bfd: Bfd,
    pub(super) log: Vec<(Duration, Entry)>,
    /// Whether it returns echoes of the other.
    pub(super) forwards: bool,
    /// A node that is stopped does nothing; what is sent to it is lost.
    pub(super) stopped: bool,
}

struct Flight {
    at: Instant,
    to: usize,
    /// An echo comes back to who has sent it.
    is_echo: bool,
    bytes: Vec<u8>,
}

pub(super) struct Lab {
    start: Instant,
    pub(super) now: Instant,
    pub(super) nodes: [Node; 2],
    flights: Vec<Flight>,
    pub(super) dice: Dice,
    pub(super) hops: Hops,
    /// Of a hundred.
    pub(super) loss: u64,
    pub(super) doubled: u64,
    pub(super) delay: std::ops::Range<u64>,
    pub(super) ttl: u8,
}

pub(super) fn address(node: usize) -> IpAddr {
    IpAddr::from([192, 0, 2, 1 + node as u8])
}

pub(super) fn fast() -> SessionConfig {
    SessionConfig {
        transmit_interval: 50 * MS,
        receive_interval: 50 * MS,
        ..SessionConfig::default()
    }
}

impl Lab {
    /// Two nodes with a session between them.
    pub(super) fn new(seed: u64, configs: [SessionConfig; 2]) -> Self {
        let mut lab = Self::empty(seed);
        let [first, second] = configs;
        lab.configure(0, first);
        lab.configure(1, second);
        lab
    }

    pub(super) fn empty(seed: u64) -> Self {
        let node = |number: u64| {
            let mut dice = Dice::new(seed * 2 + number + 1);
            Node {
                bfd: Bfd::new(move |buffer| dice.fill(buffer)),
                log: Vec::new(),
                forwards: true,
                stopped: false,
            }
        };
        let start = super::some_time();
        Self {
            start,
            now: start,
            nodes: [node(0), node(1)],
            flights: Vec::new(),
            dice: Dice::new(seed),
            hops: Hops::Single,
            loss: 0,
            doubled: 0,
            delay: 0..2000,
            ttl: 255,
        }
    }

    /// A pair whose session is up and whose polls are answered.
    pub(super) fn up(seed: u64, configs: [SessionConfig; 2]) -> Self {
        let mut lab = Self::new(seed, configs);
        lab.run(5 * SECOND);
        lab.assert_up();
        lab.clear();
        lab
    }

    pub(super) fn key(&self, node: usize) -> SessionKey {
        SessionKey::new(address(1 - node), self.hops)
    }

    pub(super) fn configure(&mut self, node: usize, config: SessionConfig) {
        let key = self.key(node);
        self.feed(node, Event::Sessions(BTreeMap::from([(key, config)])));
    }

    pub(super) fn remove(&mut self, node: usize) {
        self.feed(node, Event::Sessions(BTreeMap::new()));
    }

    pub(super) fn status(&self, node: usize) -> Status {
        self.nodes[node].bfd.sessions().next().unwrap().1
    }

    pub(super) fn states(&self) -> [State; 2] {
        [self.status(0).state, self.status(1).state]
    }

    pub(super) fn assert_up(&self) {
        assert_eq!(self.states(), [State::Up; 2]);
    }

    pub(super) fn clear(&mut self) {
        self.nodes.iter_mut().for_each(|node| node.log.clear());
    }

    /// What a node has sent since the log was cleared, and when.
    pub(super) fn sent(&self, node: usize) -> Vec<(Duration, Control)> {
        let packet = |(at, entry): &(Duration, Entry)| match entry {
            Entry::Sent(packet) => Some((*at, *packet)),
            _ => None,
        };
        self.nodes[node].log.iter().filter_map(packet).collect()
    }

    pub(super) fn echoes(&self, node: usize) -> Vec<Duration> {
        let log = self.nodes[node].log.iter();
        log.filter(|(_, entry)| *entry == Entry::Echoed)
            .map(|(at, _)| *at)
            .collect()
    }

    pub(super) fn changes(&self, node: usize) -> Vec<(Duration, Status)> {
        let change = |(at, entry): &(Duration, Entry)| match entry {
            Entry::Changed(status) => Some((*at, status.clone())),
            _ => None,
        };
        self.nodes[node].log.iter().filter_map(change).collect()
    }

    pub(super) fn has(&self, node: usize, entry: &Entry) -> bool {
        self.nodes[node].log.iter().any(|(_, other)| other == entry)
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    pub(super) fn feed(&mut self, node: usize, event: Event<'_>) {
        let actions = self.nodes[node].bfd.handle(self.now, event);
        for action in actions {
            self.perform(node, action);
        }
    }

    fn perform(&mut self, node: usize, action: Action) {
        let entry = match action {
            Action::Send { bytes, .. } => {
                self.carry(1 - node, &bytes, false);
                Entry::Sent(Control::decode(&bytes).unwrap())
            }
            Action::Echo { bytes, .. } => {
                if self.nodes[1 - node].forwards {
                    self.carry(node, &bytes, true);
                }
                Entry::Echoed
            }
            Action::Changed { status, .. } => Entry::Changed(status),
            Action::Refused(refusal) => Entry::Refused(refusal),
            Action::Closed { .. } => Entry::Closed,
            Action::Opened { .. } | Action::Agreed { .. } | Action::Accepted(_) | Action::Echoed(_) => return,
        };
        let at = self.elapsed();
        self.nodes[node].log.push((at, entry));
    }

    fn carry(&mut self, to: usize, bytes: &[u8], is_echo: bool) {
        if self.dice.below(100) < self.loss {
            return;
        }
        let copies = 1 + u64::from(self.dice.below(100) < self.doubled);
        for _ in 0..copies {
            let delay = self.delay.start + self.dice.below(self.delay.end - self.delay.start);
            self.flights.push(Flight {
                at: self.now + Duration::from_micros(delay),
                to,
                is_echo,
                bytes: bytes.to_vec(),
            });
        }
    }

    /// Has a control packet arrive at a node as from the other.
    pub(super) fn arrive(&mut self, to: usize, bytes: &[u8]) {
        let arrival = Arrival {
            hops: self.hops,
            peer: address(1 - to),
            local: address(to),
            interface: "eth0",
            device: None,
            ttl: self.ttl,
        };
        self.feed(to, Event::Control { arrival, bytes });
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.next().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            let now = self.now;
            let (arrived, flying) = std::mem::take(&mut self.flights)
                .into_iter()
                .partition(|flight| flight.at <= now);
            let mut arrived: Vec<Flight> = arrived;
            self.flights = flying;
            arrived.sort_by_key(|flight| flight.at);
            for Flight { to, is_echo, bytes, .. } in arrived {
                match is_echo {
                    _ if self.nodes[to].stopped => {}
                    true => self.feed(
                        to,
                        Event::Echo {
                            ttl: 254,
                            bytes: &bytes,
                        },
                    ),
                    false => self.arrive(to, &bytes),
                }
            }
            for node in 0..2 {
                if !self.nodes[node].stopped {
                    self.feed(node, Event::Tick);
                }
            }
        }
        self.now = end;
    }

    fn next(&self) -> Option<Instant> {
        let running = self.nodes.iter().filter(|node| !node.stopped);
        let deadlines = running.filter_map(|node| node.bfd.next_deadline());
        deadlines.chain(self.flights.iter().map(|flight| flight.at)).min()
    }
}
