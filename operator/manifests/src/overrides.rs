//! The last word of the user: patches merged into what is deployed.

use k8s_openapi::DeepMerge;
use metallb_api::metallb::Override;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{Object, Refusal};

/// Merges the patches into the objects that they name.
///
/// The selector of a workload can never change, and whose object it is stays as it is: those parts of a patch do not
/// count, nor does a patch of an object that is not deployed now, for it may be of another back-end.
pub(crate) fn apply(objects: &mut [Object], overrides: &[Override]) -> Result<(), Refusal> {
    for (place, change) in overrides.iter().enumerate() {
        let named = |object: &&mut Object| object.to_string() == format!("{}/{}", change.kind.name(), change.name);
        if let Some(object) = objects.iter_mut().find(named) {
            merge_into(object, change).map_err(|source| Refusal::Override {
                place,
                object: object.to_string(),
                reason: source.to_string(),
            })?;
        }
    }
    Ok(())
}

fn merge_into(object: &mut Object, change: &Override) -> serde_json::Result<()> {
    match object {
        Object::DaemonSet(it) => {
            let selector = it.spec.as_ref().map(|spec| spec.selector.clone());
            merge(it.as_mut(), change)?;
            if let (Some(spec), Some(selector)) = (it.spec.as_mut(), selector) {
                spec.selector = selector;
            }
        }
        Object::Deployment(it) => {
            let selector = it.spec.as_ref().map(|spec| spec.selector.clone());
            merge(it.as_mut(), change)?;
            if let (Some(spec), Some(selector)) = (it.spec.as_mut(), selector) {
                spec.selector = selector;
            }
        }
        Object::NetworkPolicy(it) => merge(it.as_mut(), change)?,
        Object::PodDisruptionBudget(it) => merge(it.as_mut(), change)?,
        Object::Service(it) => merge(it.as_mut(), change)?,
        Object::ServiceAccount(it) => merge(it.as_mut(), change)?,
        _ => {}
    }
    Ok(())
}

fn merge<K>(object: &mut K, change: &Override) -> serde_json::Result<()>
where
    K: DeepMerge + DeserializeOwned + Serialize,
{
    let patch: K = typed(change)?;
    // What was not understood was dropped.
    if let Some(spec) = change.patch.get("spec")
        && let Some(field) = lost(spec, &serde_json::to_value(&patch)?["spec"], "spec")
    {
        return Err(serde::de::Error::custom(format!("unknown field {field}")));
    }
    object.merge_from(patch);
    Ok(())
}

/// Names a field that one value has and the other has not.
fn lost(before: &Value, after: &Value, path: &str) -> Option<String> {
    match (before, after) {
        (Value::Object(before), after) => before.iter().find_map(|(name, value)| {
            let path = format!("{path}.{name}");
            match after.get(name) {
                Some(after) => lost(value, after, &path),
                None if value.is_null() => None,
                None => Some(path),
            }
        }),
        (Value::Array(before), Value::Array(after)) => before
            .iter()
            .zip(after)
            .enumerate()
            .find_map(|(place, (before, after))| lost(before, after, &format!("{path}[{place}]"))),
        _ => None,
    }
}

/// Reads the patch as an object of its kind. What types demand and a patch may leave out is empty, which changes nothing.
fn typed<K: DeserializeOwned>(change: &Override) -> serde_json::Result<K> {
    let mut patch: serde_json::Map<String, Value> = change.patch.clone().into_iter().collect();
    for field in ["apiVersion", "kind", "status"] {
        patch.remove(field);
    }
    let labels = patch.get("metadata").and_then(|it| it.get("labels")).cloned();
    let annotations = patch.get("metadata").and_then(|it| it.get("annotations")).cloned();
    patch.insert(
        "metadata".to_owned(),
        json!({ "labels": labels, "annotations": annotations }),
    );
    if matches!(change.kind.name(), "DaemonSet" | "Deployment")
        && let Some(spec) = patch.get_mut("spec").and_then(Value::as_object_mut)
    {
        spec.entry("selector").or_insert_with(|| json!({}));
        spec.entry("template").or_insert_with(|| json!({}));
        if let Some(pod) = spec["template"].get_mut("spec").and_then(Value::as_object_mut) {
            pod.entry("containers").or_insert_with(|| json!([]));
        }
    }
    serde_json::from_value(with_types(change, patch))
}

/// Typed objects insist on saying what they are.
fn with_types(change: &Override, mut patch: serde_json::Map<String, Value>) -> Value {
    let version = match change.kind.name() {
        "DaemonSet" | "Deployment" => "apps/v1",
        "NetworkPolicy" => "networking.k8s.io/v1",
        "PodDisruptionBudget" => "policy/v1",
        _ => "v1",
    };
    patch.insert("apiVersion".to_owned(), version.into());
    patch.insert("kind".to_owned(), change.kind.name().into());
    Value::Object(patch)
}
