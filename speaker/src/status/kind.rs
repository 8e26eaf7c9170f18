use std::fmt::Debug;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::NamespaceResourceScope;
use metallb_api::{ServiceBGPStatus, ServiceBGPStatusStatus, ServiceL2Status, ServiceL2StatusStatus, StatusInterface};
use serde::Serialize;
use serde::de::DeserializeOwned;

use metallb_engine::{ServiceKey, StatusContent};

/// A kind of object that tells who announces a Service.
pub(crate) trait StatusKind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    /// What the object says.
    type Status: Clone + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static;
    /// Start of the generated name.
    const PREFIX: &'static str;
    /// Whether one node at most announces the Service this way.
    const EXCLUSIVE: bool;

    /// Makes an object that says nothing yet.
    fn with(meta: ObjectMeta) -> Self;
    /// What it should say.
    fn says(node: &str, service: &ServiceKey, content: &StatusContent) -> Self::Status;
}

impl StatusKind for ServiceL2Status {
    type Status = ServiceL2StatusStatus;
    const PREFIX: &'static str = "l2-";
    const EXCLUSIVE: bool = true;

    fn with(metadata: ObjectMeta) -> Self {
        Self {
            metadata,
            ..Self::default()
        }
    }

    fn says(node: &str, service: &ServiceKey, content: &StatusContent) -> Self::Status {
        let interfaces = match content {
            StatusContent::Interfaces(names) => names
                .iter()
                .map(|name| StatusInterface { name: name.clone() })
                .collect(),
            StatusContent::Peers(_) => Vec::new(),
        };
        ServiceL2StatusStatus {
            node: node.to_owned(),
            service_name: service.name.clone(),
            service_namespace: service.namespace.clone(),
            interfaces,
        }
    }
}

impl StatusKind for ServiceBGPStatus {
    type Status = ServiceBGPStatusStatus;
    const PREFIX: &'static str = "bgp-";
    const EXCLUSIVE: bool = false;

    fn with(metadata: ObjectMeta) -> Self {
        Self {
            metadata,
            ..Self::default()
        }
    }

    fn says(node: &str, service: &ServiceKey, content: &StatusContent) -> Self::Status {
        let peers = match content {
            StatusContent::Peers(names) => names.to_vec(),
            StatusContent::Interfaces(_) => Vec::new(),
        };
        ServiceBGPStatusStatus {
            node: node.to_owned(),
            service_name: service.name.clone(),
            service_namespace: service.namespace.clone(),
            peers,
        }
    }
}
