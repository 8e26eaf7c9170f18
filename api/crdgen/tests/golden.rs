//! The schemas compared both ways with `schemas.txt`, a copy of the API's tables kept by hand:
//! a limit, default or field that disappears or appears by accident fails here.
//!
//! A line of the file is a fact. Blocks start with `== kind version served storage ..`; `column` lines are printer
//! columns; other lines are a path and what holds there. `*` stands for the items of a list, `?` for free keys.

use std::collections::BTreeSet;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionVersion, JSONSchemaProps, JSONSchemaPropsOrArray,
    JSONSchemaPropsOrBool,
};

/// Fields that have a type of core/v1, which this table does not repeat.
const CORE: [&str; 4] = ["affinity", "resources", "speakerTolerations", "controllerTolerations"];

/// What is inside of the common label selector; the table only says `selector`.
const SELECTOR: [&str; 8] = [
    ".matchExpressions array list-type=atomic",
    ".matchExpressions.* object",
    ".matchExpressions.*.key string required=yes",
    ".matchExpressions.*.operator string required=yes",
    ".matchExpressions.*.values array list-type=atomic",
    ".matchExpressions.*.values.* string",
    ".matchLabels object",
    ".matchLabels.? string",
];

// OP-1, OP-3: every kind, version, field, default and limit is served as tabulated.
#[test]
fn schemas_are_as_tabulated() {
    let wanted = facts(include_str!("schemas.txt").lines().map(str::to_owned).collect());
    let made = facts(metallb_crdgen::crds().iter().flat_map(describe).collect());
    let missing: Vec<_> = wanted.difference(&made).collect();
    let unexpected: Vec<_> = made.difference(&wanted).collect();
    assert!(
        missing.is_empty() && unexpected.is_empty(),
        "missing from the schemas: {missing:#?}\nnot in schemas.txt: {unexpected:#?}"
    );
}

/// Puts the block's header before each of its lines, so that a set can hold them.
fn facts(lines: Vec<String>) -> BTreeSet<String> {
    let mut block = String::new();
    let mut facts = BTreeSet::new();
    for line in lines
        .into_iter()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        if line.starts_with("== ") {
            block = line.split(' ').skip(1).take(2).collect::<Vec<_>>().join(" ");
        }
        facts.insert(format!(
            "{block}: {}",
            line.split_whitespace().collect::<Vec<_>>().join(" ")
        ));
    }
    facts
}

fn describe(crd: &CustomResourceDefinition) -> Vec<String> {
    crd.spec
        .versions
        .iter()
        .flat_map(|version| describe_version(&crd.spec.names.kind, version))
        .collect()
}

fn describe_version(kind: &str, version: &CustomResourceDefinitionVersion) -> Vec<String> {
    let mut header = format!("== {kind} {}", version.name);
    let status = version
        .subresources
        .as_ref()
        .is_some_and(|subresources| subresources.status.is_some());
    let marks = [
        ("served", version.served),
        ("storage", version.storage),
        ("status", status),
    ];
    for (mark, _) in marks.iter().filter(|(_, holds)| *holds) {
        header += &format!(" {mark}");
    }
    let mut lines = vec![header];
    if version.deprecated == Some(true) {
        lines.push(format!(
            "deprecated {}",
            version.deprecation_warning.as_deref().unwrap_or_default()
        ));
    }
    for (index, column) in version.additional_printer_columns.iter().flatten().enumerate() {
        let mut line = format!("column {index} {:?} {} {}", column.name, column.type_, column.json_path);
        if let Some(priority) = column.priority {
            line += &format!(" priority={priority}");
        }
        lines.push(line);
    }
    let schema = version
        .schema
        .as_ref()
        .and_then(|schema| schema.open_api_v3_schema.as_ref())
        .expect("every version has a schema");
    for name in ["spec", "status"] {
        if let Some(property) = schema.properties.as_ref().and_then(|properties| properties.get(name)) {
            field(
                &format!(".{name}"),
                name,
                property,
                is_required(schema, name),
                &mut lines,
            );
        }
    }
    lines
}

fn is_required(schema: &JSONSchemaProps, name: &str) -> bool {
    schema.required.iter().flatten().any(|required| required == name)
}

fn field(path: &str, name: &str, schema: &JSONSchemaProps, required: bool, lines: &mut Vec<String>) {
    let core = CORE.contains(&name);
    lines.push(format!(
        "{path} {}",
        if core {
            "core".to_owned()
        } else {
            attributes(schema, required)
        }
    ));
    if core {
        return;
    }
    let mut inside = Vec::new();
    parts("", schema, &mut inside);
    if inside == SELECTOR {
        *lines.last_mut().expect("pushed above") += " selector";
    } else {
        parts(path, schema, lines);
    }
}

/// Describes what is below a field.
fn parts(path: &str, schema: &JSONSchemaProps, lines: &mut Vec<String>) {
    for (name, property) in schema.properties.iter().flatten() {
        field(
            &format!("{path}.{name}"),
            name,
            property,
            is_required(schema, name),
            lines,
        );
    }
    if let Some(JSONSchemaPropsOrArray::Schema(item)) = &schema.items {
        field(&format!("{path}.*"), "*", item, false, lines);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(value)) = &schema.additional_properties {
        field(&format!("{path}.?"), "?", value, false, lines);
    }
}

fn attributes(schema: &JSONSchemaProps, required: bool) -> String {
    let mut text = schema.type_.clone().unwrap_or_else(|| "untyped".to_owned());
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            text += &format!(" {name}={value}");
        }
    };
    add("format", schema.format.clone());
    add("required", required.then(|| "yes".to_owned()));
    add("nullable", schema.nullable.map(|nullable| nullable.to_string()));
    add("default", schema.default.as_ref().map(|default| default.0.to_string()));
    add("min", schema.minimum.map(|bound| bound.to_string()));
    add("max", schema.maximum.map(|bound| bound.to_string()));
    add("minLength", schema.min_length.map(|bound| bound.to_string()));
    add("maxLength", schema.max_length.map(|bound| bound.to_string()));
    add("minItems", schema.min_items.map(|bound| bound.to_string()));
    add("maxItems", schema.max_items.map(|bound| bound.to_string()));
    let values = schema
        .enum_
        .as_ref()
        .map(|values| values.iter().map(|value| value.0.to_string()).collect::<Vec<_>>());
    add("enum", values.map(|values| values.join(",")));
    add("pattern", schema.pattern.clone());
    add("map-type", schema.x_kubernetes_map_type.clone());
    add("list-type", schema.x_kubernetes_list_type.clone());
    add(
        "list-keys",
        schema.x_kubernetes_list_map_keys.as_ref().map(|keys| keys.join(",")),
    );
    add(
        "preserve",
        schema
            .x_kubernetes_preserve_unknown_fields
            .map(|preserve| preserve.to_string()),
    );
    for rule in schema.x_kubernetes_validations.iter().flatten() {
        add("cel", Some(format!("[{}]", rule.rule)));
    }
    text
}

#[test]
#[ignore = "prints what the schemas hold, for whoever adds a field"]
fn print_the_facts() {
    for line in metallb_crdgen::crds().iter().flat_map(describe) {
        println!("{line}");
    }
}
