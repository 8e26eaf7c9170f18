//! FRRConfiguration: what frr-k8s is to do on the nodes that it selects. The kind is that of frr-k8s 0.0.25.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::Validate;

use crate::{
    DynamicAsn, GoDuration, Password, SecretReference,
    schema::{EmptyStatus, int32, no_format},
    spec::optional_spec,
};

/// A part of FRR's configuration. frr-k8s unites all that select a node, and does nothing if any two contradict each other.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[kube(
    group = "frrk8s.metallb.io",
    version = "v1beta1",
    kind = "FRRConfiguration",
    plural = "frrconfigurations",
    namespaced,
    status = "EmptyStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "FRRConfiguration is a part of FRR's configuration on the nodes that it selects."
)]
#[serde(rename_all = "camelCase", remote = "Self")]
pub struct FRRConfigurationSpec {
    /// Routers, their neighbors, and BFD profiles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bgp: Option<FrrBgp>,

    /// The nodes that it is for, by their labels; none means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<LabelSelector>,

    /// Configuration in FRR's own words. Not supported by frr-k8s; for experiments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<FrrRaw>,
}
optional_spec!(FRRConfigurationSpec);

/// Lines that follow all others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FrrRaw {
    /// Of several, the one with the greatest number comes last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = no_format)]
    pub priority: Option<i64>,

    /// The lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw_config: Option<String>,
}

/// What is said about BGP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct FrrBgp {
    /// The BFD profiles that neighbors refer to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bfd_profiles: Vec<FrrBfdProfile>,

    /// One router for each VRF.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routers: Vec<FrrRouter>,
}

/// Us, in one VRF.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct FrrRouter {
    /// The AS number of our side.
    #[validate(range(min = 0, max = 4_294_967_295i64))]
    pub asn: i64,

    /// The BGP identifier of our side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,

    /// The VRFs whose routes are taken over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub imports: Vec<FrrImport>,

    /// With whom there are sessions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub neighbors: Vec<FrrNeighbor>,

    /// All prefixes that any neighbor may be told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prefixes: Vec<String>,

    /// The VRF that the sessions are in; the main one when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vrf: Option<String>,
}

/// A VRF whose routes are taken over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FrrImport {
    /// Its name; `default` is the main one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vrf: Option<String>,
}

/// The other end of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct FrrNeighbor {
    /// Its address. Exactly one of address and interface is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,

    /// Its AS number. Exactly one of asn and dynamicASN is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(range(min = 0, max = 4_294_967_295i64))]
    pub asn: Option<i64>,

    /// The BFD profile that guards the session; without, nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bfd_profile: Option<String>,

    /// The time between two attempts to connect, in whole seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [
        {
            "rule": "duration(self).getSeconds() >= 1 && duration(self).getSeconds() <= 65535",
            "message": "connectTime must be from 1 to 65535 seconds",
        },
        {
            "rule": "duration(self).getMilliseconds() % 1000 == 0",
            "message": "connectTime must be a whole number of seconds",
        },
    ]))]
    pub connect_time: Option<GoDuration>,

    /// Has no effect; use dualStackAddressFamily.
    #[serde(rename = "disableMP", default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub disable_mp: Option<bool>,

    /// Whether the session carries both address families instead of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub dual_stack_address_family: Option<bool>,

    /// Takes the AS number from its OPEN message: the same as ours (internal) or another (external).
    #[serde(rename = "dynamicASN", default, skip_serializing_if = "Option::is_none")]
    pub dynamic_asn: Option<DynamicAsn>,

    /// Whether it is more than one hop away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ebgp_multi_hop: Option<bool>,

    /// Whether it is asked to keep our routes while we restart (RFC 4724).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enable_graceful_restart: Option<bool>,

    /// How long the session lives without a word from it (RFC 4271); 180s when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_time: Option<GoDuration>,

    /// The network interface behind which it is found (unnumbered BGP); the session carries both address families.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,

    /// The time between two keepalive messages; 60s when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keepalive_time: Option<GoDuration>,

    /// The AS number to show to it instead of the router's; not inside of an AS.
    #[serde(rename = "localASN", default, skip_serializing_if = "Option::is_none")]
    #[validate(range(min = 1, max = 4_294_967_295i64))]
    pub local_asn: Option<i64>,

    /// The TCP MD5 password in clear text. At most one of password and passwordSecret is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Password>,

    /// A Secret of type kubernetes.io/basic-auth in frr-k8s's namespace whose key password is the TCP MD5 password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret: Option<SecretReference>,

    /// Its TCP port; 179 when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(range(min = 0, max = 16_384))]
    #[schemars(transform = no_format)]
    pub port: Option<i64>,

    /// The address of our side of the session, or the interface that has it.
    #[serde(rename = "sourceaddress", default, skip_serializing_if = "Option::is_none")]
    pub source_address: Option<String>,

    /// What it is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_advertise: Option<FrrAdvertise>,

    /// What is accepted from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_receive: Option<FrrReceive>,
}

/// What a neighbor is told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FrrAdvertise {
    /// Which prefixes of the router.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed: Option<FrrAllowedOut>,

    /// Prefixes by the communities that they have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub with_community: Vec<FrrCommunityPrefixes>,

    /// Prefixes by the local preference that they have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub with_local_pref: Vec<FrrLocalPrefPrefixes>,
}

/// Prefixes that a neighbor is told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FrrAllowedOut {
    /// Whether the list counts (filtered), or all prefixes of the router do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "filtered"))]
    pub mode: Option<FrrAllowMode>,

    /// The list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prefixes: Vec<String>,
}

/// Prefixes with a community.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FrrCommunityPrefixes {
    /// The community: `64500:100`, or `large:64500:1:2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub community: Option<String>,

    /// The prefixes, all of which the neighbor is told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("minItems" = 1, "format" = "cidr"))]
    pub prefixes: Vec<String>,
}

/// Prefixes with a local preference.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FrrLocalPrefPrefixes {
    /// The local preference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = int32)]
    pub local_pref: Option<i64>,

    /// The prefixes, all of which the neighbor is told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("minItems" = 1, "format" = "cidr"))]
    pub prefixes: Vec<String>,
}

/// What is accepted from a neighbor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FrrReceive {
    /// Which prefixes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed: Option<FrrAllowedIn>,
}

/// Prefixes that are accepted from a neighbor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FrrAllowedIn {
    /// Whether the list counts (filtered), or all prefixes are accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "filtered"))]
    pub mode: Option<FrrAllowMode>,

    /// The list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prefixes: Vec<FrrPrefixSelector>,
}

/// A prefix, and which parts of it are accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct FrrPrefixSelector {
    /// The least length of a part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(range(min = 1, max = 128))]
    #[schemars(transform = int32)]
    pub ge: Option<i64>,

    /// The greatest length of a part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(range(min = 1, max = 128))]
    #[schemars(transform = int32)]
    pub le: Option<i64>,

    /// The prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "cidr"))]
    pub prefix: Option<String>,
}

/// Which prefixes pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FrrAllowMode {
    /// Every one.
    All,
    /// Those of a list.
    Filtered,
}

/// Settings of BFD sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct FrrBfdProfile {
    /// How many packets in a row must be lost for the session to fail; 3 when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(range(min = 2, max = 255))]
    #[schemars(transform = int32)]
    pub detect_multiplier: Option<i64>,

    /// The interval of echo packets, in milliseconds; 50 when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(range(min = 10, max = 60_000))]
    #[schemars(transform = int32)]
    pub echo_interval: Option<i64>,

    /// Whether echo packets are used. Not over several hops.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub echo_mode: Option<bool>,

    /// The least TTL of packets accepted over several hops.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(range(min = 1, max = 254))]
    #[schemars(transform = int32)]
    pub minimum_ttl: Option<i64>,

    /// The name that neighbors refer to.
    pub name: String,

    /// Whether the other side has to begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passive_mode: Option<bool>,

    /// The shortest interval at which we can receive packets, in milliseconds; 300 when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(range(min = 10, max = 60_000))]
    #[schemars(transform = int32)]
    pub receive_interval: Option<i64>,

    /// The shortest interval at which we want to send packets, in milliseconds; 300 when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(range(min = 10, max = 60_000))]
    #[schemars(transform = int32)]
    pub transmit_interval: Option<i64>,
}
