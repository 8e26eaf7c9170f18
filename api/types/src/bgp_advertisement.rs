//! BGPAdvertisement: pools announced as BGP routes.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "KubeSchema declares a copy of each struct that nobody reads"
)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use validator::Validate;

use crate::{
    schema::{EmptyStatus, int32},
    spec::optional_spec,
};

/// What is announced to routers, how and from where.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema, Validate)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "BGPAdvertisement",
    namespaced,
    status = "EmptyStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "BGPAdvertisement announces the addresses of pools to BGP peers.",
    printcolumn(name = "IPAddressPools", type_ = "string", json_path = ".spec.ipAddressPools"),
    printcolumn(
        name = "IPAddressPool Selectors",
        type_ = "string",
        json_path = ".spec.ipAddressPoolSelectors"
    ),
    printcolumn(name = "Peers", type_ = "string", json_path = ".spec.peers"),
    printcolumn(
        name = "Node Selectors",
        type_ = "string",
        json_path = ".spec.nodeSelectors",
        priority = 10
    )
)]
#[x_kube(
    validation = Rule::new(
        "!has(self.serviceSelectors) || size(self.serviceSelectors) == 0 || \
         ((!has(self.aggregationLength) || self.aggregationLength == 32) && \
         (!has(self.aggregationLengthV6) || self.aggregationLengthV6 == 128))"
    ).message("with serviceSelectors, aggregationLength must be 32 and aggregationLengthV6 must be 128")
)]
#[serde(rename_all = "camelCase", remote = "Self")]
pub struct BGPAdvertisementSpec {
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

    /// The pools to announce, by name. With no pool selected at all, every IPAddressPool is announced.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ip_address_pools: Vec<String>,

    /// More pools to announce, by their labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ip_address_pool_selectors: Vec<LabelSelector>,

    /// The nodes that announce, by their labels; none means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub node_selectors: Vec<LabelSelector>,

    /// The BGPPeers to announce to, by name; none means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<String>,

    /// The Services of the pools that are announced, by their labels; none means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub service_selectors: Vec<LabelSelector>,
}
optional_spec!(BGPAdvertisementSpec);
