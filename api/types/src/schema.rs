//! Schema fragments that the derives cannot express, and serde predicates.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Nothing yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EmptyStatus {}

pub(crate) fn is_false(value: &bool) -> bool {
    !value
}

pub(crate) fn is_zero(value: &i64) -> bool {
    *value == 0
}

/// Marks an integer as 32 bits wide on the wire: the Rust type is wider so that any stored value decodes.
pub(crate) fn int32(schema: &mut Schema) {
    schema.insert("format".to_owned(), "int32".into());
}

/// Drops the format of an integer that upstream declares without one.
pub(crate) fn no_format(schema: &mut Schema) {
    schema.remove("format");
}

/// Marks an object as one unit for server-side apply.
pub(crate) fn atomic_map(schema: &mut Schema) {
    schema.insert("x-kubernetes-map-type".to_owned(), "atomic".into());
}

/// A number or a percentage.
pub(crate) fn count_or_percentage(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "anyOf": [{ "type": "integer" }, { "type": "string" }],
        "pattern": "^[0-9]+%?$",
        "x-kubernetes-int-or-string": true,
    })
}

/// An object of which only its reader knows the fields.
pub(crate) fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

/// The standard conditions as a plain list (the MetalLB resource).
pub(crate) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": condition() })
}

/// The standard conditions merged by their type (ConfigurationState).
pub(crate) fn conditions_by_type(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": condition(),
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
    })
}

/// `metav1.Condition` with the limits that its Go markers carry and k8s-openapi does not know.
fn condition() -> Schema {
    json_schema!({
        "type": "object",
        "required": ["lastTransitionTime", "message", "reason", "status", "type"],
        "properties": {
            "type": {
                "description": "Name of the condition.",
                "type": "string",
                "maxLength": 316,
                "pattern": r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
            },
            "status": { "description": "Whether the condition holds.", "type": "string", "enum": ["True", "False", "Unknown"] },
            "reason": {
                "description": "Why the condition last changed, as one word.",
                "type": "string",
                "minLength": 1,
                "maxLength": 1024,
                "pattern": r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
            },
            "message": { "description": "The details, for people.", "type": "string", "maxLength": 32768 },
            "lastTransitionTime": { "description": "When the status last changed.", "type": "string", "format": "date-time" },
            "observedGeneration": {
                "description": "The generation of the object that the condition was derived from.",
                "type": "integer",
                "format": "int64",
                "minimum": 0,
            },
        },
    })
}
