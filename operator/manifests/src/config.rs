//! ConfigMaps and ServiceAccounts of a running MetalLB.

use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use metallb_api::names;

use crate::{
    object::meta,
    pod::{component_labels, labels},
};

/// Interfaces that never lead to clients: bridges and tunnels of container networks, and the loopback.
const EXCLUDED_INTERFACES: [&str; 14] = [
    "^docker.*",
    "^cbr.*",
    "^dummy.*",
    "^virbr.*",
    "^lxcbr.*",
    "^veth.*",
    "^lo$",
    "^cali.*",
    "^tunl.*",
    "^flannel.*",
    "^kube-ipvs.*",
    "^cni.*",
    "^nodelocaldns.*",
    "^lxc.*",
];

/// The ConfigMap with the interfaces that layer 2 leaves alone.
pub(crate) fn exclude_l2() -> ConfigMap {
    let mut text = "announcedInterfacesToExclude:\n".to_owned();
    for pattern in EXCLUDED_INTERFACES {
        text += &format!("- {pattern}\n");
    }
    ConfigMap {
        metadata: meta(names::EXCLUDE_L2_CONFIG_MAP, labels([(names::LABEL_APP, names::APP)])),
        data: Some(labels([(names::EXCLUDE_L2_KEY, &text)])),
        ..ConfigMap::default()
    }
}

/// The account of a component.
pub(crate) fn service_account(component: &str) -> ServiceAccount {
    ServiceAccount {
        metadata: meta(component, component_labels(component)),
        ..ServiceAccount::default()
    }
}
