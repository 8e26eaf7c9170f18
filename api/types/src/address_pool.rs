//! AddressPool: the legacy kind, pool and advertisement in one.
//!
//! Its versions v1alpha1 and v1beta1 have the same schema, so that one Rust type serves both.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::Validate;

use crate::{
    ip_address_pool::yes,
    schema::{EmptyStatus, int32},
};

/// The addresses of a legacy pool and how they are announced.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "AddressPool",
    namespaced,
    status = "EmptyStatus",
    deprecated = "metallb.io v1beta1 AddressPool is deprecated, consider using IPAddressPool",
    derive = "PartialEq",
    doc = "AddressPool is a set of addresses together with the way to announce them. Prefer IPAddressPool."
)]
#[serde(rename_all = "camelCase")]
pub struct AddressPoolSpec {
    /// How the addresses are announced.
    pub protocol: Protocol,

    /// The addresses that the pool owns: prefixes such as 192.0.2.0/24, or ranges such as 192.0.2.10-192.0.2.20.
    pub addresses: Vec<String>,

    /// Whether Services that ask for nothing special may get an address of this pool.
    #[serde(default = "yes")]
    pub auto_assign: bool,

    /// Leaves out IPv4 addresses that end in .0 or .255, which some old clients cannot reach.
    // Upstream: in no released AddressPool; the same meaning as in IPAddressPool.
    #[serde(default, rename = "avoidBuggyIPs")]
    pub avoid_buggy_ips: bool,

    /// How routes are announced; with protocol bgp only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bgp_advertisements: Vec<LegacyBgpAdvertisement>,
}

/// The way that a legacy pool is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// By ARP and NDP.
    Layer2,
    /// As BGP routes.
    Bgp,
}

/// How routes of a legacy pool are announced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct LegacyBgpAdvertisement {
    /// The length of the IPv4 prefix announced for an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(range(min = 1))]
    #[schemars(transform = int32, extend("default" = 32))]
    pub aggregation_length: Option<i64>,

    /// The length of the IPv6 prefix announced for an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = int32, extend("default" = 128))]
    pub aggregation_length_v6: Option<i64>,

    /// The LOCAL_PREF attribute, sent to peers of the same AS only.
    // Upstream: int32 in the schema and uint32 in the code; 64 bits here, so that the whole range is writable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(range(min = 0, max = 4_294_967_295i64))]
    pub local_pref: Option<i64>,

    /// The communities of the routes: 65000:1, large:65000:1:2, or the name of an alias of a Community resource.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub communities: Vec<String>,
}
