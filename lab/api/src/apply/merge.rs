//! Merging an applied configuration into the live object, and removing what its manager no longer wants.

use serde_json::Value;

use super::fields::{FieldSet, elements};
use crate::shape::Shape;

/// Lays `config` over `live`.
pub(super) fn merge(live: &Value, config: &Value, shape: Shape<'_>) -> Value {
    match (live, config) {
        (Value::Object(old), Value::Object(new)) if !shape.atomic_map() => {
            let mut result = old.clone();
            for (name, value) in new {
                let merged = old
                    .get(name)
                    .map_or_else(|| value.clone(), |o| merge(o, value, shape.child(name)));
                result.insert(name.clone(), merged);
            }
            Value::Object(result)
        }
        (Value::Array(old), Value::Array(new)) => {
            let kind = shape.list();
            let (Some(old), Some(new)) = (elements(old, &kind), elements(new, &kind)) else {
                return config.clone();
            };
            let find = |step: &str| new.iter().find(|(s, _)| s == step).map(|(_, v)| *v);
            let kept = old
                .iter()
                .map(|(step, o)| find(step).map_or_else(|| (*o).clone(), |n| merge(o, n, shape.item())));
            let added = new
                .iter()
                .filter(|(step, _)| !old.iter().any(|(s, _)| s == step))
                .map(|(_, v)| (*v).clone());
            Value::Array(kept.chain(added).collect())
        }
        _ => config.clone(),
    }
}

/// Removes the paths of `gone`, except where somebody in `kept` still owns something below.
pub(super) fn prune(value: &mut Value, gone: &FieldSet, kept: &FieldSet, shape: Shape<'_>) {
    let empty = FieldSet::default();
    match value {
        Value::Object(map) => {
            for (step, inner) in &gone.steps {
                let Some(name) = step.strip_prefix("f:") else { continue };
                let owned = kept.steps.get(step).unwrap_or(&empty);
                if owned.is_empty() {
                    // Nobody owns anything in here any more: what the server added goes too.
                    map.remove(name);
                } else if let Some(member) = map.get_mut(name) {
                    prune(member, inner, owned, shape.child(name));
                }
            }
        }
        Value::Array(list) => {
            let kind = shape.list();
            let Some(steps) = elements(list, &kind).map(|e| e.into_iter().map(|(s, _)| s).collect::<Vec<_>>()) else {
                return;
            };
            let mut at = 0;
            list.retain_mut(|element| {
                let step = &steps[at];
                at += 1;
                let Some(inner) = gone.steps.get(step) else { return true };
                let owned = kept.steps.get(step).unwrap_or(&empty);
                if owned.is_empty() {
                    return false;
                }
                prune(element, inner, owned, shape.item());
                true
            });
        }
        _ => {}
    }
}
