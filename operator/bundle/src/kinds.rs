//! The owned kinds in the ClusterServiceVersion: one entry for each version of each definition.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionVersion,
};
use serde_json::{Value, json};

use crate::descriptors::{self, words};

/// What is made, or changed, on behalf of a kind.
fn resources(kind: &str) -> Vec<Value> {
    let list: &[(&str, &str)] = match kind {
        "MetalLB" => &[
            ("Deployment", "apps/v1"),
            ("DaemonSet", "apps/v1"),
            ("ConfigMap", "v1"),
            ("Service", "v1"),
            ("Pod", "v1"),
        ],
        "AddressPool" | "IPAddressPool" => &[("Service", "v1")],
        "L2Advertisement" => &[("Service", "v1"), ("ServiceL2Status", "metallb.io/v1beta1")],
        "BGPAdvertisement" => &[("Service", "v1"), ("ServiceBGPStatus", "metallb.io/v1beta1")],
        "BGPPeer" => &[("Secret", "v1"), ("ServiceBGPStatus", "metallb.io/v1beta1")],
        "BFDProfile" => &[("BGPPeer", "metallb.io/v1beta2")],
        "Community" => &[("BGPAdvertisement", "metallb.io/v1beta1")],
        "ConfigurationState" => &[("Pod", "v1")],
        // Of the back-end frr-k8s.
        "FRRConfiguration" | "FRRNodeState" | "BGPSessionState" | "FRRK8sConfiguration" => &[("DaemonSet", "apps/v1")],
        _ => &[("Service", "v1")],
    };
    let entry = |(kind, version): &(&str, &str)| json!({ "kind": kind, "name": "", "version": version });
    list.iter().map(entry).collect()
}

/// Lists the owned kinds, in order of their names and versions.
pub(crate) fn owned(crds: &[CustomResourceDefinition]) -> Vec<Value> {
    let all = crds
        .iter()
        .flat_map(|crd| crd.spec.versions.iter().map(move |version| entry(crd, version)));
    all.collect()
}

fn entry(crd: &CustomResourceDefinition, version: &CustomResourceDefinitionVersion) -> Value {
    let kind = &crd.spec.names.kind;
    let schema = version
        .schema
        .as_ref()
        .and_then(|schema| schema.open_api_v3_schema.as_ref());
    let property = |name: &str| schema.and_then(|schema| schema.properties.as_ref()?.get(name));
    let description = schema.and_then(|schema| schema.description.as_deref()).unwrap_or(kind);
    let deprecated = version.deprecated == Some(true);
    json!({
        "name": crd.metadata.name,
        "kind": kind,
        "version": version.name,
        "displayName": if deprecated { format!("{} ({}, deprecated)", words(kind), version.name) } else { words(kind) },
        "description": descriptors::one_line(description),
        "resources": resources(kind),
        "specDescriptors": descriptors::list(property("spec")),
        "statusDescriptors": descriptors::list(property("status")),
    })
}
