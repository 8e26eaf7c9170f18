//! The old version of BGPPeer, served for those who still write it.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::Validate;

use crate::{
    GoDuration, Password,
    schema::{EmptyStatus, is_false, no_format},
    spec::optional_spec,
};

/// One BGP session of every selected node.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "BGPPeer",
    plural = "bgppeers",
    namespaced,
    status = "EmptyStatus",
    storage = false,
    deprecated = "v1beta1 is deprecated, please use v1beta2",
    derive = "PartialEq",
    derive = "Default",
    doc = "BGPPeer is a router that the nodes announce routes to.",
    printcolumn(name = "Address", type_ = "string", json_path = ".spec.peerAddress"),
    printcolumn(name = "ASN", type_ = "string", json_path = ".spec.peerASN"),
    printcolumn(name = "BFD Profile", type_ = "string", json_path = ".spec.bfdProfile"),
    printcolumn(name = "Multi Hops", type_ = "string", json_path = ".spec.ebgpMultiHop")
)]
#[serde(rename_all = "camelCase", remote = "Self")]
pub struct BGPPeerSpec {
    /// The AS number of our side.
    #[serde(rename = "myASN")]
    #[validate(range(min = 0, max = 4_294_967_295i64))]
    pub my_asn: i64,

    /// The AS number of the peer.
    #[serde(rename = "peerASN")]
    #[validate(range(min = 0, max = 4_294_967_295i64))]
    pub peer_asn: i64,

    /// The address of the peer.
    pub peer_address: String,

    /// The address of our side of the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_address: Option<String>,

    /// The TCP port of the peer.
    // Upstream: the maximum is 16384, for no reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(range(min = 0, max = 65_535))]
    #[schemars(transform = no_format)]
    pub peer_port: Option<i64>,

    /// How long the session lives without a word from the peer (RFC 4271).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_time: Option<GoDuration>,

    /// The time between two keepalive messages; less than holdTime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keepalive_time: Option<GoDuration>,

    /// The BGP identifier of our side, in the form of an IPv4 address.
    #[serde(rename = "routerID", default, skip_serializing_if = "Option::is_none")]
    pub router_id: Option<String>,

    /// The nodes that open the session, by their labels; none means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub node_selectors: Vec<NodeSelector>,

    /// The TCP MD5 password in clear text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Password>,

    /// The BFDProfile to watch the peer with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bfd_profile: Option<String>,

    /// Whether the peer is more than one hop away.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ebgp_multi_hop: bool,
}
optional_spec!(BGPPeerSpec);

/// Nodes by their labels, in the shape that predates the common label selector.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeSelector {
    /// Labels that a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,

    /// Conditions that a node must meet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<MatchExpression>,
}

/// One condition on a label.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MatchExpression {
    /// The label.
    pub key: String,
    /// How the label relates to the values.
    pub operator: String,
    /// The values.
    #[schemars(length(min = 1))]
    pub values: Vec<String>,
}
