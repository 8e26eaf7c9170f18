//! What the node announces of each Service, and why it does not.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A Service, under `/services`.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Service {
    /// Its `NAMESPACE/NAME`.
    pub service: String,
    /// What is announced in layer 2.
    pub layer2: Announced,
    /// What is announced over BGP.
    pub bgp: Announced,
}

/// What one protocol announces of a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Announced {
    /// The addresses (layer 2) or prefixes (BGP).
    pub what: Vec<String>,
    /// Why nothing, in the words of the log: `notOwner` for instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
