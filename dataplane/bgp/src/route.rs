//! A route as the announcer wants it.

use std::collections::BTreeSet;

use ipnet::IpNet;

/// Is one prefix to announce, with everything that may differ between routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Is the destination; host bits are ignored.
    pub prefix: IpNet,
    /// Is sent on internal sessions only, where 0 is a value like any other.
    pub local_pref: u32,
    /// RFC 1997, each `A << 16 | B`.
    pub communities: BTreeSet<u32>,
    /// RFC 8092.
    pub large_communities: BTreeSet<LargeCommunity>,
}

impl Route {
    /// Describes a route without communities and with local preference 0.
    pub fn new(prefix: IpNet) -> Self {
        Self {
            prefix,
            local_pref: 0,
            communities: BTreeSet::new(),
            large_communities: BTreeSet::new(),
        }
    }

    pub(crate) fn attributes(&self) -> Attributes {
        Attributes {
            local_pref: self.local_pref,
            communities: self.communities.clone(),
            large_communities: self.large_communities.clone(),
        }
    }
}

/// Is a large community (RFC 8092 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LargeCommunity {
    /// Is the AS number that defines the meaning of the rest.
    pub global: u32,
    /// Is the first operator-defined value.
    pub data1: u32,
    /// Is the second operator-defined value.
    pub data2: u32,
}

/// Is what the routes of one UPDATE have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attributes {
    /// Is the local preference.
    pub local_pref: u32,
    /// Lists the communities, sorted.
    pub communities: BTreeSet<u32>,
    /// Lists the large communities, sorted.
    pub large_communities: BTreeSet<LargeCommunity>,
}

impl Attributes {
    /// Adds another announcement of the same prefix: communities unite, the highest preference wins on every node.
    pub(crate) fn merge(&mut self, other: &Route) {
        self.local_pref = self.local_pref.max(other.local_pref);
        self.communities.extend(&other.communities);
        self.large_communities.extend(&other.large_communities);
    }
}
