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

    /// Like [`Self::difference`], and whatever lies below a removed path goes with it.
    pub(crate) fn without_subtrees(&self, removed: &Self) -> Self {
        if removed.here && removed.steps.is_empty() {
            return Self::default();
        }
        let mut result = Self {
            here: self.here && !removed.here,
            steps: BTreeMap::new(),
        };
        for (step, inner) in &self.steps {
            let rest = removed
                .steps
                .get(step)
                .map_or_else(|| inner.clone(), |o| inner.without_subtrees(o));
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

    /// Every path as text, such as `.spec.ports[port=80,protocol="TCP"].name`.
    pub(crate) fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect(String::new(), &mut paths);
        paths
    }

    fn collect(&self, prefix: String, paths: &mut Vec<String>) {
        for (step, inner) in &self.steps {
            let text = match step.split_once(':') {
                Some(("f", name)) => format!("{prefix}.{name}"),
                Some(("k", keys)) => format!("{prefix}[{}]", key_text(keys)),
                Some((_, value)) => format!("{prefix}[={value}]"),
                None => prefix.clone(),
            };
            inner.collect(text, paths);
        }
        if self.here {
            paths.push(prefix);
        }
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
                        let mut inner = if element.is_object() {
                            Self::of(element, shape.item())
                        } else {
                            Self::leaf()
                        };
                        inner.here = true;
                        set.insert(step, inner);
                    }
                    set
                }
            },
            _ => Self::leaf(),
        }
    }
}

fn key_text(keys: &str) -> String {
    let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
    keys.iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect::<Vec<_>>()
        .join(",")
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

/// What differs between two objects.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    /// Added or changed.
    pub(crate) changed: FieldSet,
    pub(crate) removed: FieldSet,
}

/// Compares two values of the same shape.
pub(crate) fn compare(old: &Value, new: &Value, shape: Shape<'_>) -> Comparison {
    let mut result = Comparison::default();
    if old == new {
        return result;
    }
    match (old, new) {
        (Value::Object(before), Value::Object(after))
            if !shape.atomic_map() && !before.is_empty() && !after.is_empty() =>
        {
            for (name, value) in after {
                let pair = (before.get(name), Some(value));
                result.step(format!("f:{name}"), pair, shape.child(name));
            }
            for (name, value) in before.iter().filter(|(name, _)| !after.contains_key(*name)) {
                result.step(format!("f:{name}"), (Some(value), None), shape.child(name));
            }
        }
        (Value::Array(before), Value::Array(after)) => {
            let kind = shape.list();
            let (Some(before), Some(after)) = (elements(before, &kind), elements(after, &kind)) else {
                result.changed = FieldSet::leaf();
                return result;
            };
            let find = |list: &[(String, &Value)], step: &str| list.iter().any(|(s, _)| s == step);
            for (step, value) in &after {
                let old = before.iter().find(|(s, _)| s == step).map(|(_, v)| *v);
                result.step(step.clone(), (old, Some(value)), shape.item());
                if old.is_none() {
                    result.changed.steps.entry(step.clone()).or_default().here = true;
                }
            }
            for (step, value) in before.iter().filter(|(step, _)| !find(&after, step)) {
                result.step(step.clone(), (Some(value), None), shape.item());
                result.removed.steps.entry(step.clone()).or_default().here = true;
            }
        }
        _ => {
            result.changed = FieldSet::of(new, shape);
            result.removed = FieldSet::of(old, shape).difference(&result.changed);
        }
    }
    result
}

impl Comparison {
    fn step(&mut self, step: String, pair: (Option<&Value>, Option<&Value>), shape: Shape<'_>) {
        let inner = match pair {
            (Some(old), Some(new)) => compare(old, new, shape),
            (None, Some(new)) => Self {
                changed: FieldSet::of(new, shape),
                removed: FieldSet::default(),
            },
            (Some(old), None) => Self {
                changed: FieldSet::default(),
                removed: FieldSet::of(old, shape),
            },
            (None, None) => Self::default(),
        };
        self.changed.insert(step.clone(), inner.changed);
        self.removed.insert(step, inner.removed);
    }
}
