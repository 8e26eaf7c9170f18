//! What the schema or the type of a kind says about an object.

use serde_json::Value;

use crate::call::Call;
use crate::crd;
use crate::error::{ApiError, Result};
use crate::meta;
use crate::resource::Resource;
use crate::schema;
use crate::typed;

/// Drops unknown fields (and refuses or warns of them, as the request wants) and fills schema defaults.
pub(crate) fn decoded(call: &Call, object: Value) -> Result<Value> {
    let (object, unknown) = if call.resource.custom.is_some() {
        let mut object = object;
        let unknown = schema::prune(&mut object, call.schema());
        schema::default(&mut object, call.schema());
        (object, unknown)
    } else {
        let kind = call.resource.kind.as_str();
        let refuse = |why: String| {
            ApiError::bad_request(format!(
                "{kind} in version {:?} cannot be handled as a {kind}: {why}",
                call.version
            ))
        };
        let kept = typed::canonical(&call.resource.group, kind, object.clone()).map_err(refuse)?;
        let unknown = typed::lost(&object, &kept);
        (kept, unknown)
    };
    let texts: Vec<String> = unknown
        .iter()
        .filter(|path| !path.starts_with("status"))
        .map(|path| format!("unknown field {path:?}"))
        .collect();
    match call.params.get("fieldValidation") {
        "Strict" if !texts.is_empty() => {
            let kind = &call.resource.kind;
            let what = format!("{kind} in version {:?} cannot be handled as a {kind}", call.version);
            Err(ApiError::bad_request(format!(
                "{what}: strict decoding error: {}",
                texts.join(", ")
            )))
        }
        "Ignore" => Ok(object),
        _ => {
            texts.iter().for_each(|text| call.warn(text));
            Ok(object)
        }
    }
}

/// Validates against schema and rules.
pub(crate) fn validated(call: &Call, object: &Value, old: Option<&Value>) -> Result<()> {
    let mut causes = Vec::new();
    if call.resource.custom.is_some() {
        causes = schema::validate(object, call.schema());
        if let Some(rules) = call.served()?.rules.as_ref().filter(|_| causes.is_empty()) {
            causes = rules.check(object, old);
        }
    } else if call.resource.is("apiextensions.k8s.io", "customresourcedefinitions") {
        causes = crd::check(object);
    }
    causes.extend(old.and_then(|old| immutable(&call.resource, old, object)));
    if causes.is_empty() {
        Ok(())
    } else {
        Err(ApiError::invalid(&call.resource, meta::name(object), &causes))
    }
}

/// Fields of built-in kinds that a client may trip over because they never change.
fn immutable(resource: &Resource, old: &Value, new: &Value) -> Option<crate::error::Cause> {
    let pointer = match (resource.group.as_str(), resource.kind.as_str()) {
        ("apps", "Deployment" | "DaemonSet" | "ReplicaSet" | "StatefulSet") => "/spec/selector",
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => "/roleRef",
        ("", "Secret") => "/type",
        _ => return None,
    };
    let value = new.pointer(pointer).unwrap_or(&Value::Null);
    let field = pointer[1..].replace('/', ".");
    (old.pointer(pointer).unwrap_or(&Value::Null) != value)
        .then(|| crate::error::Cause::invalid(&field, value, "field is immutable"))
}

/// Whether anything changed that counts up the generation.
pub(crate) fn spec_changed(resource: &Resource, old: &Value, new: &Value) -> bool {
    let strip = |object: &Value| {
        let mut object = object.clone();
        if let Some(map) = object.as_object_mut() {
            map.remove("metadata");
            map.remove("apiVersion");
            if resource.version(&resource.storage).is_none_or(|v| v.status) || resource.custom.is_none() {
                map.remove("status");
            }
        }
        object
    };
    strip(old) != strip(new)
}

/// Whether nothing but times of the book-keeping differs.
pub(crate) fn unchanged(old: &Value, new: &Value) -> bool {
    let strip = |object: &Value| {
        let mut object = object.clone();
        if let Some(list) = object["metadata"]["managedFields"].as_array_mut() {
            list.iter_mut()
                .filter_map(Value::as_object_mut)
                .for_each(|entry| drop(entry.remove("time")));
        }
        object["metadata"].as_object_mut().map(|m| m.remove("resourceVersion"));
        object
    };
    strip(old) == strip(new)
}
