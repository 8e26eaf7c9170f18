//! Strategic merge patches for built-in kinds, as far as `kubectl apply` and `edit` use them: lists merge by their keys, and
//! `$patch: delete`, `$patch: replace` and `$deleteFromPrimitiveList` are obeyed. The order of elements is not.

use serde_json::{Map, Value};

use crate::shape::Shape;

/// Merges `patch` into `target`.
pub(crate) fn merge(target: &mut Value, patch: &Value, shape: Shape<'_>) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() || patch.get("$patch").is_some_and(|what| what == "replace") {
        *target = Value::Object(Map::new());
    }
    let Some(map) = target.as_object_mut() else { return };
    for (name, value) in patch {
        match value {
            Value::Array(gone) if name.starts_with("$deleteFromPrimitiveList/") => {
                let list = name.split_once('/').and_then(|(_, name)| map.get_mut(name));
                if let Some(Value::Array(list)) = list {
                    list.retain(|element| !gone.contains(element));
                }
            }
            _ if name.starts_with('$') => {}
            Value::Null => drop(map.remove(name)),
            Value::Object(_) => merge(map.entry(name).or_insert(Value::Null), value, shape.child(name)),
            Value::Array(list) => merge_list(
                map.entry(name).or_insert_with(|| Value::Array(Vec::new())),
                list,
                shape.child(name),
            ),
            _ => drop(map.insert(name.clone(), value.clone())),
        }
    }
}

fn merge_list(target: &mut Value, patch: &[Value], shape: Shape<'_>) {
    let directive = |element: &Value, what: &str| element.get("$patch").is_some_and(|patch| patch == what);
    let replaced = patch.iter().any(|element| directive(element, "replace"));
    if shape.merge_key().is_none() || replaced {
        *target = Value::Array(Vec::new());
    }
    let Value::Array(list) = target else { return };
    for element in patch.iter().filter(|element| !directive(element, "replace")) {
        let same = |other: &Value| match shape.merge_key() {
            None => false,
            Some("=") => other == element,
            Some(key) => other.get(key).is_some() && other.get(key) == element.get(key),
        };
        match (list.iter().position(same), directive(element, "delete")) {
            (Some(at), true) => drop(list.remove(at)),
            (Some(at), false) => merge(&mut list[at], element, shape.item()),
            (None, true) => {}
            (None, false) => {
                let mut new = Value::Null;
                merge(&mut new, element, shape.item());
                list.push(new);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_merge_by_name_or_are_replaced_and_directives_are_obeyed() {
        let mut target = json!({"containers": [{"name": "a", "image": "x", "args": ["1"]}, {"name": "b"}],
            "metadata": {"finalizers": ["a", "b"]}, "strategy": {"type": "x", "old": 1}});
        let patch = json!({"containers": [{"name": "a", "args": ["2"]}, {"name": "b", "$patch": "delete"}, {"name": "c"}],
            "metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}, "strategy": {"$patch": "replace", "type": "y"}});
        merge(&mut target, &patch, Shape::root(&Value::Null));
        let wanted = json!({"containers": [{"name": "a", "image": "x", "args": ["2"]}, {"name": "c"}],
            "metadata": {"finalizers": ["b"]}, "strategy": {"type": "y"}});
        assert_eq!(target, wanted);
    }
}
