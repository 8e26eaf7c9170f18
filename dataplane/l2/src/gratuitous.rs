//! When which gratuitous frame is sent: bursts after a gain, paced, and an optional refresh.

mod pacing;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use crate::{
    arp,
    interfaces::{Interfaces, Link},
};
use pacing::{Pace, Queue, Rank};

/// Between rounds; just above the second for which Linux locks a fresh neighbour entry (upstream #172).
const ROUND: Duration = Duration::from_millis(1100);
/// Rounds of a burst: at 0, 1.1, 2.2, 3.3 and 4.4 s.
const ROUNDS: u8 = 5;

/// What the scheduler is told.
#[derive(Clone, Debug)]
pub enum Event {
    /// These are now the interfaces that announce. A burst goes to new ones and to
    /// those with a new hardware address or a carrier that was lost meanwhile.
    Links(Vec<Link>),
    /// These are now the announced addresses. Pairs of address and interface that are new get a burst.
    Announced(BTreeMap<Ipv4Addr, Interfaces>),
    /// Every address gets a burst, as after the merge of a parted membership.
    Reannounce,
    /// The deadline has come.
    Tick,
}

/// What the shell must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Broadcast a frame.
    Send {
        /// On the interface with this index.
        ifindex: u32,
        /// For this address.
        ip: IpAddr,
        /// The Ethernet frame.
        frame: Vec<u8>,
    },
}

/// An address on an interface.
type Pair = (u32, Ipv4Addr);

/// What comes next for a pair; each has at most one deadline.
#[derive(Clone, Copy, Debug)]
struct Plan {
    rounds_left: u8,
    due: Option<Instant>,
}

/// Schedules gratuitous frames; arms a burst only when there is news for the segment.
///
/// Upstream: bursts again on every reconcile.
#[derive(Debug)]
pub struct Gratuitous {
    refresh: Option<Duration>,
    jitter: Jitter,
    links: BTreeMap<u32, Link>,
    announced: BTreeMap<Ipv4Addr, Interfaces>,
    plans: BTreeMap<Pair, Plan>,
    timers: BTreeSet<(Instant, Pair)>,
    queues: BTreeMap<u32, Queue>,
    pace: Pace,
}

impl Gratuitous {
    /// Creates a scheduler; `refresh` is the interval of the periodic refresh, `seed` spreads it.
    #[must_use]
    pub fn new(refresh: Option<Duration>, seed: u64) -> Self {
        Self {
            refresh: refresh.filter(|interval| !interval.is_zero()),
            jitter: Jitter(seed),
            links: BTreeMap::new(),
            announced: BTreeMap::new(),
            plans: BTreeMap::new(),
            timers: BTreeSet::new(),
            queues: BTreeMap::new(),
            pace: Pace::default(),
        }
    }

    /// Feeds one event; returns the frames that may leave now, in order.
    pub fn handle(&mut self, now: Instant, event: Event) -> Vec<Action> {
        match event {
            Event::Links(links) => self.on_links(now, links),
            Event::Announced(announced) => {
                self.announced = announced;
                self.arm_new_pairs(now);
            }
            Event::Reannounce => {
                for pair in self.plans.keys().copied().collect::<Vec<_>>() {
                    self.arm(now, pair);
                }
            }
            Event::Tick => {}
        }
        self.enqueue_due(now);
        self.dequeue(now)
    }

    /// When `handle` wants `Event::Tick` next, if at all.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let round = self.timers.first().map(|(due, _)| *due);
        let frame = self.queues.values().filter_map(|queue| queue.next(self.pace)).min();
        round.into_iter().chain(frame).min()
    }

    fn on_links(&mut self, now: Instant, links: Vec<Link>) {
        let before = std::mem::take(&mut self.links);
        self.links = links.into_iter().map(|link| (link.index, link)).collect();
        self.arm_new_pairs(now);
        let told = |links: &BTreeMap<u32, Link>, pair: &Pair| links.get(&pair.0).map(|l| (l.mac, l.carrier_ups));
        let moved = |pair: &Pair| told(&before, pair).is_some_and(|old| Some(old) != told(&self.links, pair));
        for pair in self.plans.keys().copied().filter(moved).collect::<Vec<_>>() {
            self.arm(now, pair);
        }
    }

    /// Compares what should be announced where with what is: new pairs are armed, gone ones forgotten.
    fn arm_new_pairs(&mut self, now: Instant) {
        let wanted = self.pairs();
        let gone: Vec<Pair> = self
            .plans
            .keys()
            .copied()
            .filter(|pair| !wanted.contains(pair))
            .collect();
        for pair in gone {
            self.forget(pair);
        }
        for pair in wanted {
            if !self.plans.contains_key(&pair) {
                self.arm(now, pair);
            }
        }
        let links = &self.links;
        self.queues.retain(|index, _| links.contains_key(index));
    }

    fn pairs(&self) -> BTreeSet<Pair> {
        let on = |link: &Link| {
            let (index, name) = (link.index, link.name.clone());
            let here = self
                .announced
                .iter()
                .filter(move |(_, interfaces)| interfaces.contains(&name));
            here.map(move |(ip, _)| (index, *ip))
        };
        self.links.values().flat_map(on).collect()
    }

    fn arm(&mut self, now: Instant, pair: Pair) {
        self.plan(
            pair,
            Plan {
                rounds_left: ROUNDS,
                due: Some(now),
            },
        );
    }

    fn plan(&mut self, pair: Pair, plan: Plan) {
        if let Some(due) = self.plans.insert(pair, plan).and_then(|old| old.due) {
            self.timers.remove(&(due, pair));
        }
        if let Some(due) = plan.due {
            self.timers.insert((due, pair));
        }
    }

    fn forget(&mut self, pair: Pair) {
        if let Some(due) = self.plans.remove(&pair).and_then(|plan| plan.due) {
            self.timers.remove(&(due, pair));
        }
        if let Some(queue) = self.queues.get_mut(&pair.0) {
            queue.forget(pair.1);
        }
    }

    fn enqueue_due(&mut self, now: Instant) {
        while let Some(&(due, pair)) = self.timers.first().filter(|(due, _)| *due <= now) {
            self.timers.pop_first();
            let rounds_left = self.plans.get(&pair).map_or(0, |plan| plan.rounds_left);
            let (ifindex, ip) = pair;
            let queue = self.queues.entry(ifindex).or_insert_with(|| Queue::new(now, self.pace));
            queue.push(
                if rounds_left == ROUNDS {
                    Rank::First
                } else {
                    Rank::Repeat
                },
                ip,
            );
            if rounds_left > 0 {
                queue.push(Rank::Reply, ip);
            }
            let rounds_left = rounds_left.saturating_sub(1);
            let due = if rounds_left > 0 {
                Some(next_round(due, now))
            } else {
                self.next_refresh(now)
            };
            self.plan(pair, Plan { rounds_left, due });
        }
    }

    fn next_refresh(&mut self, now: Instant) -> Option<Instant> {
        let interval = self.refresh?;
        Some(now + interval.mul_f64(0.9 + 0.2 * self.jitter.next()))
    }

    fn dequeue(&mut self, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        for (&ifindex, queue) in &mut self.queues {
            let Some(link) = self.links.get(&ifindex) else { continue };
            for (rank, ip) in queue.pop(now, self.pace) {
                let frame = arp::gratuitous(rank.form(), link.mac, ip);
                actions.push(Action::Send {
                    ifindex,
                    ip: ip.into(),
                    frame,
                });
            }
        }
        actions
    }
}

/// Keeps the rhythm, but does not catch up on rounds that a pause has swallowed.
fn next_round(due: Instant, now: Instant) -> Instant {
    let next = due + ROUND;
    if next > now { next } else { now + ROUND }
}

/// Spreads refreshes so that a thousand addresses do not speak at once (splitmix64).
#[derive(Debug)]
struct Jitter(u64);

impl Jitter {
    /// Returns a number in [0, 1).
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let top = u32::try_from((z ^ (z >> 31)) >> 32).expect("32 bits remain");
        f64::from(top) / (f64::from(u32::MAX) + 1.0)
    }
}

#[cfg(test)]
mod tests;
