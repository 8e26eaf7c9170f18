//! ConfigMaps and ServiceAccounts of a running MetalLB.

use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use metallb_api::{ComponentConfig, names};

use crate::{
    context::Context,
    object::meta,
    pod::{component_labels, labels},
};

/// The one key of the file.
const EXCLUDE_KEY: &str = "announcedInterfacesToExclude";

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

/// The ConfigMap with the interfaces that layer 2 leaves alone, unless it leaves none.
pub(crate) fn exclude_l2(context: &Context<'_>) -> Option<ConfigMap> {
    if !context.excludes_interfaces() {
        return None;
    }
    let exclude = context.spec.exclude_interfaces.as_ref();
    let (replace, patterns) = exclude.map_or((false, &[][..]), |it| (it.replace, &it.patterns));
    let built_in = EXCLUDED_INTERFACES
        .iter()
        .filter(|_| !replace)
        .map(|it| (*it).to_owned());
    let lines: String = built_in
        .chain(patterns.iter().map(|pattern| quoted(pattern)))
        .map(|pattern| format!("- {pattern}\n"))
        .collect();
    let text = format!("{EXCLUDE_KEY}:{}{lines}", if lines.is_empty() { " []\n" } else { "\n" });
    Some(ConfigMap {
        metadata: meta(names::EXCLUDE_L2_CONFIG_MAP, labels([(names::LABEL_APP, names::APP)])),
        data: Some(labels([(names::EXCLUDE_L2_KEY, &text)])),
        ..ConfigMap::default()
    })
}

/// A pattern as YAML, whatever it holds; JSON's strings are YAML's.
fn quoted(pattern: &str) -> String {
    serde_json::Value::from(pattern).to_string()
}

/// The account of a component.
pub(crate) fn service_account(component: &str) -> ServiceAccount {
    ServiceAccount {
        metadata: meta(component, component_labels(component)),
        ..ServiceAccount::default()
    }
}

/// The account with the annotations of the MetalLB resource.
pub(crate) fn annotated_account(component: &str, config: Option<&ComponentConfig>) -> ServiceAccount {
    let mut account = service_account(component);
    account.metadata.annotations = config
        .map(|config| config.service_account_annotations.clone())
        .filter(|annotations| !annotations.is_empty());
    account
}
