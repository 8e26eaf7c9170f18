//! What a structural schema does to custom resources: pruning, defaulting, validation and CEL rules.

mod validate;

use kube_cel::{CompiledSchema, Validator, compile_schema};
use serde_json::Value;

use crate::error::Cause;
pub(crate) use validate::validate;

/// The compiled `x-kubernetes-validations` of one version.
pub(crate) struct Rules {
    compiled: CompiledSchema,
}

impl std::fmt::Debug for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rules")
    }
}

impl Rules {
    /// Compiles every rule of a schema.
    ///
    /// # Errors
    /// The messages of all rules that are no valid CEL.
    pub(crate) fn compile(schema: &Value) -> Result<Self, Vec<String>> {
        let compiled = compile_schema(schema);
        let mut errors = Vec::new();
        collect_errors(&compiled, &mut errors);
        if errors.is_empty() {
            Ok(Self { compiled })
        } else {
            Err(errors)
        }
    }

    /// The rules that `object` breaks; `old` feeds transition rules.
    pub(crate) fn check(&self, object: &Value, old: Option<&Value>) -> Vec<Cause> {
        let Err(errors) = Validator::new().validate_compiled(&self.compiled, object, old) else {
            return Vec::new();
        };
        errors
            .into_vec()
            .into_iter()
            .map(|error| Cause {
                message: format!(
                    "Invalid value: {:?}: {}",
                    type_at(object, &error.field_path),
                    error.message
                ),
                field: error.field_path,
                reason: "FieldValueInvalid",
            })
            .collect()
    }
}

fn collect_errors(schema: &CompiledSchema, errors: &mut Vec<String>) {
    errors.extend(schema.compilation_errors().into_iter().map(ToString::to_string));
    let boxed = schema
        .items
        .as_deref()
        .into_iter()
        .chain(schema.additional_properties.as_deref());
    for inner in schema.properties.values().chain(boxed).chain(&schema.all_of) {
        collect_errors(inner, errors);
    }
}

fn type_at(object: &Value, path: &str) -> &'static str {
    let pointer = format!("/{}", path.replace(['.', '['], "/").replace(']', ""));
    let value = if path.is_empty() {
        Some(object)
    } else {
        object.pointer(&pointer)
    };
    type_name(value.unwrap_or(&Value::Null))
}

pub(crate) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_i64() || n.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn flag(schema: &Value, name: &str) -> bool {
    schema.get(name).and_then(Value::as_bool).unwrap_or(false)
}

/// The schema of a member, if the schema knows it.
fn member<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    let property = schema.get("properties").and_then(|p| p.get(name));
    property.or_else(|| schema.get("additionalProperties").filter(|a| **a != Value::Bool(false)))
}

/// Removes fields that the schema does not know; returns their paths.
pub(crate) fn prune(object: &mut Value, schema: &Value) -> Vec<String> {
    let mut unknown = Vec::new();
    prune_at(object, schema, "", true, &mut unknown);
    unknown
}

fn prune_at(value: &mut Value, schema: &Value, path: &str, resource: bool, unknown: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            let keep_all = flag(schema, "x-kubernetes-preserve-unknown-fields");
            let open = schema.is_boolean();
            let own = |name: &str| resource && matches!(name, "apiVersion" | "kind" | "metadata");
            map.retain(|name, _| {
                let keep = keep_all || open || own(name) || member(schema, name).is_some();
                if !keep {
                    unknown.push(join(path, name));
                }
                keep
            });
            for (name, inner) in map.iter_mut().filter(|(name, _)| !own(name)) {
                if let Some(schema) = member(schema, name) {
                    let embedded = flag(schema, "x-kubernetes-embedded-resource");
                    prune_at(inner, schema, &join(path, name), embedded, unknown);
                }
            }
        }
        Value::Array(list) => {
            let Some(items) = schema.get("items") else { return };
            for (at, element) in list.iter_mut().enumerate() {
                let embedded = flag(items, "x-kubernetes-embedded-resource");
                prune_at(element, items, &format!("{path}[{at}]"), embedded, unknown);
            }
        }
        _ => {}
    }
}

/// Fills in the defaults of the schema.
pub(crate) fn default(value: &mut Value, schema: &Value) {
    match value {
        Value::Object(map) => {
            for (name, property) in schema
                .get("properties")
                .and_then(Value::as_object)
                .into_iter()
                .flatten()
            {
                let null = map.get(name).is_some_and(Value::is_null);
                if let Some(default) = property.get("default")
                    && (!map.contains_key(name) || (null && !flag(property, "nullable")))
                {
                    map.insert(name.clone(), default.clone());
                }
            }
            for (name, inner) in map.iter_mut() {
                if let Some(schema) = member(schema, name) {
                    default(inner, schema);
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = schema.get("items") {
                list.iter_mut().for_each(|element| default(element, items));
            }
        }
        _ => {}
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({"type": "object", "required": ["spec"], "properties": {"spec": {
            "type": "object", "required": ["addresses"], "properties": {
                "addresses": {"type": "array", "minItems": 1, "items": {"type": "string"}},
                "port": {"type": "integer", "minimum": 1, "maximum": 16384, "default": 179},
                "protocol": {"type": "string", "enum": ["layer2", "bgp"]},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "size": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]},
                "graceful": {"type": "boolean", "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "fixed"}]},
            },
            "x-kubernetes-validations": [{"rule": "!has(self.port) || self.port != 13", "message": "unlucky"}],
        }}})
    }

    fn messages(object: &Value) -> Vec<String> {
        validate(object, &schema()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn unknown_fields_are_pruned_and_named() {
        let mut object = json!({"apiVersion": "x", "metadata": {"name": "a"}, "spec": {"addresses": [], "bad": 1,
            "free": {"any": 1}, "labels": {"a": "b"}}, "other": {}});
        let unknown = prune(&mut object, &schema());
        assert_eq!(unknown, ["other", "spec.bad"]);
        assert_eq!(
            object["spec"],
            json!({"addresses": [], "free": {"any": 1}, "labels": {"a": "b"}})
        );
    }

    #[test]
    fn defaults_fill_absent_fields_only() {
        let mut object = json!({"spec": {"addresses": []}});
        default(&mut object, &schema());
        assert_eq!(object["spec"]["port"], 179);
        object["spec"]["port"] = 1179.into();
        default(&mut object, &schema());
        assert_eq!(object["spec"]["port"], 1179);
    }

    #[test]
    fn invalid_fields_are_reported_as_the_real_server_does() {
        assert_eq!(messages(&json!({})), ["spec: Required value"]);
        assert_eq!(
            messages(&json!({"spec": {"addresses": [1], "port": 70000, "protocol": "x", "size": "1"}})),
            [
                "spec.addresses[0]: Invalid value: \"integer\": spec.addresses[0] in body must be of type string: \"integer\"",
                "spec.port: Invalid value: 70000: spec.port in body should be less than or equal to 16384",
                "spec.protocol: Unsupported value: \"x\": supported values: \"layer2\", \"bgp\"",
            ]
        );
        assert!(messages(&json!({"spec": {"addresses": ["a"], "size": true}})).len() == 1);
    }

    #[test]
    fn rules_see_the_old_object() {
        let rules = Rules::compile(&schema()).unwrap();
        let object =
            |port: i64, graceful: bool| json!({"spec": {"addresses": ["a"], "port": port, "graceful": graceful}});
        assert_eq!(rules.check(&object(1, true), None), []);
        let broken = rules.check(&object(13, true), Some(&object(1, false)));
        let texts: Vec<String> = broken.iter().map(ToString::to_string).collect();
        assert!(
            texts.contains(&"spec: Invalid value: \"object\": unlucky".to_owned()),
            "{texts:?}"
        );
        assert!(
            texts.contains(&"spec.graceful: Invalid value: \"boolean\": fixed".to_owned()),
            "{texts:?}"
        );
    }

    #[test]
    fn a_rule_that_is_no_cel_is_refused() {
        let schema = json!({"type": "object", "x-kubernetes-validations": [{"rule": "self ==="}]});
        assert!(Rules::compile(&schema).is_err());
    }
}
