//! Turns derived schemas into those that controller-gen makes of upstream's types.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

/// What a quantity may look like, as apimachinery declares it.
const QUANTITY_PATTERN: &str = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$";

/// Finishes the schema of a whole object.
pub(crate) fn root(schema: &mut JSONSchemaProps, spec_required: bool) {
    walk(schema);
    let properties = schema.properties.get_or_insert_default();
    properties.insert(
        "apiVersion".to_owned(),
        string("The version of the schema of this object."),
    );
    properties.insert("kind".to_owned(), string("The kind of this object."));
    properties.insert("metadata".to_owned(), of_type("object"));
    // The derived struct always has a spec; whether an object must have one is upstream's choice.
    schema.required = spec_required.then(|| vec!["spec".to_owned()]);
    // The root of a kind without spec is a flattened struct, for which the derive allows anything.
    schema.x_kubernetes_preserve_unknown_fields = None;
}

fn of_type(type_: &str) -> JSONSchemaProps {
    JSONSchemaProps {
        type_: Some(type_.to_owned()),
        ..JSONSchemaProps::default()
    }
}

fn string(description: &str) -> JSONSchemaProps {
    JSONSchemaProps {
        description: Some(description.to_owned()),
        ..of_type("string")
    }
}

fn walk(schema: &mut JSONSchemaProps) {
    plain_option(schema);
    known_format(schema);
    quantity(schema);
    if is_label_selector(schema) {
        atomic(schema);
    }
    for (name, property) in schema.properties.iter_mut().flatten() {
        walk(property);
        match name.as_str() {
            "affinity" => atomic(property),
            "claims" => keyed_by_name(property),
            _ => {}
        }
        // Only the object as a whole is atomic where it says so; `affinity` itself is merged.
        if name == "affinity" {
            property.x_kubernetes_map_type = None;
        }
    }
    for_each_item(schema, walk);
}

/// Calls `visit` for the schema of items and of free properties.
fn for_each_item(schema: &mut JSONSchemaProps, visit: fn(&mut JSONSchemaProps)) {
    match schema.items.as_mut() {
        Some(JSONSchemaPropsOrArray::Schema(item)) => visit(item),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => items.iter_mut().for_each(visit),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(value)) = schema.additional_properties.as_mut() {
        visit(value);
    }
}

/// Undoes what schemars makes of `Option`: an absent field and a null are different things to an API server.
fn plain_option(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    schema.title = None;
    if schema.default.as_ref().is_some_and(|default| default.0.is_null()) {
        schema.default = None;
    }
    if let Some(values) = schema.enum_.as_mut() {
        values.retain(|JSON(value)| !value.is_null());
    }
}

/// Drops the formats that Kubernetes does not know, such as `uint32` and `double`.
fn known_format(schema: &mut JSONSchemaProps) {
    schema.format = schema
        .format
        .take()
        .filter(|format| matches!(format.as_str(), "int32" | "int64" | "date-time"));
}

/// Gives quantities their usual pattern.
fn quantity(schema: &mut JSONSchemaProps) {
    // What says itself what it may look like is a count or a percentage.
    if schema.x_kubernetes_int_or_string == Some(true) && schema.pattern.is_none() {
        schema.type_ = None;
        // Two pages about the grammar of numbers, four times over.
        schema.description = None;
        schema.any_of = Some(vec![of_type("integer"), of_type("string")]);
        schema.pattern = Some(QUANTITY_PATTERN.to_owned());
    }
}

/// Recognises the common label selector; the one of BGPPeer v1beta1 looks alike and is none.
fn is_label_selector(schema: &JSONSchemaProps) -> bool {
    let names = schema.properties.as_ref().map(BTreeMap::keys);
    names.is_some_and(|names| names.eq(["matchExpressions", "matchLabels"])) && !is_node_selector_of_old(schema)
}

/// Tells the local type by its expressions, which need values.
fn is_node_selector_of_old(schema: &JSONSchemaProps) -> bool {
    let expressions = schema
        .properties
        .as_ref()
        .and_then(|properties| properties.get("matchExpressions"));
    let Some(JSONSchemaPropsOrArray::Schema(item)) = expressions.and_then(|list| list.items.as_ref()) else {
        return false;
    };
    item.required
        .as_ref()
        .is_some_and(|required| required.iter().any(|name| name == "values"))
}

/// Marks a label selector, a node selector and every list inside as one unit, as core/v1 does.
fn atomic(schema: &mut JSONSchemaProps) {
    if schema.type_.as_deref() == Some("array") {
        schema.x_kubernetes_list_type = Some("atomic".to_owned());
    }
    let keys = schema
        .properties
        .as_ref()
        .map(|properties| properties.keys().map(String::as_str).collect::<Vec<_>>());
    let whole = [
        &["matchExpressions", "matchLabels"][..],
        &["matchExpressions", "matchFields"][..],
        &["nodeSelectorTerms"][..],
    ];
    if keys.is_some_and(|keys| whole.contains(&keys.as_slice())) {
        schema.x_kubernetes_map_type = Some("atomic".to_owned());
    }
    schema
        .properties
        .iter_mut()
        .flatten()
        .for_each(|(_, property)| atomic(property));
    for_each_item(schema, atomic);
}

fn keyed_by_name(schema: &mut JSONSchemaProps) {
    schema.x_kubernetes_list_type = Some("map".to_owned());
    schema.x_kubernetes_list_map_keys = Some(vec!["name".to_owned()]);
}
