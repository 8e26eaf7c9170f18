//! The last word of the user: patches merged into what is deployed.

use k8s_openapi::DeepMerge;
use metallb_api::metallb::Override;
use metallb_config::metallb::overrides::read;
use serde::{Serialize, de::DeserializeOwned};

use crate::{Object, Refusal};

/// Merges the patches into the objects that they name.
///
/// The selector of a workload can never change, and whose object it is stays as it is: those parts of a patch do not
/// count, nor does a patch of an object that is not deployed now, for it may be of another back-end.
pub(crate) fn apply(objects: &mut [Object], overrides: &[Override]) -> Result<(), Refusal> {
    for (place, change) in overrides.iter().enumerate() {
        let named = |object: &&mut Object| object.to_string() == format!("{}/{}", change.kind.name(), change.name);
        if let Some(object) = objects.iter_mut().find(named) {
            merge_into(object, change).map_err(|source| Refusal::Override {
                place,
                object: object.to_string(),
                reason: source.to_string(),
            })?;
        }
    }
    Ok(())
}

fn merge_into(object: &mut Object, change: &Override) -> serde_json::Result<()> {
    match object {
        Object::DaemonSet(it) => {
            let selector = it.spec.as_ref().map(|spec| spec.selector.clone());
            merge(it.as_mut(), change)?;
            if let (Some(spec), Some(selector)) = (it.spec.as_mut(), selector) {
                spec.selector = selector;
            }
        }
        Object::Deployment(it) => {
            let selector = it.spec.as_ref().map(|spec| spec.selector.clone());
            merge(it.as_mut(), change)?;
            if let (Some(spec), Some(selector)) = (it.spec.as_mut(), selector) {
                spec.selector = selector;
            }
        }
        Object::NetworkPolicy(it) => merge(it.as_mut(), change)?,
        Object::PodDisruptionBudget(it) => merge(it.as_mut(), change)?,
        Object::Service(it) => merge(it.as_mut(), change)?,
        Object::ServiceAccount(it) => merge(it.as_mut(), change)?,
        _ => {}
    }
    Ok(())
}

fn merge<K>(object: &mut K, change: &Override) -> serde_json::Result<()>
where
    K: DeepMerge + DeserializeOwned + Serialize,
{
    object.merge_from(read(change)?);
    Ok(())
}
