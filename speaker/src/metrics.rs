//! What `/metrics` shows.
//!
//! Counters of the data plane are read when somebody asks; nothing is copied in between.

mod bfd;
mod families;
mod members;
#[cfg(test)]
mod upstream;

use std::net::IpAddr;
use std::sync::Arc;

use anyhow::Result;
use metallb_api::names;
use metallb_dataplane::l2::L2Handle;
use metallb_dataplane::members::MembersHandle;
use metallb_engine::{ConfigReport, Protocol, ServiceKey};
use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntGauge, Opts, Registry};
use tokio::sync::watch;

use crate::backend::Bgp;
use crate::failovers::{LOSSES, cause_of_loss};

/// The speaker's own metrics.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    announced: families::Announced,
    updates: IntCounter,
    update_errors: IntCounter,
    loaded: IntGauge,
    stale: IntGauge,
    rejected: IntGauge,
    failovers: HistogramVec,
}

/// In seconds, from a planned move to a failover that was held up.
const FAILOVER_BUCKETS: [f64; 18] = [
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 2.0, 5.0, 10.0, 30.0,
];

impl Metrics {
    /// Creates and registers all metrics.
    ///
    /// # Errors
    /// When two have the same name.
    pub(crate) fn new(node: &str) -> Result<Self> {
        let metrics = Self {
            registry: Registry::new(),
            announced: families::Announced::new(node)?,
            updates: IntCounter::new(
                "metallb_k8s_client_updates_total",
                "Number of k8s object updates that have been processed.",
            )?,
            update_errors: IntCounter::new(
                "metallb_k8s_client_update_errors_total",
                "Number of k8s object updates that failed for some reason.",
            )?,
            loaded: IntGauge::new(
                "metallb_k8s_client_config_loaded_bool",
                "1 if the MetalLB configuration was successfully loaded at least once.",
            )?,
            stale: IntGauge::new(
                "metallb_k8s_client_config_stale_bool",
                "1 if running on a stale configuration, because the latest config failed to load.",
            )?,
            rejected: IntGauge::with_opts(
                Opts::new(
                    "metallb_config_rejected_objects",
                    "Number of objects of the newest configuration that are refused, in whole or in part.",
                )
                .const_label("component", names::SPEAKER),
            )?,
            failovers: HistogramVec::new(
                HistogramOpts::new(
                    "metallb_layer2_failover_seconds",
                    "Time from the last sign of life of the previous owner of a service's addresses, or from what else made \
                     them move, to the first frame that tells of this node.",
                )
                .buckets(FAILOVER_BUCKETS.into()),
                &["cause"],
            )?,
        };
        // Rates need a value before the first failover.
        for loss in LOSSES {
            metrics.failovers.with_label_values(&[cause_of_loss(loss)]);
        }
        metrics.registry.register(Box::new(metrics.failovers.clone()))?;
        metrics.registry.register(Box::new(metrics.announced.clone()))?;
        for counter in [&metrics.updates, &metrics.update_errors] {
            metrics.registry.register(Box::new(counter.clone()))?;
        }
        for gauge in [&metrics.loaded, &metrics.stale, &metrics.rejected] {
            metrics.registry.register(Box::new(gauge.clone()))?;
        }
        Ok(metrics)
    }

    /// Adds the counters of the data plane.
    ///
    /// # Errors
    /// When they were added before.
    pub(crate) fn add_data_plane(&self, l2: L2Handle, bgp: &Bgp) -> Result<()> {
        self.registry.register(Box::new(families::Layer2::new(l2)?))?;
        if let Some(bfd) = bgp.bfd() {
            self.registry.register(Box::new(bfd::BfdSessions::new(bfd.clone())?))?;
        }
        Ok(self.registry.register(Box::new(families::Bgp::new(bgp.sessions())?))?)
    }

    /// Adds the counters of the membership.
    ///
    /// # Errors
    /// When they were added before.
    pub(crate) fn add_members(&self, members: MembersHandle) -> Result<()> {
        Ok(self.registry.register(Box::new(members::Members::new(members)?))?)
    }

    /// What to serve.
    #[must_use]
    pub(crate) fn registry(&self) -> Registry {
        self.registry.clone()
    }

    /// Counts objects that were looked at.
    pub(crate) fn updated(&self, count: usize) {
        self.updates.inc_by(u64::try_from(count).unwrap_or(u64::MAX));
    }

    /// This node has taken over a Service in so many seconds.
    pub(crate) fn failed_over(&self, cause: &str, seconds: f64) {
        self.failovers.with_label_values(&[cause]).observe(seconds);
    }

    /// Counts something that failed.
    pub(crate) fn failed(&self) {
        self.update_errors.inc();
    }

    /// Tells whether the configuration is in effect as written.
    fn configured(&self, report: &ConfigReport) {
        self.loaded.set(1);
        self.stale.set(i64::from(!report.errors.is_empty()));
        self.rejected.set(i64::try_from(report.refused).unwrap_or(i64::MAX));
    }

    /// Replaces the series of one Service and protocol.
    pub(crate) fn announced(&self, service: Arc<ServiceKey>, protocol: Protocol, ips: Vec<IpAddr>) {
        self.announced.set(service, protocol, ips);
    }
}

/// Tells whether the last report is one without errors, until nobody can report any more.
pub(crate) async fn follow(metrics: Arc<Metrics>, mut reports: watch::Receiver<Option<ConfigReport>>) {
    while reports.changed().await.is_ok() {
        if let Some(report) = &*reports.borrow_and_update() {
            metrics.configured(report);
        }
    }
}

#[cfg(test)]
impl Metrics {
    /// What is served.
    pub(crate) fn text(&self) -> String {
        tests::text(&self.registry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::{Encoder, TextEncoder};

    pub(super) fn text(registry: &Registry) -> String {
        let mut text = Vec::new();
        TextEncoder::new().encode(&registry.gather(), &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    // L2-87
    #[test]
    fn withdrawn_addresses_leave_no_series() {
        let metrics = Metrics::new("node-a").unwrap();
        let service = Arc::new(ServiceKey::new("default", "web"));
        let series =
            "metallb_speaker_announced{ip=\"192.0.2.1\",node=\"node-a\",protocol=\"layer2\",service=\"default/web\"} 1";
        metrics.announced(
            Arc::clone(&service),
            Protocol::Layer2,
            vec!["192.0.2.1".parse().unwrap()],
        );
        assert!(text(&metrics.registry).contains(series));
        metrics.announced(
            Arc::clone(&service),
            Protocol::Layer2,
            vec!["192.0.2.2".parse().unwrap()],
        );
        assert!(!text(&metrics.registry).contains(series));
        metrics.announced(Arc::clone(&service), Protocol::Layer2, vec![]);
        assert!(!text(&metrics.registry).contains("metallb_speaker_announced{"));
    }

    #[test]
    fn names_are_upstreams() {
        let metrics = Metrics::new("node-a").unwrap();
        metrics.configured(&ConfigReport {
            errors: vec!["p: bad".into(), "q: bad".into(), "q: worse".into()],
            refused: 2,
            ..ConfigReport::default()
        });
        metrics.updated(3);
        let text = text(&metrics.registry);
        for line in [
            "metallb_k8s_client_updates_total 3",
            "metallb_k8s_client_update_errors_total 0",
            "metallb_k8s_client_config_loaded_bool 1",
            "metallb_k8s_client_config_stale_bool 1",
            "metallb_config_rejected_objects{component=\"speaker\"} 2",
        ] {
            assert!(text.contains(line), "{line}");
        }
    }
}
