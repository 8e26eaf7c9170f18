//! What a structural schema does to custom resources here: pruning and defaulting. What it refuses is left to the real
//! server; the product's webhooks refuse what they cannot read.

use serde_json::Value;

fn flag(schema: &Value, name: &str) -> bool {
    schema[name].as_bool().unwrap_or(false)
}

/// The schema of a member, if the schema knows it.
fn member<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    let property = schema.get("properties").and_then(|properties| properties.get(name));
    property.or_else(|| {
        schema
            .get("additionalProperties")
            .filter(|all| **all != Value::Bool(false))
    })
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
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
            let open = flag(schema, "x-kubernetes-preserve-unknown-fields") || schema.is_boolean();
            let own = |name: &str| resource && matches!(name, "apiVersion" | "kind" | "metadata");
            map.retain(|name, _| {
                let keep = open || own(name) || member(schema, name).is_some();
                if !keep {
                    unknown.push(join(path, name));
                }
                keep
            });
            for (name, inner) in map.iter_mut().filter(|(name, _)| !own(name)) {
                if let Some(schema) = member(schema, name) {
                    prune_at(inner, schema, &join(path, name), false, unknown);
                }
            }
        }
        Value::Array(list) => {
            let Some(items) = schema.get("items") else { return };
            for (at, element) in list.iter_mut().enumerate() {
                prune_at(element, items, &format!("{path}[{at}]"), false, unknown);
            }
        }
        _ => {}
    }
}

/// Fills in the defaults of the schema.
pub(crate) fn default(value: &mut Value, schema: &Value) {
    match value {
        Value::Object(map) => {
            for (name, property) in schema["properties"].as_object().into_iter().flatten() {
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn unknown_fields_are_pruned_and_named_and_absent_ones_get_defaults() {
        let schema = json!({"properties": {"spec": {"properties": {"addresses": {"items": {"type": "string"}},
            "port": {"default": 179}, "free": {"x-kubernetes-preserve-unknown-fields": true},
            "labels": {"additionalProperties": {"type": "string"}}}}}});
        let mut object = json!({"apiVersion": "x", "metadata": {"name": "a"}, "spec": {"addresses": [], "bad": 1,
            "free": {"any": 1}, "labels": {"a": "b"}}, "other": {}});
        assert_eq!(prune(&mut object, &schema), ["other", "spec.bad"]);
        default(&mut object, &schema);
        let spec = json!({"addresses": [], "free": {"any": 1}, "labels": {"a": "b"}, "port": 179});
        assert_eq!(object["spec"], spec);
    }
}
