//! Deployments: replicas of the present template, replaced one generation after the other.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use super::pods::{Pods, hash_of, is_ending, is_ready, template_hash};
use crate::cluster::now;

pub(super) async fn reconcile(deployment: &Deployment, pods: &mut Pods) -> kube::Result<()> {
    let Some(spec) = deployment
        .spec
        .as_ref()
        .filter(|_| deployment.metadata.deletion_timestamp.is_none())
    else {
        return Ok(());
    };
    let Some(owned) = pods.of(deployment) else {
        return Ok(());
    };
    let hash = template_hash(&spec.template);
    let wanted = usize::try_from(spec.replicas.unwrap_or(1)).unwrap_or_default();
    let alive: Vec<Arc<Pod>> = owned.into_iter().filter(|pod| !is_ending(pod)).collect();
    let (mut fresh, old): (Vec<_>, Vec<_>) = alive.into_iter().partition(|pod| hash_of(pod) == Some(&hash));
    write_status(deployment, pods, &fresh, &old, wanted).await?;

    let recreate = spec.strategy.as_ref().and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate");
    if !recreate || old.is_empty() {
        for _ in fresh.len()..wanted {
            pods.make(deployment, &spec.template, &hash, None).await?;
        }
    }
    // Those that never got ready first, so that the ready ones stay.
    fresh.sort_by_key(|pod| (!is_ready(pod), pod.name_any()));
    let surplus = fresh.iter().skip(wanted);
    let replaced = fresh.iter().take(wanted).filter(|pod| is_ready(pod)).count() >= wanted;
    let outdated = old.iter().filter(|pod| recreate || replaced || !is_ready(pod));
    for pod in surplus.chain(outdated) {
        pods.remove(deployment, pod).await?;
    }
    Ok(())
}

async fn write_status(
    deployment: &Deployment,
    pods: &Pods,
    fresh: &[Arc<Pod>],
    old: &[Arc<Pod>],
    wanted: usize,
) -> kube::Result<()> {
    let before = deployment.status.clone().unwrap_or_default();
    let ready = fresh.iter().chain(old).filter(|pod| is_ready(pod)).count();
    let complete = fresh.iter().filter(|pod| is_ready(pod)).count() >= wanted && old.is_empty();
    let count = |number: usize| i32::try_from(number).ok().filter(|number| *number > 0);
    let progressing = if complete {
        "NewReplicaSetAvailable"
    } else {
        "ReplicaSetUpdated"
    };
    let available = if ready >= wanted {
        "MinimumReplicasAvailable"
    } else {
        "MinimumReplicasUnavailable"
    };
    let status = DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: count(fresh.len() + old.len()),
        updated_replicas: count(fresh.len()),
        ready_replicas: count(ready),
        available_replicas: count(ready),
        unavailable_replicas: count(wanted.saturating_sub(ready)),
        conditions: Some(vec![
            condition("Available", ready >= wanted, available, &before),
            condition("Progressing", true, progressing, &before),
        ]),
        ..DeploymentStatus::default()
    };
    if status == before {
        return Ok(());
    }
    let api: Api<Deployment> =
        Api::namespaced(pods.cluster.client.clone(), &deployment.namespace().unwrap_or_default());
    let patch = Patch::Merge(json!({ "status": explicit(&status) }));
    ignore_gone(
        api.patch_status(&deployment.name_any(), &PatchParams::default(), &patch)
            .await,
    )
}

/// A merge patch keeps what it does not name: name what is gone.
fn explicit(status: &DeploymentStatus) -> serde_json::Value {
    let mut value = json!(status);
    for name in [
        "replicas",
        "updatedReplicas",
        "readyReplicas",
        "availableReplicas",
        "unavailableReplicas",
    ] {
        if value[name].is_null() {
            value[name] = serde_json::Value::Null;
        }
    }
    value
}

fn condition(type_: &str, yes: bool, reason: &str, before: &DeploymentStatus) -> DeploymentCondition {
    let status = if yes { "True" } else { "False" };
    let old = before.conditions.iter().flatten().find(|old| old.type_ == type_);
    let same = old.filter(|old| old.status == status);
    let since = same
        .and_then(|old| old.last_transition_time.clone())
        .unwrap_or_else(now);
    let updated = same
        .filter(|old| old.reason.as_deref() == Some(reason))
        .and_then(|old| old.last_update_time.clone());
    DeploymentCondition {
        type_: type_.into(),
        status: status.into(),
        reason: Some(reason.into()),
        last_transition_time: Some(since),
        last_update_time: Some(updated.unwrap_or_else(now)),
        ..DeploymentCondition::default()
    }
}

/// An object that went away meanwhile needs nothing.
pub(super) fn ignore_gone<T>(result: kube::Result<T>) -> kube::Result<()> {
    match result {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        other => other.map(drop),
    }
}
