//! When which gratuitous frame is sent: bursts after a gain, paced, and an optional refresh.

mod lane;
mod pacing;

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use crate::{event::Action, table::Table};
use lane::Lane;
use pacing::Pace;

/// Between rounds; just above the second for which Linux locks a fresh neighbour entry (upstream #172).
const ROUND: Duration = Duration::from_millis(1100);
/// Rounds of a burst: at 0, 1.1, 2.2, 3.3 and 4.4 s.
const ROUNDS: u8 = 5;
/// How many frames are handed to the kernel at a time.
const FRAMES: usize = 32;

/// Schedules gratuitous frames; arms a burst only when there is news for the segment.
///
/// Upstream: bursts again on every reconcile.
#[derive(Debug)]
pub(crate) struct Gratuitous {
    refresh: Refresh,
    lanes: BTreeMap<u32, Lane>,
    /// Lanes to be thrown away bit by bit.
    discarded: Vec<Lane>,
    pace: Pace,
}

impl Gratuitous {
    /// Creates a scheduler; `refresh` is the interval of the periodic refresh, `seed` spreads it.
    pub(crate) fn new(refresh: Option<Duration>, seed: u64) -> Self {
        Self {
            refresh: Refresh {
                interval: refresh.filter(|interval| !interval.is_zero()),
                jitter: Jitter(seed),
            },
            lanes: BTreeMap::new(),
            discarded: Vec::new(),
            pace: Pace::default(),
        }
    }

    /// The address is new, or has other interfaces, or is withdrawn, or about to be.
    pub(crate) fn changed(&mut self, now: Instant, ip: IpAddr, table: &Table, actions: &mut Vec<Action>) {
        for lane in self.lanes.values_mut() {
            if table.announces(ip, &lane.link) && !table.is_told(ip) {
                lane.hush(ip, actions);
            } else if table.announces(ip, &lane.link) {
                lane.add(now, ip, actions);
            } else {
                lane.forget(ip, actions);
            }
        }
    }

    /// The interfaces of `table` have changed. New ones get a burst of every address, and so do those with a new hardware
    /// address or name, or a carrier that was lost meanwhile; one that can speak IPv6 now gets one of those addresses.
    pub(crate) fn links_changed(&mut self, now: Instant, table: &Table, actions: &mut Vec<Action>) {
        for (_, mut lane) in self.lanes.extract_if(.., |index, _| table.link(*index).is_none()) {
            lane.leave_all(actions);
            self.discarded.push(lane);
        }
        for link in table.links() {
            match self.lanes.get_mut(&link.index) {
                Some(lane) => lane.set_link(link),
                None => drop(self.lanes.insert(link.index, Lane::new(now, self.pace, link.clone()))),
            }
        }
    }

    /// Every address gets a burst, as after the merge of a parted membership.
    pub(crate) fn reannounce(&mut self) {
        self.lanes.values_mut().for_each(Lane::tell_everything);
    }

    /// Queues one request for `ip` on every interface that announces it, beside its burst if there is one.
    pub(crate) fn tell_once(&mut self, ip: IpAddr, table: &Table) {
        let lanes = self.lanes.values_mut();
        lanes
            .filter(|lane| table.announces(ip, &lane.link) && table.is_told(ip))
            .for_each(|lane| lane.tell_once(ip));
    }

    /// Does at most `budget` steps of what is due, and then sends.
    pub(crate) fn work(&mut self, now: Instant, table: &Table, mut budget: usize, actions: &mut Vec<Action>) {
        for lane in self.lanes.values_mut() {
            lane.sweep(now, table, &mut budget, actions);
            lane.queue_due(now, &mut self.refresh, &mut budget);
        }
        while self
            .discarded
            .last_mut()
            .is_some_and(|lane| lane.dismantle(&mut budget))
        {
            self.discarded.pop();
        }
        let mut limit = FRAMES;
        for lane in self.lanes.values_mut() {
            lane.send(now, self.pace, &mut limit, actions);
        }
    }

    /// Says whether [`Self::work`] has stopped short of what is due.
    pub(crate) fn is_behind(&self, now: Instant) -> bool {
        !self.discarded.is_empty() || self.lanes.values().any(|lane| lane.is_behind(now))
    }

    /// When there is work next, if at all.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.lanes
            .values()
            .filter_map(|lane| lane.next_deadline(self.pace))
            .min()
    }

    /// Stops all gratuitous frames; requests are still answered.
    pub(crate) fn fall_silent(&mut self, now: Instant) {
        let pace = self.pace;
        self.discarded
            .extend(self.lanes.values_mut().map(|lane| lane.fall_silent(now, pace)));
    }
}

#[derive(Debug)]
struct Refresh {
    interval: Option<Duration>,
    jitter: Jitter,
}

impl Refresh {
    fn next(&mut self, now: Instant) -> Option<Instant> {
        let interval = self.interval?;
        Some(now + interval.mul_f64(0.9 + 0.2 * self.jitter.next()))
    }
}

/// Keeps the interval; rounds missed during a pause are not made up for.
fn next_round(due: Instant, now: Instant) -> Instant {
    let next = due + ROUND;
    if next > now { next } else { now + ROUND }
}

/// Spreads the refreshes of many addresses over time (splitmix64).
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
