//! Detectors on a virtual clock, with latency, seeded loss, partitions, pauses, crashes, and a segment to ask on.
//!
//! All members own one address in turn: its owner in the eyes of a member is the first by name, and those that it suspects
//! come after the others.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::{fast::*, tests::Dice};

pub(super) const MS: Duration = Duration::from_millis(1);
pub(super) const SECOND: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    Running,
    /// As by SIGSTOP: what comes in waits.
    Paused,
    Crashed,
}

struct Machine {
    core: Detector,
    state: State,
    waiting: VecDeque<Vec<u8>>,
    /// When it is told that its deadline has come; kept while it is paused.
    due: Option<Duration>,
    suspects: BTreeSet<String>,
    unaware: BTreeSet<String>,
    log: Vec<(Duration, BTreeSet<String>)>,
}

enum Flight {
    Datagram {
        from: String,
        to: SocketAddr,
        bytes: Vec<u8>,
    },
    Answer {
        to: String,
        question: Question,
    },
}

pub(super) struct Lab {
    start: Instant,
    pub(super) now: Duration,
    machines: BTreeMap<String, Machine>,
    /// When which of those that run is told that its deadline has come.
    due: BTreeSet<(Duration, String)>,
    flights: BTreeMap<(Duration, u64), Flight>,
    last_flight: u64,
    pub(super) dice: Dice,
    /// Who has told when that whom it accused is back.
    pub(super) returned: Vec<(Duration, String, String)>,
    /// Per cent of datagrams.
    pub(super) loss: u64,
    /// Ways on which nothing gets through: from, to.
    cut: BTreeSet<(String, String)>,
    /// Who is cut off from the segment.
    pub(super) off_segment: BTreeSet<String>,
    /// Whether the default gateway answers.
    pub(super) gateway: bool,
    /// So many of its answers are lost.
    pub(super) lost_witnesses: u32,
    /// Who is not told when others vouch for a member.
    pub(super) deaf_to_vouches: Option<String>,
    sent: u64,
    keys: Keys,
    /// How long the address had no owner that runs, and how long several, so far.
    pub(super) nobody: Duration,
    pub(super) several: Duration,
    /// How many run and take themselves for the owner.
    owning: usize,
}

fn address(name: &str) -> SocketAddr {
    let number: u16 = name[1..].parse().unwrap();
    let [high, low] = number.to_be_bytes();
    SocketAddr::from(([192, 0, high, low], 7946))
}

fn name(address: SocketAddr) -> String {
    let SocketAddr::V4(address) = address else {
        panic!("{address} is nobody's");
    };
    let [_, _, high, low] = address.ip().octets();
    format!("n{:03}", u16::from_be_bytes([high, low]))
}

pub(super) fn names(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("n{number:03}")).collect()
}

impl Lab {
    /// So many members that have heard each other for two seconds.
    pub(super) fn of(count: usize, seed: u64) -> Self {
        let mut lab = Self::unstarted(seed);
        let names = names(0..count);
        names.iter().for_each(|name| lab.boot(name));
        names.iter().for_each(|name| lab.introduce(name, &names, true));
        lab.run(2 * SECOND);
        (lab.nobody, lab.several) = (Duration::ZERO, Duration::ZERO);
        lab
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "an Instant cannot be made otherwise; its value does not matter"
    )]
    pub(super) fn unstarted(seed: u64) -> Self {
        Self {
            start: Instant::now(),
            now: Duration::ZERO,
            machines: BTreeMap::new(),
            due: BTreeSet::new(),
            flights: BTreeMap::new(),
            last_flight: 0,
            dice: Dice::new(seed),
            returned: Vec::new(),
            loss: 0,
            cut: BTreeSet::new(),
            off_segment: BTreeSet::new(),
            gateway: true,
            lost_witnesses: 0,
            deaf_to_vouches: None,
            sent: 0,
            keys: Keys::default(),
            nobody: Duration::ZERO,
            several: Duration::ZERO,
            owning: 0,
        }
    }

    pub(super) fn boot(&mut self, name: &str) {
        let config = Config {
            node: name.to_owned(),
            boot: self.dice.below(u64::MAX),
            pace: Pace::default(),
            keys: self.keys.clone(),
        };
        let mut dice = Dice::new(self.dice.below(u64::MAX));
        let random = move |buffer: &mut [u8]| buffer.iter_mut().for_each(|byte| *byte = dice.below(256) as u8);
        let machine = Machine {
            core: Detector::new(config, self.start + self.now, random),
            state: State::Running,
            waiting: VecDeque::new(),
            due: None,
            suspects: BTreeSet::new(),
            unaware: BTreeSet::new(),
            log: Vec::new(),
        };
        self.machines.insert(name.to_owned(), machine);
        self.due.retain(|(_, other)| other != name);
        self.owning = self.owners().len();
    }

    pub(super) fn introduce(&mut self, name: &str, peers: &[String], active: bool) {
        let peers = peers.iter().map(|peer| (peer.clone(), address(peer))).collect();
        self.feed(name, Event::Members { peers, active });
    }

    pub(super) fn feed(&mut self, name: &str, event: Event) {
        let machine = self.machines.get_mut(name).unwrap();
        let actions = machine.core.handle(self.start + self.now, event).unwrap();
        let due = machine.core.next_deadline().map(|due| due - self.start);
        // A busy machine wakes up a little late.
        let due = due.map(|due| due + Duration::from_micros(self.dice.below(2000)));
        self.due_at(name, due);
        for action in actions {
            self.perform(name, action);
        }
    }

    fn due_at(&mut self, name: &str, due: Option<Duration>) {
        let machine = self.machines.get_mut(name).unwrap();
        let entry = |at| (at, name.to_owned());
        if let Some(before) = std::mem::replace(&mut machine.due, due) {
            self.due.remove(&entry(before));
        }
        if machine.state == State::Running {
            self.due.extend(due.map(entry));
        }
    }

    fn perform(&mut self, name: &str, action: Action) {
        match action {
            Action::Send { to, bytes } => {
                self.sent += 1;
                let vouches = |lab: &Self| {
                    let packet = packet::Packet::decode(&bytes, &lab.keys);
                    packet.is_ok_and(|packet| matches!(packet.kind, packet::Kind::Vouch(_)))
                };
                let dropped = self.deaf_to_vouches.as_deref() == Some(&*super::lab::name(to)) && vouches(self);
                if self.dice.below(100) >= self.loss && !dropped {
                    let latency = Duration::from_micros(100 + self.dice.below(1000));
                    let from = name.to_owned();
                    self.fly(latency, Flight::Datagram { from, to, bytes });
                }
            }
            Action::Ask(question) => {
                let answers = !self.off_segment.contains(name)
                    && match &question {
                        Question::Member(other) => {
                            self.machines[other].state == State::Running && !self.off_segment.contains(other)
                        }
                        Question::Witness if self.lost_witnesses > 0 => {
                            self.lost_witnesses -= 1;
                            false
                        }
                        Question::Witness => self.gateway,
                    };
                if answers {
                    let to = name.to_owned();
                    self.fly(MS, Flight::Answer { to, question });
                }
            }
            Action::Returned(other) => self.returned.push((self.now, name.to_owned(), other)),
            Action::Suspects(suspects) => {
                let now = self.now;
                let machine = self.machines.get_mut(name).unwrap();
                if machine.suspects != suspects.names {
                    machine.log.push((now, suspects.names.clone()));
                }
                machine.suspects = suspects.names;
                machine.unaware = suspects.unaware;
                self.owning = self.owners().len();
            }
        }
    }

    /// How many packets were sent so far.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// How many packets have not arrived yet.
    pub(super) fn on_their_way(&self) -> usize {
        self.flights.len()
    }

    fn fly(&mut self, latency: Duration, flight: Flight) {
        self.last_flight += 1;
        self.flights.insert((self.now + latency, self.last_flight), flight);
    }

    fn land(&mut self, flight: Flight) {
        match flight {
            Flight::Datagram { from, to, bytes } => {
                let name = name(to);
                if !self.machines.contains_key(&name) || self.cut.contains(&(from, name.clone())) {
                    return;
                }
                match self.machines[&name].state {
                    State::Running => self.feed(&name, Event::Datagram(bytes)),
                    State::Paused => self.machines.get_mut(&name).unwrap().waiting.push_back(bytes),
                    State::Crashed => {}
                }
            }
            Flight::Answer { to, question } => {
                if self.machines[&to].state == State::Running {
                    self.feed(&to, Event::Answered(question));
                }
            }
        }
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let flight = self.flights.keys().next().map(|(at, _)| *at);
            let due = self.due.first().cloned();
            let next = flight.into_iter().chain(due.iter().map(|(at, _)| *at)).min();
            let Some(next) = next.filter(|next| *next <= end) else {
                break;
            };
            self.pass(next.max(self.now));
            if flight.is_some_and(|at| at <= next)
                && let Some((_, flight)) = self.flights.pop_first()
            {
                self.land(flight);
            } else if let Some((_, name)) = due {
                self.feed(&name, Event::Tick);
            }
        }
        self.pass(end);
    }

    /// Lets time pass until nobody suspects anybody, `limit` at most.
    pub(super) fn run_until_calm(&mut self, limit: Duration) {
        let end = self.now + limit;
        while self.now < end && self.machines.values().any(|machine| !machine.suspects.is_empty()) {
            self.run(SECOND);
        }
    }

    fn pass(&mut self, to: Duration) {
        match self.owning {
            0 => self.nobody += to - self.now,
            1 => {}
            _ => self.several += to - self.now,
        }
        self.now = to;
    }

    /// Who runs and takes itself for the owner.
    pub(super) fn owners(&self) -> Vec<&String> {
        let owner = |machine: &Machine| {
            let names = self.machines.keys();
            names
                .min_by_key(|name| (machine.suspects.contains(*name), (*name).clone()))
                .cloned()
        };
        let running = self
            .machines
            .iter()
            .filter(|(_, machine)| machine.state == State::Running);
        let owners = running.filter(|(name, machine)| owner(machine).as_ref() == Some(*name));
        owners.map(|(name, _)| name).collect()
    }

    pub(super) fn set(&mut self, name: &str, state: State) {
        let machine = self.machines.get_mut(name).unwrap();
        machine.state = state;
        let waiting = std::mem::take(&mut machine.waiting);
        let due = machine.due;
        self.due_at(name, due);
        self.owning = self.owners().len();
        if state == State::Running {
            // Everything that has come in before the deadline that has passed.
            for bytes in waiting {
                self.feed(name, Event::Datagram(bytes));
            }
            self.feed(name, Event::Tick);
        }
    }

    /// Parts two sides from each other.
    pub(super) fn part(&mut self, one: &[String], other: &[String]) {
        for (a, b) in one.iter().flat_map(|a| other.iter().map(move |b| (a, b))) {
            self.cut.insert((a.clone(), b.clone()));
            self.cut.insert((b.clone(), a.clone()));
        }
    }

    pub(super) fn heal(&mut self) {
        self.cut.clear();
    }

    pub(super) fn suspects(&self, name: &str) -> Vec<&str> {
        self.machines[name].suspects.iter().map(String::as_str).collect()
    }

    pub(super) fn unaware(&self, name: &str) -> Vec<&str> {
        self.machines[name].unaware.iter().map(String::as_str).collect()
    }

    /// Every change of what a member suspects.
    pub(super) fn log(&self, name: &str) -> &[(Duration, BTreeSet<String>)] {
        &self.machines[name].log
    }

    pub(super) fn accusations(&self) -> usize {
        let logs = self.machines.values().map(|machine| machine.log.iter());
        logs.flatten().filter(|(_, suspects)| !suspects.is_empty()).count()
    }
}

impl Lab {
    pub(super) fn watched(&self, name: &str) -> Vec<String> {
        self.machines[name].core.watched()
    }
}
