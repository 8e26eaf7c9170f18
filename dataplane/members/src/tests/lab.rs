//! Whole memberships on a virtual clock, with latency, seeded loss, partitions and streams.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::*;

pub(super) const SECOND: Duration = Duration::from_secs(1);
/// Longest way of a datagram.
pub(super) const LATENCY: Duration = Duration::from_millis(4);
const SECRET: [u8; 32] = [7; 32];

/// Reproducible numbers, nothing more (xorshift).
#[derive(Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % limit
    }

    fn fill(&mut self, buffer: &mut [u8]) {
        buffer.iter_mut().for_each(|byte| *byte = self.below(256) as u8);
    }
}

struct Machine {
    core: Members,
    running: bool,
    log: Vec<(Duration, Action)>,
    due: Option<Duration>,
}

/// What is on its way.
enum Flight {
    Datagram {
        from: String,
        to: SocketAddr,
        bytes: Vec<u8>,
    },
    Request {
        from: String,
        id: StreamId,
        to: SocketAddr,
        bytes: Vec<u8>,
    },
    Reply {
        to: String,
        id: StreamId,
        bytes: Vec<u8>,
    },
    Failed {
        to: String,
        id: StreamId,
    },
}

pub(super) struct Lab {
    start: Instant,
    pub(super) now: Duration,
    machines: BTreeMap<String, Machine>,
    flights: BTreeMap<(Duration, u64), Flight>,
    last_flight: u64,
    /// Streams whose request was delivered: who waits for the answer, and how it names it.
    streams: BTreeMap<StreamId, (String, StreamId)>,
    pub(super) dice: Dice,
    /// Per cent of datagrams.
    pub(super) loss: u64,
    /// Pairs between which nothing gets through.
    cut: BTreeSet<(String, String)>,
    /// Pairs between which no datagram does.
    deaf: BTreeSet<(String, String)>,
    pub(super) timing: Timing,
}

pub(super) fn address(name: &str) -> SocketAddr {
    let number: u8 = name[1..].parse().unwrap();
    SocketAddr::from(([192, 0, 2, number], 7946))
}

pub(super) fn names(count: u64) -> Vec<String> {
    (0..count).map(|number| format!("n{number}")).collect()
}

impl Lab {
    #[expect(
        clippy::disallowed_methods,
        reason = "an Instant cannot be made otherwise; its value does not matter"
    )]
    pub(super) fn new(seed: u64) -> Self {
        Self {
            start: Instant::now(),
            now: Duration::ZERO,
            machines: BTreeMap::new(),
            flights: BTreeMap::new(),
            last_flight: 0,
            streams: BTreeMap::new(),
            dice: Dice::new(seed),
            loss: 0,
            cut: BTreeSet::new(),
            deaf: BTreeSet::new(),
            timing: Timing::lan(),
        }
    }

    /// So many members that have found each other.
    pub(super) fn of(count: u64) -> Self {
        let mut lab = Self::new(1);
        lab.boot_all(count);
        lab.run(5 * SECOND);
        lab
    }

    pub(super) fn boot_all(&mut self, count: u64) {
        let names = names(count);
        names.iter().for_each(|name| self.boot(name));
        names.iter().for_each(|name| self.introduce(name, &names));
    }

    pub(super) fn boot(&mut self, name: &str) {
        self.boot_with(name, [SECRET]);
    }

    pub(super) fn boot_with(&mut self, name: &str, keys: impl IntoIterator<Item = [u8; 32]>) {
        let config = Config {
            node: name.to_owned(),
            address: address(name),
            timing: self.timing.clone(),
            keyring: Keyring::of_keys(keys),
            meta: CAPABILITY.to_vec(),
        };
        let mut dice = Dice::new(self.dice.below(u64::MAX));
        let core = Members::new(config, self.start + self.now, move |buffer| dice.fill(buffer));
        let mut machine = Machine {
            core,
            running: true,
            log: Vec::new(),
            due: None,
        };
        machine.due = machine.core.next_deadline().map(|due| due - self.start);
        self.machines.insert(name.to_owned(), machine);
    }

    /// Tells a member about peers.
    pub(super) fn introduce(&mut self, name: &str, peers: &[String]) {
        let peers = peers.iter().map(|peer| (peer.clone(), address(peer)));
        self.feed(name, Event::Peers(peers.collect()));
    }

    pub(super) fn feed(&mut self, name: &str, event: Event) {
        let machine = self.machines.get_mut(name).unwrap();
        let actions = machine.core.handle(self.start + self.now, event);
        machine.due = machine.core.next_deadline().map(|due| due - self.start);
        for action in actions {
            self.perform(name, action);
        }
    }

    fn perform(&mut self, name: &str, action: Action) {
        let from = name.to_owned();
        match action {
            Action::Send { to, bytes } => {
                if self.dice.below(100) >= self.loss {
                    self.fly(Flight::Datagram { from, to, bytes });
                }
            }
            Action::Exchange {
                id,
                to,
                request,
                timeout,
            } => {
                let target = self.at(to);
                if target.is_some_and(|target| self.parted(name, &target)) {
                    self.land(self.now + timeout, Flight::Failed { to: from, id });
                } else {
                    let bytes = request;
                    self.fly(Flight::Request { from, id, to, bytes });
                }
            }
            Action::Answer { id, bytes } => {
                let (to, id) = self.streams.remove(&id).unwrap();
                self.fly(Flight::Reply { to, id, bytes });
            }
            other => self.machines.get_mut(name).unwrap().log.push((self.now, other)),
        }
    }

    fn fly(&mut self, flight: Flight) {
        let latency = Duration::from_micros(200 + self.dice.below(3500));
        self.land(self.now + latency, flight);
    }

    fn land(&mut self, at: Duration, flight: Flight) {
        self.last_flight += 1;
        self.flights.insert((at, self.last_flight), flight);
    }

    /// The running member at an address.
    fn at(&self, to: SocketAddr) -> Option<String> {
        let running = |name: &&String| self.machines[*name].running && address(name) == to;
        self.machines.keys().find(running).cloned()
    }

    fn parted(&self, one: &str, other: &str) -> bool {
        self.cut.contains(&(one.to_owned(), other.to_owned()))
    }

    pub(super) fn stop(&mut self, name: &str) {
        self.machines.get_mut(name).unwrap().running = false;
    }

    pub(super) fn resume(&mut self, name: &str) {
        self.machines.get_mut(name).unwrap().running = true;
    }

    /// Lets a paused member go on, or starts one that has left.
    pub(super) fn resume_or_boot(&mut self, name: &str, peers: &[String]) {
        if self.machines[name].due.is_some() {
            self.resume(name);
        } else {
            self.boot(name);
            self.introduce(name, peers);
        }
    }

    pub(super) fn leave(&mut self, name: &str) {
        self.feed(name, Event::Leave);
        self.stop(name);
    }

    /// Parts two sides from each other.
    pub(super) fn part(&mut self, one: &[String], other: &[String]) {
        self.cut = pairs(one, other);
    }

    /// Has no datagram go between two sides, but streams do.
    pub(super) fn deafen(&mut self, one: &[String], other: &[String]) {
        self.deaf = pairs(one, other);
    }

    pub(super) fn heal(&mut self) {
        self.cut.clear();
        self.deaf.clear();
    }

    pub(super) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(next) = self.next_event().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.deliver();
            self.tick();
        }
        self.now = end;
    }

    fn next_event(&self) -> Option<Duration> {
        let running = self.machines.values().filter(|machine| machine.running);
        let landing = self.flights.keys().next().map(|(at, _)| *at);
        running.filter_map(|machine| machine.due).chain(landing).min()
    }

    fn deliver(&mut self) {
        while let Some(flight) = self.flights.first_entry().filter(|flight| flight.key().0 <= self.now) {
            let flight = flight.remove();
            self.arrive(flight);
        }
    }

    fn arrive(&mut self, flight: Flight) {
        match flight {
            Flight::Datagram { from, to, bytes } => {
                let Some(target) = self.at(to) else { return };
                let pair = (from, target);
                if !self.cut.contains(&pair) && !self.deaf.contains(&pair) {
                    let from = address(&pair.0);
                    self.feed(&pair.1, Event::Datagram { from, bytes });
                }
            }
            Flight::Request { from, id, to, bytes } => {
                let Some(target) = self.at(to) else {
                    return self.arrive(Flight::Failed { to: from, id });
                };
                self.last_flight += 1;
                let stream = self.last_flight;
                let source = address(&from);
                self.streams.insert(stream, (from.clone(), id));
                let request = Event::Request {
                    id: stream,
                    from: source,
                    bytes,
                };
                self.feed(&target, request);
                if self.streams.remove(&stream).is_some() {
                    self.arrive(Flight::Failed { to: from, id });
                }
            }
            Flight::Reply { to, id, bytes } if self.machines[&to].running => self.feed(&to, Event::Reply { id, bytes }),
            Flight::Failed { to, id } if self.machines[&to].running => self.feed(&to, Event::Failed { id }),
            Flight::Reply { .. } | Flight::Failed { .. } => {}
        }
    }

    fn tick(&mut self) {
        let due = |machine: &Machine| machine.running && machine.due.is_some_and(|due| due <= self.now);
        let due: Vec<String> = self
            .machines
            .iter()
            .filter(|(_, machine)| due(machine))
            .map(|(name, _)| name.clone())
            .collect();
        for name in due {
            self.feed(&name, Event::Tick);
        }
    }

    /// Lets time go by without anybody doing anything, then has a member tick.
    pub(super) fn skip_to(&mut self, name: &str, time: Instant) {
        self.now = time - self.start;
        self.feed(name, Event::Tick);
    }

    pub(super) fn core(&self, name: &str) -> &Members {
        &self.machines[name].core
    }

    pub(super) fn alive(&self, name: &str) -> Vec<String> {
        self.core(name).alive().into_iter().collect()
    }

    /// Names of all that run.
    pub(super) fn running(&self) -> Vec<String> {
        let running = self.machines.iter().filter(|(_, machine)| machine.running);
        running.map(|(name, _)| name.clone()).collect()
    }

    /// Says whether all that run see all that run, and nobody else.
    pub(super) fn agree(&self) -> bool {
        let running = self.running();
        running.iter().all(|name| self.alive(name) == running)
    }

    /// Runs until all agree; how long that took.
    pub(super) fn until_all_agree(&mut self, limit: Duration) -> Duration {
        let began = self.now;
        while !self.agree() {
            assert!(
                self.now - began < limit,
                "no agreement in {limit:?}: {:?}",
                self.views()
            );
            self.run(Duration::from_millis(10));
        }
        self.now - began
    }

    fn views(&self) -> Vec<(String, Vec<String>)> {
        self.running()
            .into_iter()
            .map(|name| (name.clone(), self.alive(&name)))
            .collect()
    }

    pub(super) fn log(&self, name: &str) -> Vec<Action> {
        self.machines[name]
            .log
            .iter()
            .map(|(_, action)| action.clone())
            .collect()
    }

    pub(super) fn has(&self, name: &str, wanted: &Action) -> bool {
        self.log(name).contains(wanted)
    }

    pub(super) fn clear_logs(&mut self) {
        self.machines.values_mut().for_each(|machine| machine.log.clear());
    }
}

fn pairs(one: &[String], other: &[String]) -> BTreeSet<(String, String)> {
    let there = one
        .iter()
        .flat_map(|a| other.iter().map(move |b| (a.clone(), b.clone())));
    there.flat_map(|(a, b)| [(a.clone(), b.clone()), (b, a)]).collect()
}
