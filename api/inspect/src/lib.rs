//! What the looking glass of a component answers: `GET /inspect/v1/…` on the port of `/metrics`.
//!
//! Within this version fields are only added, and readers ignore those that they do not know. Optional fields are left
//! out where there is nothing to say. No answer holds passwords, keys or tokens. Nothing here does I/O.

pub mod bfd;
pub mod bgp;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The schema of every answer.
pub const SCHEMA: &str = "metallb.io/inspect/v1";
/// Where the paths begin.
pub const ROOT: &str = "/inspect/v1";
/// The header for a token where the API server takes `Authorization` away, as behind `pods/proxy`.
pub const TOKEN_HEADER: &str = "x-metallb-token";
/// What a token in [`TOKEN_HEADER`] must be made for, so that it opens nothing else.
pub const AUDIENCE: &str = "metallb.io";

/// What is in front of the data of every answer. After the data comes `continue`: what to ask with for what follows, or
/// null.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// [`SCHEMA`].
    pub schema: String,
    /// Who answers, such as `speaker`.
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

/// An answer, as readers take it in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer<T> {
    /// Who answers.
    #[serde(flatten)]
    pub head: Head,
    /// What was asked for.
    pub data: T,
    /// What to ask with for what follows; absent at the end.
    #[serde(rename = "continue")]
    pub more: Option<String>,
}

/// The answer of [`ROOT`] itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// The paths that are served, and what each is about.
    pub paths: BTreeMap<String, String>,
    /// The BGP back-end that runs: `native`, `frr` or `frr-k8s`.
    pub backend: String,
}
