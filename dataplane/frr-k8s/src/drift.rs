//! Compares the stored object with the wanted one, and with the written one.

use serde_json::{Map, Value, json};

/// Tells whether `stored` says what `wanted` says.
///
/// The API server adds defaults, and upstream's speaker writes objects without content: neither is a difference. Anything
/// else is.
pub fn is_settled(wanted: &Value, stored: &Value) -> bool {
    essence(wanted) == essence(stored)
}

/// Names what was written and is not in what the API server made of it, as paths: the definition of the kind there is of an
/// frr-k8s that does not know such a field.
pub fn left_out(written: &Value, stored: &Value) -> Vec<String> {
    let mut paths = Vec::new();
    compare("spec", &essence(written), &essence(stored), &mut paths);
    paths
}

/// What definitions of frr-k8s fill in where nothing is written: up to 0.0.25, and after that `addressFamilies`.
fn is_default(field: &str, value: &Value) -> bool {
    match field {
        "disableMP" | "dualStackAddressFamily" => *value == json!(false),
        "mode" => *value == json!("filtered"),
        "addressFamilies" => *value == json!(["unicast"]),
        _ => false,
    }
}

/// Leaves out defaults, and what then is empty.
fn essence(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(name, value)| !is_default(name, value));
            let kept = kept.map(|(name, value)| (name.clone(), essence(value)));
            Value::Object(kept.filter(|(_, value)| !is_empty(value)).collect::<Map<_, _>>())
        }
        // Which element is which depends on all of them.
        Value::Array(items) => Value::Array(items.iter().map(essence).collect()),
        other => other.clone(),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

fn compare(path: &str, written: &Value, stored: &Value, paths: &mut Vec<String>) {
    match (written, stored) {
        (Value::Object(written), Value::Object(stored)) => {
            for (name, value) in written {
                let path = format!("{path}.{name}");
                match stored.get(name) {
                    Some(stored) => compare(&path, value, stored, paths),
                    None => paths.push(path),
                }
            }
        }
        (Value::Array(written), Value::Array(stored)) if written.len() == stored.len() => {
            for (index, (written, stored)) in written.iter().zip(stored).enumerate() {
                compare(&format!("{path}[{index}]"), written, stored, paths);
            }
        }
        _ if written == stored => {}
        _ => paths.push(path.to_owned()),
    }
}
