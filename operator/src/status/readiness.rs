//! Whether the workloads run.

use crate::{status::conditions::State, status::diagnosis::Blocker, status::workload::Workload};

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
    let counts = workloads.iter().map(Workload::component);
    let (ready, wanted) = counts.fold((0, 0), |(ready, wanted), count| {
        (ready + count.ready, wanted + count.desired)
    });
    format!("{ready}/{wanted}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

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
