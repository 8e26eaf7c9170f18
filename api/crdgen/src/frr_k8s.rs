//! The CustomResourceDefinitions of frr-k8s.
//!
//! They judge what frr-k8s 0.0.25 has fields for, as its own definitions do, and keep what else there is: where a later
//! frr-k8s runs, nothing that it understands is lost.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::CustomResourceExt;
use metallb_api::{BGPSessionState, FRRConfiguration, FRRK8sConfiguration, FRRNodeState};

/// Makes the definitions of frr-k8s, in order of their names. The first is among our own, too.
pub fn frr_k8s_crds() -> Vec<CustomResourceDefinition> {
    let mut others = [FRRConfiguration::crd(), FRRK8sConfiguration::crd(), FRRNodeState::crd()];
    for crd in &mut others {
        crate::finish(crd);
        let schemas = crd
            .spec
            .versions
            .iter_mut()
            .filter_map(|version| version.schema.as_mut());
        schemas
            .filter_map(|schema| schema.open_api_v3_schema.as_mut())
            .for_each(keep_unknown);
    }
    std::iter::once(session_state()).chain(others).collect()
}

/// Lets every object of a schema have other fields, too.
fn keep_unknown(schema: &mut JSONSchemaProps) {
    if schema.type_.as_deref() == Some("object") {
        schema.x_kubernetes_preserve_unknown_fields = Some(true);
    }
    // The API server alone says what metadata has.
    let fields = schema.properties.iter_mut().flatten();
    fields
        .filter(|(name, _)| *name != "metadata")
        .for_each(|(_, field)| keep_unknown(field));
    if let Some(JSONSchemaPropsOrArray::Schema(item)) = &mut schema.items {
        keep_unknown(item);
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the schema of a neighbor is.
    const NEIGHBOR: &str = "/properties/spec/properties/bgp/properties/routers/items/properties/neighbors/items";

    fn schema(kind: &str) -> serde_json::Value {
        let crds = frr_k8s_crds();
        let crd = crds.iter().find(|crd| crd.spec.names.kind == kind).unwrap();
        serde_json::to_value(crd).unwrap()["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
    }

    // FRR-K8s of a later release may have put its own definition there, and objects with its fields.
    #[test]
    fn fields_of_a_later_release_are_kept_at_every_depth() {
        let schema = schema("FRRConfiguration");
        let neighbor = schema.pointer(NEIGHBOR).unwrap();
        for object in [
            &schema,
            &schema["properties"]["spec"],
            neighbor,
            &neighbor["properties"]["toAdvertise"],
        ] {
            assert_eq!(object["x-kubernetes-preserve-unknown-fields"], true, "{object}");
        }
        assert_eq!(
            schema["properties"]["metadata"],
            serde_json::json!({ "type": "object" })
        );
    }

    #[test]
    fn a_neighbor_is_judged_as_by_frr_k8s() {
        let schema = schema("FRRConfiguration");
        let neighbor = &schema.pointer(NEIGHBOR).unwrap()["properties"];
        let wanted = |name: &str, attribute: &str| neighbor[name][attribute].clone();
        assert_eq!(wanted("port", "maximum"), 16_384.0);
        assert_eq!(wanted("port", "format"), serde_json::Value::Null);
        assert_eq!(wanted("asn", "format"), "int64");
        assert_eq!(wanted("localASN", "minimum"), 1.0);
        assert_eq!(wanted("disableMP", "default"), false);
        assert_eq!(
            wanted("dynamicASN", "enum"),
            serde_json::json!(["internal", "external"])
        );
        assert_eq!(
            wanted("connectTime", "x-kubernetes-validations")
                .as_array()
                .unwrap()
                .len(),
            2
        );
        assert_eq!(wanted("passwordSecret", "x-kubernetes-map-type"), "atomic");
        let told = &neighbor["toAdvertise"]["properties"];
        assert_eq!(told["allowed"]["properties"]["mode"]["default"], "filtered");
        assert_eq!(told["withCommunity"]["items"]["properties"]["prefixes"]["minItems"], 1);
        assert_eq!(
            told["withLocalPref"]["items"]["properties"]["localPref"]["format"],
            "int32"
        );
    }

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
