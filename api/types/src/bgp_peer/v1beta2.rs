//! The version of BGPPeer that is stored.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "KubeSchema declares a copy of each struct that nobody reads"
)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::Validate;

use crate::{
    GoDuration, Password,
    schema::{EmptyStatus, atomic_map, is_false, no_format},
    spec::optional_spec,
};

/// One BGP session of every selected node.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema, Validate)]
#[kube(
    group = "metallb.io",
    version = "v1beta2",
    kind = "BGPPeer",
    plural = "bgppeers",
    namespaced,
    status = "EmptyStatus",
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

    /// The AS number of the peer. Exactly one of peerASN and dynamicASN is set.
    #[serde(rename = "peerASN", default, skip_serializing_if = "Option::is_none")]
    #[validate(range(min = 0, max = 4_294_967_295i64))]
    pub peer_asn: Option<i64>,

    /// The AS number to show to this peer instead of myASN.
    #[serde(rename = "localASN", default, skip_serializing_if = "Option::is_none")]
    #[validate(range(min = 1, max = 4_294_967_295i64))]
    pub local_asn: Option<i64>,

    /// Takes the AS number of the peer from its OPEN message: the same as ours (internal) or another (external).
    #[serde(rename = "dynamicASN", default, skip_serializing_if = "Option::is_none")]
    pub dynamic_asn: Option<DynamicAsn>,

    /// The address of the peer. Exactly one of peerAddress and interface is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_address: Option<String>,

    /// The network interface behind which the peer is found by IPv6 link-local address (unnumbered BGP).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,

    /// The address of our side of the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_address: Option<String>,

    /// The TCP port of the peer.
    // Upstream: the maximum is 16384, for no reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(range(min = 1, max = 65_535))]
    #[schemars(transform = no_format, extend("default" = 179))]
    pub peer_port: Option<i64>,

    /// How long the session lives without a word from the peer (RFC 4271); 0s switches that off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_time: Option<GoDuration>,

    /// The time between two keepalive messages; less than holdTime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keepalive_time: Option<GoDuration>,

    /// The time between two attempts to connect, in whole seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(
        validation = Rule::new("duration(self).getSeconds() >= 1 && duration(self).getSeconds() <= 65535")
            .message("connectTime must be from 1 to 65535 seconds"),
        validation = Rule::new("duration(self).getMilliseconds() % 1000 == 0")
            .message("connectTime must be a whole number of seconds")
    )]
    pub connect_time: Option<GoDuration>,

    /// The BGP identifier of our side, in the form of an IPv4 address.
    #[serde(rename = "routerID", default, skip_serializing_if = "Option::is_none")]
    pub router_id: Option<String>,

    /// The nodes that open the session, by their labels; none means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub node_selectors: Vec<LabelSelector>,

    /// The TCP MD5 password in clear text. Prefer passwordSecret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Password>,

    /// A Secret of type kubernetes.io/basic-auth in MetalLB's namespace whose key password is the TCP MD5 password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret: Option<SecretReference>,

    /// The BFDProfile to watch the peer with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bfd_profile: Option<String>,

    /// Keeps the routes at the peer over a restart of ours (RFC 4724). Cannot be changed between true and false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self == oldSelf").message("enableGracefulRestart cannot be changed"))]
    pub enable_graceful_restart: Option<bool>,

    /// Whether the peer is more than one hop away.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ebgp_multi_hop: bool,

    /// Whether the peer is heard only if no router is in between (GTSM, RFC 5082); packets have TTL 255 both ways.
    // Upstream: has no such field.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ttl_security: bool,

    /// The VRF of the host to peer from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vrf: Option<String>,

    /// Has no effect any more; use dualStackAddressFamily.
    #[serde(rename = "disableMP", default)]
    pub disable_mp: bool,

    /// Whether routes of the other address family are sent over the session too.
    #[serde(default)]
    pub dual_stack_address_family: bool,
}
optional_spec!(BGPPeerSpec);

/// How an AS number learnt from the peer relates to ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DynamicAsn {
    /// The same AS number as ours.
    Internal,
    /// Any other AS number.
    External,
}

/// The name of a Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = atomic_map)]
pub struct SecretReference {
    /// The name of the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,

    /// Ignored: the Secret is in MetalLB's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}
