//! ReplicaSets: how far each template of a Deployment is rolled out, which is where Helm looks.
//!
//! They are records only: the pods belong to the Deployment.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec, ReplicaSetStatus};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Resource, ResourceExt};
use serde_json::json;

use super::deployment::ignore_gone;
use super::pods::{HASH_LABEL, Pods, is_controlled_by, is_ready};

/// Makes the records of a Deployment true: `pods` are those of its present template, whose hash is given.
pub(super) async fn record(deployment: &Deployment, all: &Pods, hash: &str, pods: &[Arc<Pod>]) -> kube::Result<()> {
    let namespace = deployment.namespace().unwrap_or_default();
    let api: Api<ReplicaSet> = Api::namespaced(all.cluster.client.clone(), &namespace);
    let known = all
        .cluster
        .replica_sets
        .state_filter(|set| is_controlled_by(set, deployment));
    let Some(wanted) = wanted(deployment, hash) else {
        return Ok(());
    };
    let (current, past): (Vec<_>, Vec<_>) = known.into_iter().partition(|set| set.name_any() == wanted.name_any());
    for set in past {
        ignore_gone(api.delete(&set.name_any(), &DeleteParams::default()).await)?;
    }
    let Some(current) = current.first() else {
        return ignore_gone(api.create(&PostParams::default(), &wanted).await);
    };
    let replicas = |set: &ReplicaSet| set.spec.as_ref().and_then(|spec| spec.replicas);
    if replicas(current) != replicas(&wanted) {
        let scale = Patch::Merge(json!({ "spec": { "replicas": replicas(&wanted) } }));
        ignore_gone(api.patch(&wanted.name_any(), &PatchParams::default(), &scale).await)?;
    }
    write_status(&api, current, pods).await
}

fn wanted(deployment: &Deployment, hash: &str) -> Option<ReplicaSet> {
    let spec = deployment.spec.as_ref()?;
    let (mut template, mut selector) = (spec.template.clone(), spec.selector.clone());
    let labels = selector.match_labels.get_or_insert_default();
    labels.insert(HASH_LABEL.to_owned(), hash.to_owned());
    let labels = hashed(&mut template, hash);
    let name = deployment.name_any();
    Some(ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{name}-{hash}")),
            namespace: deployment.namespace(),
            labels: Some(labels),
            owner_references: deployment.controller_owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(spec.replicas.unwrap_or(1)),
            selector,
            template: Some(template),
            ..ReplicaSetSpec::default()
        }),
        status: None,
    })
}

/// Labels the template as its pods are labelled; returns the labels.
fn hashed(template: &mut PodTemplateSpec, hash: &str) -> std::collections::BTreeMap<String, String> {
    let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
    labels.insert(HASH_LABEL.to_owned(), hash.to_owned());
    labels.clone()
}

async fn write_status(api: &Api<ReplicaSet>, set: &ReplicaSet, pods: &[Arc<Pod>]) -> kube::Result<()> {
    let count = |number: usize| i32::try_from(number).ok();
    let ready = count(pods.iter().filter(|pod| is_ready(pod)).count());
    let status = ReplicaSetStatus {
        replicas: count(pods.len()).unwrap_or_default(),
        fully_labeled_replicas: count(pods.len()),
        ready_replicas: ready,
        available_replicas: ready,
        observed_generation: set.metadata.generation,
        ..ReplicaSetStatus::default()
    };
    if set.status.as_ref() == Some(&status) {
        return Ok(());
    }
    let patch = Patch::Merge(json!({ "status": status }));
    ignore_gone(api.patch_status(&set.name_any(), &PatchParams::default(), &patch).await)
}
