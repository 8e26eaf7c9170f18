//! The answers of a component's looking glass: `GET /inspect/v1/…` on the port of `/metrics`.
//!
//! Within this version fields are only added, and readers ignore fields that they do not know. Optional fields are left
//! out when they have no value. No answer holds passwords, keys or tokens. Nothing here does I/O.

pub mod bfd;
pub mod bgp;
pub mod config;
pub mod layer2;
pub mod members;
pub mod services;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The schema of every answer.
pub const SCHEMA: &str = "metallb.io/inspect/v1";
/// The path under which everything is served.
pub const ROOT: &str = "/inspect/v1";
/// The header for the token behind `pods/proxy`, where the API server removes `Authorization`.
pub const TOKEN_HEADER: &str = "x-metallb-token";
/// The audience of a token in [`TOKEN_HEADER`]: such a token is of no use anywhere else.
pub const AUDIENCE: &str = "metallb.io";

/// The fields before the data of every answer.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Head {
    /// [`SCHEMA`].
    pub schema: String,
    /// The component that answers, such as `speaker`.
    pub component: String,
    /// Its version.
    pub version: String,
    /// Its node.
    pub node: String,
    /// Its Pod.
    pub pod: String,
    /// When it answered (RFC 3339).
    pub time: String,
}

/// A whole answer, as readers parse it.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Answer<T> {
    /// The component that answers, and when.
    #[serde(flatten)]
    pub head: Head,
    /// What was asked for.
    pub data: T,
    /// The value of `?continue=` for the next page; null on the last one.
    #[serde(rename = "continue")]
    pub more: Option<String>,
}

/// The answer of [`ROOT`] itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Index {
    /// The paths that are served, and what each is about.
    pub paths: BTreeMap<String, String>,
    /// The BGP back-end that runs: `native`, `frr` or `frr-k8s`.
    pub backend: String,
}
