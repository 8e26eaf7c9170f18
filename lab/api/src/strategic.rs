//! Strategic merge patches for built-in kinds: lists merge by their keys, `$patch` and friends are directives.

use serde_json::{Map, Value};

use crate::shape::Shape;

/// Merges `patch` into `target`.
pub(crate) fn merge(target: &mut Value, patch: &Value, shape: Shape<'_>) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    match patch.get("$patch").and_then(Value::as_str) {
        Some("replace") => {
            *target = strip(Value::Object(patch.clone()));
            return;
        }
        Some("delete") => {
            *target = Value::Object(Map::new());
            return;
        }
        _ => {}
    }
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let map = target.as_object_mut().expect("made an object above");
    if let Some(Value::Array(keys)) = patch.get("$retainKeys") {
        map.retain(|name, _| keys.iter().any(|k| k == name.as_str()));
    }
    for (name, value) in patch.iter().filter(|(name, _)| !name.starts_with('$')) {
        let inner = shape.child(name);
        match value {
            Value::Null => {
                map.remove(name);
            }
            Value::Object(_) => merge(map.entry(name.clone()).or_insert(Value::Null), value, inner),
            Value::Array(list) => {
                let slot = map.entry(name.clone()).or_insert_with(|| Value::Array(Vec::new()));
                merge_list(slot, list, inner);
            }
            _ => {
                map.insert(name.clone(), value.clone());
            }
        }
    }
    delete_and_order(map, patch, shape);
}

fn merge_list(target: &mut Value, patch: &[Value], shape: Shape<'_>) {
    let directive = |p: &Value, what: &str| p.get("$patch").and_then(Value::as_str) == Some(what);
    let (Some(key), Value::Array(list)) = (shape.merge_key(), &mut *target) else {
        *target = strip(Value::Array(patch.to_vec()));
        return;
    };
    if patch.iter().any(|p| directive(p, "replace")) {
        *list = patch
            .iter()
            .filter(|p| !directive(p, "replace"))
            .cloned()
            .map(strip)
            .collect();
        return;
    }
    for element in patch {
        if key == "=" {
            if !list.contains(element) {
                list.push(element.clone());
            }
            continue;
        }
        let at = list
            .iter()
            .position(|e| e.get(key).is_some() && e.get(key) == element.get(key));
        match (at, directive(element, "delete")) {
            (Some(at), true) => drop(list.remove(at)),
            (Some(at), false) => merge(&mut list[at], element, shape.item()),
            (None, true) => {}
            (None, false) => list.push(strip(element.clone())),
        }
    }
}

fn delete_and_order(map: &mut Map<String, Value>, patch: &Map<String, Value>, shape: Shape<'_>) {
    for (directive, value) in patch {
        let Value::Array(wanted) = value else { continue };
        if let Some(name) = directive.strip_prefix("$deleteFromPrimitiveList/")
            && let Some(Value::Array(list)) = map.get_mut(name)
        {
            list.retain(|element| !wanted.contains(element));
        } else if let Some(name) = directive.strip_prefix("$setElementOrder/")
            && let Some(Value::Array(list)) = map.get_mut(name)
            && let Some(key) = shape.child(name).merge_key()
        {
            let same = |a: &Value, b: &Value| if key == "=" { a == b } else { a.get(key) == b.get(key) };
            list.sort_by_key(|element| wanted.iter().position(|w| same(w, element)).unwrap_or(usize::MAX));
        }
    }
}

/// Drops directives from a value that is taken over as it is.
fn strip(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.into_iter()
                .filter(|(k, v)| !k.starts_with('$') && !v.is_null())
                .map(|(k, v)| (k, strip(v)))
                .collect(),
        ),
        Value::Array(list) => Value::Array(list.into_iter().map(strip).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patched(mut target: Value, patch: &Value) -> Value {
        merge(&mut target, patch, Shape::root(&Value::Null));
        target
    }

    #[test]
    fn containers_merge_by_name_and_arguments_are_replaced() {
        let target = json!({"containers": [{"name": "a", "image": "x", "args": ["1"]}, {"name": "b"}]});
        let patch =
            json!({"containers": [{"name": "a", "args": ["2"]}, {"name": "b", "$patch": "delete"}, {"name": "c"}]});
        assert_eq!(
            patched(target, &patch),
            json!({"containers": [{"name": "a", "image": "x", "args": ["2"]}, {"name": "c"}]})
        );
    }

    #[test]
    fn directives_delete_retain_and_order() {
        let target = json!({"metadata": {"finalizers": ["a", "b"]}, "strategy": {"type": "x", "old": 1},
            "env": [{"name": "a"}, {"name": "b"}]});
        let patch = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]},
            "strategy": {"$retainKeys": ["type"], "type": "y"},
            "$setElementOrder/env": [{"name": "c"}, {"name": "b"}, {"name": "a"}], "env": [{"name": "c"}]});
        assert_eq!(
            patched(target, &patch),
            json!({"metadata": {"finalizers": ["b"]}, "strategy": {"type": "y"},
                "env": [{"name": "c"}, {"name": "b"}, {"name": "a"}]})
        );
    }
}
