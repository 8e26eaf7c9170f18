//! One Kubernetes object of any kind that we deploy.

use std::{collections::BTreeMap, fmt};

use k8s_openapi::{
    api::{
        admissionregistration::v1::ValidatingWebhookConfiguration,
        apps::v1::{DaemonSet, Deployment},
        core::v1::{ConfigMap, Namespace, Secret, Service, ServiceAccount},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
        rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::core::{ApiResource, Resource};
use metallb_api::names;
use serde::Serialize;

use crate::{Custom, MANAGED_BY};

/// Declares the enum and what differs by kind.
macro_rules! objects {
    ($($kind:ident $scope:ident),+ $(,)?) => {
        /// One Kubernetes object.
        #[derive(Clone, Debug, PartialEq, Serialize)]
        #[serde(untagged)]
        pub enum Object {
            $(#[doc = concat!("A ", stringify!($kind), ".")] $kind(Box<$kind>),)+
            /// An object of a kind that only some clusters know.
            Custom(Box<Custom>),
        }

        $(impl From<$kind> for Object {
            fn from(object: $kind) -> Self {
                Self::$kind(Box::new(object))
            }
        })+

        impl Object {
            /// Tells group, version, kind and plural.
            pub fn api_resource(&self) -> ApiResource {
                match self {
                    $(Self::$kind(_) => ApiResource::erase::<$kind>(&()),)+
                    Self::Custom(object) => object.api_resource().clone(),
                }
            }

            /// Tells whether the object lives in a namespace.
            pub fn is_namespaced(&self) -> bool {
                match self {
                    $(Self::$kind(_) => objects!(@namespaced $scope),)+
                    Self::Custom(object) => object.is_namespaced(),
                }
            }

            /// Gives the metadata.
            pub fn metadata(&self) -> &ObjectMeta {
                match self {
                    $(Self::$kind(object) => &object.metadata,)+
                    Self::Custom(object) => &object.object.metadata,
                }
            }

            /// Gives the metadata for changing.
            pub fn metadata_mut(&mut self) -> &mut ObjectMeta {
                match self {
                    $(Self::$kind(object) => object.meta_mut(),)+
                    Self::Custom(object) => &mut object.object.metadata,
                }
            }
        }
    };
    (@namespaced namespaced) => { true };
    (@namespaced cluster) => { false };
}

objects! {
    ClusterRole cluster,
    ClusterRoleBinding cluster,
    ConfigMap namespaced,
    DaemonSet namespaced,
    Deployment namespaced,
    Namespace cluster,
    NetworkPolicy namespaced,
    PodDisruptionBudget namespaced,
    Role namespaced,
    RoleBinding namespaced,
    Secret namespaced,
    Service namespaced,
    ServiceAccount namespaced,
    ValidatingWebhookConfiguration cluster,
}

impl From<Custom> for Object {
    fn from(object: Custom) -> Self {
        Self::Custom(Box::new(object))
    }
}

impl Object {
    /// Gives the name.
    pub fn name(&self) -> &str {
        self.metadata().name.as_deref().unwrap_or_default()
    }

    /// Puts the object into the namespace, if it lives in one, and marks it as deployed by the operator.
    pub(crate) fn manage(&mut self, namespace: &str) {
        if self.is_namespaced() {
            self.metadata_mut().namespace = Some(namespace.to_owned());
        }
        let labels = self.metadata_mut().labels.get_or_insert_default();
        labels.insert(names::LABEL_APP.to_owned(), names::APP.to_owned());
        labels.insert(MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned());
    }

    /// Tells whether the object vanishes with the MetalLB resource.
    ///
    /// ServiceAccounts stay: the webhook server, which outlives every MetalLB resource, runs as one of them.
    /// Cluster-scoped objects cannot have an owner in a namespace.
    pub fn is_owned(&self) -> bool {
        self.is_namespaced() && !matches!(self, Self::ServiceAccount(_))
    }

    /// Makes the object vanish with its owner, where that is right.
    pub fn own(&mut self, owner: OwnerReference) {
        if self.is_owned() {
            self.metadata_mut().owner_references = Some(vec![owner]);
        }
    }

    /// Makes the object vanish with our namespace, if it does not live in one: a webhook must not outlive its server.
    pub fn end_with(&mut self, namespace: OwnerReference) {
        if !self.is_namespaced() {
            self.metadata_mut().owner_references = Some(vec![namespace]);
        }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.api_resource().kind, self.name())
    }
}

/// Makes metadata of a name and labels.
pub(crate) fn meta(name: &str, labels: BTreeMap<String, String>) -> ObjectMeta {
    let labels = (!labels.is_empty()).then_some(labels);
    ObjectMeta {
        name: Some(name.to_owned()),
        labels,
        ..ObjectMeta::default()
    }
}
