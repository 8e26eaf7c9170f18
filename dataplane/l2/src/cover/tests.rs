use std::{collections::BTreeSet, net::Ipv4Addr, sync::LazyLock};

use proptest::prelude::*;

use super::*;

#[expect(
    clippy::disallowed_methods,
    reason = "an Instant cannot be made otherwise; its value does not matter"
)]
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A cover and what it should cover.
#[derive(Default)]
struct Pair {
    cover: Cover,
    announced: BTreeSet<u32>,
    programs: usize,
}

impl Pair {
    fn announce(&mut self, key: u32) {
        if self.announced.insert(key) {
            self.cover.announce(Ipv4Addr::from(key).into());
        }
    }

    fn withdraw(&mut self, key: u32) {
        if self.announced.remove(&key) {
            self.cover.withdraw(*START);
        }
    }

    fn look(&mut self, now: Instant) {
        let all = self.announced.iter().map(|key| Ipv4Addr::from(*key).into());
        self.programs += usize::from(self.cover.news(now, all).is_some());
    }

    fn taken(&self) -> u64 {
        let size = |(first, last): &Range| u64::from(last - first) + 1;
        self.cover.ranges.iter().map(size).sum()
    }
}

#[test]
fn ten_thousand_addresses_of_a_few_pools_are_a_few_ranges() {
    let mut pair = Pair::default();
    for pool in [0x0A00_0000_u32, 0x0A10_0000, 0xC0A8_0000, 0xC633_6400] {
        (0..2500).for_each(|n| pair.announce(pool + n));
    }
    assert_eq!(pair.cover.ranges.len(), 4);
    assert!(pair.taken() < 10_000 + 4 * 2 * 16);
}

#[test]
fn neighbours_need_no_new_program() {
    let mut pair = Pair::default();
    for n in 0..1000 {
        pair.announce(0x0A00_0000 + n);
        pair.look(*START);
    }
    assert_eq!(pair.programs, 1000_usize.div_ceil(16));
}

#[test]
fn without_addresses_nothing_is_taken_at_once() {
    let mut pair = Pair::default();
    pair.announce(7);
    pair.look(*START);
    pair.withdraw(7);
    pair.look(*START);
    assert_eq!((pair.programs, pair.taken()), (2, 0));
}

#[test]
fn many_withdrawals_make_it_narrow_when_it_has_become_calm() {
    let mut pair = Pair::default();
    (0..1000).for_each(|n| pair.announce(n * 16));
    (1..1000).for_each(|n| pair.withdraw(n * 16));
    pair.look(*START);
    assert_eq!(pair.taken(), 16_000);
    let due = pair.cover.next_deadline().unwrap();
    assert_eq!(due, *START + CALM);
    pair.look(due);
    assert_eq!((pair.taken(), pair.cover.next_deadline()), (16, None));
}

proptest! {
    #[test]
    fn every_announced_address_is_taken_by_few_ranges_with_gaps(
        changes in proptest::collection::vec((prop_oneof![0_u32..3000, any::<u32>()], any::<bool>()), 0..400),
        narrow in any::<bool>(),
    ) {
        let mut pair = Pair::default();
        for (key, announced) in changes {
            if announced { pair.announce(key) } else { pair.withdraw(key / 2) }
        }
        if narrow {
            pair.cover.narrow_at = Some(*START);
        }
        pair.look(*START);
        let ranges = &pair.cover.ranges;
        prop_assert!(ranges.len() <= MAX_RANGES);
        prop_assert!(ranges.windows(2).all(|pair| u64::from(pair[0].1) + 1 < u64::from(pair[1].0)));
        for key in &pair.announced {
            prop_assert!(ranges.iter().any(|(first, last)| (first..=last).contains(&key)), "{} is missing", key);
        }
    }
}
