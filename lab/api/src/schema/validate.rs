//! OpenAPI v3 validation with the real server's messages.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde_json::Value;

use super::{flag, join, member, type_name};
use crate::error::Cause;
use crate::meta;

/// The fields of `object` that its schema refuses.
pub(crate) fn validate(object: &Value, schema: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    check(object, schema, "", &mut causes);
    causes
}

fn check(value: &Value, schema: &Value, path: &str, causes: &mut Vec<Cause>) {
    if value.is_null() && flag(schema, "nullable") {
        return;
    }
    if !type_fits(value, schema, path, causes) {
        return;
    }
    check_enum(value, schema, path, causes);
    match value {
        Value::String(text) => check_string(text, schema, path, causes),
        Value::Number(_) => check_number(value, schema, path, causes),
        Value::Array(list) => check_array(list, schema, path, causes),
        Value::Object(_) => check_object(value, schema, path, causes),
        _ => {}
    }
    check_combinations(value, schema, path, causes);
}

fn type_fits(value: &Value, schema: &Value, path: &str, causes: &mut Vec<Cause>) -> bool {
    let actual = type_name(value);
    let wanted = if flag(schema, "x-kubernetes-int-or-string") {
        "integer or string"
    } else {
        meta::text(schema, "/type")
    };
    let fits = match wanted {
        "" => true,
        "integer or string" => matches!(actual, "integer" | "string"),
        "number" => value.is_number(),
        // 1.0 is an integer to the real server too.
        "integer" => actual == "integer" || value.as_f64().is_some_and(|f| f.fract() == 0.0),
        other => actual == other,
    };
    if !fits {
        let why = format!("{path} in body must be of type {wanted}: {actual:?}");
        causes.push(Cause::invalid(path, &actual.into(), why));
    }
    fits
}

fn check_enum(value: &Value, schema: &Value, path: &str, causes: &mut Vec<Cause>) {
    if let Some(Value::Array(allowed)) = schema.get("enum")
        && !allowed.contains(value)
    {
        causes.push(Cause::unsupported(path, value, allowed));
    }
}

fn limit(schema: &Value, name: &str) -> Option<usize> {
    schema
        .get(name)
        .and_then(Value::as_u64)
        .and_then(|n| usize::try_from(n).ok())
}

fn check_string(text: &str, schema: &Value, path: &str, causes: &mut Vec<Cause>) {
    let value = Value::from(text);
    let length = text.chars().count();
    if let Some(max) = limit(schema, "maxLength").filter(|max| length > *max) {
        let message = format!("Too long: may not be more than {max} bytes");
        causes.push(Cause {
            field: path.into(),
            reason: "FieldValueTooLong",
            message,
        });
    }
    if let Some(min) = limit(schema, "minLength").filter(|min| length < *min) {
        causes.push(Cause::invalid(
            path,
            &value,
            format!("{path} in body should be at least {min} chars long"),
        ));
    }
    if let Some(pattern) = schema.get("pattern").and_then(Value::as_str)
        && regex::Regex::new(pattern).is_ok_and(|regex| !regex.is_match(text))
    {
        causes.push(Cause::invalid(
            path,
            &value,
            format!("{path} in body should match '{pattern}'"),
        ));
    }
    let format = meta::text(schema, "/format");
    let fits = match format {
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "date-time" => text.parse::<k8s_openapi::jiff::Timestamp>().is_ok(),
        _ => true,
    };
    if !fits {
        causes.push(Cause::invalid(
            path,
            &value,
            format!("{path} in body must be of type {format}: {text:?}"),
        ));
    }
}

fn check_number(value: &Value, schema: &Value, path: &str, causes: &mut Vec<Cause>) {
    let number = value.as_f64().unwrap_or_default();
    let bound = |name: &str| {
        schema
            .get(name)
            .filter(|v| v.is_number())
            .and_then(|v| Some((v, v.as_f64()?)))
    };
    let whole = |limit: &Value| {
        limit
            .as_f64()
            .filter(|f| f.fract() == 0.0)
            .map_or_else(|| limit.to_string(), |f| format!("{f}"))
    };
    let strict = |name: &str| flag(schema, name);
    if let Some((limit, min)) = bound("minimum") {
        let exclusive = strict("exclusiveMinimum");
        if number < min || (exclusive && number <= min) {
            let relation = if exclusive {
                "greater than"
            } else {
                "greater than or equal to"
            };
            causes.push(Cause::invalid(
                path,
                value,
                format!("{path} in body should be {relation} {}", whole(limit)),
            ));
        }
    }
    if let Some((limit, max)) = bound("maximum") {
        let exclusive = strict("exclusiveMaximum");
        if number > max || (exclusive && number >= max) {
            let relation = if exclusive {
                "less than"
            } else {
                "less than or equal to"
            };
            causes.push(Cause::invalid(
                path,
                value,
                format!("{path} in body should be {relation} {}", whole(limit)),
            ));
        }
    }
    if let Some((limit, step)) = bound("multipleOf")
        && (number / step).fract() != 0.0
    {
        causes.push(Cause::invalid(
            path,
            value,
            format!("{path} in body should be a multiple of {limit}"),
        ));
    }
}

fn check_array(list: &[Value], schema: &Value, path: &str, causes: &mut Vec<Cause>) {
    let length = list.len();
    if let Some(max) = limit(schema, "maxItems").filter(|max| length > *max) {
        let message = format!("Too many: {length}: must have at most {max} items");
        causes.push(Cause {
            field: path.into(),
            reason: "FieldValueTooMany",
            message,
        });
    }
    if let Some(min) = limit(schema, "minItems").filter(|min| length < *min) {
        causes.push(Cause::invalid(
            path,
            &length.into(),
            format!("{path} in body should have at least {min} items"),
        ));
    }
    let keys = match meta::text(schema, "/x-kubernetes-list-type") {
        "set" => Some(Vec::new()),
        "map" => Some(meta::strings(&schema["x-kubernetes-list-map-keys"])),
        _ => flag(schema, "uniqueItems").then(Vec::new),
    };
    for (at, element) in list.iter().enumerate() {
        let here = format!("{path}[{at}]");
        if let Some(keys) = &keys {
            let same = |other: &Value| {
                if keys.is_empty() {
                    other == element
                } else {
                    keys.iter().all(|k| other.get(k) == element.get(k))
                }
            };
            if list[..at].iter().any(same) {
                let message = format!("Duplicate value: {element}");
                causes.push(Cause {
                    field: here.clone(),
                    reason: "FieldValueDuplicate",
                    message,
                });
            }
        }
        if let Some(items) = schema.get("items") {
            check(element, items, &here, causes);
        }
    }
}

fn check_object(value: &Value, schema: &Value, path: &str, causes: &mut Vec<Cause>) {
    for name in meta::strings(&schema["required"]) {
        if value.get(name).is_none() {
            causes.push(Cause::required(&join(path, name), ""));
        }
    }
    let map = value.as_object().into_iter().flatten();
    let length = value.as_object().map_or(0, serde_json::Map::len);
    if let Some(max) = limit(schema, "maxProperties").filter(|max| length > *max) {
        let message = format!("Too many: {length}: must have at most {max} items");
        causes.push(Cause {
            field: path.into(),
            reason: "FieldValueTooMany",
            message,
        });
    }
    if let Some(min) = limit(schema, "minProperties").filter(|min| length < *min) {
        causes.push(Cause::invalid(
            path,
            value,
            format!("{path} in body should have at least {min} properties"),
        ));
    }
    for (name, inner) in map {
        if let Some(schema) = member(schema, name).filter(|s| s.is_object()) {
            check(inner, schema, &join(path, name), causes);
        }
    }
}

fn check_combinations(value: &Value, schema: &Value, path: &str, causes: &mut Vec<Cause>) {
    let branches = |name: &str| schema.get(name).and_then(Value::as_array);
    let passes = |branch: &Value| {
        let mut inner = Vec::new();
        check(value, branch, path, &mut inner);
        inner.is_empty()
    };
    for branch in branches("allOf").into_iter().flatten() {
        check(value, branch, path, causes);
    }
    // The two branches of an int-or-string carry types that were checked already.
    if let Some(list) = branches("anyOf").filter(|_| !flag(schema, "x-kubernetes-int-or-string"))
        && !list.iter().any(passes)
    {
        causes.push(Cause::invalid(
            path,
            value,
            format!("{path} in body must validate at least one schema (anyOf)"),
        ));
    }
    if let Some(list) = branches("oneOf")
        && list.iter().filter(|branch| passes(branch)).count() != 1
    {
        causes.push(Cause::invalid(
            path,
            value,
            format!("{path} in body must validate one and only one schema (oneOf)"),
        ));
    }
    if schema.get("not").is_some_and(passes) {
        causes.push(Cause::invalid(
            path,
            value,
            format!("{path} in body must not validate the schema (not)"),
        ));
    }
}
