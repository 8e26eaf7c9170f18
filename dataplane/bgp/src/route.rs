//! Routes as the announcer wants them.

use std::{collections::BTreeSet, sync::Arc};

use ipnet::IpNet;

/// What is announced for one prefix from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteChange {
    /// The destination; host bits are ignored.
    pub prefix: IpNet,
    /// Lists all paths, not only new ones; none withdraws the prefix.
    ///
    /// Several for one peer become one: communities unite, and the highest local preference wins on every node.
    pub paths: Vec<Path>,
}

/// What is announced for a prefix to some peers, or to all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// Names peers; empty means all, unknown ones are ignored.
    pub peers: BTreeSet<String>,
    /// The attributes of the route.
    pub attributes: Arc<Attributes>,
}

impl Path {
    /// Makes a path for all peers.
    pub fn to_all(attributes: impl Into<Arc<Attributes>>) -> Self {
        Self {
            peers: BTreeSet::new(),
            attributes: attributes.into(),
        }
    }

    pub(crate) fn is_for(&self, peer: &str) -> bool {
        self.peers.is_empty() || self.peers.contains(peer)
    }
}

/// What the routes of one UPDATE have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attributes {
    /// Sent on internal sessions only, where 0 is a value like any other.
    pub local_pref: u32,
    /// RFC 1997, each `A << 16 | B`.
    pub communities: BTreeSet<u32>,
    /// RFC 8092.
    pub large_communities: BTreeSet<LargeCommunity>,
}

impl Attributes {
    /// The community of routes that are about to go (RFC 8326 §5).
    pub const GRACEFUL_SHUTDOWN: u32 = 0xffff_0000;

    /// Returns the attributes of a route that is about to be withdrawn: least preferred in our AS, and marked for others
    /// (RFC 8326 §4).
    pub(crate) fn shunned(&self) -> Self {
        let mut shunned = self.clone();
        shunned.local_pref = 0;
        shunned.communities.insert(Self::GRACEFUL_SHUTDOWN);
        shunned
    }

    /// Adds another announcement of the same prefix.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.local_pref = self.local_pref.max(other.local_pref);
        self.communities.extend(&other.communities);
        self.large_communities.extend(&other.large_communities);
    }
}

/// A large community (RFC 8092 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LargeCommunity {
    /// The AS number that defines the meaning of the rest.
    pub global: u32,
    /// The first operator-defined value.
    pub data1: u32,
    /// The second operator-defined value.
    pub data2: u32,
}
