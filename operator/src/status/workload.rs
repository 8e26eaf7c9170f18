//! How far a workload has come, as its controller tells.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use metallb_api::ComponentStatus;
use serde_json::Value;

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

    pub(crate) fn of(object: &Value) -> Option<Self> {
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
    pub(crate) fn missing(&self) -> Option<String> {
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
    pub(crate) fn oddity(&self) -> Option<String> {
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
