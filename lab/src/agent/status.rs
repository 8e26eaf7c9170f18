//! The status of a pod, from what its containers do.

use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, HostIP,
    Pod, PodCondition, PodIP, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use tokio::sync::watch;

use super::Agent;
use crate::cluster::now;

/// What is known of one pod.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observed {
    pub pod_ip: Option<String>,
    pub initialized: bool,
    pub containers: Vec<Progress>,
}

/// What is known of one container.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Progress {
    pub name: String,
    pub image: String,
    pub running_since: Option<Time>,
    pub ready: bool,
    pub restarts: i32,
    /// Why it does not run: reason and message.
    pub waiting: Option<(String, String)>,
    pub last_exit: Option<(i32, Time)>,
}

/// Writes the status whenever it changed, until the sender is dropped.
pub(crate) async fn report(agent: &Agent, pod: &Pod, mut observed: watch::Receiver<Observed>) {
    let api: Api<Pod> = Api::namespaced(
        agent.shared.cluster.client.clone(),
        &pod.namespace().unwrap_or_default(),
    );
    let mut written = pod.status.clone().unwrap_or_default();
    loop {
        let wanted = compose(
            pod,
            &observed.borrow_and_update(),
            &agent.net.address.to_string(),
            &written,
        );
        if wanted != written {
            let patch = json!({ "metadata": { "uid": pod.uid() }, "status": wanted });
            match api
                .patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(patch))
                .await
            {
                Ok(_) => written = wanted,
                Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => return,
                Err(error) => {
                    tracing::debug!(pod = pod.name_any(), %error, "cannot write the status");
                    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                    continue;
                }
            }
        }
        if observed.changed().await.is_err() {
            return;
        }
    }
}

fn compose(pod: &Pod, observed: &Observed, host_ip: &str, before: &PodStatus) -> PodStatus {
    let running = observed
        .containers
        .iter()
        .all(|container| container.running_since.is_some());
    let started = observed.initialized
        && observed
            .containers
            .iter()
            .all(|container| container.running_since.is_some() || container.restarts > 0);
    let ready = observed.initialized && running && observed.containers.iter().all(|container| container.ready);
    let conditions = [
        ("PodScheduled", true),
        ("Initialized", observed.initialized),
        ("ContainersReady", ready),
        ("Ready", ready),
    ];
    PodStatus {
        phase: Some(
            if started || before.phase.as_deref() == Some("Running") {
                "Running"
            } else {
                "Pending"
            }
            .into(),
        ),
        conditions: Some(
            conditions
                .into_iter()
                .map(|(type_, yes)| condition(type_, yes, before))
                .collect(),
        ),
        host_ip: Some(host_ip.into()),
        host_ips: Some(vec![HostIP { ip: host_ip.into() }]),
        pod_ip: observed.pod_ip.clone(),
        pod_ips: observed.pod_ip.clone().map(|ip| vec![PodIP { ip }]),
        start_time: before.start_time.clone().or_else(|| Some(now())),
        container_statuses: Some(
            observed
                .containers
                .iter()
                .map(|container| one(pod, container))
                .collect(),
        ),
        // A real API server knows it from the resources, and lets nobody change it.
        qos_class: before.qos_class.clone().or_else(|| Some("BestEffort".into())),
        ..PodStatus::default()
    }
}

fn condition(type_: &str, yes: bool, before: &PodStatus) -> PodCondition {
    let status = if yes { "True" } else { "False" };
    let old = before
        .conditions
        .iter()
        .flatten()
        .find(|old| old.type_ == type_ && old.status == status);
    let since = old.and_then(|old| old.last_transition_time.clone()).unwrap_or_else(now);
    PodCondition {
        type_: type_.into(),
        status: status.into(),
        last_transition_time: Some(since),
        reason: (!yes).then(|| "ContainersNotReady".into()),
        ..PodCondition::default()
    }
}

fn one(pod: &Pod, container: &Progress) -> ContainerStatus {
    let state = match (&container.running_since, &container.waiting) {
        (Some(since), _) => ContainerState {
            running: Some(ContainerStateRunning {
                started_at: Some(since.clone()),
            }),
            ..ContainerState::default()
        },
        (None, waiting) => {
            let (reason, message) = waiting
                .clone()
                .unwrap_or_else(|| ("ContainerCreating".into(), String::new()));
            let message = Some(message).filter(|message| !message.is_empty());
            ContainerState {
                waiting: Some(ContainerStateWaiting {
                    reason: Some(reason),
                    message,
                }),
                ..ContainerState::default()
            }
        }
    };
    let last_state = container.last_exit.clone().map(|(exit_code, at)| ContainerState {
        terminated: Some(ContainerStateTerminated {
            exit_code,
            finished_at: Some(at),
            reason: Some(if exit_code == 0 { "Completed" } else { "Error" }.into()),
            ..ContainerStateTerminated::default()
        }),
        ..ContainerState::default()
    });
    ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone(),
        image_id: container.image.clone(),
        container_id: Some(format!("lab://{}/{}", pod.uid().unwrap_or_default(), container.name)),
        ready: container.ready,
        started: Some(container.running_since.is_some()),
        restart_count: container.restarts,
        state: Some(state),
        last_state,
        ..ContainerStatus::default()
    }
}
