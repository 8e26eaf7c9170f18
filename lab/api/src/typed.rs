//! Built-in kinds pass through their Rust types: wrong types are refused, unknown fields are dropped.

use k8s_openapi::api::{
    admissionregistration::v1 as admission, apps::v1 as apps, coordination::v1 as coordination, core::v1 as core,
    discovery::v1 as discovery, networking::v1 as networking, policy::v1 as policy, rbac::v1 as rbac,
    scheduling::v1 as scheduling,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensions;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

fn through<T: Serialize + DeserializeOwned>(object: Value) -> Result<Value, String> {
    let typed: T = serde_json::from_value(object).map_err(|error| error.to_string())?;
    let mut object = serde_json::to_value(typed).map_err(|error| error.to_string())?;
    whole_numbers(&mut object);
    Ok(object)
}

/// Writes 1.0 as 1, as Go does: schemas hold their bounds as floats, and clients compare what they sent with what they
/// get.
pub(crate) fn whole_numbers(value: &mut Value) {
    match value {
        Value::Object(map) => map.values_mut().for_each(whole_numbers),
        Value::Array(list) => list.iter_mut().for_each(whole_numbers),
        Value::Number(number) if number.is_f64() => {
            if let Some(whole) = number.as_f64().filter(|f| f.fract() == 0.0 && f.abs() < 9e15) {
                *value = Value::from(whole as i64);
            }
        }
        _ => {}
    }
}

/// Decodes and encodes an object of a built-in kind; other kinds stay as they are.
pub(crate) fn canonical(group: &str, kind: &str, object: Value) -> Result<Value, String> {
    match (group, kind) {
        ("", "Namespace") => through::<core::Namespace>(object),
        ("", "Pod") => through::<core::Pod>(object),
        ("", "Service") => through::<core::Service>(object),
        ("", "Node") => through::<core::Node>(object),
        ("", "Secret") => through::<core::Secret>(object),
        ("", "ConfigMap") => through::<core::ConfigMap>(object),
        ("", "ServiceAccount") => through::<core::ServiceAccount>(object),
        ("", "Event") => through::<core::Event>(object),
        ("apps", "Deployment") => through::<apps::Deployment>(object),
        ("apps", "DaemonSet") => through::<apps::DaemonSet>(object),
        ("apps", "ReplicaSet") => through::<apps::ReplicaSet>(object),
        ("apps", "StatefulSet") => through::<apps::StatefulSet>(object),
        ("discovery.k8s.io", "EndpointSlice") => through::<discovery::EndpointSlice>(object),
        ("coordination.k8s.io", "Lease") => through::<coordination::Lease>(object),
        ("policy", "PodDisruptionBudget") => through::<policy::PodDisruptionBudget>(object),
        ("networking.k8s.io", "NetworkPolicy") => through::<networking::NetworkPolicy>(object),
        ("scheduling.k8s.io", "PriorityClass") => through::<scheduling::PriorityClass>(object),
        ("rbac.authorization.k8s.io", "Role") => through::<rbac::Role>(object),
        ("rbac.authorization.k8s.io", "RoleBinding") => through::<rbac::RoleBinding>(object),
        ("rbac.authorization.k8s.io", "ClusterRole") => through::<rbac::ClusterRole>(object),
        ("rbac.authorization.k8s.io", "ClusterRoleBinding") => through::<rbac::ClusterRoleBinding>(object),
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration") => {
            through::<admission::ValidatingWebhookConfiguration>(object)
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            through::<apiextensions::CustomResourceDefinition>(object)
        }
        _ => Ok(object),
    }
}

/// The paths that `sent` has and `kept` has not.
pub(crate) fn lost(sent: &Value, kept: &Value) -> Vec<String> {
    let mut paths = Vec::new();
    collect(sent, kept, "", &mut paths);
    paths
}

fn collect(sent: &Value, kept: &Value, path: &str, paths: &mut Vec<String>) {
    match (sent, kept) {
        (Value::Object(sent), Value::Object(kept)) => {
            for (name, value) in sent.iter().filter(|(_, v)| !v.is_null()) {
                let here = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                match kept.get(name) {
                    Some(other) => collect(value, other, &here, paths),
                    None => paths.push(here),
                }
            }
        }
        (Value::Array(sent), Value::Array(kept)) => {
            for (at, (value, other)) in sent.iter().zip(kept).enumerate() {
                collect(value, other, &format!("{path}[{at}]"), paths);
            }
        }
        _ => {}
    }
}
