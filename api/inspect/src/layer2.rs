//! Addresses that the node answers ARP and neighbour solicitations for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the node does in layer 2, under `/layer2`.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Layer2 {
    /// The addresses that are announced, in their order.
    pub addresses: Vec<Address>,
    /// Frames that were not answered.
    pub drops: Vec<Drops>,
}

/// An address that is announced.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Address {
    /// The address.
    pub address: String,
    /// The Services that have it, as `NAMESPACE/NAME`.
    pub services: Vec<String>,
    /// The interfaces that it is answered on: those of the advertisements that can be used now.
    pub interfaces: Vec<String>,
    /// Since when this node answers (RFC 3339).
    pub since: String,
    /// Whether the node is silent for now, because another one with a better right to the address announces it, too.
    pub yielded: bool,
    /// Requests that were received for it.
    pub requests: u64,
    /// Answers that were sent.
    pub answers: u64,
    /// Gratuitous frames that were sent.
    pub gratuitous: u64,
    /// Other hosts that have claimed it.
    pub conflicts: Vec<Conflict>,
}

/// Another host that has claimed an address.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Conflict {
    /// Its hardware address, as `00:00:5e:00:53:01`.
    pub mac: String,
    /// The interface on which it was heard.
    pub interface: String,
    /// When it was first heard (RFC 3339).
    pub first: String,
    /// When it was last heard (RFC 3339); more often than once a second is not noted.
    pub last: String,
    /// How often it was noted.
    pub count: u64,
}

/// Frames that were not answered, and why not.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Drops {
    /// Why not, as in `metallb_layer2_dropped_total`.
    pub reason: String,
    /// The interface.
    pub interface: String,
    /// How many.
    pub count: u64,
}
