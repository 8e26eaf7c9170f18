//! The kinds of frr-k8s, as far as whoever deploys it must know them.
//!
//! Their schemas are frr-k8s's business and change with it: here everything is allowed, and its own webhook judges.

use k8s_openapi::{
    apiextensions_apiserver::pkg::apis::apiextensions::v1::{
        CustomResourceDefinition, CustomResourceDefinitionNames, CustomResourceDefinitionSpec,
        CustomResourceDefinitionVersion, CustomResourceSubresourceStatus, CustomResourceSubresources,
        CustomResourceValidation, JSONSchemaProps,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

const GROUP: &str = "frrk8s.metallb.io";

/// Kind, plural and scope.
const KINDS: [(&str, &str, &str); 4] = [
    ("BGPSessionState", "bgpsessionstates", "Namespaced"),
    ("FRRConfiguration", "frrconfigurations", "Namespaced"),
    ("FRRK8sConfiguration", "frrk8sconfigurations", "Namespaced"),
    ("FRRNodeState", "frrnodestates", "Cluster"),
];

/// Makes the definitions of frr-k8s, in order of their names.
pub fn frr_k8s_crds() -> Vec<CustomResourceDefinition> {
    KINDS
        .into_iter()
        .map(|(kind, plural, scope)| definition(kind, plural, scope))
        .collect()
}

fn definition(kind: &str, plural: &str, scope: &str) -> CustomResourceDefinition {
    CustomResourceDefinition {
        metadata: ObjectMeta {
            name: Some(format!("{plural}.{GROUP}")),
            ..ObjectMeta::default()
        },
        spec: CustomResourceDefinitionSpec {
            group: GROUP.to_owned(),
            names: CustomResourceDefinitionNames {
                kind: kind.to_owned(),
                list_kind: Some(format!("{kind}List")),
                plural: plural.to_owned(),
                singular: Some(kind.to_lowercase()),
                ..CustomResourceDefinitionNames::default()
            },
            scope: scope.to_owned(),
            versions: vec![version(kind)],
            ..CustomResourceDefinitionSpec::default()
        },
        status: None,
    }
}

fn version(kind: &str) -> CustomResourceDefinitionVersion {
    let schema = JSONSchemaProps {
        description: Some(format!("{kind} is a kind of frr-k8s.")),
        type_: Some("object".to_owned()),
        x_kubernetes_preserve_unknown_fields: Some(true),
        ..JSONSchemaProps::default()
    };
    CustomResourceDefinitionVersion {
        name: "v1beta1".to_owned(),
        served: true,
        storage: true,
        schema: Some(CustomResourceValidation {
            open_api_v3_schema: Some(schema),
        }),
        subresources: Some(CustomResourceSubresources {
            status: Some(CustomResourceSubresourceStatus::default()),
            scale: None,
        }),
        ..CustomResourceDefinitionVersion::default()
    }
}
