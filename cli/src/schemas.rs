//! The JSON schemas of all reports, as `docs/cli/schemas` has them. `METALLB_CLI_EXPECT=write` writes them anew.
//!
//! Programs rely on them: fields may be added, none removed or given another type.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use schemars::{JsonSchema, schema_for};
use serde_json::Value;

use crate::report::Report;
use crate::{bgp, explain, l2, lint, plan, status, version};

fn schema<T: JsonSchema>() -> Value {
    schema_for!(Report<T>).to_value()
}

fn schemas() -> BTreeMap<&'static str, Value> {
    let mut all = explain::schemas();
    all.insert("BgpReport", schema::<bgp::Body>());
    all.insert("L2Report", schema::<l2::Body>());
    all.insert("LintReport", schema::<lint::Body>());
    all.insert("Plan", schema::<plan::Body>());
    all.insert("StatusReport", schema::<status::rows::Body>());
    all.insert("VersionReport", schema::<version::Versions>());
    all
}

// CLI-1
#[test]
fn the_schemas_are_those_of_the_documents() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cli/schemas");
    let writes = std::env::var("METALLB_CLI_EXPECT").is_ok_and(|value| value == "write");
    for (kind, schema) in schemas() {
        let path = folder.join(format!("{kind}.json"));
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        if writes {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&path, &text).unwrap();
        }
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            text,
            "{kind}: METALLB_CLI_EXPECT=write"
        );
    }
    assert_eq!(fs::read_dir(folder).unwrap().count(), schemas().len());
}

/// Tells where a value does not fit, in the part of JSON Schema that schemars writes.
fn misfit(whole: &Value, schema: &Value, value: &Value, path: &str) -> Option<String> {
    if let Some(name) = schema["$ref"].as_str() {
        return misfit(whole, whole.pointer(name.trim_start_matches('#')).unwrap(), value, path);
    }
    for choice in ["anyOf", "oneOf"] {
        if let Some(choices) = schema[choice].as_array() {
            let fits = choices
                .iter()
                .any(|schema| misfit(whole, schema, value, path).is_none());
            return (!fits).then(|| format!("{path}: {value} is none of {choice}"));
        }
    }
    let types = match &schema["type"] {
        Value::String(one) => vec![one.as_str()],
        Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
        _ => vec![],
    };
    let own = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let listed = schema["enum"].as_array().is_none_or(|all| all.contains(value));
    let same = schema.get("const").is_none_or(|one| one == value);
    if !types.is_empty() && !types.contains(&own) || !listed || !same {
        return Some(format!("{path}: {value} is no {types:?}"));
    }
    let required = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    if let Some(missing) = required
        .filter(|_| value.is_object())
        .find(|name| value.get(name).is_none())
    {
        return Some(format!("{path}: {missing} is missing"));
    }
    let members = value.as_object().into_iter().flatten();
    let misfits = members.filter_map(|(name, value)| {
        let path = format!("{path}.{name}");
        match (schema["properties"].get(name), &schema["additionalProperties"]) {
            (Some(schema), _) => misfit(whole, schema, value, &path),
            (None, Value::Object(_)) => misfit(whole, &schema["additionalProperties"], value, &path),
            (None, _) => Some(format!("{path} is in no schema")),
        }
    });
    let items = value.as_array().into_iter().flatten();
    let mut misfits = misfits.chain(items.filter_map(|item| misfit(whole, &schema["items"], item, path)));
    misfits.next()
}

// CLI-1
#[test]
fn every_report_of_the_cases_fits_its_schema() {
    let (schemas, mut seen) = (schemas(), 0);
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path().join("expected.txt")).unwrap_or_default();
        // The time of now is left out there.
        let Ok(report) = serde_json::from_str::<Value>(&text.replace("NOW,", "\"\",")) else {
            continue;
        };
        if let Some(schema) = report["kind"].as_str().and_then(|kind| schemas.get(kind)) {
            assert_eq!(misfit(schema, schema, &report, ""), None);
            seen += 1;
        }
    }
    assert!(seen > 5, "{seen}");
}
