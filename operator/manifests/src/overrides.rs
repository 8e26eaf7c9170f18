//! The last word of the user: patches merged into what is deployed.

use k8s_openapi::{
    DeepMerge,
    api::{
        apps::v1::{DaemonSet, Deployment},
        core::v1::{Container, PodSpec},
    },
};
use metallb_api::metallb::Override;
use metallb_config::metallb::{overrides::read, privileges};
use serde::{Serialize, de::DeserializeOwned};

use crate::{Object, Refusal};

/// Merges the patches into the objects that they name.
///
/// A patch of an object or container that is not deployed now waits, for it may be of another back-end.
pub(crate) fn apply(objects: &mut [Object], overrides: &[Override]) -> Result<(), Refusal> {
    for (place, change) in overrides.iter().enumerate() {
        let named = |object: &&mut Object| object.to_string() == format!("{}/{}", change.kind.name(), change.name);
        if let Some(object) = objects.iter_mut().find(named) {
            let refused = privileges::refused(change).into_iter().next();
            let outcome = refused.map_or_else(|| merge_into(object, change).map_err(|error| error.to_string()), Err);
            outcome.map_err(|reason| Refusal::Override {
                place,
                object: object.to_string(),
                reason,
            })?;
        }
    }
    Ok(())
}

fn merge_into(object: &mut Object, change: &Override) -> serde_json::Result<()> {
    match object {
        Object::DaemonSet(it) => {
            let mut patch: DaemonSet = read(change)?;
            if let (Some(spec), Some(patch)) = (it.spec.as_ref(), patch.spec.as_mut()) {
                leave_out_others(patch.template.spec.as_mut(), spec.template.spec.as_ref());
            }
            it.as_mut().merge_from(patch);
        }
        Object::Deployment(it) => {
            let mut patch: Deployment = read(change)?;
            if let (Some(spec), Some(patch)) = (it.spec.as_ref(), patch.spec.as_mut()) {
                leave_out_others(patch.template.spec.as_mut(), spec.template.spec.as_ref());
            }
            it.as_mut().merge_from(patch);
        }
        Object::NetworkPolicy(it) => merge(it.as_mut(), change)?,
        Object::PodDisruptionBudget(it) => merge(it.as_mut(), change)?,
        Object::Service(it) => merge(it.as_mut(), change)?,
        Object::ServiceAccount(it) => merge(it.as_mut(), change)?,
        _ => {}
    }
    Ok(())
}

/// Takes out of a patch the containers that a pod does not have: merged, they would be added.
fn leave_out_others(patch: Option<&mut PodSpec>, pod: Option<&PodSpec>) {
    let (Some(patch), Some(pod)) = (patch, pod) else { return };
    let has = |list: &[Container], one: &Container| list.iter().any(|it| it.name == one.name);
    patch.containers.retain(|one| has(&pod.containers, one));
    let inits = pod.init_containers.as_deref().unwrap_or_default();
    if let Some(list) = &mut patch.init_containers {
        list.retain(|one| has(inits, one));
    }
    // An empty list is not the same as none.
    patch.init_containers.take_if(|list| list.is_empty());
}

fn merge<K>(object: &mut K, change: &Override) -> serde_json::Result<()>
where
    K: DeepMerge + DeserializeOwned + Serialize,
{
    object.merge_from(read(change)?);
    Ok(())
}
