//! The `caBundle` of those who call us, and how long they do so.
//!
//! A JSON patch guarded by the `resourceVersion` touches that one field of each client configuration and nothing
//! else. A server-side apply would have to repeat the required fields of every webhook (name, side effects, review
//! versions) and so become their owner, too.
//!
//! A webhook configuration lives in no namespace. Its server does, and without it nothing could be written any more:
//! so the namespace is made its owner, and the garbage collector takes it away with the namespace. Definitions stay,
//! as everything that users wrote would go with them.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use kube::{Api, Client, Resource};
use metallb_api::names::field_manager;
use serde_json::{Value, json};
use tracing::{debug, info};

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

    /// The JSON patch that makes the object trust `ca` and end with `owner`; none when it does already.
    #[must_use]
    pub fn patch(&self, object: &Value, ca: &[u8], owner: Option<&OwnerReference>) -> Option<Value> {
        let ca = BASE64_STANDARD.encode(ca);
        let differs = |path: &String| {
            let current = object.pointer(path).and_then(|config| config["caBundle"].as_str());
            current != Some(&ca)
        };
        let stale: Vec<String> = self.client_configs(object).into_iter().filter(differs).collect();
        let owners = owner.and_then(|owner| self.owners(object, owner));
        if stale.is_empty() && owners.is_none() {
            return None;
        }
        let version = &object["metadata"]["resourceVersion"];
        let mut operations = vec![json!({ "op": "test", "path": "/metadata/resourceVersion", "value": version })];
        operations.extend(
            stale
                .iter()
                .map(|path| json!({ "op": "add", "path": format!("{path}/caBundle"), "value": ca })),
        );
        let owned = owners.map(|owners| json!({ "op": "add", "path": "/metadata/ownerReferences", "value": owners }));
        operations.extend(owned);
        Some(Value::Array(operations))
    }

    /// The owners that the object shall have; none if it has them. Only one namespace can be ours.
    fn owners(&self, object: &Value, owner: &OwnerReference) -> Option<Value> {
        let Self::Webhooks(_) = self else { return None };
        let owner = serde_json::to_value(owner).ok()?;
        let current = &object["metadata"]["ownerReferences"];
        let others = current.as_array().into_iter().flatten();
        let mut owners: Vec<_> = others.filter(|it| it["kind"] != owner["kind"]).cloned().collect();
        owners.push(owner);
        let owners = Value::Array(owners);
        (*current != owners).then_some(owners)
    }
}

/// Refers to the namespace as an owner; none if it cannot be looked at, or has gone.
pub(crate) async fn namespace(client: &Client, name: &str) -> Option<OwnerReference> {
    let api: Api<Namespace> = Api::all(client.clone());
    // By a list: whoever may list need not have the right to get.
    let one = ListParams::default().fields(&format!("metadata.name={name}"));
    match api.list_metadata(&one).await {
        Ok(found) => found.items.first()?.owner_ref(&()),
        Err(error) => {
            debug!(event = "namespaceUnknown", namespace = name, %error);
            None
        }
    }
}

/// Makes the object trust `ca` and end with `owner`. An object that does not exist needs none.
///
/// Whoever may not choose owners still tells whom to trust.
///
/// # Errors
/// When the API server refuses; a lost race is an error, too, and is mended by the next round.
pub async fn inject(
    client: &Client,
    target: &Target,
    ca: &[u8],
    owner: Option<&OwnerReference>,
) -> Result<(), kube::Error> {
    let api = target.api(client);
    let Some(object) = api.get_opt(target.name()).await? else {
        return Ok(());
    };
    let object = serde_json::to_value(&object).map_err(kube::Error::SerdeError)?;
    match write(&api, target, target.patch(&object, ca, owner)).await {
        Err(kube::Error::Api(status)) if status.code == 403 && owner.is_some() => {
            debug!(event = "ownerNotAllowed", ?target, error = status.message);
            write(&api, target, target.patch(&object, ca, None)).await
        }
        result => result,
    }
}

async fn write(api: &Api<DynamicObject>, target: &Target, patch: Option<Value>) -> Result<(), kube::Error> {
    let Some(patch) = patch else { return Ok(()) };
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
            .patch(&webhooks(&[None, Some(&current), Some("b2xk")]), b"ca", None)
            .unwrap();
        assert_eq!(
            patch,
            json!([
                { "op": "test", "path": "/metadata/resourceVersion", "value": "7" },
                { "op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": "Y2E=" },
                { "op": "add", "path": "/webhooks/2/clientConfig/caBundle", "value": "Y2E=" },
            ])
        );
        assert_eq!(target.patch(&webhooks(&[Some(&current)]), b"ca", None), None);
        assert_eq!(target.patch(&json!({}), b"ca", None), None);
    }

    #[test]
    fn a_crd_is_patched_if_it_converts_by_webhook() {
        let target = Target::Conversion("bgppeers.metallb.io".to_owned());
        let mut crd =
            json!({ "metadata": { "resourceVersion": "7" }, "spec": { "conversion": { "strategy": "None" } } });
        assert_eq!(target.patch(&crd, b"ca", None), None);
        crd["spec"]["conversion"] = json!({ "strategy": "Webhook", "webhook": { "clientConfig": {} } });
        let patch = target.patch(&crd, b"ca", None).unwrap();
        assert_eq!(patch[1]["path"], "/spec/conversion/webhook/clientConfig/caBundle");
    }

    fn owner(uid: &str) -> OwnerReference {
        OwnerReference {
            api_version: "v1".to_owned(),
            kind: "Namespace".to_owned(),
            name: "metallb-system".to_owned(),
            uid: uid.to_owned(),
            ..OwnerReference::default()
        }
    }

    #[test]
    fn a_configuration_ends_with_the_namespace_of_its_server_and_a_definition_does_not() {
        let target = Target::Webhooks("x".to_owned());
        let mut object = webhooks(&[Some(&BASE64_STANDARD.encode("ca"))]);
        let foreign = json!({ "apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "0" });
        object["metadata"]["ownerReferences"] = json!([foreign, owner("old")]);
        let patch = target.patch(&object, b"ca", Some(&owner("new"))).unwrap();
        let owners = json!([foreign, owner("new")]);
        assert_eq!(
            patch[1],
            json!({ "op": "add", "path": "/metadata/ownerReferences", "value": owners })
        );
        object["metadata"]["ownerReferences"] = owners;
        assert_eq!(target.patch(&object, b"ca", Some(&owner("new"))), None);

        let crd = json!({ "metadata": { "resourceVersion": "7" }, "spec": {} });
        let target = Target::Conversion("bgppeers.metallb.io".to_owned());
        assert_eq!(target.patch(&crd, b"ca", Some(&owner("new"))), None);
    }
}
