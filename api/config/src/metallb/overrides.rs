//! Patches of deployed objects: rules K-5, K-15 and K-16.

use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment},
    core::v1::{Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use metallb_api::metallb::{OverriddenKind, Override};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{Fault, privileges};
use crate::Rule;

pub(super) fn check(overrides: &[Override], faults: &mut Vec<Fault>) {
    for (place, change) in overrides.iter().enumerate() {
        let field = || format!("spec.overrides[{place}].patch");
        if let Some(what) = forbidden(change) {
            let reason = format!("{what} of an object cannot be changed");
            faults.push(Fault::new(Rule::K5, field(), reason));
        } else if let Err(error) = fits(change) {
            let reason = format!("does not fit {}/{}: {error}", change.kind.name(), change.name);
            faults.push(Fault::new(Rule::K15, field(), reason));
        } else {
            let reasons = privileges::refused(change).into_iter();
            faults.extend(reasons.map(|reason| Fault::new(Rule::K16, field(), reason)));
        }
    }
}

/// Tells whether objects of the kind can have what the patch says, whether they are deployed now or not.
fn fits(change: &Override) -> serde_json::Result<()> {
    match change.kind {
        OverriddenKind::DaemonSet => read::<DaemonSet>(change).map(drop),
        OverriddenKind::Deployment => read::<Deployment>(change).map(drop),
        OverriddenKind::NetworkPolicy => read::<NetworkPolicy>(change).map(drop),
        OverriddenKind::PodDisruptionBudget => read::<PodDisruptionBudget>(change).map(drop),
        OverriddenKind::Service => read::<Service>(change).map(drop),
        OverriddenKind::ServiceAccount => read::<ServiceAccount>(change).map(drop),
    }
}

/// Names what a patch may not touch: by it the object is found, or it can never change.
fn forbidden(change: &Override) -> Option<&'static str> {
    let of = |path: &[&str]| {
        let mut value = change.patch.get(path[0]);
        for step in &path[1..] {
            value = value.and_then(|value: &Value| value.get(step));
        }
        value.is_some()
    };
    let workload = matches!(change.kind, OverriddenKind::DaemonSet | OverriddenKind::Deployment);
    let rows: [(&[&str], &'static str); 7] = [
        (&["apiVersion"], "apiVersion"),
        (&["kind"], "kind"),
        (&["status"], "status"),
        (&["metadata", "name"], "the name"),
        (&["metadata", "namespace"], "the namespace"),
        (&["metadata", "ownerReferences"], "the owner"),
        (&["spec", "selector"], "the selector"),
    ];
    let mut rows = rows.into_iter().filter(|(path, _)| workload || path[0] != "spec");
    rows.find(|(path, _)| of(path)).map(|(_, what)| what)
}

/// Reads a patch as an object of its kind, to be merged into one.
///
/// # Errors
/// Says what of the patch objects of that kind cannot have.
pub fn read<K: DeserializeOwned + Serialize>(change: &Override) -> serde_json::Result<K> {
    let patch: K = typed(change)?;
    // What was not understood was dropped.
    if let Some(spec) = change.patch.get("spec")
        && let Some(field) = lost(spec, &serde_json::to_value(&patch)?["spec"], "spec")
    {
        return Err(serde::de::Error::custom(format!("unknown field {field}")));
    }
    Ok(patch)
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
