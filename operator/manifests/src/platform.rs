//! What the cluster offers besides Kubernetes itself.

/// What the cluster offers, as its discovery tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Platform {
    /// The cluster is OpenShift: it serves Routes.
    pub openshift: bool,
    /// PodMonitors can be made.
    pub pod_monitors: bool,
    /// ServiceMonitors can be made.
    pub service_monitors: bool,
    /// PrometheusRules can be made.
    pub prometheus_rules: bool,
}

/// The API group of the Prometheus operator.
pub(crate) const MONITORING_GROUP: &str = "monitoring.coreos.com";

impl Platform {
    /// Asks `serves`, which tells whether a group serves a kind.
    pub fn discover(serves: impl Fn(&str, &str) -> bool) -> Self {
        Self {
            openshift: serves("route.openshift.io", "Route"),
            pod_monitors: serves(MONITORING_GROUP, "PodMonitor"),
            service_monitors: serves(MONITORING_GROUP, "ServiceMonitor"),
            prometheus_rules: serves(MONITORING_GROUP, "PrometheusRule"),
        }
    }
}
