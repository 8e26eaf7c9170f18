//! Settings of what goes over networks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::is_false;

/// The interfaces that layer 2 leaves alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExcludeInterfaces {
    /// Whether any are left alone; true when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,

    /// Regular expressions of names, besides the built-in ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patterns: Vec<String>,

    /// Whether the patterns count instead of the built-in ones.
    #[serde(default, skip_serializing_if = "is_false")]
    pub replace: bool,
}

/// How speakers find each other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Memberlist {
    /// Whether they do; true when unset. Without, layer 2 notices a dead node only when Kubernetes does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,

    /// The port, of TCP and UDP; that of the operator's environment when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,

    /// The address to listen on instead of the node's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bind_address: Option<String>,

    /// Whether the nodes are far from each other: a dead one is then noticed after some 40 seconds.
    #[serde(default, skip_serializing_if = "is_false")]
    pub wan: bool,
}

/// What the traffic of our pods is narrowed to. Pods that have the network of their node are beyond that.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkPolicies {
    /// Whether it is narrowed; as the operator's environment says when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,

    /// The ports of the API servers, as their endpoints have them; any when unset.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(range(min = 1, max = 65535)))]
    pub api_server_ports: Vec<i32>,
}

/// TLS of what the components serve.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// The oldest version; VersionTLS13 when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_version: Option<TlsVersion>,

    /// IANA names of the cipher suites of TLS 1.2; all when unset. They have no effect with minVersion VersionTLS13.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cipher_suites: Vec<String>,

    /// IANA numbers of the curves, the preferred first; all when unset.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(range(min = 1, max = 65535)))]
    pub curve_preferences: Vec<i32>,
}

/// Versions of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TlsVersion {
    /// TLS 1.2.
    VersionTLS12,
    /// TLS 1.3.
    VersionTLS13,
}

impl TlsVersion {
    /// Gives the name that flags use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::VersionTLS12 => "VersionTLS12",
            Self::VersionTLS13 => "VersionTLS13",
        }
    }
}
