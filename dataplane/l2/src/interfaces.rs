//! On which interfaces an address is announced.

use std::collections::BTreeSet;

/// The interfaces on which one address may be announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interfaces {
    /// Every usable interface of the node.
    All,
    /// Only interfaces with one of these names.
    Only(BTreeSet<String>),
}

impl Interfaces {
    /// Says whether the interface called `name` is among them.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.contains(name),
        }
    }
}
