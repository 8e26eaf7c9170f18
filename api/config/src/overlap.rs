//! Finds address ranges that overlap, over all pools at once.

use crate::age::Conflict;
use crate::range::{AddressRange, RangeKey};

/// A range, the pool that lists it and its place in the list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    pub(crate) owner: usize,
    pub(crate) entry: usize,
    pub(crate) range: AddressRange,
}

/// The places of the two entries that overlap, in the lists of `a` and `b`.
pub(crate) type Entries = (usize, usize);

/// Lists every overlapping pair of claims.
///
/// Sorts once and walks once: O(C log C), plus one step for each pair found. While nothing overlaps at most one range
/// is open, so the walk compares neighbours only.
pub(crate) fn overlaps(claims: &[Claim]) -> Vec<Conflict<Entries>> {
    let mut order: Vec<(RangeKey, usize)> = claims
        .iter()
        .enumerate()
        .map(|(i, claim)| (claim.range.key(), i))
        .collect();
    order.sort_unstable();
    let mut open: Vec<(RangeKey, usize)> = Vec::new();
    let mut found = Vec::new();
    for (key, index) in order {
        let claim = &claims[index];
        // Whoever stays open overlaps, so that each step here is a pair found or a range closed for good.
        open.retain(|((family, _, last), _)| (*family, *last) >= (key.0, key.1));
        found.extend(open.iter().map(|&(_, other)| {
            let other = &claims[other];
            Conflict {
                a: other.owner,
                b: claim.owner,
                about: (other.entry, claim.entry),
            }
        }));
        open.push((key, index));
    }
    found
}

/// A set of addresses, to be asked whether a range has any of them.
pub(crate) struct Cover(Vec<RangeKey>);

impl Cover {
    /// Puts the ranges together; they may overlap.
    pub(crate) fn of(ranges: impl Iterator<Item = AddressRange>) -> Self {
        let mut keys: Vec<RangeKey> = ranges.map(|range| range.key()).collect();
        keys.sort_unstable();
        let mut merged: Vec<RangeKey> = Vec::with_capacity(keys.len());
        for key in keys {
            match merged.last_mut() {
                Some(open) if open.0 == key.0 && open.2 >= key.1 => open.2 = open.2.max(key.2),
                _ => merged.push(key),
            }
        }
        Self(merged)
    }

    /// Tells whether any address of the range is in the set.
    pub(crate) fn touches(&self, range: AddressRange) -> bool {
        let (family, first, last) = range.key();
        let place = self
            .0
            .partition_point(|&(other, start, _)| (other, start) <= (family, last));
        self.0[..place]
            .last()
            .is_some_and(|&(other, _, end)| other == family && end >= first)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn claims(ranges: &[(u32, u32)]) -> Vec<Claim> {
        let claim = |(entry, &(start, length)): (usize, &(u32, u32))| Claim {
            owner: entry,
            entry,
            range: AddressRange::new(
                std::net::Ipv4Addr::from_bits(start).into(),
                std::net::Ipv4Addr::from_bits(start + length).into(),
            )
            .unwrap(),
        };
        ranges.iter().enumerate().map(claim).collect()
    }

    proptest! {
        #[test]
        fn the_walk_finds_exactly_the_pairs_that_overlap(ranges in prop::collection::vec((0u32..400, 0u32..40), 0..30)) {
            let claims = claims(&ranges);
            let mut found: Vec<(usize, usize)> =
                overlaps(&claims).into_iter().map(|c| (c.a.min(c.b), c.a.max(c.b))).collect();
            found.sort_unstable();
            let mut expected = Vec::new();
            for (i, a) in claims.iter().enumerate() {
                for (j, b) in claims.iter().enumerate().skip(i + 1) {
                    if a.range.overlaps(&b.range) {
                        expected.push((i, j));
                    }
                }
            }
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn a_range_touches_the_cover_if_it_overlaps_one_of_its_ranges(
            ranges in prop::collection::vec((0u32..400, 0u32..40), 0..10), asked in (0u32..400, 0u32..40)
        ) {
            let asked = claims(&[asked])[0].range;
            let covered: Vec<AddressRange> = claims(&ranges).into_iter().map(|claim| claim.range).collect();
            let expected = covered.iter().any(|range| range.overlaps(&asked));
            prop_assert_eq!(Cover::of(covered.into_iter()).touches(asked), expected);
        }
    }

    #[test]
    fn families_never_overlap() {
        let all = |text: &str| AddressRange::parse(text).unwrap();
        let claims = [
            Claim {
                owner: 0,
                entry: 0,
                range: all("0.0.0.0/0"),
            },
            Claim {
                owner: 1,
                entry: 0,
                range: all("::/0"),
            },
        ];
        assert!(overlaps(&claims).is_empty());
    }
}
