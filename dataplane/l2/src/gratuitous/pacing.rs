//! The queue of one interface: what is urgent leaves first, and never faster than switches bear.

use std::{
    collections::{BTreeSet, VecDeque},
    net::Ipv4Addr,
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
    lanes: [VecDeque<Ipv4Addr>; 3],
    waiting: BTreeSet<(Rank, Ipv4Addr)>,
    tokens: f64,
    filled: Instant,
}

impl Queue {
    pub(super) fn new(now: Instant, pace: Pace) -> Self {
        Self {
            lanes: Default::default(),
            waiting: BTreeSet::new(),
            tokens: pace.burst,
            filled: now,
        }
    }

    pub(super) fn push(&mut self, rank: Rank, ip: Ipv4Addr) {
        if self.waiting.insert((rank, ip)) {
            self.lanes[rank as usize].push_back(ip);
        }
    }

    /// Drops what waits for `ip`.
    pub(super) fn forget(&mut self, ip: Ipv4Addr) {
        for rank in [Rank::First, Rank::Repeat, Rank::Reply] {
            if self.waiting.remove(&(rank, ip)) {
                self.lanes[rank as usize].retain(|other| *other != ip);
            }
        }
    }

    /// Takes out what may leave now.
    pub(super) fn pop(&mut self, now: Instant, pace: Pace) -> Vec<(Rank, Ipv4Addr)> {
        let rested = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + rested * pace.per_second).min(pace.burst);
        self.filled = now;
        let mut popped = Vec::new();
        while self.tokens >= 1.0
            && let Some(entry) = self.pop_one()
        {
            self.tokens -= 1.0;
            popped.push(entry);
        }
        popped
    }

    fn pop_one(&mut self) -> Option<(Rank, Ipv4Addr)> {
        let entry = [Rank::First, Rank::Repeat, Rank::Reply]
            .into_iter()
            .find_map(|rank| self.lanes[rank as usize].pop_front().map(|ip| (rank, ip)))?;
        self.waiting.remove(&entry);
        Some(entry)
    }

    /// When enough tokens will be there for the next batch.
    pub(super) fn next(&self, pace: Pace) -> Option<Instant> {
        let waiting = self.waiting.len();
        if waiting == 0 {
            return None;
        }
        let wanted = pace.batch.min(f64::from(u32::try_from(waiting).unwrap_or(u32::MAX)));
        let missing = (wanted - self.tokens).max(0.0) / pace.per_second;
        // A microsecond more than the arithmetic says: rounding must not wake us one token short.
        Some(self.filled + Duration::from_secs_f64(missing) + Duration::from_micros(1))
    }
}
