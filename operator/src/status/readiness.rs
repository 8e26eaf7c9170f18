//! Whether the workloads run.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use metallb_api::ComponentStatus;
use serde_json::Value;

use crate::{status::conditions::State, status::diagnosis::Blocker};

/// One workload as it is in the cluster.
#[derive(Clone, Debug)]
pub(crate) struct Workload {
    kind: &'static str,
    name: String,
    /// None until its controller has noticed what is wanted.
    count: Option<Count>,
    /// The labels of its pods, as a selector.
    pub(crate) pods: String,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    wanted: i32,
    present: i32,
    updated: i32,
    ready: i32,
    /// Pods that exist, old ones and broken ones among them.
    made: i32,
}

impl Count {
    fn is_complete(&self) -> bool {
        [self.present, self.updated, self.ready]
            .iter()
            .all(|count| *count == self.wanted)
    }
}

impl Workload {
    /// Finds the workloads among objects.
    pub(crate) fn all(live: &[Arc<Value>]) -> Vec<Self> {
        live.iter().filter_map(|object| Self::of(object)).collect()
    }

    fn of(object: &Value) -> Option<Self> {
        let (kind, count) = match object["kind"].as_str()? {
            "DaemonSet" => ("DaemonSet", daemon_set_count(&decode(object)?)),
            "Deployment" => ("Deployment", deployment_count(&decode(object)?)),
            _ => return None,
        };
        let labels = object["spec"]["selector"]["matchLabels"].as_object();
        let pods = labels.into_iter().flatten();
        let pods: Vec<_> = pods
            .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
            .collect();
        Some(Self {
            kind,
            name: object["metadata"]["name"].as_str()?.to_owned(),
            count,
            pods: pods.join(","),
        })
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.count.is_some_and(|count| count.is_complete())
    }

    /// Tells whether pods are not even created.
    pub(crate) fn lacks_pods(&self) -> bool {
        self.count.is_some_and(|count| count.made < count.wanted)
    }

    /// Names it as people do.
    pub(crate) fn title(&self) -> String {
        format!("{} {}", self.kind, self.name)
    }

    pub(crate) fn kind(&self) -> &'static str {
        self.kind
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn component(&self) -> ComponentStatus {
        let count = self.count.unwrap_or_default();
        ComponentStatus {
            kind: self.kind.to_owned(),
            name: self.name.clone(),
            desired: count.wanted,
            updated: count.updated,
            ready: count.ready,
        }
    }

    /// Tells what it still waits for.
    fn missing(&self) -> Option<String> {
        match self.count {
            None => Some(format!("{} has not been noticed by its controller yet", self.title())),
            Some(count) if count.is_complete() => None,
            Some(Count {
                wanted, updated, ready, ..
            }) => Some(format!(
                "{}: {ready} of {wanted} pods are ready, {updated} are up to date",
                self.title()
            )),
        }
    }

    /// Tells what works as wanted and yet can hardly be meant so.
    fn oddity(&self) -> Option<String> {
        match (self.kind, self.count?.wanted) {
            ("DaemonSet", 0) => Some(format!(
                "{} runs on no node: none matches its node selector",
                self.title()
            )),
            (_, 0) => Some(format!("{} is scaled to 0", self.title())),
            _ => None,
        }
    }
}

/// Judges the workloads, with what keeps their pods from running.
pub(crate) fn state(workloads: &[Workload], blockers: &[Blocker], notes: &[String]) -> State {
    let waiting: Vec<_> = workloads.iter().filter_map(Workload::missing).collect();
    if waiting.is_empty() {
        let oddities: Vec<_> = workloads.iter().filter_map(Workload::oddity).collect();
        let reason = if oddities.is_empty() {
            "Available"
        } else {
            "NothingScheduled"
        };
        let message = oddities.iter().chain(notes).cloned().collect::<Vec<_>>().join("; ");
        return State::Available { reason, message };
    }
    let causes = blockers.iter().map(|blocker| blocker.message.clone());
    let message = waiting.iter().cloned().chain(causes).collect::<Vec<_>>().join("; ");
    match blockers.iter().find_map(|blocker| blocker.reason) {
        Some(reason) => State::degraded(reason, message),
        None => State::Progressing(message),
    }
}

/// How many pods are ready, of how many.
pub(crate) fn total(workloads: &[Workload]) -> String {
    let counts = workloads.iter().map(|workload| workload.count.unwrap_or_default());
    let (ready, wanted) = counts.fold((0, 0), |(ready, wanted), count| {
        (ready + count.ready, wanted + count.wanted)
    });
    format!("{ready}/{wanted}")
}

fn decode<K: serde::de::DeserializeOwned>(object: &Value) -> Option<K> {
    K::deserialize(object).ok()
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
        made: status.replicas.unwrap_or(0),
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
        made: status.current_number_scheduled,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn workload(kind: &str, name: &str, status: &Value) -> Workload {
        let object = json!({
            "apiVersion": "apps/v1", "kind": kind, "metadata": { "name": name, "generation": 2 },
            "spec": { "selector": { "matchLabels": { "app": "metallb", "component": name } }, "template": {} },
            "status": status,
        });
        Workload::of(&object).unwrap()
    }

    fn controller(observed: i64, updated: i32, ready: i32) -> Workload {
        let status = json!({ "observedGeneration": observed, "updatedReplicas": updated, "readyReplicas": ready });
        workload("Deployment", "controller", &status)
    }

    fn speaker(wanted: i32, present: i32, updated: i32, ready: i32) -> Workload {
        let status = json!({
            "observedGeneration": 2, "desiredNumberScheduled": wanted, "currentNumberScheduled": present,
            "updatedNumberScheduled": updated, "numberReady": ready, "numberMisscheduled": 0,
        });
        workload("DaemonSet", "speaker", &status)
    }

    fn judged(workloads: &[Workload]) -> State {
        state(workloads, &[], &[])
    }

    // OP-12
    #[test]
    fn everything_ready_is_available() {
        let all = [controller(2, 1, 1), speaker(3, 3, 3, 3)];
        assert_eq!(judged(&all), State::available());
        assert_eq!(total(&all), "4/4");
        assert_eq!(all[1].component().ready, 3);
        assert_eq!(all[1].pods, "app=metallb,component=speaker");
    }

    // OP-40
    #[test]
    fn what_is_missing_is_named_with_its_counts() {
        let all = [controller(2, 1, 0), speaker(3, 3, 2, 1)];
        let State::Progressing(message) = judged(&all) else {
            panic!()
        };
        assert_eq!(
            message,
            "Deployment controller: 0 of 1 pods are ready, 1 are up to date; \
             DaemonSet speaker: 1 of 3 pods are ready, 2 are up to date"
        );
        assert_eq!(total(&all), "1/4");
    }

    // OP-40, OP-41
    #[test]
    fn what_keeps_pods_from_running_is_the_reason() {
        let blocker = Blocker {
            reason: Some("ImagePullFailed"),
            message: "pod speaker-x: no such image".into(),
        };
        let State::Degraded { reason, message } = state(&[speaker(3, 3, 3, 1)], &[blocker], &[]) else {
            panic!()
        };
        assert_eq!(reason, "ImagePullFailed");
        assert!(
            message.contains("1 of 3 pods are ready") && message.contains("no such image"),
            "{message}"
        );
    }

    #[test]
    fn a_status_of_an_older_generation_does_not_count() {
        let State::Progressing(message) = judged(&[controller(1, 1, 1)]) else {
            panic!()
        };
        assert_eq!(
            message,
            "Deployment controller has not been noticed by its controller yet"
        );
        assert!(matches!(
            judged(&[workload("DaemonSet", "speaker", &Value::Null)]),
            State::Progressing(_)
        ));
    }

    #[test]
    fn no_speaker_at_all_is_available_and_said() {
        let State::Available { reason, message } = judged(&[controller(2, 1, 1), speaker(0, 0, 0, 0)]) else {
            panic!()
        };
        assert_eq!(reason, "NothingScheduled");
        assert!(message.contains("runs on no node"), "{message}");
    }
}
