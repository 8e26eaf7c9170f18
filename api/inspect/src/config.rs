//! How the process runs, and what it makes of the configuration.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Flags and configuration, under `/config`.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Config {
    /// Flags that decide what is announced, by name: `lb-class`, `ignore-exclude-lb`, and what else there is.
    pub flags: BTreeMap<String, String>,
    /// Whether a configuration has been read.
    pub loaded: bool,
    /// What of it is not in effect as written, one sentence each.
    pub errors: Vec<String>,
    /// What of it is in effect and does something else than it says, one sentence each.
    pub doubts: Vec<String>,
}
