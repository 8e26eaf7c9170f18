//! Objects of kinds that only some clusters know.

use kube::core::{ApiResource, DynamicObject, GroupVersionKind, ObjectMeta, TypeMeta};
use serde::{Serialize, Serializer};
use serde_json::Value;

/// An object of a kind that k8s-openapi has no type for.
#[derive(Clone, Debug, PartialEq)]
pub struct Custom {
    resource: ApiResource,
    namespaced: bool,
    /// The object.
    pub object: DynamicObject,
}

/// A kind that k8s-openapi has no type for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) namespaced: bool,
}

impl Custom {
    /// Makes an object; `body` holds all but `apiVersion`, `kind` and `metadata`.
    pub(crate) fn new(kind: Kind, metadata: ObjectMeta, body: Value) -> Self {
        let gvk = GroupVersionKind::gvk(kind.group, kind.version, kind.kind);
        let resource = ApiResource::from_gvk_with_plural(&gvk, kind.plural);
        let types = TypeMeta {
            api_version: resource.api_version.clone(),
            kind: resource.kind.clone(),
        };
        Self {
            resource,
            namespaced: kind.namespaced,
            object: DynamicObject {
                types: Some(types),
                metadata,
                data: body,
            },
        }
    }

    /// Tells group, version, kind and plural.
    pub fn api_resource(&self) -> &ApiResource {
        &self.resource
    }

    /// Tells whether the object lives in a namespace.
    pub const fn is_namespaced(&self) -> bool {
        self.namespaced
    }
}

impl Serialize for Custom {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.object.serialize(serializer)
    }
}
