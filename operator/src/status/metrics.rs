//! What the operator counts. Upstream: nothing of its own.

use axum::{Router, extract::State as Shared, http::StatusCode, routing::get};
use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder};

use crate::status::conditions::{State, TYPES};

/// The series of the operator; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    reconciles: IntCounterVec,
    writes: IntCounterVec,
    conditions: IntGaugeVec,
}

impl Metrics {
    pub(crate) fn new() -> prometheus::Result<Self> {
        let options = |name: &str, help: &str| Opts::new(name, help).namespace("metallb").subsystem("operator");
        let metrics = Self {
            registry: Registry::new(),
            reconciles: IntCounterVec::new(
                options("reconciles_total", "Passes over a MetalLB resource, by result."),
                &["result"],
            )?,
            writes: IntCounterVec::new(
                options(
                    "writes_total",
                    "Deployed objects that were created, repaired or removed.",
                ),
                &["action", "kind"],
            )?,
            conditions: IntGaugeVec::new(
                options("condition", "Whether a condition of the MetalLB resource holds."),
                &["type"],
            )?,
        };
        metrics.registry.register(Box::new(metrics.reconciles.clone()))?;
        metrics.registry.register(Box::new(metrics.writes.clone()))?;
        metrics.registry.register(Box::new(metrics.conditions.clone()))?;
        Ok(metrics)
    }

    /// Where others add theirs.
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(crate) fn reconciled(&self, well: bool) {
        self.reconciles
            .with_label_values(&[if well { "success" } else { "error" }])
            .inc();
    }

    pub(crate) fn wrote(&self, action: &str, kind: &str) {
        self.writes.with_label_values(&[action, kind]).inc();
    }

    pub(crate) fn state(&self, state: &State) {
        for type_ in TYPES {
            self.conditions
                .with_label_values(&[type_])
                .set(state.of(type_).is_some().into());
        }
    }

    fn text(&self) -> Result<String, StatusCode> {
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// What is served.
pub(crate) fn router(metrics: Metrics) -> Router {
    let text = get(|Shared(metrics): Shared<Metrics>| async move { metrics.text() });
    Router::new().route("/metrics", text).with_state(metrics)
}

#[cfg(test)]
mod tests {
    use super::*;

    // OP-51
    #[test]
    fn passes_writes_and_conditions_are_counted() {
        let metrics = Metrics::new().unwrap();
        metrics.reconciled(true);
        metrics.wrote("apply", "DaemonSet");
        metrics.state(&State::Progressing("x".into()));
        let text = metrics.text().unwrap();
        for line in [
            "metallb_operator_reconciles_total{result=\"success\"} 1",
            "metallb_operator_writes_total{action=\"apply\",kind=\"DaemonSet\"} 1",
            "metallb_operator_condition{type=\"Progressing\"} 1",
            "metallb_operator_condition{type=\"Available\"} 0",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
