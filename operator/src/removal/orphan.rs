//! `kubectl delete --cascade=orphan`: what is deployed goes on, and nobody looks after it any more.
//!
//! The API server asks for it with a finalizer. The garbage collector takes the owner away from what is deployed, and
//! drops that finalizer after that: whoever comes too late to see it still finds workloads of ours that nobody owns.
//!
//! A pass that is under way meanwhile makes the resource the owner again of what it writes, and the collector would take
//! that for garbage once the resource is gone. So the operator remembers what was asked, and takes the owner away once
//! more before it lets the resource go.

use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use kube::{Api, Client, Resource, ResourceExt, api::DynamicObject, core::ApiResource};
use metallb_api::{MetalLB, names};
use metallb_manifests::MANAGED_BY;

use crate::status::failure::Error;

/// What the API server adds to a resource that is deleted so.
const FINALIZER: &str = "orphan";

/// Tells whether the deletion of the resource is to leave alone what is deployed.
pub(crate) fn is_asked(resource: &MetalLB) -> bool {
    resource.finalizers().iter().any(|it| it == FINALIZER)
}

/// Remembers the resource whose deletion was to leave alone what is deployed, by its UID; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Asked(Arc<Mutex<Option<String>>>);

impl Asked {
    /// Takes in a state of the resource that the watch has reported.
    pub(crate) fn note(&self, resource: &MetalLB) {
        if is_asked(resource) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = resource.uid();
        }
    }

    /// Tells whether that was asked of the resource at any time.
    pub(crate) fn includes(&self, resource: &MetalLB) -> bool {
        let uid = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        uid.is_some() && *uid == resource.uid()
    }
}

/// Tells whether what is deployed was left alone by such a deletion.
pub(crate) async fn is_done(client: &Client, namespace: &str) -> Result<bool, Error> {
    let workloads = [
        (ApiResource::erase::<DaemonSet>(&()), names::SPEAKER),
        (ApiResource::erase::<Deployment>(&()), names::CONTROLLER),
    ];
    for (kind, name) in workloads {
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &kind);
        let found = api.get_metadata_opt(name).await;
        let found = found.map_err(|error| Error::api("get", &format!("{}/{name}", kind.kind), error))?;
        if found.is_some_and(|object| is_left(&object)) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_left(object: &impl ResourceExt) -> bool {
    let owned = object
        .owner_references()
        .iter()
        .any(|owner| owner.kind == MetalLB::kind(&()));
    !owned
        && object
            .labels()
            .get(MANAGED_BY.0)
            .is_some_and(|manager| manager == MANAGED_BY.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn object(owners: &Value, manager: &str) -> DynamicObject {
        let metadata = json!({ "name": "speaker", "labels": { MANAGED_BY.0: manager }, "ownerReferences": owners });
        serde_json::from_value(json!({ "metadata": metadata })).unwrap()
    }

    #[test]
    fn what_nobody_owns_is_left_only_if_we_deployed_it() {
        let owner = json!([{ "apiVersion": "metallb.io/v1beta1", "kind": "MetalLB", "name": "metallb", "uid": "1" }]);
        assert!(is_left(&object(&json!([]), MANAGED_BY.1)));
        assert!(!is_left(&object(&owner, MANAGED_BY.1)));
        assert!(!is_left(&object(&json!([]), "Helm")));
    }
}
