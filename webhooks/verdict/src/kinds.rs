//! What the configuration kinds have in common.

use std::collections::BTreeMap;

use kube::ResourceExt;
use metallb_api::{AddressPool, BFDProfile, BGPAdvertisement, BGPPeer, Community, IPAddressPool, L2Advertisement};
use metallb_config::Resources;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A kind that takes part in the configuration.
pub(super) trait Configured: ResourceExt + DeserializeOwned {
    const KIND: &'static str;

    /// Its list.
    fn list(resources: &mut Resources) -> &mut Vec<Self>;

    /// Tells whether nothing changed that the configuration depends on.
    fn same_as(&self, old: &Self) -> bool;

    /// Decodes an object of any served version.
    fn decode(value: &Value) -> serde_json::Result<Self> {
        serde_json::from_value(value.clone())
    }
}

/// Labels count where selectors select the kind by them.
fn labels(object: &impl ResourceExt) -> &BTreeMap<String, String> {
    object.labels()
}

macro_rules! configured {
    ($($kind:ident => $list:ident),* $(,)?) => {
        $(
            impl Configured for $kind {
                const KIND: &'static str = stringify!($kind);

                fn list(resources: &mut Resources) -> &mut Vec<Self> {
                    &mut resources.$list
                }

                fn same_as(&self, old: &Self) -> bool {
                    self.spec == old.spec && labels(self) == labels(old)
                }
            }
        )*
    };
}

configured! {
    IPAddressPool => pools,
    AddressPool => address_pools,
    L2Advertisement => l2_advertisements,
    BGPAdvertisement => bgp_advertisements,
    BFDProfile => bfd_profiles,
    Community => communities,
}

impl Configured for BGPPeer {
    const KIND: &'static str = "BGPPeer";

    fn list(resources: &mut Resources) -> &mut Vec<Self> {
        &mut resources.peers
    }

    fn same_as(&self, old: &Self) -> bool {
        self.spec == old.spec
    }

    /// The API server converts before it asks, but a webhook registered by hand may see the old version.
    fn decode(value: &Value) -> serde_json::Result<Self> {
        let version = value.get("apiVersion").and_then(Value::as_str);
        if version == Some(crate::convert::V1BETA1) {
            let converted = crate::convert::convert(value, crate::convert::V1BETA2);
            return serde_json::from_value(converted.map_err(serde::de::Error::custom)?);
        }
        serde_json::from_value(value.clone())
    }
}
