//! Sets of field paths, as `managedFields[].fieldsV1` writes them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::shape::{ListKind, Shape};

/// A set of paths. Steps are spelled as in `FieldsV1`: `f:name`, `k:{"port":80}`, `v:"x"`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct FieldSet {
    /// Whether the path that leads here is in the set.
    pub(crate) here: bool,
    pub(crate) steps: BTreeMap<String, Self>,
}

impl FieldSet {
    pub(crate) fn leaf() -> Self {
        Self {
            here: true,
            steps: BTreeMap::new(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.here && self.steps.is_empty()
    }

    pub(crate) fn parse(fields: &Value) -> Self {
        let mut set = Self::default();
        for (step, inner) in fields.as_object().into_iter().flatten() {
            if step == "." {
                set.here = true;
                continue;
            }
            let mut inner = Self::parse(inner);
            // `{}` below a step is how a leaf is written.
            inner.here |= inner.steps.is_empty();
            set.steps.insert(step.clone(), inner);
        }
        set
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut map = Map::new();
        if self.here && !self.steps.is_empty() {
            map.insert(".".into(), Value::Object(Map::new()));
        }
        map.extend(self.steps.iter().map(|(step, inner)| (step.clone(), inner.to_json())));
        Value::Object(map)
    }

    fn insert(&mut self, step: String, inner: Self) {
        if !inner.is_empty() {
            self.steps.insert(step, inner);
        }
    }

    pub(crate) fn union(&mut self, other: &Self) {
        self.here |= other.here;
        for (step, inner) in &other.steps {
            self.steps.entry(step.clone()).or_default().union(inner);
        }
    }

    pub(crate) fn difference(&self, other: &Self) -> Self {
        let mut result = Self {
            here: self.here && !other.here,
            steps: BTreeMap::new(),
        };
        for (step, inner) in &self.steps {
            let rest = other
                .steps
                .get(step)
                .map_or_else(|| inner.clone(), |o| inner.difference(o));
            result.insert(step.clone(), rest);
        }
        result
    }

    pub(crate) fn intersection(&self, other: &Self) -> Self {
        let mut result = Self {
            here: self.here && other.here,
            steps: BTreeMap::new(),
        };
        for (step, inner) in &self.steps {
            if let Some(o) = other.steps.get(step) {
                result.insert(step.clone(), inner.intersection(o));
            }
        }
        result
    }

    /// The leaves of `value`: what a manager owns who applies it.
    pub(crate) fn of(value: &Value, shape: Shape<'_>) -> Self {
        match value {
            Value::Object(map) if !map.is_empty() && !shape.atomic_map() => {
                let mut set = Self::default();
                for (name, inner) in map {
                    set.insert(format!("f:{name}"), Self::of(inner, shape.child(name)));
                }
                set
            }
            Value::Array(list) if !list.is_empty() => match elements(list, &shape.list()) {
                None => Self::leaf(),
                Some(elements) => {
                    let mut set = Self::default();
                    for (step, element) in elements {
                        set.insert(step, Self::of_element(element, shape));
                    }
                    set
                }
            },
            _ => Self::leaf(),
        }
    }

    /// The leaves of an element of a list, and the element itself.
    fn of_element(element: &Value, list: Shape<'_>) -> Self {
        let mut set = match element.is_object() {
            true => Self::of(element, list.item()),
            false => Self::leaf(),
        };
        set.here = true;
        set
    }
}

/// The elements of a list with their steps; `None` if the list is atomic (or an element lacks its keys).
pub(crate) fn elements<'v>(list: &'v [Value], kind: &ListKind) -> Option<Vec<(String, &'v Value)>> {
    match kind {
        ListKind::Atomic => None,
        ListKind::Set => Some(list.iter().map(|element| (format!("v:{element}"), element)).collect()),
        ListKind::Map(keys) => list
            .iter()
            .map(|element| Some((key_step(element, keys)?, element)))
            .collect(),
    }
}

fn key_step(element: &Value, keys: &[(String, Option<Value>)]) -> Option<String> {
    let mut sorted: Vec<(&String, &Value)> = Vec::new();
    for (key, default) in keys {
        match element.get(key).filter(|v| !v.is_null()).or(default.as_ref()) {
            Some(value) => sorted.push((key, value)),
            None if keys.len() > 1 => {}
            None => return None,
        }
    }
    sorted.sort_by_key(|(key, _)| *key);
    let map: Map<String, Value> = sorted.into_iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    Some(format!("k:{}", Value::Object(map)))
}

/// What `new` has that `old` has not, or otherwise.
pub(crate) fn changed(old: &Value, new: &Value, shape: Shape<'_>) -> FieldSet {
    let mut set = FieldSet::default();
    match (old, new) {
        _ if old == new => {}
        (Value::Object(before), Value::Object(after)) if !shape.atomic_map() && !before.is_empty() => {
            for (name, value) in after {
                let shape = shape.child(name);
                let inner = before.get(name).map(|old| changed(old, value, shape));
                set.insert(format!("f:{name}"), inner.unwrap_or_else(|| FieldSet::of(value, shape)));
            }
        }
        (Value::Array(before), Value::Array(after)) => {
            let kind = shape.list();
            let (Some(before), Some(after)) = (elements(before, &kind), elements(after, &kind)) else {
                return FieldSet::leaf();
            };
            for (step, value) in after {
                let old = before.iter().find(|(other, _)| *other == step);
                let inner = match old {
                    Some((_, old)) => changed(old, value, shape.item()),
                    None => FieldSet::of_element(value, shape),
                };
                set.insert(step, inner);
            }
        }
        _ => return FieldSet::of(new, shape),
    }
    set
}
