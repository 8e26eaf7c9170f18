//! The network operator of OpenShift, which deploys an frr-k8s for us if it is new enough and asked to.

use kube::{
    Api, Client,
    api::{DynamicObject, Patch, PatchParams},
    core::{ApiResource, GroupVersionKind},
};
use semver::Version;
use serde_json::{Value, json};

use crate::{
    status::conditions::State,
    status::failure::Error,
    sync::inventory::{Inventory, View},
};

/// Its name as a ClusterOperator.
pub(crate) const OPERATOR: &str = "network";

/// The object that it is configured by.
pub(crate) const NETWORK: &str = "cluster";

const OPERATOR_ID: &str = "ClusterOperator/network";
const NETWORK_ID: &str = "Network/cluster";
const PROVIDER: &str = "FRR";
const PROVIDERS: &str = "/spec/additionalRoutingCapabilities/providers";

/// How far the network operator is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Routing {
    /// It deploys frr-k8s.
    Provided,
    /// It can and was not asked yet: what to merge into its configuration.
    Unasked(Value),
    /// It cannot, or cannot be looked at.
    Unavailable(State),
}

/// Judges what the inventory knows of the network operator.
pub(crate) fn judge(inventory: &Inventory, oldest: &Version) -> Routing {
    let (operator, network) = (inventory.get(OPERATOR_ID), inventory.get(NETWORK_ID));
    for (id, found) in [(OPERATOR_ID, &operator), (NETWORK_ID, &network)] {
        let kind = id.split_once('/').map_or(id, |(kind, _)| kind);
        if found.is_none() && inventory.view(kind) == View::Forbidden {
            return unavailable("MissingPermissions", &format!("{id} may not be read"));
        }
    }
    routing(operator.as_deref(), network.as_deref(), oldest)
}

/// Decides what is to be done for an frr-k8s, which takes a network operator of version `oldest` or newer.
fn routing(operator: Option<&Value>, network: Option<&Value>, oldest: &Version) -> Routing {
    let version = match version(operator) {
        Ok(version) => version,
        Err(problem) => return unavailable("NetworkOperatorUnknown", &problem),
    };
    if version.cmp_precedence(oldest).is_lt() {
        return Routing::Unavailable(State::Progressing(format!(
            "waiting for the network operator of OpenShift: it is at version {version}, frr-k8s takes {oldest} or newer"
        )));
    }
    let Some(network) = network else {
        return unavailable("NetworkOperatorUnknown", &format!("{NETWORK_ID} does not exist"));
    };
    let mut providers = network
        .pointer(PROVIDERS)
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    if providers.iter().any(|provider| provider == PROVIDER) {
        return Routing::Provided;
    }
    providers.push(PROVIDER.into());
    Routing::Unasked(json!({
        // Somebody may add another provider at the same time.
        "metadata": { "resourceVersion": network["metadata"]["resourceVersion"] },
        "spec": { "additionalRoutingCapabilities": { "providers": providers } },
    }))
}

fn unavailable(reason: &str, problem: &str) -> Routing {
    Routing::Unavailable(State::degraded(
        reason,
        format!("frr-k8s is deployed by the network operator of OpenShift: {problem}"),
    ))
}

/// Reads the version that the network operator reports of itself.
fn version(operator: Option<&Value>) -> Result<Version, String> {
    let operator = operator.ok_or_else(|| format!("{OPERATOR_ID} does not exist"))?;
    let reported = operator.pointer("/status/versions").and_then(Value::as_array);
    let own = reported
        .into_iter()
        .flatten()
        .find(|version| version["name"] == "operator");
    let text = own
        .and_then(|version| version["version"].as_str())
        .ok_or_else(|| format!("{OPERATOR_ID} reports no version \"operator\""))?;
    let bare = text.strip_prefix('v').unwrap_or(text);
    Version::parse(bare).map_err(|error| format!("{OPERATOR_ID} reports version {text:?}: {error}"))
}

/// Asks the network operator for an frr-k8s. It stays asked when we go: others may rely on it by then.
pub(crate) async fn ask(client: &Client, inventory: &Inventory, patch: &Value) -> Result<(), Error> {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("operator.openshift.io", "v1", "Network"));
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &kind);
    let patched = api.patch(NETWORK, &PatchParams::default(), &Patch::Merge(patch)).await;
    let after = patched.map_err(|error| Error::api("patch", NETWORK_ID, error))?;
    inventory.put(NETWORK_ID, crate::sync::inventory::kept(after));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operator(version: &str) -> Value {
        let other = json!({ "name": "multus", "version": "1.0.0" });
        json!({ "status": { "versions": [other, { "name": "operator", "version": version }] } })
    }

    fn network(providers: &[&str]) -> Value {
        json!({ "metadata": { "resourceVersion": "7" },
            "spec": { "additionalRoutingCapabilities": { "providers": providers } } })
    }

    fn with(version: &str) -> Routing {
        let oldest = Version::parse("4.17.0-0").unwrap();
        routing(Some(&operator(version)), Some(&network(&["FRR"])), &oldest)
    }

    fn oldest() -> Version {
        Version::parse("4.17.0-0").unwrap()
    }

    // OP-57
    #[test]
    fn an_old_network_operator_is_waited_for() {
        for version in ["4.16.9", "4.16.0-rc.1", "v4.0.0"] {
            let Routing::Unavailable(State::Progressing(message)) = with(version) else {
                panic!("{version}")
            };
            assert!(message.contains("4.17.0-0 or newer"), "{message}");
        }
    }

    // OP-57
    #[test]
    fn an_equal_a_newer_and_a_nightly_network_operator_will_do() {
        for version in [
            "4.17.0-0",
            "4.17.0",
            "4.18.1",
            "4.17.0-0.nightly-2026-01-02-030405",
            "4.17.0-rc.1+build",
        ] {
            assert_eq!(with(version), Routing::Provided, "{version}");
        }
    }

    // OP-57
    #[test]
    fn the_provider_is_added_once_and_others_are_kept() {
        for (providers, wanted) in [(vec![], json!(["FRR"])), (vec!["Other"], json!(["Other", "FRR"]))] {
            let Routing::Unasked(patch) = routing(Some(&operator("4.17.0")), Some(&network(&providers)), &oldest())
            else {
                panic!("{providers:?}")
            };
            assert_eq!(patch.pointer(PROVIDERS), Some(&wanted));
            assert_eq!(patch["metadata"]["resourceVersion"], "7");
        }
        let bare = json!({ "metadata": {}, "spec": {} });
        assert!(matches!(
            routing(Some(&operator("4.17.0")), Some(&bare), &oldest()),
            Routing::Unasked(_)
        ));
    }

    // OP-57
    #[test]
    fn a_network_operator_that_cannot_be_judged_is_told() {
        let (found, bare) = (network(&["FRR"]), json!({ "status": { "versions": [] } }));
        for (operator, part) in [
            (None, "does not exist"),
            (Some(&bare), "reports no version"),
            (Some(&operator("latest")), "\"latest\""),
        ] {
            let Routing::Unavailable(State::Degraded { reason, message }) = routing(operator, Some(&found), &oldest())
            else {
                panic!("{part}")
            };
            assert_eq!(reason, "NetworkOperatorUnknown");
            assert!(message.contains(part), "{message}");
        }
    }
}
