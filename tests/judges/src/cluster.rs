//! What speakers find in a cluster in which no controllers run.

use std::net::Ipv4Addr;

use anyhow::Result;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use metallb_test_support::apply;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Where MetalLB is.
pub const NAMESPACE: &str = "metallb-system";
/// The labels of speakers, as `--ml-labels` wants them.
pub const SPEAKERS: &str = "app=metallb,component=speaker";
const CRDS: &str = include_str!("../../../manifests/crds.yaml");

/// Makes the kinds and the namespace.
///
/// # Errors
/// When the API server refuses.
pub async fn prepare(client: &Client) -> Result<()> {
    apply(client, CRDS).await?;
    create::<Namespace>(&Api::all(client.clone()), json!({ "metadata": { "name": NAMESPACE } })).await
}

/// Makes a node, and on it the pod of a speaker, both with that address.
///
/// # Errors
/// When the API server refuses.
pub async fn add_speaker(client: &Client, node: &str, pod: &str, address: Ipv4Addr) -> Result<()> {
    let object = json!({
        "metadata": { "name": node, "labels": { "kubernetes.io/hostname": node } },
        "status": {
            "addresses": [{ "type": "InternalIP", "address": address }],
            "conditions": [{ "type": "Ready", "status": "True" }],
        },
    });
    create::<Node>(&Api::all(client.clone()), object).await?;
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let object = json!({
        "metadata": { "name": pod, "labels": { "app": "metallb", "component": "speaker" } },
        "spec": { "nodeName": node, "containers": [{ "name": "speaker", "image": "none" }] },
    });
    create(&pods, object).await?;
    let status = json!({ "status": {
        "phase": "Running", "podIP": address, "podIPs": [{ "ip": address }],
        "conditions": [{ "type": "Ready", "status": "True" }],
    }});
    let status = Patch::Merge(status);
    Ok(pods
        .patch_status(pod, &PatchParams::default(), &status)
        .await
        .map(drop)?)
}

/// Makes a Service with an address and an endpoint on `node`.
///
/// # Errors
/// When the API server refuses.
pub async fn add_service(client: &Client, name: &str, address: Ipv4Addr, node: &str) -> Result<()> {
    let services: Api<Service> = Api::default_namespaced(client.clone());
    let service = json!({
        "metadata": { "name": name },
        "spec": {
            "type": "LoadBalancer", "allocateLoadBalancerNodePorts": false, "selector": { "app": name },
            "ports": [{ "port": 80 }],
        },
    });
    create(&services, service).await?;
    let slice = json!({
        "metadata": { "name": name, "labels": { "kubernetes.io/service-name": name } },
        "addressType": "IPv4",
        "ports": [{ "port": 80, "protocol": "TCP" }],
        "endpoints": [{ "addresses": ["10.244.0.2"], "nodeName": node, "conditions": { "ready": true } }],
    });
    create::<EndpointSlice>(&Api::default_namespaced(client.clone()), slice).await?;
    let status = json!({ "status": { "loadBalancer": { "ingress": [{ "ip": address, "ipMode": "VIP" }] } } });
    let status = Patch::Merge(status);
    Ok(services
        .patch_status(name, &PatchParams::default(), &status)
        .await
        .map(drop)?)
}

/// Makes an object.
///
/// # Errors
/// When the API server refuses.
pub async fn create<K>(api: &Api<K>, object: Value) -> Result<()>
where
    K: kube::Resource + Clone + std::fmt::Debug + DeserializeOwned + serde::Serialize,
{
    let object: K = serde_json::from_value(object)?;
    Ok(api.create(&PostParams::default(), &object).await.map(drop)?)
}
