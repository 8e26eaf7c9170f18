//! The fields of the MetalLB resource, for people.

use std::fmt::Write;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

const HEAD: &str = "\
# The MetalLB resource

Everything that the resource `metallb` in the operator's namespace can say. All fields are optional; one without any
deploys MetalLB with its defaults. Written by `.ci/generate` from the types. What is refused, and why, is in
[validation.md](validation.md#metallb).

A field that upstream's operator does not know is marked with +. Remove those before going back to upstream: its
definition drops what it does not know.

What is said here comes before what the operator's environment says. What no field can say goes into `overrides`.

| Field | Type | Meaning |
|---|---|---|
";

/// Types of Kubernetes, whose fields its own documentation lists.
const KUBERNETES: [(&str, &str); 4] = [
    ("affinity", "Affinity"),
    ("resources", "ResourceRequirements"),
    ("Tolerations", "list of Toleration"),
    ("topologySpreadConstraints", "list of TopologySpreadConstraint"),
];

/// The fields of upstream.
const UPSTREAM: [&str; 13] = [
    "bgpBackend",
    "controllerConfig",
    "controllerNodeSelector",
    "controllerTolerations",
    "frrk8sConfig",
    "image",
    "loadBalancerClass",
    "logLevel",
    "nodeSelector",
    "speakerConfig",
    "speakerTolerations",
    "frrk8sConfig.alwaysBlock",
    "frrk8sConfig.namespace",
];
const UPSTREAM_BELOW: [&str; 6] = [
    "priorityClassName",
    "runtimeClassName",
    "affinity",
    "annotations",
    "resources",
    "secretPassthrough",
];

/// Writes the reference.
pub fn reference() -> String {
    let crds = crate::crds();
    let metallb = crds.iter().find(|crd| crd.spec.names.kind == "MetalLB");
    let schema = metallb
        .and_then(|crd| crd.spec.versions.first())
        .and_then(|version| version.schema.as_ref())
        .and_then(|schema| schema.open_api_v3_schema.as_ref())
        .and_then(|root| root.properties.as_ref())
        .and_then(|properties| properties.get("spec"))
        .expect("MetalLB has a spec");
    let mut text = HEAD.to_owned();
    fields("", schema, &mut text);
    text
}

fn fields(path: &str, schema: &JSONSchemaProps, text: &mut String) {
    for (name, field) in schema.properties.iter().flatten() {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        let kubernetes = KUBERNETES.iter().find(|(suffix, _)| name.ends_with(suffix));
        let type_ = kubernetes.map_or_else(|| type_of(field), |(_, type_)| (*type_).to_owned());
        let description = field.description.as_deref().unwrap_or_default().replace('\n', " ");
        let mark = if is_upstreams(&path) { "" } else { " +" };
        let _ = writeln!(
            text,
            "| `{path}`{mark} | {type_} | {} |",
            description.replace('|', "\\|")
        );
        if kubernetes.is_none() {
            fields(&path, field, text);
            if let Some(JSONSchemaPropsOrArray::Schema(item)) = &field.items {
                fields(&format!("{path}[]"), item, text);
            }
        }
    }
}

fn is_upstreams(path: &str) -> bool {
    let below = ["controllerConfig.", "speakerConfig.", "frrk8sConfig."];
    let last = path.rsplit('.').next().unwrap_or_default();
    UPSTREAM.contains(&path)
        || (below.iter().any(|part| path.starts_with(part))
            && path.matches('.').count() == 1
            && UPSTREAM_BELOW.contains(&last))
}

fn type_of(schema: &JSONSchemaProps) -> String {
    if let Some(values) = &schema.enum_ {
        let values: Vec<_> = values.iter().filter_map(|value| value.0.as_str()).collect();
        return values.join(", ");
    }
    if schema.x_kubernetes_int_or_string == Some(true) {
        return "number or percentage".to_owned();
    }
    match (&schema.items, &schema.additional_properties) {
        (Some(JSONSchemaPropsOrArray::Schema(item)), _) => format!("list of {}", type_of(item)),
        (_, Some(JSONSchemaPropsOrBool::Schema(value))) => format!("map of {}", type_of(value)),
        _ => plain(schema),
    }
}

fn plain(schema: &JSONSchemaProps) -> String {
    let type_ = schema.type_.clone().unwrap_or_default();
    match (schema.minimum, schema.maximum) {
        (Some(min), Some(max)) => format!("{type_} {min}–{max}"),
        _ => type_,
    }
}
