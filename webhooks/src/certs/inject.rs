//! The `caBundle` of those who call us.
//!
//! A JSON patch guarded by the `resourceVersion` touches that one field of each client configuration and nothing
//! else. A server-side apply would have to repeat the required fields of every webhook (name, side effects, review
//! versions) and so become their owner, too.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::{Api, Client};
use metallb_api::names::field_manager;
use serde_json::{Value, json};
use tracing::info;

/// An object that names a CA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A ValidatingWebhookConfiguration: all of its webhooks.
    Webhooks(String),
    /// A CustomResourceDefinition: its conversion webhook, if it has one.
    Conversion(String),
}

impl Target {
    /// Name of the object.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Webhooks(name) | Self::Conversion(name) => name,
        }
    }

    pub(crate) fn api(&self, client: &Client) -> Api<DynamicObject> {
        let resource = match self {
            Self::Webhooks(_) => ApiResource::erase::<ValidatingWebhookConfiguration>(&()),
            Self::Conversion(_) => ApiResource::erase::<CustomResourceDefinition>(&()),
        };
        Api::all_with(client.clone(), &resource)
    }

    /// JSON pointers of the client configurations in an object.
    fn client_configs(&self, object: &Value) -> Vec<String> {
        match self {
            Self::Webhooks(_) => {
                let count = object["webhooks"].as_array().map_or(0, Vec::len);
                (0..count)
                    .map(|index| format!("/webhooks/{index}/clientConfig"))
                    .collect()
            }
            Self::Conversion(_) => {
                let path = "/spec/conversion/webhook/clientConfig";
                object.pointer(path).map(|_| path.to_owned()).into_iter().collect()
            }
        }
    }

    /// The JSON patch that makes the object trust `ca`; none when it does already.
    #[must_use]
    pub fn patch(&self, object: &Value, ca: &[u8]) -> Option<Value> {
        let ca = BASE64_STANDARD.encode(ca);
        let differs = |path: &String| {
            let current = object.pointer(path).and_then(|config| config["caBundle"].as_str());
            current != Some(&ca)
        };
        let stale: Vec<String> = self.client_configs(object).into_iter().filter(differs).collect();
        if stale.is_empty() {
            return None;
        }
        let version = &object["metadata"]["resourceVersion"];
        let mut operations = vec![json!({ "op": "test", "path": "/metadata/resourceVersion", "value": version })];
        operations.extend(
            stale
                .iter()
                .map(|path| json!({ "op": "add", "path": format!("{path}/caBundle"), "value": ca })),
        );
        Some(Value::Array(operations))
    }
}

/// Makes the object trust `ca`. An object that does not exist needs none.
///
/// # Errors
/// When the API server refuses; a lost race is an error, too, and is mended by the next round.
pub async fn inject(client: &Client, target: &Target, ca: &[u8]) -> Result<(), kube::Error> {
    let api = target.api(client);
    let Some(object) = api.get_opt(target.name()).await? else {
        return Ok(());
    };
    let object = serde_json::to_value(&object).map_err(kube::Error::SerdeError)?;
    let Some(patch) = target.patch(&object, ca) else {
        return Ok(());
    };
    let params = PatchParams {
        field_manager: Some(field_manager::CA_INJECTOR.to_owned()),
        ..PatchParams::default()
    };
    let patch = Patch::Json::<()>(serde_json::from_value(patch).map_err(kube::Error::SerdeError)?);
    api.patch(target.name(), &params, &patch).await?;
    info!(object = target.name(), "caBundle injected");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhooks(bundles: &[Option<&str>]) -> Value {
        let webhook = |bundle: &Option<&str>| {
            let mut config = json!({ "service": { "name": "s" } });
            if let Some(bundle) = bundle {
                config["caBundle"] = (*bundle).into();
            }
            json!({ "name": "w", "clientConfig": config })
        };
        json!({ "metadata": { "resourceVersion": "7" }, "webhooks": bundles.iter().map(webhook).collect::<Vec<_>>() })
    }

    #[test]
    fn only_what_differs_is_patched_and_only_at_the_version_seen() {
        let target = Target::Webhooks("x".to_owned());
        let current = BASE64_STANDARD.encode("ca");
        let patch = target
            .patch(&webhooks(&[None, Some(&current), Some("b2xk")]), b"ca")
            .unwrap();
        assert_eq!(
            patch,
            json!([
                { "op": "test", "path": "/metadata/resourceVersion", "value": "7" },
                { "op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": "Y2E=" },
                { "op": "add", "path": "/webhooks/2/clientConfig/caBundle", "value": "Y2E=" },
            ])
        );
        assert_eq!(target.patch(&webhooks(&[Some(&current)]), b"ca"), None);
        assert_eq!(target.patch(&json!({}), b"ca"), None);
    }

    #[test]
    fn a_crd_is_patched_if_it_converts_by_webhook() {
        let target = Target::Conversion("bgppeers.metallb.io".to_owned());
        let mut crd =
            json!({ "metadata": { "resourceVersion": "7" }, "spec": { "conversion": { "strategy": "None" } } });
        assert_eq!(target.patch(&crd, b"ca"), None);
        crd["spec"]["conversion"] = json!({ "strategy": "Webhook", "webhook": { "clientConfig": {} } });
        let patch = target.patch(&crd, b"ca").unwrap();
        assert_eq!(patch[1]["path"], "/spec/conversion/webhook/clientConfig/caBundle");
    }
}
