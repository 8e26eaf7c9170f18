//! Why pods do not run: what a person would look for with `kubectl describe`.

use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};
use kube::{Api, Client, ResourceExt, api::ListParams};
use tracing::debug;

use crate::status::workload::Workload;

/// How much of one cause is told.
const CAUSE_LIMIT: usize = 400;

/// Something that keeps a pod from running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Blocker {
    /// The reason for a condition; none if waiting may well help.
    pub(crate) reason: Option<&'static str>,
    /// What and why, for people.
    pub(crate) message: String,
}

/// Looks for what keeps incomplete workloads from running. What cannot be asked is left out.
pub(crate) async fn blockers(client: &Client, namespace: &str, workloads: &[Workload]) -> Vec<Blocker> {
    let mut found = Vec::new();
    for workload in workloads.iter().filter(|workload| !workload.is_complete()) {
        let pods = pods(client, namespace, &workload.pods).await;
        found.extend(of_pods(&pods));
        // Events outlive their cause, so they count only while pods are missing.
        if workload.lacks_pods() {
            let events = events(client, namespace, workload).await;
            found.extend(of_events(&workload.title(), &events));
        }
    }
    found
}

async fn pods(client: &Client, namespace: &str, labels: &str) -> Vec<Pod> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    // A few tell as much as all.
    let chosen = ListParams::default().labels(labels).limit(50);
    let listed = api.list(&chosen).await;
    listed.map_or_else(
        |error| {
            debug!(event = "podsNotListed", %error);
            Vec::new()
        },
        |list| list.items,
    )
}

async fn events(client: &Client, namespace: &str, workload: &Workload) -> Vec<Event> {
    let api: Api<Event> = Api::namespaced(client.clone(), namespace);
    // Pods of a Deployment are made by its ReplicaSets, whose names begin with its own.
    let fields = match workload.kind() {
        "DaemonSet" => format!(
            "reason=FailedCreate,involvedObject.kind=DaemonSet,involvedObject.name={}",
            workload.name()
        ),
        _ => "reason=FailedCreate,involvedObject.kind=ReplicaSet".to_owned(),
    };
    let listed = api.list(&ListParams::default().fields(&fields).limit(100)).await;
    let mut events = listed.map_or_else(
        |error| {
            debug!(event = "eventsNotListed", %error);
            Vec::new()
        },
        |list| list.items,
    );
    events.retain(|event| {
        let name = event.involved_object.name.as_deref().unwrap_or_default();
        name == workload.name() || name.starts_with(&format!("{}-", workload.name()))
    });
    events
}

/// Judges pods; each cause is told once, with one pod as the example.
fn of_pods(pods: &[Pod]) -> Vec<Blocker> {
    let mut found: Vec<Blocker> = Vec::new();
    let mut seen = Vec::new();
    for pod in pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()) {
        let containers = containers(pod).filter_map(|status| waiting(pod, status));
        for (kind, blocker) in containers.chain(unscheduled(pod)) {
            if !seen.contains(&kind) {
                seen.push(kind);
                found.push(blocker);
            }
        }
    }
    found
}

fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.as_ref();
    let init = status.and_then(|status| status.init_container_statuses.as_ref());
    let main = status.and_then(|status| status.container_statuses.as_ref());
    init.into_iter().chain(main).flatten()
}

fn waiting(pod: &Pod, status: &ContainerStatus) -> Option<(String, Blocker)> {
    let waiting = status.state.as_ref()?.waiting.as_ref()?;
    let cause = waiting.reason.as_deref()?;
    let reason = match cause {
        "ImagePullBackOff" | "ErrImagePull" | "InvalidImageName" | "ErrImageNeverPull" => "ImagePullFailed",
        "CrashLoopBackOff" => "PodsCrash",
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => "ContainersNotCreated",
        _ => return None,
    };
    let said = shortened(waiting.message.as_deref().unwrap_or_default());
    let message = format!("pod {}, container {}: {cause}: {said}", pod.name_any(), status.name);
    let reason = Some(reason);
    Some((format!("{cause}/{}", status.name), Blocker { reason, message }))
}

fn unscheduled(pod: &Pod) -> Option<(String, Blocker)> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let refused = conditions.iter().find(|it| {
        it.type_ == "PodScheduled" && it.status == "False" && it.reason.as_deref() == Some("Unschedulable")
    })?;
    let said = shortened(refused.message.as_deref().unwrap_or_default());
    let message = format!("pod {} fits no node: {said}", pod.name_any());
    Some(("Unschedulable".to_owned(), Blocker { reason: None, message }))
}

/// Judges why pods were not even created; the newest event tells.
fn of_events(title: &str, events: &[Event]) -> Option<Blocker> {
    let newest = events.iter().max_by_key(|event| time(event))?;
    let said = newest.message.as_deref().unwrap_or_default();
    let reason = if said.contains("exceeded quota") {
        "QuotaExceeded"
    } else {
        // Pod Security is the usual cause, where the namespace is not labelled privileged.
        "PodsRefused"
    };
    Some(Blocker {
        reason: Some(reason),
        message: format!("{title}: {}", shortened(said)),
    })
}

fn time(event: &Event) -> Option<k8s_openapi::jiff::Timestamp> {
    let series = event
        .series
        .as_ref()
        .and_then(|series| series.last_observed_time.as_ref());
    let times = [
        series.map(|time| time.0),
        event.last_timestamp.as_ref().map(|time| time.0),
        event.event_time.as_ref().map(|time| time.0),
    ];
    times.into_iter().flatten().max()
}

fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(CAUSE_LIMIT)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(name: &str, status: &Value) -> Pod {
        serde_json::from_value(json!({ "metadata": { "name": name }, "status": status })).unwrap()
    }

    fn pulling(name: &str, reason: &str) -> Pod {
        let state = json!({ "waiting": { "reason": reason, "message": "no such image" } });
        let container = json!({ "name": "speaker", "image": "x", "imageID": "", "ready": false, "restartCount": 0, "state": state });
        pod(name, &json!({ "containerStatuses": [container] }))
    }

    // OP-40
    #[test]
    fn one_cause_is_told_once() {
        let found = of_pods(&[pulling("a", "ImagePullBackOff"), pulling("b", "ImagePullBackOff")]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].reason, Some("ImagePullFailed"));
        assert_eq!(
            found[0].message,
            "pod a, container speaker: ImagePullBackOff: no such image"
        );
    }

    #[test]
    fn starting_is_no_trouble() {
        assert_eq!(
            of_pods(&[pulling("a", "ContainerCreating"), pulling("b", "PodInitializing")]),
            []
        );
    }

    #[test]
    fn a_pod_that_fits_no_node_is_told_and_may_be_waited_for() {
        let condition =
            json!({ "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes" });
        let found = of_pods(&[pod("a", &json!({ "conditions": [condition] }))]);
        assert_eq!(found[0].reason, None);
        assert!(found[0].message.contains("0/3 nodes"));
    }

    #[test]
    fn quotas_and_pod_security_are_told_apart() {
        let event = |message: &str| -> Event {
            serde_json::from_value(json!({ "metadata": {}, "involvedObject": {}, "message": message })).unwrap()
        };
        let reason = |message: &str| of_events("DaemonSet speaker", &[event(message)]).unwrap().reason;
        assert_eq!(
            reason("pods \"x\" is forbidden: exceeded quota: few"),
            Some("QuotaExceeded")
        );
        assert_eq!(
            reason("pods \"x\" is forbidden: violates PodSecurity"),
            Some("PodsRefused")
        );
        assert_eq!(of_events("DaemonSet speaker", &[]), None);
    }
}
