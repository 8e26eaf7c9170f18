//! The order in which nodes are asked to answer for an address.
//!
//! Rendezvous hashing: removing a node that does not own an address never moves it, adding one moves only what it wins.
//! The order is upstream's to the byte, so that a cluster half upgraded still has one owner for each address.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use sha2::{Digest, Sha256};

/// How many nodes a [`Ranking`] names: the owner, and those that stand in for it.
pub const DEPTH: usize = 3;

/// Where a node stands in the order for one address; the lesser is asked first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Cannot answer as far as is known: asked only where there is nobody else.
    unable: bool,
    /// May be gone: asked only where there is nobody else who is there.
    doubtful: bool,
    score: Reverse<i64>,
    /// Lets others with the same score go first.
    waits: bool,
    digest: [u8; 32],
}

impl Place {
    /// Returns the hash that decides among equal scores.
    #[must_use]
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// Puts a node that may be gone behind all that are there.
    #[must_use]
    pub fn behind(self, doubtful: bool) -> Self {
        Self { doubtful, ..self }
    }

    /// Puts a node that has no interface to answer on behind all others.
    #[must_use]
    pub fn without_interface(self, unable: bool) -> Self {
        Self { unable, ..self }
    }

    /// Puts a node behind others with the same score.
    #[must_use]
    pub fn waiting(self, waits: bool) -> Self {
        Self { waits, ..self }
    }
}

/// What is elected: who answers for an address.
#[derive(Clone, Debug)]
pub struct Election(String);

impl Election {
    /// Names the election for `address`.
    #[must_use]
    pub fn new(address: IpAddr) -> Self {
        // Upstream hashes Go's textual form, in which a v4-mapped address prints as dotted IPv4.
        Self(address.to_canonical().to_string())
    }

    /// Places a node by descending score, then by `SHA-256(node ‖ "#" ‖ address)`.
    #[must_use]
    pub fn place(&self, node: &str, score: i64) -> Place {
        let mut hash = Sha256::new();
        hash.update(node.as_bytes());
        hash.update(b"#");
        hash.update(self.0.as_bytes());
        Place {
            unable: false,
            doubtful: false,
            score: Reverse(score),
            waits: false,
            digest: hash.finalize().into(),
        }
    }
}

/// The first nodes of the order for one address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranking {
    nodes: Vec<Arc<str>>,
    /// The place of the last node named, if there is no room for more.
    last: Option<Place>,
}

impl Ranking {
    /// Ranks candidates by their places.
    #[must_use]
    pub fn new(candidates: impl IntoIterator<Item = (Arc<str>, Place)>) -> Self {
        let mut first: Vec<(Place, Arc<str>)> = Vec::with_capacity(DEPTH + 1);
        for (node, place) in candidates {
            let candidate = (place, node);
            let at = first.partition_point(|other| *other < candidate);
            if at < DEPTH {
                first.insert(at, candidate);
                first.truncate(DEPTH);
            }
        }
        let last = first.get(DEPTH - 1).map(|(place, _)| *place);
        Self {
            nodes: first.into_iter().map(|(_, node)| node).collect(),
            last,
        }
    }

    /// Names at most [`DEPTH`] nodes; the first one owns the address.
    #[must_use]
    pub fn nodes(&self) -> &[Arc<str>] {
        &self.nodes
    }

    /// Returns the node that owns the address.
    #[must_use]
    pub fn winner(&self) -> Option<&str> {
        self.nodes.first().map(|node| &**node)
    }

    /// Tells whether a candidate more, at this place, would be among the nodes named.
    #[must_use]
    pub fn admits(&self, place: Place) -> bool {
        self.last.is_none_or(|last| place <= last)
    }
}

/// Sorts all of `nodes`; those absent from `scores` have score 0.
#[must_use]
pub fn order<'a>(
    nodes: impl IntoIterator<Item = &'a str>,
    address: IpAddr,
    scores: &BTreeMap<&str, i64>,
) -> Vec<&'a str> {
    let election = Election::new(address);
    let score = |node| scores.get(node).copied().unwrap_or(0);
    let mut ranked: Vec<_> = nodes
        .into_iter()
        .map(|node| (election.place(node, score(node)), node))
        .collect();
    ranked.sort_unstable();
    ranked.into_iter().map(|(_, node)| node).collect()
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
        let digest = |node, address: &str| Election::new(address.parse().unwrap()).place(node, 0).digest;
        assert_eq!(digest("node-a", "10.0.0.1"), a);
        assert_eq!(digest("node-b", "2001:db8::1"), b6);
    }

    proptest! {
        #[test]
        fn a_ranking_is_the_start_of_the_order(seed in 0u32.., scores in prop::collection::vec(0i64..3, 0..9), more in 0i64..3) {
            let ip = IpAddr::from(std::net::Ipv4Addr::from(seed));
            let named: Vec<(Arc<str>, i64)> = scores.iter().enumerate().map(|(n, score)| (format!("node-{n}").into(), *score)).collect();
            let all = named.iter().map(|(node, score)| (&**node, *score)).collect();
            let sorted = order(named.iter().map(|(node, _)| &**node), ip, &all);
            let election = Election::new(ip);
            let placed = || named.iter().map(|(node, score)| (Arc::clone(node), election.place(node, *score)));
            let ranking = Ranking::new(placed());
            let named_first: Vec<&str> = ranking.nodes().iter().map(|node| &**node).collect();
            prop_assert_eq!(&named_first, &sorted[..sorted.len().min(DEPTH)]);
            let new = election.place("new", more);
            let with = Ranking::new(placed().chain([("new".into(), new)]));
            prop_assert_eq!(ranking.admits(new), with.nodes().iter().any(|node| &**node == "new"));
        }

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
