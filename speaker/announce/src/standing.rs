//! What members say of themselves that changes their place in the order.
//!
//! Upstream's speakers say nothing, and look at nothing of this: it counts only while all members are ours.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use metallb_config::{Interfaces, L2Advertisement};

/// Who gets an address when a node returns that would own it by the usual order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Failback {
    /// The node that returns, at once, as with upstream.
    #[default]
    Immediate,
    /// The node that returns, once it is no newcomer any more.
    Delayed,
    /// The node that has it, as long as it may and none is preferred to it.
    Never,
}

/// What a member says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// By name, the interfaces on which it can announce, and whether each could not until lately.
    pub interfaces: BTreeMap<String, bool>,
    /// It has more interfaces than those.
    pub more: bool,
    /// It has come, or come back, lately.
    pub newcomer: bool,
}

/// Whether a member can announce a service on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reach {
    /// On none.
    No,
    /// On one that could not be used until lately.
    Lately,
    /// Yes.
    Yes,
}

impl Standing {
    /// On the best of the interfaces that the advertisements name for `node`.
    pub(crate) fn reach(&self, node: &str, ads: &[&L2Advertisement]) -> Reach {
        // None of those that did not fit may be taken for broken.
        let mut best = if self.more { Reach::Yes } else { Reach::No };
        for ad in ads.iter().filter(|ad| ad.nodes.contains(node)) {
            let of = |lately: &bool| if *lately { Reach::Lately } else { Reach::Yes };
            let found = match &ad.interfaces {
                Interfaces::All => self.interfaces.values().map(of).max(),
                Interfaces::Only(names) => names.iter().filter_map(|name| self.interfaces.get(name)).map(of).max(),
            };
            best = best.max(found.unwrap_or(Reach::No));
        }
        best
    }
}

/// What counts besides upstream's order.
#[derive(Clone, Copy, Debug)]
pub struct Extension<'a> {
    /// By node, what each member says.
    pub standings: &'a BTreeMap<Arc<str>, Standing>,
    /// The setting of all members.
    pub failback: Failback,
    /// The nodes that have the service by what its status objects say; empty if nobody does.
    pub owners: &'a BTreeSet<Arc<str>>,
}

impl Extension<'_> {
    /// Says whether the node can announce on an interface, and whether it lets others with the same score go first.
    pub(crate) fn of(&self, node: &str, ads: &[&L2Advertisement]) -> (bool, bool) {
        let Some(standing) = self.standings.get(node) else {
            return (true, false);
        };
        let reach = standing.reach(node, ads);
        let waits = match self.failback {
            Failback::Immediate => false,
            Failback::Delayed => standing.newcomer || reach == Reach::Lately,
            Failback::Never => !self.owners.contains(node),
        };
        (reach > Reach::No, waits)
    }
}
