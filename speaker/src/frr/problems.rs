//! What the user gives to FRR past our own kinds, and what FRR gives back.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, ObjectReference};
use kube::runtime::events::EventType;
use kube::{Api, Client, Resource as _};
use metallb_api::{ConfigurationState, names};
use metallb_engine::ConfigReport;
use metallb_runtime::events::Recorder;
use metallb_runtime::tasks::Spawner;
use metallb_runtime::watch;
use tokio::sync::watch as channel;
use tracing::warn;

use super::model::Shared;
use crate::metrics::Metrics;

/// The key of the ConfigMap with a user's own lines.
const EXTRAS: &str = "extras";
/// Reason of the event when FRR does not do what is desired; not upstream's.
const REFUSED: &str = "frrConfigurationRefused";
/// The action that it is about.
const ACTION: &str = "ConfigureFRR";

/// Follows the ConfigMap with the user's own lines, until the stop signal.
pub(crate) async fn follow_extras(client: Client, namespace: String, model: Shared, tasks: Spawner) {
    let api: Api<ConfigMap> = Api::namespaced(client, &namespace);
    let only = watch::Config::default().fields(&format!("metadata.name={}", names::BGP_EXTRAS_CONFIG_MAP));
    let mut watched = watch::watch(api, only, &tasks);
    if watched.store.wait_until_ready().await.is_err() {
        return;
    }
    loop {
        let lines = watched
            .store
            .state()
            .into_iter()
            .next()
            .and_then(|map| map.data.clone()?.remove(EXTRAS));
        if lines.as_ref().is_some_and(|lines| !lines.is_empty()) {
            warn!(
                event = "bgpExtras",
                "the ConfigMap bgpextras is used, which is not supported"
            );
        }
        model.set_extras(lines.as_deref());
        if watched.changes.recv().await.is_none() {
            return;
        }
    }
}

/// Adds what FRR does not do to what the engine reports about the configuration.
pub(crate) struct Teller {
    /// From the engine.
    pub(crate) reports: channel::Receiver<Option<ConfigReport>>,
    /// To the ConfigurationState.
    pub(crate) all: channel::Sender<Option<ConfigReport>>,
    pub(crate) recorder: Recorder,
    pub(crate) metrics: Arc<Metrics>,
    /// Where the ConfigurationState of this node is.
    pub(crate) namespace: String,
    pub(crate) node: String,
}

/// Tells of `problems` until whoever has them ends.
pub(crate) async fn tell(mut teller: Teller, mut problems: channel::Receiver<ConfigReport>) {
    loop {
        // Every arm is cancel-safe.
        tokio::select! {
            changed = problems.changed() => match changed {
                Ok(()) => teller.events(&problems.borrow().errors),
                Err(_) => return,
            },
            changed = teller.reports.changed() => if changed.is_err() { return },
        }
        let found = problems.borrow_and_update().clone();
        let report = teller.reports.borrow_and_update().clone();
        if let Some(mut report) = report {
            report.errors.extend(found.errors);
            report.doubts.extend(found.doubts);
            teller.metrics.configured(!report.errors.is_empty());
            teller.all.send_replace(Some(report));
        }
    }
}

impl Teller {
    fn events(&self, problems: &[String]) {
        for problem in problems {
            self.metrics.failed();
            self.recorder
                .emit(&self.state(), EventType::Warning, REFUSED, ACTION, problem);
        }
    }

    fn state(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some(ConfigurationState::api_version(&()).into_owned()),
            kind: Some(ConfigurationState::kind(&()).into_owned()),
            name: Some(names::speaker_state(&self.node)),
            namespace: Some(self.namespace.clone()),
            ..ObjectReference::default()
        }
    }
}
