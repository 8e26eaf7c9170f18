//! Numbers of the entries of prefix lists.

use std::collections::BTreeSet;

use ipnet::IpNet;

/// Highest number. FRR's limit is 2^32, and a line without a number, which a user may add, gets the highest plus five.
const RANGE: u32 = 1 << 31;

/// Numbers these prefixes, which must be in the order in which they are written.
///
/// Upstream: counts from 1, so an inserted prefix renumbers all that follow, which takes FRR minutes with a thousand of
/// them. The order of the entries does not matter, as all of them permit, so here the number is a hash of the prefix. In one
/// of a million lists of a hundred prefixes two have the same hash; the second then gets the next number.
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
