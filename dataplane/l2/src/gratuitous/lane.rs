//! The bursts on one interface.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Instant,
};

use super::{
    ROUNDS, Refresh, next_round,
    pacing::{Pace, Queue, Rank},
};
use crate::{
    arp,
    interfaces::Link,
    layer2::{Action, Purpose},
    table::Table,
};

/// What comes next for an address; it has at most one deadline.
#[derive(Clone, Copy, Debug)]
struct Plan {
    rounds_left: u8,
    due: Option<Instant>,
}

/// How far the lane has come in arming a burst for every address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sweep {
    After(Option<IpAddr>),
    Done,
}

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) link: Link,
    plans: BTreeMap<IpAddr, Plan>,
    timers: BTreeSet<(Instant, IpAddr)>,
    queue: Queue,
    sweep: Sweep,
}

impl Lane {
    pub(super) fn new(now: Instant, pace: Pace, link: Link) -> Self {
        Self {
            link,
            plans: BTreeMap::new(),
            timers: BTreeSet::new(),
            queue: Queue::new(now, pace),
            sweep: Sweep::After(None),
        }
    }

    pub(super) fn tell_everything(&mut self) {
        self.sweep = Sweep::After(None);
    }

    pub(super) fn arm_if_new(&mut self, now: Instant, ip: IpAddr) {
        if !self.plans.contains_key(&ip) {
            self.arm(now, ip);
        }
    }

    fn arm(&mut self, now: Instant, ip: IpAddr) {
        let due = Some(now);
        self.plan(
            ip,
            Plan {
                rounds_left: ROUNDS,
                due,
            },
        );
    }

    fn plan(&mut self, ip: IpAddr, plan: Plan) {
        if let Some(due) = self.plans.insert(ip, plan).and_then(|old| old.due) {
            self.timers.remove(&(due, ip));
        }
        if let Some(due) = plan.due {
            self.timers.insert((due, ip));
        }
    }

    pub(super) fn forget(&mut self, ip: IpAddr) {
        let Some(plan) = self.plans.remove(&ip) else { return };
        if let Some(due) = plan.due {
            self.timers.remove(&(due, ip));
        }
        self.queue.forget(ip);
    }

    /// Goes on arming the burst for every address.
    pub(super) fn sweep(&mut self, now: Instant, table: &Table, budget: &mut usize) {
        let Sweep::After(mut last) = self.sweep else { return };
        let mut addresses = table.after(last);
        while *budget > 0 {
            let Some(ip) = addresses.next() else {
                self.sweep = Sweep::Done;
                return;
            };
            if table.announces(ip, &self.link) {
                self.arm(now, ip);
            } else {
                self.forget(ip);
            }
            last = Some(ip);
            *budget -= 1;
        }
        self.sweep = Sweep::After(last);
    }

    /// Moves what is due from the timers to the queue.
    pub(super) fn queue_due(&mut self, now: Instant, refresh: &mut Refresh, budget: &mut usize) {
        while *budget > 0
            && let Some(&(due, ip)) = self.timers.first().filter(|(due, _)| *due <= now)
        {
            self.timers.pop_first();
            *budget -= 1;
            let rounds_left = self.plans.get(&ip).map_or(0, |plan| plan.rounds_left);
            let rank = if rounds_left == ROUNDS {
                Rank::First
            } else {
                Rank::Repeat
            };
            self.queue.push(rank, ip);
            if rounds_left > 0 {
                self.queue.push(Rank::Reply, ip);
            }
            let rounds_left = rounds_left.saturating_sub(1);
            let due = if rounds_left > 0 {
                Some(next_round(due, now))
            } else {
                refresh.next(now)
            };
            self.plan(ip, Plan { rounds_left, due });
        }
    }

    pub(super) fn is_behind(&self, now: Instant) -> bool {
        self.sweep != Sweep::Done || self.timers.first().is_some_and(|(due, _)| *due <= now)
    }

    pub(super) fn send(&mut self, now: Instant, pace: Pace, last: Rank, limit: &mut usize, actions: &mut Vec<Action>) {
        for (rank, ip) in self.queue.pop(now, pace, last, *limit) {
            *limit -= 1;
            let IpAddr::V4(v4) = ip else { continue };
            actions.push(Action::Send {
                ifindex: self.link.index,
                ip,
                purpose: Purpose::Gratuitous,
                frame: arp::gratuitous(rank.form(), self.link.mac, v4),
            });
        }
    }

    pub(super) fn next_deadline(&self, pace: Pace) -> Option<Instant> {
        let round = self.timers.first().map(|(due, _)| *due);
        round.into_iter().chain(self.queue.next(pace)).min()
    }
}
