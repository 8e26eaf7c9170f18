//! The order in which nodes are asked to answer for an address.
//!
//! Rendezvous hashing: removing a node that does not own an address never moves it, adding one moves only what it wins.
//! The order is upstream's to the byte, so that a cluster half upgraded still has one owner for each address.

use std::collections::BTreeMap;
use std::net::IpAddr;

use sha2::{Digest, Sha256};

/// Sorts `nodes` by descending score, then by `SHA-256(node ‖ "#" ‖ address)`; the first one owns the address.
///
/// Nodes absent from `scores` have score 0.
#[must_use]
pub fn order<'a>(
    nodes: impl IntoIterator<Item = &'a str>,
    address: IpAddr,
    scores: &BTreeMap<&str, i64>,
) -> Vec<&'a str> {
    // Upstream hashes Go's textual form, in which a v4-mapped address prints as dotted IPv4.
    let text = address.to_canonical().to_string();
    let mut ranked: Vec<_> = nodes
        .into_iter()
        .map(|node| {
            (
                std::cmp::Reverse(scores.get(node).copied().unwrap_or(0)),
                digest(node, &text),
                node,
            )
        })
        .collect();
    ranked.sort_unstable();
    ranked.into_iter().map(|(_, _, node)| node).collect()
}

fn digest(node: &str, address: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(node.as_bytes());
    hash.update(b"#");
    hash.update(address.as_bytes());
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;
    use proptest::prelude::*;
    use rstest::rstest;

    // L2-13, L2-14, L2-15, L2-16, L2-30
    #[rstest]
    #[case("node-a,node-b,node-c", "10.0.0.1", "", "node-b,node-a,node-c")]
    #[case("node-a,node-b,node-c", "10.0.0.2", "", "node-b,node-c,node-a")]
    #[case("node-a,node-b,node-c", "::ffff:10.0.0.2", "", "node-b,node-c,node-a")]
    #[case("iris1,iris2", "10.20.30.1", "", "iris2,iris1")]
    #[case("iris1,iris2", "10.20.30.2", "", "iris1,iris2")]
    #[case(
        "edge-a,edge-b,worker-a,worker-b",
        "10.20.30.1",
        "",
        "edge-b,worker-a,edge-a,worker-b"
    )]
    #[case(
        "edge-a,edge-b,worker-a,worker-b",
        "10.20.30.1",
        "edge-a",
        "edge-a,edge-b,worker-a,worker-b"
    )]
    #[case("node-a,node-b", "10.20.30.1", "node-a,node-b", "node-b,node-a")]
    #[case("node-a,node-b,node-c", "2001:db8::1", "", "node-b,node-a,node-c")]
    fn order_is_upstreams(#[case] nodes: &str, #[case] ip: &str, #[case] preferred: &str, #[case] expected: &str) {
        let scores = preferred
            .split(',')
            .filter(|s| !s.is_empty())
            .map(|n| (n, 100))
            .collect();
        let got = order(nodes.split(','), ip.parse().unwrap(), &scores);
        assert_eq!(got.join(","), expected);
    }

    #[test]
    fn digests_are_upstreams() {
        let a = hex!("dd41591fe8f31f9f38e297fe9892a8eff47892ea017c4167619a62f366fb8149");
        let b6 = hex!("1aee61dde2bd8a0c8b0177a52ced9e0a52e8108284e6e3f14220d9f9d98cbc2e");
        assert_eq!(digest("node-a", "10.0.0.1"), a);
        assert_eq!(digest("node-b", "2001:db8::1"), b6);
    }

    proptest! {
        #[test]
        fn removing_a_loser_never_moves_the_address(seed in 0u32.., count in 2usize..8, gone in 1usize..8) {
            let names: Vec<String> = (0..count).map(|n| format!("node-{n}")).collect();
            let ip = IpAddr::from(std::net::Ipv4Addr::from(seed));
            let before = order(names.iter().map(String::as_str), ip, &BTreeMap::new());
            let loser = before[1 + (gone - 1) % (count - 1)];
            let after = order(names.iter().map(String::as_str).filter(|n| *n != loser), ip, &BTreeMap::new());
            prop_assert_eq!(before[0], after[0]);
        }
    }
}
