//! Writes the FRRConfiguration of this node, and reports what frr-k8s refuses.

use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Api, Client, Resource};
use metallb_api::FRRNodeState;
use metallb_api::names::LABEL_HOSTNAME;
use metallb_engine::ConfigReport;
use metallb_runtime::cause::explain;
use metallb_runtime::tasks::Spawner;
use metallb_runtime::watch::wire::{Fields, Metadata, Wire, lenient};
use metallb_runtime::watch::{Config, ViewChange, Views, Watched, watch_optional, watch_view};
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::warn;

use super::Settings;
use super::desired::desired;
use super::object::{self, Object, Stored};
use crate::frr::model::Shared;
use crate::retry::{Next, Retries};

/// How long changes are gathered by default; frr-k8s gathers them for three seconds more.
const GATHER: Duration = Duration::from_millis(500);
/// Pause before the first retry; each further one is twice as long.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What frr-k8s writes when nothing is wrong.
const SUCCESS: &str = "success";

/// The fields of a Node that are read.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct NodeWire {
    #[serde(deserialize_with = "lenient")]
    metadata: Metadata,
}

impl Fields for NodeWire {}

impl Wire for NodeWire {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}

/// What we must know of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Facts {
    uid: String,
    /// The label that frr-k8s selects nodes by; mostly, but not always, the name.
    hostname: Option<String>,
}

fn facts(node: NodeWire) -> Option<Facts> {
    let hostname = node.metadata.labels.get(LABEL_HOSTNAME).cloned();
    Some(Facts {
        uid: node.metadata.uid?,
        hostname,
    })
}

/// The task.
pub(super) struct Work {
    settings: Settings,
    model: Shared,
    object: Object,
    problems: watch::Sender<ConfigReport>,
    nodes: Views<Facts>,
    stored: Watched<Stored>,
    states: Watched<FRRNodeState>,
    facts: Option<Facts>,
    retries: Retries,
}

impl Work {
    pub(super) fn new(
        client: Client,
        settings: Settings,
        model: Shared,
        problems: watch::Sender<ConfigReport>,
        tasks: &Spawner,
    ) -> Self {
        let named = |name: &str| Config::default().fields(&format!("metadata.name={name}"));
        let (node, namespace) = (&settings.node, &settings.namespace);
        Self {
            nodes: watch_view(Api::<Node>::all(client.clone()), named(node), facts, tasks),
            stored: watch_optional(
                Api::namespaced(client.clone(), namespace),
                named(&object::name(node)),
                tasks,
            ),
            states: watch_optional(Api::all(client.clone()), named(node), tasks),
            object: Object::new(client, namespace, node),
            settings,
            model,
            problems,
            facts: None,
            retries: Retries::new(PAUSE, LONGEST_PAUSE),
        }
    }

    /// Works until dropped.
    pub(super) async fn run(mut self) {
        let mut changes = self.model.changes();
        // There may have been changes before.
        changes.mark_changed();
        loop {
            // Every arm is cancel-safe. The watches end after the stop signal, and this with it.
            tokio::select! {
                Ok(()) = changes.changed() => {}
                Some(change) = self.nodes.changes.recv() => self.hear(change),
                Some(_) = self.stored.changes.recv() => {}
                Some(_) = self.states.changes.recv() => {}
                () = self.retries.due() => {}
            }
            // As upstream, later changes do not extend the window.
            sleep(self.settings.window.unwrap_or(GATHER)).await;
            changes.mark_unchanged();
            while let Ok(change) = self.nodes.changes.try_recv() {
                self.hear(change);
            }
            while self.stored.changes.try_recv().is_ok() {}
            while self.states.changes.try_recv().is_ok() {}
            let next = self.attempt().await;
            self.retries.attempted(next);
        }
    }

    fn hear(&mut self, change: ViewChange<Facts>) {
        if let ViewChange::Changed { now, .. } = change {
            self.facts = now.map(|facts| facts.as_ref().clone());
        }
    }

    async fn attempt(&mut self) -> Next {
        let Some(model) = self.model.known() else {
            // What is not known yet must not be withdrawn.
            return Next::Wait;
        };
        let Some(facts) = &self.facts else {
            return Next::Wait;
        };
        let (desired, problems) = desired(&model, &self.settings);
        let node = &self.settings.node;
        let made = metallb_frr_k8s::spec(facts.hostname.as_deref().unwrap_or(node), &desired);
        let mut report = ConfigReport {
            errors: problems.into_iter().chain(made.errors).collect(),
            doubts: made.doubts,
            refused: 0,
        };
        let next = match self.object.settle(made.spec.as_ref(), &owner(node, &facts.uid)).await {
            Ok(left_out) => {
                let unknown =
                    |field| format!("frr-k8s does not know {field}: the definition of FRRConfiguration leaves it out");
                report.errors.extend(left_out.into_iter().map(unknown));
                Next::Wait
            }
            Err(error) => {
                warn!(event = "frrConfigurationFailed", error = explain(&error));
                // The first time it may be a write at the same time, or a webhook that comes later than we do.
                report
                    .errors
                    .extend(self.retries.has_failed().then(|| self.failure(&error)));
                Next::Retry
            }
        };
        report.errors.extend(self.complaints());
        self.problems.send_if_modified(|known| {
            let news = *known != report;
            *known = report;
            news
        });
        next
    }

    fn failure(&self, error: &kube::Error) -> String {
        let Settings { node, namespace, .. } = &self.settings;
        match error {
            kube::Error::Api(status) if status.code == 404 => {
                format!(
                    "frr-k8s is not told what to do: there is no FRRConfiguration in this cluster, or no namespace {namespace}"
                )
            }
            kube::Error::Api(status) => {
                let place = format!("FRRConfiguration {namespace}/{}", object::name(node));
                format!("frr-k8s is not told what to do: {place} is refused: {}", status.message)
            }
            error => format!("frr-k8s is not told what to do: {}", explain(error)),
        }
    }

    /// What frr-k8s refuses of the FRRConfigurations of this node, ours and those of others.
    fn complaints(&self) -> Vec<String> {
        let state = self.states.store.state().into_iter().next();
        let Some(status) = state.as_ref().and_then(|state| state.status.as_ref()) else {
            return Vec::new();
        };
        let bad = |result: &&str| !result.is_empty() && *result != SUCCESS;
        let conversion = Some(status.last_conversion_result.trim()).filter(bad);
        let reload = Some(status.last_reload_result.trim()).filter(bad);
        let conversion =
            conversion.map(|why| format!("frr-k8s does not take the FRRConfigurations of this node: {why}"));
        let reload = reload.map(|why| format!("frr-k8s cannot bring FRR to its configuration: {why}"));
        conversion.into_iter().chain(reload).collect()
    }
}

/// The Node, so that the object ends with it.
fn owner(name: &str, uid: &str) -> OwnerReference {
    OwnerReference {
        api_version: Node::api_version(&()).into_owned(),
        kind: Node::kind(&()).into_owned(),
        name: name.to_owned(),
        uid: uid.to_owned(),
        ..OwnerReference::default()
    }
}
