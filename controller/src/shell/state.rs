//! The ConfigurationState `controller`: what the parser thinks of the pools.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, OwnerReference, Time};
use k8s_openapi::jiff::Timestamp;
use kube::{Api, Resource, ResourceExt};
use metallb_api::names::event_reason;
use metallb_api::{ConfigurationResult, ConfigurationState, ConfigurationStateStatus, names};
use metallb_assign::{Verdict, line};
use metallb_config::Warning;
use metallb_ipam::EventKind;
use metallb_runtime::cause::explain;
use metallb_runtime::watch::{Config, watch};
use metallb_runtime::{CancellationToken, apply};
use tracing::warn;

use super::{Shared, speak};

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
    let mut told = Vec::new();
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
        if done.is_ok() {
            let before = found.as_ref().and_then(|found| found.status.as_ref());
            tell(&shared, wanted.as_ref(), before, &mut told);
        }
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
    let errors = verdict.message();
    let valid = errors.is_empty();
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
        message: message(&errors, verdict.doubts()),
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
        error_summary: errors,
        conditions,
    }
}

/// Errors, and below them what is in force and does something else than it says.
fn message(errors: &str, doubts: String) -> String {
    match (errors.is_empty(), doubts.is_empty()) {
        (_, true) => errors.to_owned(),
        (true, false) => doubts,
        (false, false) => format!("{errors}\n{doubts}"),
    }
}

/// The doubts that the condition does not name yet.
fn news<'a>(verdict: Option<&'a Verdict>, before: Option<&ConfigurationStateStatus>) -> Vec<&'a Warning> {
    let conditions = before.into_iter().flat_map(|before| &before.conditions);
    let own = conditions.filter(|own| own.type_ == names::CONDITION_POOL_RECONCILER);
    let named: HashSet<&str> = own.flat_map(|own| own.message.lines()).collect();
    let doubts = verdict.into_iter().flat_map(|verdict| &verdict.doubts);
    doubts.filter(|doubt| !named.contains(&*line(doubt))).collect()
}

/// Tells of each doubt on the object, once.
fn tell(
    shared: &Shared,
    verdict: Option<&Verdict>,
    before: Option<&ConfigurationStateStatus>,
    told: &mut Vec<Warning>,
) {
    told.retain(|doubt| verdict.is_some_and(|verdict| verdict.doubts.contains(doubt)));
    for doubt in news(verdict, before) {
        if told.contains(doubt) {
            continue;
        }
        told.push(doubt.clone());
        warn!(event = "configDoubtful", object = %doubt.object, field = doubt.field, reason = doubt.reason);
        if let Some(about) = shared.stores.reference(&doubt.object) {
            let text = format!("{}: {}", doubt.field, doubt.reason);
            let reason = event_reason::CONFIG_DOUBTFUL;
            speak::tell(&shared.recorder, &about, EventKind::Warning, reason, &text);
        }
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
            refused: vec![refused],
            ..Verdict::default()
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

    fn doubtful() -> Verdict {
        let doubt = |field: &str, reason: &str| Warning {
            object: ObjectRef::new("BGPAdvertisement", "a"),
            field: field.into(),
            reason: reason.into(),
            rule: Rule::W12,
        };
        Verdict {
            doubts: vec![
                doubt("spec.peers[0]", "there is no BGPPeer \"tor\""),
                doubt("spec.nodeSelectors", "no Node matches, so nobody announces"),
            ],
            ..Verdict::default()
        }
    }

    #[test]
    fn what_is_in_force_but_not_as_written_is_valid_and_named() {
        let doubtful = doubtful();
        let first = status(Some(&doubtful), None, at(5));
        assert_eq!(
            (first.result, first.error_summary.as_str()),
            (Some(ConfigurationResult::Valid), "")
        );
        let expected = "BGPAdvertisement a: spec.peers[0]: there is no BGPPeer \"tor\"\n\
            BGPAdvertisement a: spec.nodeSelectors: no Node matches, so nobody announces";
        assert_eq!(
            (
                first.conditions[0].status.as_str(),
                first.conditions[0].message.as_str()
            ),
            ("True", expected)
        );
        let both = Verdict {
            doubts: doubtful.doubts,
            ..bad()
        };
        let second = status(Some(&both), Some(&first), at(9));
        assert_eq!(second.result, Some(ConfigurationResult::Invalid));
        assert!(second.conditions[0].message.ends_with(expected) && !second.error_summary.contains("tor"));
    }

    #[test]
    fn a_doubt_that_the_condition_names_is_no_news() {
        let mut doubtful = doubtful();
        let told = status(Some(&doubtful), None, at(5));
        assert_eq!(news(Some(&doubtful), None).len(), 2);
        assert!(news(Some(&doubtful), Some(&told)).is_empty());
        doubtful.doubts[0].field = "spec.peers[1]".into();
        assert_eq!(news(Some(&doubtful), Some(&told)), [&doubtful.doubts[0]]);
    }

    #[test]
    fn the_time_moves_with_the_condition_only() {
        let first = status(Some(&bad()), None, at(5));
        assert_eq!(status(Some(&bad()), Some(&first), at(9)), first);
        let second = status(Some(&Verdict::default()), Some(&first), at(9));
        assert_eq!(second.conditions[0].last_transition_time, Time(at(9)));
    }
}
