//! The ConfigurationState `speaker-<node>`: whether this speaker accepts the configuration.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::runtime::reflector::Store;
use kube::{Api, Client, ResourceExt};
use metallb_api::names::{self, field_manager};
use metallb_api::{ConfigurationResult, ConfigurationState, ConfigurationStateStatus};
use metallb_runtime::cause::explain;
use metallb_runtime::tasks::Spawner;
use metallb_runtime::work::{Backoff, Outcome, Queue};
use metallb_runtime::{apply, watch};
use tokio::sync::watch::Receiver;
use tracing::warn;

use crate::status::Owner;
use metallb_engine::ConfigReport;

/// Longest message of a condition.
const MESSAGE_LIMIT: usize = 32_768;

/// Keeps the object in line with the last report until the stop signal. It says nothing before the first report.
pub(crate) async fn write(client: Client, owner: Owner, mut reports: Receiver<Option<ConfigReport>>, tasks: Spawner) {
    let name = names::speaker_state(&owner.node);
    let api: Api<ConfigurationState> = Api::namespaced(client, &owner.namespace);
    let only = watch::Config::default().fields(&format!("metadata.name={name}"));
    let mut watched = watch::watch(api.clone(), only, &tasks);
    let writer = Writer {
        api,
        owner,
        name,
        store: watched.store.clone(),
    };
    let queue = Queue::new(Backoff::default());
    loop {
        // Every arm is cancel-safe, and what was missed is seen in the next round.
        tokio::select! {
            () = tasks.stop().cancelled() => return,
            Ok(()) = reports.changed() => queue.add(()),
            Some(_) = watched.changes.recv() => queue.add(()),
            () = queue.next() => {
                let report = reports.borrow_and_update().clone();
                let outcome = match report {
                    Some(report) => writer.converge(&report).await,
                    None => Outcome::Ok,
                };
                queue.done(&(), outcome);
            }
        }
    }
}

struct Writer {
    api: Api<ConfigurationState>,
    owner: Owner,
    name: String,
    store: Store<ConfigurationState>,
}

impl Writer {
    async fn converge(&self, report: &ConfigReport) -> Outcome {
        if self.store.wait_until_ready().await.is_err() {
            return Outcome::Ok;
        }
        match self.try_converge(report).await {
            Ok(()) => Outcome::Ok,
            Err(error) => {
                warn!(event = "configurationStateFailed", error = explain(&error));
                Outcome::Retry
            }
        }
    }

    async fn try_converge(&self, report: &ConfigReport) -> Result<(), apply::Error> {
        let current = self.store.state().into_iter().next();
        let wanted = self.object();
        if !current.as_ref().is_some_and(|object| same_owner(object, &wanted)) {
            apply::apply(&self.api, &wanted, field_manager::SPEAKER).await?;
        }
        let status = status(report);
        if !current
            .and_then(|object| object.status.clone())
            .is_some_and(|current| says_the_same(&current, &status))
        {
            apply::status(&self.api, &self.name, &status, field_manager::CONFIG_RECONCILER).await?;
        }
        Ok(())
    }

    fn object(&self) -> ConfigurationState {
        let labels = [
            (names::LABEL_COMPONENT_TYPE, names::SPEAKER),
            (names::LABEL_NODE_NAME, &self.owner.node),
        ];
        ConfigurationState {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                namespace: Some(self.owner.namespace.clone()),
                labels: Some(
                    labels
                        .into_iter()
                        .filter(|(_, value)| value.len() <= 63)
                        .map(|(name, value)| (name.to_owned(), value.to_owned()))
                        .collect(),
                ),
                owner_references: Some(vec![self.owner.pod.clone()]),
                ..ObjectMeta::default()
            },
            ..ConfigurationState::default()
        }
    }
}

fn same_owner(current: &ConfigurationState, wanted: &ConfigurationState) -> bool {
    current.owner_references() == wanted.owner_references()
        && wanted
            .labels()
            .iter()
            .all(|(name, value)| current.labels().get(name) == Some(value))
}

fn status(report: &ConfigReport) -> ConfigurationStateStatus {
    let valid = report.errors.is_empty();
    let mut summary = match valid {
        true => String::new(),
        false => format!("configuration error: {}", report.errors.join("; ")),
    };
    summary.truncate(summary.floor_char_boundary(MESSAGE_LIMIT));
    // Errors, and below them what is in force and does something else than it says.
    let lines = Some(summary.as_str()).filter(|summary| !summary.is_empty());
    let lines: Vec<&str> = lines
        .into_iter()
        .chain(report.doubts.iter().map(String::as_str))
        .collect();
    let mut message = lines.join("\n");
    message.truncate(message.floor_char_boundary(MESSAGE_LIMIT));
    let reason = if valid {
        names::REASON_RECONCILED
    } else {
        names::REASON_CONFIGURATION_ERROR
    };
    ConfigurationStateStatus {
        result: Some(if valid {
            ConfigurationResult::Valid
        } else {
            ConfigurationResult::Invalid
        }),
        error_summary: summary,
        conditions: vec![Condition {
            type_: names::CONDITION_CONFIG_RECONCILER.to_owned(),
            status: if valid { "True" } else { "False" }.to_owned(),
            reason: reason.to_owned(),
            message,
            last_transition_time: Time(Timestamp::now()),
            observed_generation: None,
        }],
    }
}

/// All but the time: it is that of the last change.
///
/// Upstream: writes the time of every reconcile.
fn says_the_same(current: &ConfigurationStateStatus, wanted: &ConfigurationStateStatus) -> bool {
    let gist = |status: &ConfigurationStateStatus| {
        let conditions = status
            .conditions
            .iter()
            .map(|c| (c.type_.clone(), c.status.clone(), c.reason.clone(), c.message.clone()));
        (
            status.result,
            status.error_summary.clone(),
            conditions.collect::<Vec<_>>(),
        )
    };
    gist(current) == gist(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    // BGP-100
    #[test]
    fn errors_make_the_condition_false_and_their_absence_true() {
        let bad = status(&ConfigReport {
            errors: vec!["pool x".into(), "peer y".into()],
            doubts: vec!["ad z: no such peer".into()],
            ..ConfigReport::default()
        });
        assert_eq!(bad.result, Some(ConfigurationResult::Invalid));
        assert_eq!(bad.error_summary, "configuration error: pool x; peer y");
        let condition = &bad.conditions[0];
        assert_eq!(
            condition.message,
            "configuration error: pool x; peer y\nad z: no such peer"
        );
        assert_eq!(
            (condition.type_.as_str(), condition.status.as_str()),
            ("configReconcilerValid", "False")
        );
        assert_eq!(condition.reason, "ConfigurationError");
        let good = status(&ConfigReport::default());
        assert_eq!(
            (good.result, good.conditions[0].reason.as_str()),
            (Some(ConfigurationResult::Valid), "Reconciled")
        );
        let doubtful = status(&ConfigReport {
            errors: vec![],
            doubts: vec!["ad z: no such peer".into()],
            ..ConfigReport::default()
        });
        assert_eq!(
            (doubtful.result, doubtful.error_summary.as_str()),
            (Some(ConfigurationResult::Valid), "")
        );
        assert_eq!(doubtful.conditions[0].message, "ad z: no such peer");
        assert!(!says_the_same(&doubtful, &good));
        assert!(!says_the_same(&bad, &good) && says_the_same(&good, &status(&ConfigReport::default())));
    }
}
