//! A deletion waits for us, but only while we are there.
//!
//! The finalizer is taken when an operator begins to serve the resource, and given back when that operator ends: no
//! deletion ever waits for an operator that was uninstalled, or for one of upstream's, which does not know it.

use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
};
use metallb_api::MetalLB;
use serde_json::json;
use tracing::debug;

use crate::status::failure::Error;

/// The finalizer.
pub(crate) const FINALIZER: &str = "metallb.io/ordered-teardown";

/// Makes the deletion of the resource wait, unless it does already or is under way.
///
/// Rights that an older installation does not give are no reason to fail.
pub(crate) async fn hold(client: &Client, resource: &MetalLB) -> Result<(), Error> {
    if resource.meta().deletion_timestamp.is_some() || is_held(resource) {
        return Ok(());
    }
    let mut all = resource.finalizers().to_vec();
    all.push(FINALIZER.to_owned());
    match write(client, resource, &all).await {
        Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404 | 409) => {
            debug!(event = "finalizerNotHeld", error = status.message);
            Ok(())
        }
        result => result.map_err(|error| Error::api("hold", "the deletion of MetalLB/metallb", error)),
    }
}

/// Tells whether the deletion of the resource waits for us.
pub(crate) fn is_held(resource: &MetalLB) -> bool {
    resource.finalizers().iter().any(|it| it == FINALIZER)
}

/// Lets the deletion of the resource go on, as far as we are concerned.
pub(crate) async fn release(client: &Client, resource: &MetalLB) -> Result<(), Error> {
    let mut all = resource.finalizers().to_vec();
    let count = all.len();
    all.retain(|it| it != FINALIZER);
    if all.len() == count {
        return Ok(());
    }
    match write(client, resource, &all).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        result => result.map_err(|error| Error::api("release", "the deletion of MetalLB/metallb", error)),
    }
}

/// Gives the finalizer back at the end of the process, whatever the resource looks like by now.
pub(crate) async fn give_back(client: &Client, namespace: &str, name: &str) -> Result<(), Error> {
    let api: Api<MetalLB> = Api::namespaced(client.clone(), namespace);
    for _ in 0..3 {
        let found = api.get_opt(name).await;
        let Ok(Some(resource)) = found.map_err(|error| debug!(event = "finalizerKept", %error)) else {
            return Ok(());
        };
        match release(client, &resource).await {
            // It changed meanwhile.
            Err(error) if error.is_passing() => {}
            result => return result,
        }
    }
    Ok(())
}

async fn write(client: &Client, resource: &MetalLB, all: &[String]) -> Result<(), kube::Error> {
    let namespace = resource.namespace().unwrap_or_default();
    let api: Api<MetalLB> = Api::namespaced(client.clone(), &namespace);
    let body = json!({ "metadata": { "finalizers": all, "resourceVersion": resource.resource_version() } });
    let params = PatchParams::default();
    api.patch_metadata(&resource.name_any(), &params, &Patch::Merge(body))
        .await
        .map(drop)
}
