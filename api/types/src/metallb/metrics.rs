//! Settings of metrics and alerts.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is measured, and who is told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Metrics {
    /// Whether controller and speaker serve metrics; true when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,

    /// The port of both; that of the operator's environment when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,

    /// How Prometheus is told: None, PodMonitor or ServiceMonitor; as the operator's environment says when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor: Option<MonitorKind>,

    /// How often Prometheus asks, in its own syntax; as it is configured when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^([0-9]+(ms|s|m|h))+$"))]
    pub interval: Option<String>,

    /// More labels of monitors and alerts, by which a Prometheus selects them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,

    /// Alerts, as a PrometheusRule; as the operator's environment says when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus_rule: Option<Alerts>,
}

/// How Prometheus is told where the metrics are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MonitorKind {
    /// Not at all.
    None,
    /// By PodMonitors.
    PodMonitor,
    /// By ServiceMonitors.
    ServiceMonitor,
}

/// Which alerts there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Alerts {
    /// Whether there are any; true when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,

    /// A regular expression of pools whose usage raises no alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclude_pools: Option<String>,
}
