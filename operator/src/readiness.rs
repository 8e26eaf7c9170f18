//! Whether the workloads run.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use metallb_manifests::Object;

use crate::conditions::State;

/// Judges the workloads among the objects as they are in the cluster.
pub(crate) fn state(live: &[Object]) -> State {
    let waiting: Vec<_> = live.iter().filter_map(missing).collect();
    if waiting.is_empty() {
        return State::Available(live.iter().filter_map(oddity).collect::<Vec<_>>().join("; "));
    }
    State::Progressing(waiting.join("; "))
}

/// Tells what a workload still waits for.
fn missing(object: &Object) -> Option<String> {
    let count = match object {
        Object::Deployment(deployment) => deployment_count(deployment),
        Object::DaemonSet(daemon_set) => daemon_set_count(daemon_set),
        _ => return None,
    };
    let kind = object.api_resource().kind;
    match count {
        None => Some(format!(
            "{kind} {} has not been noticed by its controller yet",
            object.name()
        )),
        Some(count) if count.is_complete() => None,
        Some(Count {
            wanted, updated, ready, ..
        }) => Some(format!(
            "{kind} {}: {ready} of {wanted} pods are ready, {updated} are up to date",
            object.name()
        )),
    }
}

struct Count {
    wanted: i32,
    present: i32,
    updated: i32,
    ready: i32,
}

impl Count {
    fn is_complete(&self) -> bool {
        [self.present, self.updated, self.ready]
            .iter()
            .all(|count| *count == self.wanted)
    }
}

fn deployment_count(deployment: &Deployment) -> Option<Count> {
    let status = deployment.status.as_ref()?;
    if status.observed_generation < deployment.metadata.generation {
        return None;
    }
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let updated = status.updated_replicas.unwrap_or(0);
    Some(Count {
        wanted,
        present: wanted,
        updated,
        ready: status.ready_replicas.unwrap_or(0),
    })
}

fn daemon_set_count(daemon_set: &DaemonSet) -> Option<Count> {
    let status = daemon_set.status.as_ref()?;
    if status.observed_generation < daemon_set.metadata.generation {
        return None;
    }
    Some(Count {
        wanted: status.desired_number_scheduled,
        present: status.current_number_scheduled,
        updated: status.updated_number_scheduled.unwrap_or(0),
        ready: status.number_ready,
    })
}

/// Tells what works as wanted and yet can hardly be meant so.
fn oddity(object: &Object) -> Option<String> {
    match object {
        Object::DaemonSet(daemon_set) if daemon_set_count(daemon_set)?.wanted == 0 => Some(format!(
            "DaemonSet {} runs on no node: none matches its node selector",
            object.name()
        )),
        Object::Deployment(deployment) if deployment_count(deployment)?.wanted == 0 => {
            Some(format!("Deployment {} is scaled to 0", object.name()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::{
        api::apps::v1::{DaemonSetStatus, DeploymentStatus},
        apimachinery::pkg::apis::meta::v1::ObjectMeta,
    };

    fn meta(name: &str) -> ObjectMeta {
        ObjectMeta {
            name: Some(name.into()),
            generation: Some(2),
            ..ObjectMeta::default()
        }
    }

    fn controller(observed: i64, updated: i32, ready: i32) -> Object {
        let status = DeploymentStatus {
            observed_generation: Some(observed),
            updated_replicas: Some(updated),
            ready_replicas: Some(ready),
            ..DeploymentStatus::default()
        };
        Deployment {
            metadata: meta("controller"),
            status: Some(status),
            ..Deployment::default()
        }
        .into()
    }

    fn speaker(wanted: i32, present: i32, updated: i32, ready: i32) -> Object {
        let status = DaemonSetStatus {
            observed_generation: Some(2),
            desired_number_scheduled: wanted,
            current_number_scheduled: present,
            updated_number_scheduled: Some(updated),
            number_ready: ready,
            ..DaemonSetStatus::default()
        };
        DaemonSet {
            metadata: meta("speaker"),
            status: Some(status),
            ..DaemonSet::default()
        }
        .into()
    }

    // OP-12
    #[test]
    fn everything_ready_is_available() {
        assert_eq!(
            state(&[controller(2, 1, 1), speaker(3, 3, 3, 3)]),
            State::Available(String::new())
        );
    }

    // OP-40
    #[test]
    fn what_is_missing_is_named_with_its_counts() {
        let State::Progressing(message) = state(&[controller(2, 1, 0), speaker(3, 3, 2, 1)]) else {
            panic!()
        };
        assert_eq!(
            message,
            "Deployment controller: 0 of 1 pods are ready, 1 are up to date; \
             DaemonSet speaker: 1 of 3 pods are ready, 2 are up to date"
        );
    }

    #[test]
    fn a_status_of_an_older_generation_does_not_count() {
        let State::Progressing(message) = state(&[controller(1, 1, 1)]) else {
            panic!()
        };
        assert_eq!(
            message,
            "Deployment controller has not been noticed by its controller yet"
        );
        let fresh = DaemonSet {
            metadata: meta("speaker"),
            ..DaemonSet::default()
        };
        assert!(matches!(state(&[fresh.into()]), State::Progressing(_)));
    }

    #[test]
    fn no_speaker_at_all_is_available_and_said() {
        let State::Available(message) = state(&[controller(2, 1, 1), speaker(0, 0, 0, 0)]) else {
            panic!()
        };
        assert!(message.contains("runs on no node"), "{message}");
    }
}
