//! BGPSessionState: how a session of a node is doing. The kind is that of frr-k8s, whose five fields keep their meaning.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::spec::optional_spec;

/// Nothing: all is in the status.
#[derive(CustomResource, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "frrk8s.metallb.io",
    version = "v1beta1",
    kind = "BGPSessionState",
    namespaced,
    status = "BGPSessionStateStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "BGPSessionState tells the state of a BGP session of a node.",
    printcolumn(name = "Node", type_ = "string", json_path = ".status.node"),
    printcolumn(name = "Peer", type_ = "string", json_path = ".status.peerName"),
    printcolumn(name = "Address", type_ = "string", json_path = ".status.peer"),
    printcolumn(name = "VRF", type_ = "string", json_path = ".status.vrf"),
    printcolumn(name = "BGP", type_ = "string", json_path = ".status.bgpStatus"),
    printcolumn(name = "Since", type_ = "date", json_path = ".status.since"),
    printcolumn(name = "Families", type_ = "string", json_path = ".status.families"),
    printcolumn(name = "Prefixes", type_ = "integer", json_path = ".status.prefixes"),
    printcolumn(name = "BFD", type_ = "string", json_path = ".status.bfdStatus"),
    printcolumn(name = "BFD Since", type_ = "date", json_path = ".status.bfdSince"),
    printcolumn(name = "Last Error", type_ = "string", json_path = ".status.lastError")
)]
#[serde(remote = "Self")]
pub struct BGPSessionStateSpec {}
optional_spec!(BGPSessionStateSpec);

/// The session, and how it is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BGPSessionStateStatus {
    /// The state of the session: Established, or that of an attempt at it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub bgp_status: String,

    /// The state of the session's BFD: up, down, init or shutdown; N/A without BFD.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub bfd_status: String,

    /// The node.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub node: String,

    /// The address or interface of the peer.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub peer: String,

    /// The VRF that the session is in; empty for the main one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub vrf: String,

    /// The name of the BGPPeer.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub peer_name: String,

    /// Since when the session is up, or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,

    /// What went wrong last; it stays when the session comes up again.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub last_error: String,

    /// When that happened for the first time in a row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error_time: Option<Time>,

    /// The address families whose routes the session carries now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub families: Vec<String>,

    /// How many prefixes the peer was told; may be minutes old.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefixes: Option<i64>,

    /// How many prefixes the peer should be told; as old as the other number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefixes_wanted: Option<i64>,

    /// Since when BFD is up, or not; absent if it never was up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bfd_since: Option<Time>,
}

impl BGPSessionStateStatus {
    /// The part that the definition of frr-k8s has fields for.
    #[must_use]
    pub fn upstreams(&self) -> Self {
        let Self {
            bgp_status,
            bfd_status,
            node,
            peer,
            vrf,
            ..
        } = self.clone();
        Self {
            bgp_status,
            bfd_status,
            node,
            peer,
            vrf,
            ..Self::default()
        }
    }
}
