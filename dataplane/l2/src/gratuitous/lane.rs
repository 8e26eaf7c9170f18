//! The bursts and the multicast groups of one interface.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Instant,
};

use super::{
    ROUNDS, Refresh, next_round,
    pacing::{Pace, Queue, Rank},
};
use crate::{
    arp,
    event::{Action, Purpose},
    interfaces::Link,
    ndp,
    table::Table,
};

/// What comes next for an address; it has at most one deadline.
#[derive(Clone, Copy, Debug)]
struct Plan {
    rounds_left: u8,
    due: Option<Instant>,
}

/// How far the lane has come in looking at every address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sweep {
    After(Option<IpAddr>),
    Done,
}

/// IPv6 addresses come after all others.
const IPV6_ONLY: IpAddr = IpAddr::V4(Ipv4Addr::BROADCAST);

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) link: Link,
    /// IPv6 addresses, each behind the group in which questions about it are heard.
    members: BTreeSet<(Ipv6Addr, Ipv6Addr)>,
    /// Whether bursts are armed.
    speaks: bool,
    plans: BTreeMap<IpAddr, Plan>,
    timers: BTreeSet<(Instant, IpAddr)>,
    queue: Queue,
    sweep: Sweep,
}

impl Lane {
    pub(super) fn new(now: Instant, pace: Pace, link: Link) -> Self {
        Self {
            link,
            members: BTreeSet::new(),
            speaks: true,
            plans: BTreeMap::new(),
            timers: BTreeSet::new(),
            queue: Queue::new(now, pace),
            sweep: Sweep::After(None),
        }
    }

    /// Goes by the new facts about the interface.
    pub(super) fn set_link(&mut self, link: &Link) {
        let before = std::mem::replace(&mut self.link, link.clone());
        if !before.is_same_to_the_segment(link) {
            self.tell_everything();
        } else if before.link_local.is_some() != link.link_local.is_some() {
            self.tell_ipv6();
        }
    }

    pub(super) fn tell_everything(&mut self) {
        self.sweep = Sweep::After(None);
    }

    fn tell_ipv6(&mut self) {
        self.sweep = match self.sweep {
            Sweep::After(last) => Sweep::After(last.min(Some(IPV6_ONLY))),
            Sweep::Done => Sweep::After(Some(IPV6_ONLY)),
        };
    }

    /// The address is announced here; new ones get a burst.
    pub(super) fn add(&mut self, now: Instant, ip: IpAddr, actions: &mut Vec<Action>) {
        if !self.plans.contains_key(&ip) {
            self.arm(now, ip, actions);
        }
    }

    pub(super) fn tell_once(&mut self, ip: IpAddr) {
        if self.speaks {
            self.queue.push(Rank::First, ip);
        }
    }

    fn arm(&mut self, now: Instant, ip: IpAddr, actions: &mut Vec<Action>) {
        self.join(ip, actions);
        let plan = Plan {
            rounds_left: ROUNDS,
            due: Some(now),
        };
        if self.speaks {
            self.plan(ip, plan);
        }
    }

    fn join(&mut self, ip: IpAddr, actions: &mut Vec<Action>) {
        let IpAddr::V6(ip) = ip else { return };
        let group = ndp::solicited_node(ip);
        let ifindex = self.link.index;
        if !self.is_member(group) {
            actions.push(Action::Join { ifindex, group });
        }
        self.members.insert((group, ip));
    }

    fn leave(&mut self, ip: IpAddr, actions: &mut Vec<Action>) {
        let IpAddr::V6(ip) = ip else { return };
        let group = ndp::solicited_node(ip);
        let ifindex = self.link.index;
        if self.members.remove(&(group, ip)) && !self.is_member(group) {
            actions.push(Action::Leave { ifindex, group });
        }
    }

    fn is_member(&self, group: Ipv6Addr) -> bool {
        let (first, last) = (Ipv6Addr::UNSPECIFIED, Ipv6Addr::from_bits(u128::MAX));
        self.members.range((group, first)..=(group, last)).next().is_some()
    }

    /// Leaves all groups at once: the interface may come back any time and join them again.
    pub(super) fn leave_all(&mut self, actions: &mut Vec<Action>) {
        let groups: BTreeSet<Ipv6Addr> = std::mem::take(&mut self.members)
            .into_iter()
            .map(|(group, _)| group)
            .collect();
        let ifindex = self.link.index;
        actions.extend(groups.into_iter().map(|group| Action::Leave { ifindex, group }));
    }

    /// Says nothing any more; questions are heard as before. Returns what is to be thrown away.
    pub(super) fn fall_silent(&mut self, now: Instant, pace: Pace) -> Self {
        let mut silent = Self::new(now, pace, self.link.clone());
        silent.members = std::mem::take(&mut self.members);
        silent.sweep = self.sweep;
        silent.speaks = false;
        std::mem::replace(self, silent)
    }

    /// Throws a part away, since all of it would take too long; says whether it is done.
    pub(super) fn dismantle(&mut self, budget: &mut usize) -> bool {
        while *budget > 0
            && (self.plans.pop_first().is_some() | self.timers.pop_first().is_some() | self.queue.drop_one())
        {
            *budget -= 1;
        }
        *budget > 0
    }

    fn plan(&mut self, ip: IpAddr, plan: Plan) {
        if let Some(due) = self.plans.insert(ip, plan).and_then(|old| old.due) {
            self.timers.remove(&(due, ip));
        }
        if let Some(due) = plan.due {
            self.timers.insert((due, ip));
        }
    }

    /// The address is not announced here.
    pub(super) fn forget(&mut self, ip: IpAddr, actions: &mut Vec<Action>) {
        self.leave(ip, actions);
        let Some(plan) = self.plans.remove(&ip) else { return };
        if let Some(due) = plan.due {
            self.timers.remove(&(due, ip));
        }
        self.queue.forget(ip);
    }

    /// Goes on looking at every address: one that is announced here gets a burst.
    pub(super) fn sweep(&mut self, now: Instant, table: &Table, budget: &mut usize, actions: &mut Vec<Action>) {
        let Sweep::After(mut last) = self.sweep else { return };
        let mut addresses = table.after(last);
        while *budget > 0 {
            let Some(ip) = addresses.next() else {
                self.sweep = Sweep::Done;
                return;
            };
            if table.announces(ip, &self.link) {
                self.arm(now, ip, actions);
            } else {
                self.forget(ip, actions);
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
            if rounds_left > 0 && ip.is_ipv4() {
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

    pub(super) fn send(&mut self, now: Instant, pace: Pace, limit: &mut usize, actions: &mut Vec<Action>) {
        for (rank, ip) in self.queue.pop(now, pace, *limit) {
            *limit -= 1;
            let frame = match (ip, self.link.link_local) {
                (IpAddr::V4(v4), _) => arp::announcement(rank.form(), self.link.mac, v4),
                (IpAddr::V6(v6), Some(from)) => ndp::unsolicited(self.link.mac, from, v6),
                // Lost since; the sweep that follows forgets the address.
                (IpAddr::V6(_), None) => continue,
            };
            actions.push(Action::Send {
                ifindex: self.link.index,
                ip,
                purpose: Purpose::Gratuitous,
                frame,
            });
        }
    }

    pub(super) fn next_deadline(&self, pace: Pace) -> Option<Instant> {
        let round = self.timers.first().map(|(due, _)| *due);
        round.into_iter().chain(self.queue.next(pace)).min()
    }
}
