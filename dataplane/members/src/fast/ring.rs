//! The ring on which members of a large cluster watch their neighbours.

/// The others in the order of the ring, from the one behind `own` to the one before it. Members that know the same names have
/// the same ring.
pub(super) fn ring<'a>(own: &str, others: impl Iterator<Item = &'a String>) -> Vec<&'a String> {
    let own = position(own);
    let mut ring: Vec<(u64, &String)> = others.map(|name| (position(name).wrapping_sub(own), name)).collect();
    ring.sort_unstable();
    ring.into_iter().map(|(_, name)| name).collect()
}

/// FNV-1a, with the last step of MurmurHash3, since names differ in their last bytes. It has to be the same in all versions,
/// and need not be hard to foresee.
fn position(name: &str) -> u64 {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn whoever_is_so_far_behind_another_has_it_so_far_before_it() {
        let names: Vec<String> = (0..50).map(|number| format!("node-{number}")).collect();
        let others = |own: &String| names.iter().filter(move |name| *name != own).collect::<Vec<_>>();
        let rings: BTreeMap<&String, Vec<&String>> = names
            .iter()
            .map(|own| (own, ring(own, others(own).into_iter())))
            .collect();
        for (own, ring) in &rings {
            assert_eq!(ring.len(), 49);
            for (far, other) in ring.iter().enumerate() {
                assert_eq!(rings[other][48 - far], *own);
            }
        }
    }

    #[test]
    fn the_nodes_of_a_rack_are_not_beside_each_other() {
        let names: Vec<String> = (0..100)
            .map(|number| format!("rack-{}-{:02}", number / 20, number % 20))
            .collect();
        let ring = ring("other", names.iter());
        let same = ring.windows(2).filter(|pair| pair[0][..6] == pair[1][..6]).count();
        assert!(same < 35, "{same} of 99");
    }
}
