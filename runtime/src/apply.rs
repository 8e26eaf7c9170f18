//! Server-side apply of what we own, status, and deletion of what is no longer wanted.

use std::fmt::Debug;

use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions, Request};
use kube::{Api, Resource, ResourceExt};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Failure to apply.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The object to apply has no name.
    #[error("cannot apply a {0} without a name")]
    Unnamed(String),
    /// The API server refused or could not be reached.
    #[error("cannot {verb} {kind} {name}")]
    Api {
        /// What was attempted.
        verb: &'static str,
        /// Kind of the object.
        kind: String,
        /// Name of the object.
        name: String,
        /// The answer.
        #[source]
        source: Box<kube::Error>,
    },
}

fn api_error(verb: &'static str, kind: &str, name: &str) -> impl FnOnce(kube::Error) -> Error {
    let (kind, name) = (kind.to_owned(), name.to_owned());
    move |source| Error::Api {
        verb,
        kind,
        name,
        source: Box::new(source),
    }
}

/// Result of an apply.
#[derive(Clone, Debug)]
pub struct Applied<K> {
    /// The object as the API server has it now.
    pub object: K,
    /// Whether its `resourceVersion` moved, that is: it was created or something differed.
    pub changed: bool,
}

/// Applies `object` in full as `manager`, taking over fields that another manager holds.
///
/// The object must carry `apiVersion` and `kind` when serialised (typed Kubernetes objects do).
///
/// # Errors
/// When the object has no name, or the API server refuses.
pub async fn apply<K>(api: &Api<K>, object: &K, manager: &str) -> Result<Applied<K>, Error>
where
    K: Resource + Clone + Debug + DeserializeOwned + Serialize,
    K::DynamicType: Default,
{
    let kind = K::kind(&K::DynamicType::default()).into_owned();
    let name = object.meta().name.clone().ok_or_else(|| Error::Unnamed(kind.clone()))?;
    let before = api
        .get_metadata_opt(&name)
        .await
        .map_err(api_error("get", &kind, &name))?;
    let after = api
        .patch(&name, &params(manager), &Patch::Apply(object))
        .await
        .map_err(api_error("apply", &kind, &name))?;
    let changed = before.and_then(|b| b.metadata.resource_version) != after.resource_version();
    Ok(Applied { object: after, changed })
}

/// What is read of an answer of which nobody needs the object: half of that, or more, is `managedFields`.
#[derive(Deserialize)]
struct Named {
    metadata: Name,
}

#[derive(Deserialize)]
struct Name {
    name: String,
}

/// Creates `object` and returns its name, which the API server may have chosen.
///
/// # Errors
/// When the API server refuses or cannot be reached.
pub async fn create<K: Resource + Clone + Serialize>(
    api: &Api<K>,
    params: &PostParams,
    object: &K,
) -> Result<String, kube::Error> {
    let body = serde_json::to_vec(object).map_err(kube::Error::SerdeError)?;
    let request = Request::new(api.resource_url()).create(params, body);
    let client = api.clone().into_client();
    let named: Named = client.request(request.map_err(kube::Error::BuildRequest)?).await?;
    Ok(named.metadata.name)
}

/// Applies the status of the object `name` as `manager`; fields that `status` leaves out and `manager` held are removed.
///
/// It always writes: compare first, and call it only when something differs.
///
/// # Errors
/// When the object does not exist, or the API server refuses.
pub async fn status<K, S>(api: &Api<K>, name: &str, status: &S, manager: &str) -> Result<(), Error>
where
    K: Resource + Clone,
    K::DynamicType: Default,
    S: Serialize + Sync,
{
    let dynamic = K::DynamicType::default();
    let kind = K::kind(&dynamic).into_owned();
    let body = json!({
        "apiVersion": K::api_version(&dynamic),
        "kind": kind,
        "metadata": {"name": name},
        "status": status,
    });
    let patch = async {
        let request =
            Request::new(api.resource_url()).patch_subresource("status", name, &params(manager), &Patch::Apply(&body));
        let client = api.clone().into_client();
        client
            .request::<IgnoredAny>(request.map_err(kube::Error::BuildRequest)?)
            .await
    };
    let answer = patch.await;
    answer.map(drop).map_err(api_error("apply status of", &kind, name))
}

/// What every apply of `manager` asks for: what we own in full is ours, whoever held it.
#[must_use]
pub fn params(manager: &str) -> PatchParams {
    PatchParams::apply(manager).force()
}

/// Deletes the object `name` in the incarnation `uid`, with what it owns; returns whether this call did.
///
/// Upstream: deletes whatever has the name by then.
///
/// # Errors
/// When the API server refuses or cannot be reached.
pub async fn delete<K>(api: &Api<K>, name: &str, uid: Option<String>) -> Result<bool, kube::Error>
where
    K: Clone + Debug + DeserializeOwned,
{
    let same = Preconditions {
        uid,
        resource_version: None,
    };
    match api.delete(name, &DeleteParams::background().preconditions(same)).await {
        Ok(_) => Ok(true),
        // Gone, or another one of that name: not ours to delete.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Call, client};
    use k8s_openapi::api::core::v1::ConfigMap;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    use kube::Client;

    fn config_map() -> ConfigMap {
        ConfigMap {
            metadata: ObjectMeta {
                name: Some("x".into()),
                ..ObjectMeta::default()
            },
            ..ConfigMap::default()
        }
    }

    fn answering(before: Option<&'static str>, after: &'static str) -> (Client, crate::testing::Calls) {
        client(move |call| match (call.method.as_str(), before) {
            ("GET", None) => Call::not_found(),
            ("GET", Some(version)) => Call::ok(&json!({"metadata": {"name": "x", "resourceVersion": version}})),
            _ => Call::ok(&json!({"metadata": {"name": "x", "resourceVersion": after}})),
        })
    }

    #[tokio::test]
    async fn an_object_that_was_absent_counts_as_changed() {
        let (client, _) = answering(None, "1");
        let applied = apply(&Api::namespaced(client, "ns"), &config_map(), "tester")
            .await
            .unwrap();
        assert!(applied.changed);
    }

    #[tokio::test]
    async fn an_unmoved_resource_version_counts_as_unchanged() {
        let (client, calls) = answering(Some("7"), "7");
        let applied = apply(&Api::namespaced(client, "ns"), &config_map(), "tester")
            .await
            .unwrap();
        assert!(!applied.changed);
        let patch = &calls.all()[1];
        assert_eq!(patch.path, "/api/v1/namespaces/ns/configmaps/x");
        assert!(
            patch.query.contains("fieldManager=tester") && patch.query.contains("force=true"),
            "{}",
            patch.query
        );
    }

    #[tokio::test]
    async fn status_goes_to_the_subresource_with_kind_and_without_spec() {
        let (client, calls) = client(|_| Call::ok(&json!({"metadata": {"name": "p"}})));
        let api: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(client, "ns");
        status(&api, "p", &json!({"phase": "Running"}), "tester").await.unwrap();
        let call = &calls.all()[0];
        assert_eq!(call.path, "/api/v1/namespaces/ns/pods/p/status");
        assert_eq!(call.body["kind"], "Pod");
        assert_eq!(call.body["status"]["phase"], "Running");
        assert!(call.body.get("spec").is_none());
    }

    #[tokio::test]
    async fn what_is_gone_or_made_anew_is_not_deleted() {
        for (answer, deleted) in [
            (
                Call::ok(&json!({"kind": "Status", "status": "Success", "code": 200})),
                true,
            ),
            (Call::not_found(), false),
            (Call::failure(409, "Conflict"), false),
        ] {
            let (client, calls) = client(move |_| answer.clone());
            let api: Api<ConfigMap> = Api::namespaced(client, "ns");
            assert_eq!(delete(&api, "drop", Some("2".into())).await.unwrap(), deleted);
            let call = &calls.all()[0];
            assert_eq!(call.path, "/api/v1/namespaces/ns/configmaps/drop");
            assert_eq!(
                (call.method.as_str(), call.body["preconditions"]["uid"].as_str()),
                ("DELETE", Some("2"))
            );
        }
    }
}
