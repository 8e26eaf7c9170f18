//! Numbers of the entries of prefix lists.

use std::collections::BTreeSet;

use ipnet::IpNet;

/// As far as numbers go: lines without one that a user adds get the highest plus five, and 2^32 is the end.
const RANGE: u32 = 1 << 31;

/// Numbers these prefixes, which must be in the order in which they are written.
///
/// Upstream: counts from 1, so that one prefix more changes the lines of all that follow, which takes FRR minutes with a
/// thousand of them. The order of the entries means nothing, as all of them permit. So a prefix brings its number along,
/// which two prefixes share once in a million lists of a hundred; one of them has the next one then.
pub(crate) fn numbers(prefixes: impl Iterator<Item = IpNet>) -> impl Iterator<Item = (u32, IpNet)> {
    let mut taken = BTreeSet::new();
    prefixes.map(move |prefix| {
        let mut number = hash(prefix);
        while !taken.insert(number) {
            number = number % RANGE + 1;
        }
        (number, prefix)
    })
}

/// FNV-1a of address and length, from 1 to [`RANGE`].
fn hash(prefix: IpNet) -> u32 {
    let fnv = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    let hash = match prefix {
        IpNet::V4(net) => net.addr().octets().iter().fold(0x811c_9dc5, fnv),
        IpNet::V6(net) => net.addr().octets().iter().fold(0x811c_9dc5, fnv),
    };
    fnv(hash, &prefix.prefix_len()) % RANGE + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_that_share_a_number_get_two() {
        let prefix: IpNet = "192.0.2.1/32".parse().unwrap();
        let found: Vec<u32> = numbers([prefix, prefix].into_iter())
            .map(|(number, _)| number)
            .collect();
        assert_eq!(found[1], found[0] % RANGE + 1);
        assert!((1..=RANGE).contains(&found[0]));
    }
}
