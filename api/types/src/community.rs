//! Community: names for BGP communities.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{schema::EmptyStatus, spec::optional_spec};

/// A list of aliases.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "Community",
    namespaced,
    status = "EmptyStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "Community gives names to BGP communities, for use in BGPAdvertisements."
)]
#[serde(remote = "Self")]
pub struct CommunitySpec {
    /// The aliases. A name is unique over all Community resources.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub communities: Vec<CommunityAlias>,
}
optional_spec!(CommunitySpec);

/// A name for a community.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommunityAlias {
    /// The name that advertisements use.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,

    /// The community: 65000:1, or large:65000:1:2.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub value: String,
}
