//! The ConfigurationState `controller`: what the parser thinks of the pools.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, OwnerReference, Time};
use k8s_openapi::jiff::Timestamp;
use kube::{Api, Resource, ResourceExt};
use metallb_api::{ConfigurationResult, ConfigurationState, ConfigurationStateStatus, names};
use metallb_runtime::cause::explain;
use metallb_runtime::watch::{Config, watch};
use metallb_runtime::{CancellationToken, apply};
use tracing::warn;

use super::Shared;
use crate::pools::Verdict;

/// Pause after a write that failed.
const RETRY: Duration = Duration::from_secs(1);

/// Keeps the object as it should be, also when somebody deletes it.
pub(super) async fn follow(shared: Arc<Shared>, end: CancellationToken) {
    let api: Api<ConfigurationState> = Api::namespaced(shared.client.clone(), &shared.settings.namespace);
    let only = Config::default().fields(&format!("metadata.name={}", names::CONTROLLER_STATE));
    let mut own = watch(api.clone(), only, &shared.tasks.until(end.clone()));
    let mut verdict = shared.verdict.subscribe();
    if own.store.wait_until_ready().await.is_err() {
        return;
    }
    // What was written from which version: whoever still sees that version sees the past.
    let mut past = None;
    loop {
        let wanted = verdict.borrow_and_update().clone();
        let found = own.store.state().into_iter().next();
        let step = (found.as_ref().map(|found| found.metadata.clone()), wanted.clone());
        let done = match past.as_ref() == Some(&step) {
            // The end of a term, and with it the next leader, does not wait for this.
            false => tokio::select! {
                () = end.cancelled() => return,
                done = write(&api, found.as_deref(), wanted.as_ref(), &shared.settings.pod) => done,
            },
            true => Ok(()),
        };
        past = done.is_ok().then_some(step);
        if let Err(error) = &done {
            warn!(
                op = "updateConfigurationState",
                error = explain(error),
                "failed to update the configuration state"
            );
        }
        tokio::select! {
            () = end.cancelled() => return,
            changed = verdict.changed() => if changed.is_err() { return },
            change = own.changes.recv() => if change.is_none() { return },
            () = tokio::time::sleep(RETRY), if done.is_err() => {}
        }
    }
}

async fn write(
    api: &Api<ConfigurationState>,
    found: Option<&ConfigurationState>,
    verdict: Option<&Verdict>,
    pod: &Pod,
) -> Result<(), apply::Error> {
    let object = object(pod);
    let framed = |found: &ConfigurationState| {
        let owners = object.metadata.owner_references.iter().flatten();
        object
            .labels()
            .iter()
            .all(|label| found.labels().get(label.0) == Some(label.1))
            && owners.into_iter().all(|owner| found.owner_references().contains(owner))
    };
    if !found.is_some_and(framed) {
        apply::apply(api, &object, names::field_manager::CONTROLLER).await?;
    }
    let before = found.and_then(|found| found.status.as_ref());
    let status = status(verdict, before, Timestamp::now());
    if before != Some(&status) {
        apply::status(
            api,
            names::CONTROLLER_STATE,
            &status,
            names::field_manager::POOL_RECONCILER,
        )
        .await?;
    }
    Ok(())
}

fn object(pod: &Pod) -> ConfigurationState {
    let owner = OwnerReference {
        api_version: Pod::api_version(&()).into_owned(),
        kind: Pod::kind(&()).into_owned(),
        name: pod.name_any(),
        uid: pod.uid().unwrap_or_default(),
        ..OwnerReference::default()
    };
    let labels = [(names::LABEL_COMPONENT_TYPE.to_owned(), names::CONTROLLER.to_owned())];
    ConfigurationState {
        metadata: ObjectMeta {
            name: Some(names::CONTROLLER_STATE.to_owned()),
            labels: Some(labels.into()),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        ..ConfigurationState::default()
    }
}

/// The status after a verdict; the time of transition moves only with the condition (W42). Without a verdict it stays
/// as it was.
fn status(
    verdict: Option<&Verdict>,
    before: Option<&ConfigurationStateStatus>,
    now: Timestamp,
) -> ConfigurationStateStatus {
    let Some(verdict) = verdict else {
        return before.cloned().unwrap_or_else(|| ConfigurationStateStatus {
            result: Some(ConfigurationResult::Unknown),
            ..ConfigurationStateStatus::default()
        });
    };
    let message = verdict.message();
    let valid = message.is_empty();
    let (state, reason) = match valid {
        true => ("True", names::REASON_RECONCILED),
        false => ("False", names::REASON_CONFIGURATION_ERROR),
    };
    let mut conditions = before.map(|before| before.conditions.clone()).unwrap_or_default();
    let last = conditions
        .iter()
        .find(|condition| condition.type_ == names::CONDITION_POOL_RECONCILER);
    let since = last
        .filter(|last| last.status == state)
        .map(|last| last.last_transition_time.clone());
    // Whole seconds are all that the API keeps.
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let condition = Condition {
        type_: names::CONDITION_POOL_RECONCILER.to_owned(),
        status: state.to_owned(),
        reason: reason.to_owned(),
        message: message.clone(),
        last_transition_time: since.unwrap_or(Time(now)),
        observed_generation: None,
    };
    conditions.retain(|condition| condition.type_ != names::CONDITION_POOL_RECONCILER);
    conditions.push(condition);
    ConfigurationStateStatus {
        result: Some(if valid {
            ConfigurationResult::Valid
        } else {
            ConfigurationResult::Invalid
        }),
        error_summary: message,
        conditions,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metallb_config::{ObjectRef, Refused, Rule};

    fn bad() -> Verdict {
        let refused = Refused {
            object: ObjectRef::new("IPAddressPool", "p"),
            field: "spec.addresses".into(),
            reason: "parsing address pool p: pool has no prefixes defined".into(),
            rule: Rule::P1,
            verbatim: Some("parsing address pool p: pool has no prefixes defined".into()),
            involves: Vec::new(),
        };
        Verdict {
            accepted: None,
            refused: vec![refused],
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_valid_configuration_is_valid() {
        // CTL-129
        let status = status(Some(&Verdict::default()), None, at(5));
        assert_eq!(
            (status.result, status.error_summary.as_str()),
            (Some(ConfigurationResult::Valid), "")
        );
        let condition = &status.conditions[0];
        assert_eq!(
            (condition.type_.as_str(), condition.status.as_str()),
            ("poolReconcilerValid", "True")
        );
        let object = object(&Pod::default());
        assert_eq!(object.labels()["metallb.io/component-type"], "controller");
    }

    #[test]
    fn without_a_verdict_the_result_is_unknown_or_the_last_one() {
        // CTL-133
        let first = status(None, None, at(5));
        assert_eq!(
            (first.result, first.conditions.as_slice()),
            (Some(ConfigurationResult::Unknown), &[][..])
        );
        let bad = status(Some(&bad()), Some(&first), at(5));
        assert_eq!(status(None, Some(&bad), at(9)), bad);
    }

    #[test]
    fn a_refused_pool_is_told_in_the_summary() {
        // CTL-130
        let status = status(Some(&bad()), None, at(5));
        assert_eq!(status.result, Some(ConfigurationResult::Invalid));
        assert_eq!(
            status.error_summary,
            "configuration error: parsing address pool p: pool has no prefixes defined"
        );
        assert_eq!(status.conditions[0].reason, "ConfigurationError");
    }

    #[test]
    fn the_time_moves_with_the_condition_only() {
        let first = status(Some(&bad()), None, at(5));
        assert_eq!(status(Some(&bad()), Some(&first), at(9)), first);
        let second = status(Some(&Verdict::default()), Some(&first), at(9));
        assert_eq!(second.conditions[0].last_transition_time, Time(at(9)));
    }
}
