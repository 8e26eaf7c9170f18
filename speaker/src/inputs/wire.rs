//! What is read of the objects of the cluster, and the views that are kept of them.
//!
//! Most Services and EndpointSlices of a cluster have nothing to do with load balancing, every node sees all of them, and
//! Nodes change with every heartbeat: only what a decision depends on is decoded, and only that is kept.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Node, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use metallb_announce::{NodeView, ServiceView};
use metallb_api::names;
use metallb_engine::{ServiceFacts, ServiceKey, Slice};
use metallb_runtime::watch::Key;
use metallb_runtime::watch::wire::{Fields, Metadata, Shape, Wire, lenient};
use serde::Deserialize;
use serde::de::value::{Error, StrDeserializer};
use serde::de::{IntoDeserializer, MapAccess};

use crate::departure::Standing;

/// Key of the password in a Secret.
const PASSWORD: &str = "password";

/// Declares structs of lenient fields.
macro_rules! read {
    ($($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty),* $(,)? })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, Default, Deserialize)]
        #[serde(default, rename_all = "camelCase")]
        pub(super) struct $name {
            $($(#[$field_meta])* #[serde(deserialize_with = "lenient")] $field: $type,)*
        }
        impl Fields for $name {}
    )*};
}

/// Declares which of them are objects.
macro_rules! objects {
    ($($name:ident),*) => {$(
        impl Wire for $name {
            fn metadata(&self) -> &Metadata {
                &self.metadata
            }
        }
    )*};
}

read! {
    Service { metadata: Metadata, spec: ServiceSpec, status: ServiceStatus }
    ServiceSpec {
        #[serde(rename = "type")]
        type_: Option<String>,
        load_balancer_class: Option<String>,
        external_traffic_policy: Option<String>,
    }
    ServiceStatus { load_balancer: LoadBalancer }
    LoadBalancer { ingress: Vec<Ingress> }
    Ingress { ip: Option<String> }

    EndpointSlice { metadata: Metadata, endpoints: Vec<Endpoint> }
    Endpoint { addresses: Vec<Something>, conditions: EndpointConditions, node_name: Option<String> }
    EndpointConditions { ready: Option<bool>, serving: Option<bool> }

    NodeWire { metadata: Metadata, spec: NodeSpec, status: NodeStatus }
    NodeSpec { unschedulable: Option<bool>, taints: Vec<Taint> }
    Taint { key: Option<String> }
    NodeStatus { conditions: Vec<Condition> }
    Condition {
        #[serde(rename = "type")]
        type_: Option<String>,
        status: Option<String>,
    }

    Pod { metadata: Metadata, spec: PodSpec, status: PodStatus }
    PodSpec { node_name: Option<String> }
    PodStatus {
        phase: Option<String>,
        #[serde(rename = "podIP")]
        pod_ip: Option<String>,
        conditions: Vec<Condition>,
    }

    L2Status { metadata: Metadata, status: L2StatusStatus }
    L2StatusStatus {
        node: Option<String>,
        service_name: Option<String>,
        service_namespace: Option<String>,
    }

    SecretWire {
        metadata: Metadata,
        #[serde(rename = "type")]
        type_: Option<String>,
        data: Data,
    }
}
objects!(Service, EndpointSlice, NodeWire, Pod, L2Status, SecretWire);

/// What a Secret holds, in base64; not to be shown.
#[derive(Clone, Default)]
pub(super) struct Data(BTreeMap<String, String>);

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl Shape for Data {
    fn object<'de, A: MapAccess<'de>>(object: A) -> Result<Self, A::Error> {
        Shape::object(object).map(Self)
    }
}

/// A value of which it counts that it is there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Something;

impl Shape for Something {}

/// All Services count: one that is none of ours any more is withdrawn. Labels decide about load balancers only, and
/// most Services are none.
pub(super) fn service(service: Service) -> Option<ServiceFacts> {
    let Service { metadata, spec, status } = service;
    let ingress = status.load_balancer.ingress.iter();
    let load_balancer = spec.type_.as_deref() == Some("LoadBalancer");
    let view = ServiceView {
        load_balancer,
        class: spec.load_balancer_class,
        labels: metadata.labels.iter().filter(|_| load_balancer).collect(),
        ingress: ingress.map(|entry| ServiceView::address(entry.ip.as_deref())).collect(),
        local: spec.external_traffic_policy.as_deref() == Some("Local"),
        shared: ServiceView::is_shared(&metadata.annotations),
    };
    Some(ServiceFacts {
        view,
        uid: metadata.uid,
    })
}

/// A slice without the label of a Service belongs to none.
pub(super) fn slice(mut slice: EndpointSlice) -> Option<Slice> {
    let service = slice.metadata.labels.remove(names::LABEL_SLICE_SERVICE);
    let service = service.filter(|name| !name.is_empty())?;
    let endpoint = |endpoint: Endpoint| metallb_announce::Endpoint {
        addressed: !endpoint.addresses.is_empty(),
        ready: endpoint.conditions.ready,
        serving: endpoint.conditions.serving,
        node: endpoint.node_name,
    };
    let endpoints = slice.endpoints.into_iter().map(endpoint).collect();
    Some(Slice { service, endpoints })
}

/// A Node as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NodeFacts {
    pub(super) view: NodeView,
    /// Whether it is being taken out of service; of the node of this speaker only, so that others may be cordoned and
    /// tainted without a change here.
    pub(super) standing: Option<Standing>,
    /// For selectors.
    pub(super) labels: BTreeMap<String, String>,
}

/// Reads a Node; `own` is the name of that of this speaker.
pub(super) fn node(node: NodeWire, own: &str) -> Option<NodeFacts> {
    let conditions = node.status.conditions.iter();
    let conditions = conditions.filter_map(|own| own.type_.as_deref().zip(own.status.as_deref()));
    let view = NodeView::new(&node.metadata.labels, conditions.clone());
    let standing = (node.metadata.name == own).then(|| {
        let taints = node.spec.taints.iter().filter_map(|taint| taint.key.as_deref());
        let cordoned = node.spec.unschedulable.unwrap_or(false);
        Standing::new(cordoned, &node.metadata.labels, taints, conditions)
    });
    Some(NodeFacts {
        view,
        standing,
        labels: node.metadata.labels,
    })
}

impl NodeFacts {
    /// The Node as the parser of the configuration wants it.
    pub(super) fn object(&self, name: &str) -> Node {
        Node {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                labels: Some(self.labels.clone()),
                ..ObjectMeta::default()
            },
            ..Node::default()
        }
    }
}

/// Where a speaker is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Speaker {
    /// Name of its node.
    pub(super) node: String,
    pub(super) ip: IpAddr,
}

/// A node that has a speaker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// Name of the node.
    pub(super) node: String,
    /// The kubelet finds it ready, and the API server has heard of the kubelet lately.
    pub(super) ready: bool,
}

/// Reads a Pod that may be a speaker: one of the controller with this UID that has not ended, and does not end.
pub(super) fn candidate(pod: Pod, controller: &str) -> Option<Candidate> {
    let is_ours = pod
        .metadata
        .owner_references
        .iter()
        .any(|owner| owner.uid == controller);
    if !is_ours || pod.metadata.deletion_timestamp.is_some() || has_ended(&pod.status) {
        return None;
    }
    let is_true = |own: &Condition| own.type_.as_deref() == Some("Ready") && own.status.as_deref() == Some("True");
    Some(Candidate {
        node: pod.spec.node_name?,
        ready: pod.status.conditions.iter().any(is_true),
    })
}

fn has_ended(status: &PodStatus) -> bool {
    matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"))
}

/// A speaker that has ended, or has no address yet, is nowhere.
pub(super) fn speaker(pod: Pod) -> Option<Speaker> {
    if has_ended(&pod.status) {
        return None;
    }
    let ip = pod.status.pod_ip?.parse().ok()?;
    let node = pod.spec.node_name?;
    Some(Speaker { node, ip })
}

/// Which node has a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) service: ServiceKey,
    pub(super) node: String,
}

/// An object that says nothing yet is nobody's.
pub(super) fn owner(object: L2Status) -> Option<Owner> {
    let L2StatusStatus {
        node,
        service_name,
        service_namespace,
    } = object.status;
    let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
    let (name, namespace) = filled(service_name).zip(filled(service_namespace))?;
    Some(Owner {
        service: ServiceKey { namespace, name },
        node: filled(node)?,
    })
}

/// What is kept of a Secret: its type, to say that it is the wrong one, and of the right type the password.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Password {
    type_: Option<String>,
    /// `None` if there is none; never of a Secret of another type.
    password: Option<ByteString>,
}

/// Tells nothing of the password.
impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Password")
            .field("type_", &self.type_)
            .finish_non_exhaustive()
    }
}

pub(super) fn password(secret: SecretWire) -> Option<Password> {
    let ours = secret.type_.as_deref() == Some(names::BASIC_AUTH);
    let text = secret.data.0.get(PASSWORD).filter(|_| ours);
    let decoded = text.and_then(|text| {
        let text: StrDeserializer<'_, Error> = text.as_str().into_deserializer();
        ByteString::deserialize(text).ok()
    });
    Some(Password {
        type_: secret.type_,
        password: decoded,
    })
}

impl Password {
    /// The Secret as the parser of the configuration wants it.
    pub(super) fn object(&self, key: &Key) -> Secret {
        let password = self.password.clone();
        Secret {
            metadata: ObjectMeta {
                name: Some(key.name.clone()),
                namespace: Some(key.namespace.clone()),
                ..ObjectMeta::default()
            },
            type_: self.type_.clone(),
            data: password.map(|password| [(PASSWORD.to_owned(), password)].into()),
            ..Secret::default()
        }
    }
}

#[cfg(test)]
mod tests;
