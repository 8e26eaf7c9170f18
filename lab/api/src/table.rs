//! Tables for `kubectl get`, by the printer columns of the kind; name and age where it has none.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::call::Call;
use crate::meta;
use crate::resource::Column;

/// A table with a row for each object.
pub(crate) fn table(call: &Call, objects: &[&Value], metadata: &Value) -> Value {
    let mut columns = call
        .resource
        .version(&call.version)
        .map_or_else(Vec::new, |v| v.columns.clone());
    if call.resource.custom.is_none() || columns.is_empty() {
        columns.push(Column::new("Age", "date", ".metadata.creationTimestamp"));
    }
    let mut definitions =
        vec![json!({"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0})];
    definitions.extend(columns.iter().map(|column| {
        // Dates are sent as ages, so their column is text.
        let kind = if column.kind == "date" { "string" } else { &column.kind };
        json!({"name": column.name, "type": kind, "format": "", "description": "", "priority": column.priority})
    }));
    let rows = objects.iter().map(|object| {
        let partial =
            json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]});
        let name = object["metadata"]["name"].clone();
        let cells: Vec<Value> = [name]
            .into_iter()
            .chain(columns.iter().map(|column| cell(column, object)))
            .collect();
        json!({"cells": cells, "object": partial})
    });
    let rows: Vec<Value> = rows.collect();
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "columnDefinitions": definitions, "rows": rows})
}

fn cell(column: &Column, object: &Value) -> Value {
    match (column.kind.as_str(), find(object, &column.path)) {
        ("date", Some(Value::String(time))) => since(time),
        ("string", Some(value)) if !value.is_string() => value.to_string().into(),
        ("string", None) => "<none>".into(),
        (_, value) => value.cloned().unwrap_or_default(),
    }
}

/// The JSON paths of printer columns that we use: `.a.b`, `.list[0].x`, `.list[?(@.type=="Ready")].status`.
fn find<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    let mut value = object;
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            let (index, tail) = inner.split_once(']')?;
            let filter = index.strip_prefix("?(@.").and_then(|filter| filter.strip_suffix(')'));
            value = match filter.and_then(|filter| filter.split_once("==")) {
                Some((name, wanted)) => {
                    let wanted = wanted.trim_matches(['"', '\'']);
                    meta::array(value).iter().find(|v| v[name] == wanted)?
                }
                None if index == "*" => value,
                None => value.get(index.parse::<usize>().ok()?)?,
            };
            rest = tail;
        } else {
            rest = rest.strip_prefix('.').unwrap_or(rest);
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            value = value.get(&rest[..end])?;
            rest = &rest[end..];
        }
    }
    Some(value)
}

fn since(time: &str) -> Value {
    match time.parse::<Timestamp>() {
        Ok(time) => human(Timestamp::now().duration_since(time)).into(),
        Err(_) => "<unknown>".into(),
    }
}

/// A duration, roughly as `kubectl` writes ages.
fn human(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    match seconds {
        ..120 => format!("{seconds}s"),
        120..10_800 => format!("{}m", seconds / 60),
        _ => format!("{}h", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_by_their_paths() {
        let object = json!({"a": {"b": [{"type": "Ready", "status": "True"}, {"x": 1}]}});
        assert_eq!(find(&object, ".a.b[?(@.type==\"Ready\")].status"), Some(&"True".into()));
        assert_eq!(find(&object, ".a.b[1].x"), Some(&1.into()));
        assert_eq!(find(&object, ".a.c"), None);
    }
}
