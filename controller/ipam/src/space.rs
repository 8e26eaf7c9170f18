//! The addresses of one pool and one family: an ordered set of free intervals.
//!
//! Nothing is materialised, however large the ranges are: a fresh range is one interval. "Buggy"
//! addresses (ending in .0 or .255) are left out by arithmetic: [`Steps`] knows the next and
//! previous usable address, and every interval starts and ends with a usable one.

use std::collections::BTreeMap;

/// Where an address stands in the order of choice: entries as listed, then ascending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Slot {
    pub(crate) entry: u32,
    pub(crate) bits: u128,
}

/// Steps from one usable address to the next.
#[derive(Clone, Copy, Debug, Default)]
struct Steps {
    skip_buggy: bool,
}

impl Steps {
    fn usable(self, bits: u128) -> bool {
        !self.skip_buggy || !matches!(bits & 0xff, 0 | 0xff)
    }

    fn at_or_after(self, bits: u128) -> Option<u128> {
        let mut bits = bits;
        while !self.usable(bits) {
            bits = bits.checked_add(1)?;
        }
        Some(bits)
    }

    fn at_or_before(self, bits: u128) -> Option<u128> {
        let mut bits = bits;
        while !self.usable(bits) {
            bits = bits.checked_sub(1)?;
        }
        Some(bits)
    }

    fn after(self, bits: u128) -> Option<u128> {
        self.at_or_after(bits.checked_add(1)?)
    }

    fn before(self, bits: u128) -> Option<u128> {
        self.at_or_before(bits.checked_sub(1)?)
    }

    /// Usable addresses in `first..=last`; saturates for `::/0`.
    fn count(self, first: u128, last: u128) -> u128 {
        let all = (last - first).saturating_add(1);
        if !self.skip_buggy {
            return all;
        }
        // Buggy addresses below n: two in each full block of 256, one more in a started one.
        let below = |n: u128| (n >> 8) * 2 + u128::from(n & 0xff != 0);
        all - (below(last + 1) - below(first))
    }
}

/// The free addresses of one family in one pool.
#[derive(Debug, Default)]
pub(crate) struct Space {
    steps: Steps,
    /// First slot of an interval → its last address.
    free: BTreeMap<Slot, u128>,
    capacity: u128,
}

impl Space {
    /// Builds the space from disjoint ranges in listed order; `skip_buggy` is for IPv4 only.
    pub(crate) fn new(ranges: impl IntoIterator<Item = (u32, u128, u128)>, skip_buggy: bool) -> Self {
        let mut space = Self {
            steps: Steps { skip_buggy },
            ..Self::default()
        };
        for (entry, first, last) in ranges {
            space.capacity = space.capacity.saturating_add(space.steps.count(first, last));
            space.insert(entry, first, last);
        }
        space
    }

    /// The number of usable addresses, taken or not.
    pub(crate) fn capacity(&self) -> u128 {
        self.capacity
    }

    /// Tells whether the address may be handed out at all.
    pub(crate) fn usable(&self, slot: Slot) -> bool {
        self.steps.usable(slot.bits)
    }

    /// The first free address in the order of choice.
    pub(crate) fn first_free(&self) -> Option<Slot> {
        self.free.first_key_value().map(|(slot, _)| *slot)
    }

    /// The interval that covers the slot.
    fn around(&self, slot: Slot) -> Option<(u128, u128)> {
        let (start, last) = self.free.range(..=slot).next_back()?;
        (start.entry == slot.entry && *last >= slot.bits).then_some((start.bits, *last))
    }

    /// Takes an address; false if it was not free.
    pub(crate) fn take(&mut self, slot: Slot) -> bool {
        let Some((first, last)) = self.around(slot).filter(|_| self.usable(slot)) else {
            return false;
        };
        let Slot { entry, bits } = slot;
        self.free.remove(&Slot { entry, bits: first });
        if let Some(before) = self.steps.before(bits) {
            self.insert(entry, first, before);
        }
        if let Some(after) = self.steps.after(bits) {
            self.insert(entry, after, last);
        }
        true
    }

    /// Gives an address back, joining it with its free neighbours.
    pub(crate) fn give(&mut self, slot: Slot) {
        if !self.usable(slot) || self.around(slot).is_some() {
            return;
        }
        let Slot { entry, bits } = slot;
        let left = self
            .steps
            .before(bits)
            .and_then(|bits| self.around(Slot { entry, bits }));
        let right = self
            .steps
            .after(bits)
            .and_then(|bits| self.around(Slot { entry, bits }));
        let first = left.map_or(bits, |(first, _)| first);
        let last = right.map_or(bits, |(_, last)| last);
        if let Some((bits, _)) = right {
            self.free.remove(&Slot { entry, bits });
        }
        self.free.insert(Slot { entry, bits: first }, last);
    }

    /// Adds an interval, cut down to usable ends; nothing if none is left.
    fn insert(&mut self, entry: u32, first: u128, last: u128) {
        let ends = (self.steps.at_or_after(first), self.steps.at_or_before(last));
        if let (Some(bits), Some(last)) = ends
            && bits <= last
        {
            self.free.insert(Slot { entry, bits }, last);
        }
    }

    #[cfg(test)]
    pub(crate) fn intervals(&self) -> usize {
        self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(bits: u128) -> Slot {
        Slot { entry: 0, bits }
    }

    #[test]
    fn a_fresh_slash_zero_is_one_interval() {
        let space = Space::new([(0, 0, u128::MAX)], false);
        assert_eq!(space.intervals(), 1);
        assert_eq!(space.capacity(), u128::MAX);
        assert_eq!(space.first_free(), Some(slot(0)));
    }

    #[test]
    fn the_ends_of_the_number_line_can_be_taken_and_given_back() {
        let mut space = Space::new([(0, 0, u128::MAX)], false);
        assert!(space.take(slot(0)));
        assert!(space.take(slot(u128::MAX)));
        assert!(!space.take(slot(0)));
        space.give(slot(0));
        space.give(slot(u128::MAX));
        assert_eq!(space.intervals(), 1);
    }

    #[test]
    fn entries_are_used_in_listed_order() {
        let mut space = Space::new([(0, 100, 101), (1, 5, 6)], false);
        let mut order = Vec::new();
        while let Some(slot) = space.first_free() {
            assert!(space.take(slot));
            order.push(slot.bits);
        }
        assert_eq!(order, [100, 101, 5, 6]);
    }

    #[test]
    fn adjacent_entries_are_not_joined() {
        let mut space = Space::new([(0, 10, 10), (1, 9, 9)], false);
        assert!(space.take(slot(10)));
        space.give(slot(10));
        assert_eq!(space.intervals(), 2);
        assert_eq!(space.first_free(), Some(slot(10)));
    }

    #[test]
    fn buggy_addresses_are_never_free() {
        // 0x1fe..=0x202 holds 1fe, 201, 202.
        let mut space = Space::new([(0, 0x1fe, 0x202)], true);
        assert_eq!(space.capacity(), 3);
        assert_eq!(space.intervals(), 1);
        assert!(!space.take(slot(0x1ff)));
        let mut order = Vec::new();
        while let Some(slot) = space.first_free() {
            assert!(space.take(slot));
            order.push(slot.bits);
        }
        assert_eq!(order, [0x1fe, 0x201, 0x202]);
        for bits in [0x202, 0x1fe, 0x201] {
            space.give(slot(bits));
        }
        space.give(slot(0x200));
        assert_eq!(space.intervals(), 1);
    }

    #[test]
    fn a_range_of_buggy_addresses_only_is_empty() {
        // CTL-108
        for bits in [0x300, 0x3ff] {
            let space = Space::new([(0, bits, bits)], true);
            assert_eq!((space.capacity(), space.first_free()), (0, None));
        }
        assert_eq!(Space::new([(0, 0x2ff, 0x300)], true).capacity(), 0);
    }

    #[test]
    fn the_count_of_usable_addresses_is_exact() {
        let steps = Steps { skip_buggy: true };
        for first in 0..600_u128 {
            for last in first..700 {
                let exact = (first..=last).filter(|bits| steps.usable(*bits)).count();
                assert_eq!(steps.count(first, last), exact as u128, "{first}..={last}");
            }
        }
    }
}
