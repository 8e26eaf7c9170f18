//! Tells people: status, events, metrics, and the Operator Lifecycle Manager.

use std::collections::{BTreeSet, HashMap};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};
use kube::{Api, Client, Resource};
use metallb_api::{BgpBackend, MetalLB, MetalLBStatus, names::field_manager};
use metallb_runtime::cause::explain;
use metallb_runtime::{
    apply,
    events::{EventType, Recorder},
};
use tracing::{info, warn};

use crate::{
    olm::OperatorCondition,
    plan::Key,
    status::conditions::{State, conditions},
    status::metrics::Metrics,
    status::readiness,
    status::workload::Workload,
    sync::{Why, Written},
};

/// The version that the status shows.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What is deployed, beside the state of it.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) backend: BgpBackend,
    pub(crate) workloads: Vec<Workload>,
    /// Where speakers have handed routes to an frr-k8s.
    pub(crate) handed: BTreeSet<String>,
}

/// Writes what has changed, and only that.
pub(crate) struct Teller {
    client: Client,
    recorder: Recorder,
    metrics: Metrics,
    singleton: Key,
    condition: Option<OperatorCondition>,
    /// The status that was written last, with the resource's uid.
    told: HashMap<Key, (Option<String>, MetalLBStatus)>,
    /// The FRRConfigurations that were told last not to be withdrawn.
    left: Vec<String>,
}

impl Teller {
    pub(crate) fn new(
        client: Client,
        recorder: Recorder,
        metrics: Metrics,
        singleton: Key,
        condition: Option<OperatorCondition>,
    ) -> Self {
        Self {
            client,
            recorder,
            metrics,
            singleton,
            condition,
            told: HashMap::new(),
            left: Vec::new(),
        }
    }

    pub(crate) fn forget(&mut self, key: &Key) {
        self.told.remove(key);
    }

    /// Writes the state into the status, if it is not there already.
    pub(crate) async fn state(
        &mut self,
        key: &Key,
        resource: &MetalLB,
        state: &State,
        report: Option<&Report>,
    ) -> Result<(), apply::Error> {
        if *key == self.singleton {
            self.metrics.state(state);
            if let Some(condition) = &mut self.condition {
                condition.tell(state).await;
            }
        }
        let uid = resource.metadata.uid.clone();
        let stored = resource.status.clone().unwrap_or_default();
        // What we wrote ourselves may not have come back to us yet.
        let told = self.told.get(key).filter(|(told, _)| *told == uid);
        let before = told.map_or(&stored, |(_, status)| status);
        let made = status(state, resource.metadata.generation, before, report);
        // A schema of another version may not keep all that we say; saying it again would not help.
        if made == stored || told.is_some_and(|(_, told)| *told == made && stored.conditions == made.conditions) {
            return Ok(());
        }
        let news = !says_the_same(&before.conditions, &made.conditions);
        let api: Api<MetalLB> = Api::namespaced(self.client.clone(), &key.namespace);
        match apply::status(&api, &key.name, &made, field_manager::OPERATOR).await {
            // It was deleted meanwhile.
            Err(apply::Error::Api { source, .. }) if is_gone(&source) => return Ok(()),
            result => result?,
        };
        self.told.insert(key.clone(), (uid, made));
        if news {
            self.announce(key, resource, state);
        }
        Ok(())
    }

    fn announce(&self, key: &Key, resource: &MetalLB, state: &State) {
        let (type_, reason, message) = state.summary();
        let note = if message.is_empty() {
            "all workloads are ready"
        } else {
            message
        };
        info!(event = "stateChanged", resource = %key, state = type_, reason, note);
        self.event(resource, state.is_worrying(), reason, note);
    }

    /// Tells one thing that happened to the resource.
    pub(crate) fn event(&self, resource: &MetalLB, worrying: bool, reason: &str, note: &str) {
        let event_type = if worrying {
            EventType::Warning
        } else {
            EventType::Normal
        };
        self.recorder
            .emit(&resource.object_ref(&()), event_type, reason, "Reconcile", note);
    }

    /// Tells what was written, one event for each kind of cause.
    pub(crate) fn written(&self, resource: &MetalLB, written: &Written) {
        for why in [Why::Created, Why::Updated, Why::Repaired] {
            let objects = written.0.iter().filter(|(cause, _)| *cause == why);
            let objects: Vec<_> = objects.map(|(_, id)| id.as_str()).collect();
            if objects.is_empty() {
                continue;
            }
            let note = match why {
                Why::Created => format!("created {}", objects.join(", ")),
                Why::Updated => format!("updated {}", objects.join(", ")),
                Why::Repaired => format!("repaired {}, which somebody deleted or edited", objects.join(", ")),
            };
            self.event(resource, why == Why::Repaired, why.reason(), &note);
        }
    }

    /// Tells what was removed.
    pub(crate) fn removed(&self, resource: Option<&MetalLB>, removed: &[String]) {
        if removed.is_empty() {
            return;
        }
        let note = format!("removed {}", removed.join(", "));
        info!(event = "removed", note);
        if let Some(resource) = resource {
            self.event(resource, false, "Removed", &note);
        }
    }

    /// Tells once which FRRConfigurations stay that look like a speaker's.
    pub(crate) fn left(&mut self, resource: Option<&MetalLB>, left: Vec<String>) {
        if left.is_empty() || left == self.left {
            return;
        }
        let note = format!(
            "FRRConfigurations {} stay: nothing shows that a speaker of this MetalLB wrote them",
            left.join(", ")
        );
        info!(event = "notWithdrawn", note);
        if let Some(resource) = resource {
            self.event(resource, false, "NotWithdrawn", &note);
        }
        self.left = left;
    }

    /// Writes down where speakers have handed routes to, before anything makes that hard to find out.
    pub(crate) async fn remember(
        &mut self,
        key: &Key,
        resource: &MetalLB,
        handed: &BTreeSet<String>,
    ) -> Result<(), apply::Error> {
        let made = MetalLBStatus {
            frrk8s_namespaces: handed.iter().cloned().collect(),
            ..resource.status.clone().unwrap_or_default()
        };
        let api: Api<MetalLB> = Api::namespaced(self.client.clone(), &key.namespace);
        apply::status(&api, &key.name, &made, field_manager::OPERATOR).await
    }

    pub(crate) async fn or_warn(
        &mut self,
        key: &Key,
        resource: &MetalLB,
        state: &State,
        report: Option<&Report>,
    ) -> bool {
        match self.state(key, resource, state, report).await {
            Ok(()) => true,
            Err(failure) => {
                warn!(event = "statusFailed", resource = %key, error = explain(&failure));
                false
            }
        }
    }
}

fn status(state: &State, generation: Option<i64>, before: &MetalLBStatus, report: Option<&Report>) -> MetalLBStatus {
    let conditions = conditions(state, generation, &before.conditions, this_second());
    match report {
        Some(report) => MetalLBStatus {
            conditions,
            bgp_backend: Some(report.backend.to_string()),
            version: Some(VERSION.to_owned()),
            ready: Some(readiness::total(&report.workloads)),
            components: report.workloads.iter().map(Workload::component).collect(),
            frrk8s_namespaces: report.handed.iter().cloned().collect(),
        },
        // What runs goes on running, and that is what was said last about it.
        None => MetalLBStatus {
            conditions,
            ..before.clone()
        },
    }
}

/// The API server keeps no fraction of a second; with one, what comes back would not be what was said.
fn this_second() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

fn is_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// Tells whether the conditions that hold are the same, and for the same reasons.
fn says_the_same(before: &[Condition], after: &[Condition]) -> bool {
    let holding = |conditions: &[Condition]| -> Vec<(String, String)> {
        let holding = conditions.iter().filter(|condition| condition.status == "True");
        holding
            .map(|condition| (condition.type_.clone(), condition.reason.clone()))
            .collect()
    };
    holding(before) == holding(after)
}
