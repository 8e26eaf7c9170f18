//! The queue of one interface: what is urgent leaves first, and never faster than switches bear.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    net::IpAddr,
    time::{Duration, Instant},
};

use crate::arp::Form;

/// How fast frames leave; switch control planes police ARP.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    per_second: f64,
    /// So many may leave back to back after a rest.
    burst: f64,
    /// Frames that are sent per wake-up when the queue is long.
    batch: f64,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            per_second: 2000.0,
            burst: 100.0,
            batch: 20.0,
        }
    }
}

/// The order in which frames leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// The request that tells about a gain.
    First,
    /// A later request.
    Repeat,
    /// A reply; for the few receivers that do not believe requests.
    Reply,
}

impl Rank {
    pub(super) fn form(self) -> Form {
        match self {
            Self::First | Self::Repeat => Form::Request,
            Self::Reply => Form::Reply,
        }
    }
}

/// Frames waiting for one interface; an entry is in it at most once, so that it cannot outgrow the addresses.
#[derive(Debug)]
pub(super) struct Queue {
    /// In the order in which they leave: by rank, then by number.
    order: BTreeSet<(Rank, u64, IpAddr)>,
    numbers: BTreeMap<(IpAddr, Rank), u64>,
    next_number: u64,
    tokens: f64,
    filled: Instant,
}

impl Queue {
    pub(super) fn new(now: Instant, pace: Pace) -> Self {
        Self {
            order: BTreeSet::new(),
            numbers: BTreeMap::new(),
            next_number: 0,
            tokens: pace.burst,
            filled: now,
        }
    }

    pub(super) fn push(&mut self, rank: Rank, ip: IpAddr) {
        let number = self.next_number;
        if let Entry::Vacant(vacant) = self.numbers.entry((ip, rank)) {
            vacant.insert(number);
            self.order.insert((rank, number, ip));
            self.next_number += 1;
        }
    }

    /// Drops what waits for `ip`.
    pub(super) fn forget(&mut self, ip: IpAddr) {
        for rank in [Rank::First, Rank::Repeat, Rank::Reply] {
            if let Some(number) = self.numbers.remove(&(ip, rank)) {
                self.order.remove(&(rank, number, ip));
            }
        }
    }

    /// Drops any frame; says whether there was one.
    pub(super) fn drop_one(&mut self) -> bool {
        self.numbers.pop_first();
        self.order.pop_first().is_some()
    }

    /// Takes out what may leave now, at most `limit` frames.
    pub(super) fn pop(&mut self, now: Instant, pace: Pace, limit: usize) -> Vec<(Rank, IpAddr)> {
        let rested = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + rested * pace.per_second).min(pace.burst);
        self.filled = now;
        let mut popped = Vec::new();
        while self.tokens >= 1.0
            && popped.len() < limit
            && let Some((rank, _, ip)) = self.order.pop_first()
        {
            self.numbers.remove(&(ip, rank));
            self.tokens -= 1.0;
            popped.push((rank, ip));
        }
        popped
    }

    /// When enough tokens will be there for the next batch.
    pub(super) fn next(&self, pace: Pace) -> Option<Instant> {
        let waiting = self.order.len();
        if waiting == 0 {
            return None;
        }
        let wanted = pace.batch.min(f64::from(u32::try_from(waiting).unwrap_or(u32::MAX)));
        let missing = (wanted - self.tokens).max(0.0) / pace.per_second;
        // A microsecond more than the arithmetic says: rounding must not wake us one token short.
        Some(self.filled + Duration::from_secs_f64(missing) + Duration::from_micros(1))
    }
}
