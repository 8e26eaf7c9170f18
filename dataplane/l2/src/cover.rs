//! Which addresses a kernel filter takes: those announced and, to stay small and to last, some beside them.
//!
//! Filters compare 32 bits, so an address is its last 32 bits here. What is taken beside the announced addresses costs
//! time only: every frame is judged again.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

/// Highest number of ranges. A frame is compared with about log₂ of them.
const MAX_RANGES: usize = 32;
/// Each address adds its whole block of 16, so that neighbouring addresses need no new filter.
const BLOCK: u32 = 15;
/// How long after many withdrawals the filter is narrowed.
const CALM: Duration = Duration::from_secs(10);
/// Fewer withdrawals than this leave the filter as it is.
const FEW: usize = 32;

/// First and last address.
pub(crate) type Range = (u32, u32);

/// What the filter compares.
pub(crate) fn key(ip: IpAddr) -> u32 {
    match ip {
        IpAddr::V4(v4) => v4.to_bits(),
        IpAddr::V6(v6) => {
            let [.., a, b, c, d] = v6.octets();
            u32::from_be_bytes([a, b, c, d])
        }
    }
}

/// The ranges taken for the announced addresses of one family.
#[derive(Debug, Default)]
pub(crate) struct Cover {
    /// In order, with gaps between them.
    ranges: Vec<Range>,
    /// How many addresses are announced.
    held: usize,
    /// How many were withdrawn since the ranges were made.
    withdrawn: usize,
    narrow_at: Option<Instant>,
    changed: bool,
}

impl Cover {
    /// Counts `ip` as announced; makes the ranges wider only if it lies outside.
    pub(crate) fn announce(&mut self, ip: IpAddr) {
        self.held += 1;
        let key = key(ip);
        let at = self.ranges.partition_point(|(_, last)| *last < key);
        if self.ranges.get(at).is_some_and(|(first, _)| *first <= key) {
            return;
        }
        self.ranges.insert(at, block(key));
        self.ranges = merged(std::mem::take(&mut self.ranges).into_iter());
        self.changed = true;
    }

    /// Counts an address as withdrawn. The ranges are narrowed after many of them.
    pub(crate) fn withdraw(&mut self, now: Instant) {
        self.held = self.held.saturating_sub(1);
        self.withdrawn += 1;
        if self.held == 0 {
            *self = Self {
                changed: true,
                ..Self::default()
            };
        } else if self.withdrawn > self.held.max(FEW) {
            self.narrow_at.get_or_insert(now + CALM);
        }
    }

    /// The ranges, if they have changed since they were asked for. `addresses` are all that are announced.
    pub(crate) fn news(&mut self, now: Instant, addresses: impl Iterator<Item = IpAddr>) -> Option<&[Range]> {
        if self.narrow_at.is_some_and(|at| at <= now) {
            let mut blocks: Vec<Range> = addresses.map(|ip| block(key(ip))).collect();
            blocks.sort_unstable();
            self.ranges = merged(blocks.into_iter());
            self.narrow_at = None;
            self.withdrawn = 0;
            self.changed = true;
        }
        std::mem::take(&mut self.changed).then_some(&self.ranges)
    }

    /// When [`Self::news`] will have some without an announcement.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.narrow_at
    }
}

fn block(key: u32) -> Range {
    (key & !BLOCK, key | BLOCK)
}

/// Joins ranges that touch, and then those with the smallest gaps until there are few enough.
fn merged(ordered: impl Iterator<Item = Range>) -> Vec<Range> {
    let mut joined: Vec<Range> = Vec::new();
    for (first, last) in ordered {
        match joined.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => joined.push((first, last)),
        }
    }
    if joined.len() <= MAX_RANGES {
        return joined;
    }
    let mut gaps: Vec<(u32, usize)> = joined.windows(2).map(|pair| pair[1].0 - pair[0].1).zip(1..).collect();
    gaps.sort_unstable_by(|a, b| b.cmp(a));
    let mut starts: Vec<usize> = gaps[..MAX_RANGES - 1].iter().map(|(_, at)| *at).collect();
    starts.sort_unstable();
    let ends = starts.iter().copied().chain([joined.len()]);
    std::iter::once(0)
        .chain(starts.iter().copied())
        .zip(ends)
        .map(|(start, end)| (joined[start].0, joined[end - 1].1))
        .collect()
}

#[cfg(test)]
mod tests;
