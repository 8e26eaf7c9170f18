//! YAML documents to the API server, by server-side apply, as `kubectl apply --server-side` does.

use std::collections::HashMap;

use anyhow::{Context, Result};
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::discovery::{ApiCapabilities, Scope};
use kube::{Api, Client, ResourceExt};

/// The name that the lab writes under.
pub(crate) const FIELD_MANAGER: &str = "metallb-lab";

/// The objects of a text of several documents.
///
/// # Errors
/// When one is no object of Kubernetes.
pub fn parse(text: &str) -> Result<Vec<DynamicObject>> {
    let documents: Vec<Option<DynamicObject>> = serde_saphyr::from_multiple(text).context("not a Kubernetes object")?;
    Ok(documents.into_iter().flatten().collect())
}

/// Applies every object of `text`, in order; returns how many.
///
/// # Errors
/// When one is refused.
pub async fn apply(client: &Client, text: &str) -> Result<usize> {
    let objects = parse(text)?;
    // Discovery once a kind, as kubectl does.
    let mut kinds = HashMap::new();
    for object in &objects {
        let kind = kind_of(object)?;
        if !kinds.contains_key(&kind) {
            kinds.insert(kind.clone(), discover(client, &kind).await?);
        }
        apply_one(client, object, &kinds[&kind]).await?;
    }
    Ok(objects.len())
}

async fn apply_one(client: &Client, object: &DynamicObject, kind: &Discovered) -> Result<()> {
    let api = api_at(client, object, kind);
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let applied = api.patch(&object.name_any(), &params, &Patch::Apply(object)).await;
    applied
        .map(drop)
        .with_context(|| format!("cannot apply {}", describe(object)))
}

/// The API of an object's kind, as discovery tells it.
pub(crate) async fn api_of(client: &Client, object: &DynamicObject) -> Result<Api<DynamicObject>> {
    let kind = discover(client, &kind_of(object)?).await?;
    Ok(api_at(client, object, &kind))
}

/// A kind as the API server serves it.
type Discovered = (ApiResource, ApiCapabilities);

fn kind_of(object: &DynamicObject) -> Result<GroupVersionKind> {
    Ok(GroupVersionKind::try_from(
        object.types.as_ref().context("an object has no kind")?,
    )?)
}

async fn discover(client: &Client, kind: &GroupVersionKind) -> Result<Discovered> {
    let pinned = kube::discovery::pinned_kind(client, kind).await;
    pinned.with_context(|| format!("the API server has no {}", kind.kind))
}

fn api_at(client: &Client, object: &DynamicObject, (resource, capabilities): &Discovered) -> Api<DynamicObject> {
    match (&capabilities.scope, object.namespace()) {
        (Scope::Namespaced, Some(namespace)) => Api::namespaced_with(client.clone(), &namespace, resource),
        (Scope::Namespaced, None) => Api::default_namespaced_with(client.clone(), resource),
        (Scope::Cluster, _) => Api::all_with(client.clone(), resource),
    }
}

fn describe(object: &DynamicObject) -> String {
    let kind = object.types.as_ref().map_or("object", |types| &types.kind);
    format!("{kind} {}", object.name_any())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_document_of_a_text_is_found() {
        let text = "apiVersion: v1\nkind: A\nmetadata: {name: a}\n---\napiVersion: v1\nkind: B\nmetadata: {name: b}\n";
        let names: Vec<String> = parse(text).unwrap().iter().map(describe).collect();
        assert_eq!(names, ["A a", "B b"]);
    }

    #[test]
    fn the_shipped_manifests_are_objects() {
        assert!(parse(include_str!("../../manifests/crds.yaml")).unwrap().len() >= 11);
        assert!(
            parse(include_str!("../../manifests/metallb-operator.yaml"))
                .unwrap()
                .len()
                > 20
        );
    }
}
