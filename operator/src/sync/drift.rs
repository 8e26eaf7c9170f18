//! Whether an object in the cluster still is what we want.

use serde_json::Value;

use crate::sync::quantity;

/// Tells whether `live` has everything that `wanted` asks for.
///
/// What others add to objects, the API server's defaults among it, is theirs. A list of ours is taken as a whole;
/// its elements again may have more than we ask for.
pub(crate) fn covers(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => wanted.iter().all(|(key, value)| match live.get(key) {
            Some(found) if matches!(key.as_str(), "limits" | "requests") => same_amounts(found, value),
            Some(found) => covers(found, value),
            None => is_empty(value),
        }),
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len() && live.iter().zip(wanted).all(|(live, wanted)| covers(live, wanted))
        }
        _ => live == wanted,
    }
}

/// The API server writes an amount its own way: `1` for `1000m`.
fn same_amounts(live: &Value, wanted: &Value) -> bool {
    let (Some(live), Some(wanted)) = (live.as_object(), wanted.as_object()) else {
        return covers(live, wanted);
    };
    wanted.iter().all(|(name, amount)| match live.get(name) {
        Some(found) => found == amount || quantity::same(found, amount),
        None => false,
    })
}

/// The API server drops what holds nothing.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn additions_of_others_are_no_drift() {
        let wanted = json!({ "metadata": { "labels": { "app": "metallb" } }, "spec": { "ports": [{ "port": 1 }] } });
        let live = json!({
            "metadata": { "labels": { "app": "metallb", "mine": "x" }, "uid": "1" },
            "spec": { "ports": [{ "port": 1, "protocol": "TCP" }], "replicas": 1 },
            "status": {},
        });
        assert!(covers(&live, &wanted));
    }

    // OP-36
    #[test]
    fn changed_missing_and_additional_values_are_drift() {
        let wanted = json!({ "args": ["a", "b"], "image": "x", "labels": { "app": "metallb" } });
        for live in [
            json!({ "args": ["a", "b"], "image": "y", "labels": { "app": "metallb" } }),
            json!({ "args": ["a", "b"], "labels": { "app": "metallb" } }),
            json!({ "args": ["b", "a"], "image": "x", "labels": { "app": "metallb" } }),
            json!({ "args": ["a", "b", "c"], "image": "x", "labels": { "app": "metallb" } }),
            json!({ "args": ["a", "b"], "image": "x", "labels": {} }),
        ] {
            assert!(!covers(&live, &wanted), "{live}");
        }
    }

    // OP-37
    #[test]
    fn amounts_are_compared_by_what_they_amount_to() {
        let limits = |cpu: Value| json!({ "resources": { "limits": { "cpu": cpu } } });
        assert!(covers(&limits(json!("1")), &limits(json!("1000m"))));
        assert!(covers(&limits(json!("2")), &limits(json!(2))));
        assert!(!covers(&limits(json!("1")), &limits(json!("100m"))));
        assert!(!covers(&json!({ "resources": { "limits": {} } }), &limits(json!("1"))));
        assert!(
            !covers(&json!({ "env": "1" }), &json!({ "env": "1000m" })),
            "only where it is an amount"
        );
    }

    #[test]
    fn empty_values_may_be_absent() {
        assert!(covers(&json!({}), &json!({ "affinity": {}, "list": [], "none": null })));
        assert!(!covers(&json!({}), &json!({ "grace": 0 })));
    }
}
