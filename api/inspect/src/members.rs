//! The membership: which speakers are alive.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The membership as the node sees it, under `/members`.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Members {
    /// Whether there is a membership; without one a speaker is taken to be alive on every node.
    pub enabled: bool,
    /// The members that are alive, this node included, in the order of their names.
    pub members: Vec<Member>,
    /// How many packets and streams were refused, by reason; `key` for those with another key.
    pub refused: BTreeMap<String, u64>,
}

/// A member that is alive.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Member {
    /// Its node.
    pub name: String,
    /// Whether it is a speaker of this kind, which says more of itself than that it is there.
    pub ours: bool,
    /// Whether nobody hears it at this moment.
    pub suspected: bool,
    /// By name, the hardware addresses of the interfaces that it can announce on, as `00:00:5e:00:53:01`.
    pub interfaces: BTreeMap<String, String>,
}
