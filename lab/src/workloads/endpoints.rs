//! EndpointSlices: which pods are behind a Service.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ObjectReference, Pod, Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Resource, ResourceExt};

use super::deployment::ignore_gone;
use super::pods::{is_ending, is_ready};
use crate::cluster::Cluster;

/// Marks slices that are ours.
const MANAGER: (&str, &str) = ("endpointslice.kubernetes.io/managed-by", "metallb-lab");
/// Names a slice's Service.
pub(crate) const SERVICE_LABEL: &str = "kubernetes.io/service-name";

pub(super) async fn reconcile(cluster: &Cluster) -> kube::Result<()> {
    let services = cluster.services.state();
    for service in &services {
        if let Some(slice) = slice_of(service, &cluster.pods.state()) {
            write(cluster, slice).await?;
        }
    }
    let ours = |slice: &EndpointSlice| {
        slice
            .labels()
            .get(MANAGER.0)
            .is_some_and(|manager| manager == MANAGER.1)
    };
    for slice in cluster.slices.state_filter(ours) {
        let of = |service: &&Arc<Service>| {
            service.namespace() == slice.namespace() && slice.labels().get(SERVICE_LABEL) == Some(&service.name_any())
        };
        if !services.iter().any(|service| of(&service)) {
            ignore_gone(
                api(cluster, &slice)
                    .delete(&slice.name_any(), &DeleteParams::default())
                    .await,
            )?;
        }
    }
    Ok(())
}

fn api(cluster: &Cluster, slice: &EndpointSlice) -> Api<EndpointSlice> {
    Api::namespaced(cluster.client.clone(), &slice.namespace().unwrap_or_default())
}

async fn write(cluster: &Cluster, mut wanted: EndpointSlice) -> kube::Result<()> {
    let reference = ObjectRef::from_obj(&wanted);
    let api = api(cluster, &wanted);
    match cluster.slices.get(&reference) {
        None => ignore_gone(api.create(&PostParams::default(), &wanted).await),
        Some(old) if old.endpoints == wanted.endpoints && old.ports == wanted.ports => Ok(()),
        Some(old) => {
            wanted.metadata.resource_version = old.resource_version();
            ignore_gone(api.replace(&wanted.name_any(), &PostParams::default(), &wanted).await)
        }
    }
}

/// The slice of a Service with a selector.
fn slice_of(service: &Service, pods: &[Arc<Pod>]) -> Option<EndpointSlice> {
    let spec = service.spec.as_ref()?;
    let selector = spec.selector.as_ref().filter(|selector| !selector.is_empty())?;
    if service.metadata.deletion_timestamp.is_some() || spec.type_.as_deref() == Some("ExternalName") {
        return None;
    }
    let mut behind: Vec<&Arc<Pod>> = pods
        .iter()
        .filter(|pod| pod.namespace() == service.namespace())
        .filter(|pod| selector.iter().all(|(key, value)| pod.labels().get(key) == Some(value)))
        .collect();
    behind.sort_by_key(|pod| pod.name_any());
    let ports = spec
        .ports
        .iter()
        .flatten()
        .map(|port| endpoint_port(port, &behind))
        .collect();
    let labels = [(SERVICE_LABEL, service.name_any()), (MANAGER.0, MANAGER.1.into())];
    Some(EndpointSlice {
        metadata: ObjectMeta {
            name: Some(format!("{}-lab", service.name_any())),
            namespace: service.namespace(),
            labels: Some(BTreeMap::from(labels.map(|(key, value)| (key.to_owned(), value)))),
            owner_references: service.controller_owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        address_type: "IPv4".into(),
        endpoints: behind.iter().filter_map(|pod| endpoint(pod)).collect(),
        ports: Some(ports),
    })
}

fn endpoint(pod: &Pod) -> Option<Endpoint> {
    let ip = pod.status.as_ref()?.pod_ip.clone()?;
    let ready = is_ready(pod);
    Some(Endpoint {
        addresses: vec![ip],
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            serving: Some(ready),
            terminating: Some(is_ending(pod)),
        }),
        node_name: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        target_ref: Some(ObjectReference {
            kind: Some("Pod".into()),
            name: pod.metadata.name.clone(),
            namespace: pod.metadata.namespace.clone(),
            uid: pod.metadata.uid.clone(),
            ..ObjectReference::default()
        }),
        ..Endpoint::default()
    })
}

fn endpoint_port(port: &ServicePort, pods: &[&Arc<Pod>]) -> EndpointPort {
    let named = |name: &str| {
        let containers = pods
            .iter()
            .flat_map(|pod| pod.spec.iter().flat_map(|spec| &spec.containers));
        let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
        ports
            .find(|port| port.name.as_deref() == Some(name))
            .map(|port| port.container_port)
    };
    let number = match &port.target_port {
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(name)) => named(name),
        None => Some(port.port),
    };
    EndpointPort {
        name: Some(port.name.clone().unwrap_or_default()),
        port: number,
        protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".into())),
        app_protocol: port.app_protocol.clone(),
    }
}
