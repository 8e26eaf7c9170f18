//! The kinds of frr-k8s, as far as whoever deploys it must know them.
//!
//! Their schemas are frr-k8s's business and change with it: here the outermost fields are named, everything else is
//! allowed, and its own webhook judges.

use std::collections::BTreeMap;

use k8s_openapi::{
    apiextensions_apiserver::pkg::apis::apiextensions::v1::{
        CustomResourceDefinition, CustomResourceDefinitionNames, CustomResourceDefinitionSpec,
        CustomResourceDefinitionVersion, CustomResourceSubresourceStatus, CustomResourceSubresources,
        CustomResourceValidation, JSONSchemaProps,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::CustomResourceExt;
use metallb_api::BGPSessionState;

const GROUP: &str = "frrk8s.metallb.io";

/// Name, type and description of a field.
type Field = (&'static str, &'static str, &'static str);

/// A kind of frr-k8s.
struct Kind {
    name: &'static str,
    plural: &'static str,
    scope: &'static str,
    description: &'static str,
    spec: &'static [Field],
    status: &'static [Field],
}

const KINDS: [Kind; 3] = [
    Kind {
        name: "FRRConfiguration",
        plural: "frrconfigurations",
        scope: "Namespaced",
        description: "FRRConfiguration is a part of FRR's configuration on the nodes that it selects.",
        spec: &[
            ("bgp", "object", "Routers, their neighbors, and BFD profiles."),
            ("nodeSelector", "object", "The nodes that it is for; none means all."),
            ("raw", "object", "Configuration in FRR's own words."),
        ],
        status: &[],
    },
    Kind {
        name: "FRRK8sConfiguration",
        plural: "frrk8sconfigurations",
        scope: "Namespaced",
        description: "FRRK8sConfiguration holds settings of frr-k8s itself.",
        spec: &[("logLevel", "string", "How much frr-k8s logs.")],
        status: &[],
    },
    Kind {
        name: "FRRNodeState",
        plural: "frrnodestates",
        scope: "Cluster",
        description: "FRRNodeState tells what FRR on a node runs with.",
        spec: &[],
        status: &[
            (
                "lastConversionResult",
                "string",
                "Whether the resources could be made a configuration.",
            ),
            ("lastReloadResult", "string", "Whether FRR took the configuration."),
            ("runningConfig", "string", "The configuration that FRR runs with."),
        ],
    },
];

/// Makes the definitions of frr-k8s, in order of their names. The first is among our own, too.
pub fn frr_k8s_crds() -> Vec<CustomResourceDefinition> {
    let others = KINDS.iter().map(definition);
    std::iter::once(session_state()).chain(others).collect()
}

/// The kind that our own BGP and frr-k8s share: one has more to say than the other, and each may say what it wants.
pub(crate) fn session_state() -> CustomResourceDefinition {
    let mut crd = BGPSessionState::crd();
    crate::finish(&mut crd);
    let schemas = crd
        .spec
        .versions
        .iter_mut()
        .filter_map(|version| version.schema.as_mut());
    for schema in schemas.filter_map(|schema| schema.open_api_v3_schema.as_mut()) {
        schema
            .properties
            .iter_mut()
            .for_each(|fields| drop(fields.remove("metadata")));
        let parts = schema.properties.iter_mut().flatten();
        let parts = parts.filter(|(name, _)| matches!(name.as_str(), "spec" | "status"));
        for (_, part) in parts {
            part.x_kubernetes_preserve_unknown_fields = Some(true);
            // Nothing is refused that another definition takes.
            let fields = part.properties.iter_mut().flatten();
            fields.for_each(|(_, field)| field.format = None);
        }
        schema.x_kubernetes_preserve_unknown_fields = Some(true);
    }
    crd
}

fn definition(kind: &Kind) -> CustomResourceDefinition {
    CustomResourceDefinition {
        metadata: ObjectMeta {
            name: Some(format!("{}.{GROUP}", kind.plural)),
            ..ObjectMeta::default()
        },
        spec: CustomResourceDefinitionSpec {
            group: GROUP.to_owned(),
            names: CustomResourceDefinitionNames {
                kind: kind.name.to_owned(),
                list_kind: Some(format!("{}List", kind.name)),
                plural: kind.plural.to_owned(),
                singular: Some(kind.name.to_lowercase()),
                ..CustomResourceDefinitionNames::default()
            },
            scope: kind.scope.to_owned(),
            versions: vec![version(kind)],
            ..CustomResourceDefinitionSpec::default()
        },
        status: None,
    }
}

fn version(kind: &Kind) -> CustomResourceDefinitionVersion {
    let parts = [
        ("spec", part("What is wanted.", kind.spec)),
        ("status", part("What is the case.", kind.status)),
    ];
    let schema = open("object", kind.description, parts);
    CustomResourceDefinitionVersion {
        name: "v1beta1".to_owned(),
        served: true,
        storage: true,
        schema: Some(CustomResourceValidation {
            open_api_v3_schema: Some(schema),
        }),
        subresources: Some(CustomResourceSubresources {
            status: Some(CustomResourceSubresourceStatus(serde_json::json!({}))),
            scale: None,
        }),
        ..CustomResourceDefinitionVersion::default()
    }
}

fn part(description: &str, fields: &[Field]) -> JSONSchemaProps {
    let fields = fields
        .iter()
        .map(|(name, type_, description)| (*name, open(type_, description, [])));
    open("object", description, fields)
}

/// A schema that allows other fields, too, if it is of an object.
fn open<'a>(
    type_: &str,
    description: &str,
    fields: impl IntoIterator<Item = (&'a str, JSONSchemaProps)>,
) -> JSONSchemaProps {
    let fields: BTreeMap<_, _> = fields
        .into_iter()
        .map(|(name, field)| (name.to_owned(), field))
        .collect();
    JSONSchemaProps {
        description: Some(description.to_owned()),
        type_: Some(type_.to_owned()),
        properties: (!fields.is_empty()).then_some(fields),
        x_kubernetes_preserve_unknown_fields: (type_ == "object").then_some(true),
        ..JSONSchemaProps::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // FRR-K8s writes its status apart from the spec.
    #[test]
    fn every_definition_has_a_status_apart() {
        for crd in frr_k8s_crds() {
            let crd = serde_json::to_value(crd).unwrap();
            assert!(
                crd["spec"]["versions"][0]["subresources"]["status"].is_object(),
                "{crd}"
            );
        }
    }
}
