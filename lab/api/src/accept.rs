//! What the schema or the type of a kind says about an object.

use serde_json::Value;

use crate::call::Call;
use crate::error::{ApiError, Result};
use crate::meta;
use crate::resource::Resource;
use crate::schema;

/// Drops unknown fields (and refuses or warns of them, as the request wants) and fills schema defaults.
pub(crate) fn decoded(call: &Call, mut object: Value) -> Result<Value> {
    let kind = call.resource.kind.as_str();
    let refuse = |why: String| {
        let what = format!("{kind} in version {:?} cannot be handled as a {kind}", call.version);
        ApiError::bad_request(format!("{what}: {why}"))
    };
    let mut unknown = Vec::new();
    if call.resource.custom.is_some() {
        unknown = schema::prune(&mut object, call.schema());
        schema::default(&mut object, call.schema());
    } else {
        meta::whole_numbers(&mut object);
    }
    let told = unknown.iter().filter(|path| !path.starts_with("status"));
    let texts: Vec<String> = told.map(|path| format!("unknown field {path:?}")).collect();
    match call.params.get("fieldValidation") {
        "Strict" if !texts.is_empty() => Err(refuse(format!("strict decoding error: {}", texts.join(", ")))),
        "Ignore" => Ok(object),
        _ => {
            texts.iter().for_each(|text| call.warn(text));
            Ok(object)
        }
    }
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
            let entries = list.iter_mut().filter_map(Value::as_object_mut);
            entries.for_each(|entry| drop(entry.remove("time")));
        }
        object["metadata"].as_object_mut().map(|m| m.remove("resourceVersion"));
        object
    };
    strip(old) == strip(new)
}
