//! Upstream's metrics, under upstream's names, and a few of our own. Labels are pools, or one of
//! [`allocation_reason::REFUSALS`].

use std::collections::{BTreeMap, BTreeSet};

use metallb_api::names::{self, allocation_reason};
use metallb_assign::Verdict;
use metallb_ipam::Counters;
use metallb_runtime::work::{QueueMetrics, WorkMetrics};
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

/// Services that are worked on at a time, as long as the API server is quick.
pub(crate) const WORKERS: usize = 16;

/// All metrics of the controller; clones count together.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    /// Objects looked at.
    pub(crate) updates: IntCounter,
    /// Of those, failures.
    pub(crate) update_errors: IntCounter,
    /// 1 once a configuration was accepted.
    pub(crate) config_loaded: IntGauge,
    /// 1 while part of the newest configuration is refused.
    pub(crate) config_stale: IntGauge,
    /// 1 while this process assigns addresses.
    pub(crate) leader: IntGauge,
    rejected: IntGauge,
    pools: [IntGaugeVec; 7],
    failures: IntCounterVec,
    pending: IntGaugeVec,
    /// The work on Services.
    pub(crate) services: QueueMetrics,
    /// The work on the configuration.
    pub(crate) configuration: QueueMetrics,
}

impl Metrics {
    /// Tells what became of the newest configuration.
    pub(crate) fn judged(&self, verdict: &Verdict) {
        self.config_loaded.set(i64::from(verdict.accepted.is_some()));
        self.config_stale.set(i64::from(!verdict.refused.is_empty()));
        let rejected: BTreeSet<_> = verdict.refused.iter().map(|refused| &refused.object).collect();
        self.rejected.set(i64::try_from(rejected.len()).unwrap_or(i64::MAX));
    }

    /// Counts a look at a Service that left it without what it asks for.
    pub(crate) fn failed(&self, reason: &str) {
        self.update_errors.inc();
        self.failures.with_label_values(&[reason]).inc();
    }

    /// Registers everything.
    ///
    /// # Errors
    /// When a name is registered already.
    pub(crate) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str| -> prometheus::Result<IntCounter> {
            let counter = IntCounter::new(format!("metallb_k8s_client_{name}"), help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let gauge = |name: &str, help: &str| -> prometheus::Result<IntGauge> {
            let gauge = IntGauge::new(format!("metallb_k8s_client_{name}"), help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let pool = |name: &str, help: &str| -> prometheus::Result<IntGaugeVec> {
            let opts = Opts::new(format!("metallb_allocator_{name}"), help);
            let gauge = IntGaugeVec::new(opts, &["pool"])?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let work = WorkMetrics::register(registry)?;
        let leader = IntGauge::new("metallb_controller_leader", "1 if this controller assigns addresses.")?;
        let rejected = Opts::new(
            "metallb_config_rejected_objects",
            "Number of objects of the newest configuration that are refused, in whole or in part.",
        );
        let rejected = IntGauge::with_opts(rejected.const_label("component", names::CONTROLLER))?;
        let failures = Opts::new(
            "metallb_allocator_failures_total",
            "Number of times that a service did not get what it asks for, per reason.",
        );
        let failures = IntCounterVec::new(failures, &["reason"])?;
        let pending = Opts::new(
            "metallb_allocator_pending_services",
            "Number of services of type LoadBalancer without an address, per reason.",
        );
        let pending = IntGaugeVec::new(pending, &["reason"])?;
        // Rates need a value before the first failure.
        for reason in allocation_reason::REFUSALS {
            failures.with_label_values(&[reason]);
        }
        registry.register(Box::new(leader.clone()))?;
        registry.register(Box::new(rejected.clone()))?;
        registry.register(Box::new(failures.clone()))?;
        registry.register(Box::new(pending.clone()))?;
        Ok(Self {
            leader,
            rejected,
            failures,
            pending,
            // As controller-runtime calls them, after the kind.
            services: work.queue("service", WORKERS),
            configuration: work.queue("ipaddresspool", 1),
            updates: counter(
                "updates_total",
                "Number of k8s object updates that have been processed.",
            )?,
            update_errors: counter(
                "update_errors_total",
                "Number of k8s object updates that failed for some reason.",
            )?,
            config_loaded: gauge(
                "config_loaded_bool",
                "1 if the MetalLB configuration was successfully loaded at least once.",
            )?,
            config_stale: gauge(
                "config_stale_bool",
                "1 if running on a stale configuration, because the latest config failed to load.",
            )?,
            pools: [
                pool("addresses_total", "Number of usable IP addresses, per pool.")?,
                pool("ipv4_addresses_total", "Number of usable IPv4 addresses, per pool.")?,
                pool("ipv6_addresses_total", "Number of usable IPv6 addresses, per pool.")?,
                pool("addresses_in_use_total", "Number of IP addresses in use, per pool.")?,
                pool(
                    "ipv4_addresses_in_use_total",
                    "Number of IPv4 addresses in use, per pool.",
                )?,
                pool(
                    "ipv6_addresses_in_use_total",
                    "Number of IPv6 addresses in use, per pool.",
                )?,
                pool("services_allocated_total", "Number of services allocated, per pool.")?,
            ],
        })
    }

    /// Shows the numbers of a pool; none removes its series.
    pub(crate) fn show_pool(&self, pool: &str, counters: Option<Counters>) {
        let Some(counters) = counters else {
            for gauge in &self.pools {
                // There may have been no series.
                let _ = gauge.remove_label_values(&[pool]);
            }
            return;
        };
        let values = [
            counters.capacity(),
            counters.capacity_v4,
            counters.capacity_v6,
            counters.in_use(),
            counters.in_use_v4,
            counters.in_use_v6,
            u128::from(counters.services),
        ];
        for (gauge, value) in self.pools.iter().zip(values) {
            gauge.with_label_values(&[pool]).set(Counters::export(value));
        }
    }

    /// Shows how many Services wait for an address, by reason.
    pub(crate) fn show_pending(&self, pending: &BTreeMap<&'static str, i64>) {
        for reason in allocation_reason::REFUSALS {
            let count = pending.get(reason).copied().unwrap_or_default();
            self.pending.with_label_values(&[reason]).set(count);
        }
    }

    /// Removes the series of all pools and of what waits for them, when somebody else shows them.
    pub(crate) fn hide_pools(&self) {
        for gauge in self.pools.iter().chain([&self.pending]) {
            gauge.reset();
        }
    }
}

#[cfg(test)]
mod tests {
    use metallb_config::{ObjectRef, Refused, Rule};

    use super::*;

    #[test]
    fn what_waits_is_shown_by_the_leader_alone_and_failures_by_reason() {
        let registry = Registry::new();
        let metrics = Metrics::register(&registry).unwrap();
        let text = || {
            prometheus::TextEncoder::new()
                .encode_to_string(&registry.gather())
                .unwrap()
        };
        metrics.failed(allocation_reason::NO_POOLS);
        let zero = "metallb_allocator_failures_total{reason=\"PortInUse\"} 0\n";
        let one = "metallb_allocator_failures_total{reason=\"NoPools\"} 1\n";
        assert!(text().contains(zero) && text().contains(one), "{}", text());
        assert!(!text().contains("metallb_allocator_pending_services{"), "{}", text());
        metrics.show_pending(&[(allocation_reason::NO_POOLS, 2)].into());
        for line in ["{reason=\"NoPools\"} 2\n", "{reason=\"PortInUse\"} 0\n"] {
            assert!(
                text().contains(&format!("metallb_allocator_pending_services{line}")),
                "{}",
                text()
            );
        }
        metrics.hide_pools();
        assert!(!text().contains("metallb_allocator_pending_services{"), "{}", text());
    }

    #[test]
    fn an_object_with_two_faults_is_one_rejected_object() {
        let registry = Registry::new();
        let metrics = Metrics::register(&registry).unwrap();
        let refused = |field: &str| Refused {
            object: ObjectRef::new("IPAddressPool", "p"),
            field: field.into(),
            reason: "bad".into(),
            rule: Rule::P1,
            verbatim: None,
            involves: Vec::new(),
        };
        metrics.judged(&Verdict {
            refused: vec![refused("spec.addresses[0]"), refused("spec.addresses[1]")],
            ..Verdict::default()
        });
        assert_eq!(metrics.rejected.get(), 1);
        metrics.judged(&Verdict::default());
        assert_eq!(metrics.rejected.get(), 0);
    }

    #[test]
    fn the_series_of_a_pool_come_and_go_with_it() {
        // CTL-128
        let registry = Registry::new();
        let metrics = Metrics::register(&registry).unwrap();
        let counters = Counters {
            capacity_v4: 4,
            capacity_v6: 1 << 64,
            in_use_v4: 1,
            ..Counters::default()
        };
        metrics.show_pool("p", Some(counters));
        let text = prometheus::TextEncoder::new()
            .encode_to_string(&registry.gather())
            .unwrap();
        assert!(
            text.contains("metallb_allocator_ipv4_addresses_in_use_total{pool=\"p\"} 1\n"),
            "{text}"
        );
        assert!(
            text.contains("metallb_allocator_addresses_total{pool=\"p\"} 9223372036854776000\n"),
            "{text}"
        );
        metrics.show_pool("p", None);
        let text = prometheus::TextEncoder::new()
            .encode_to_string(&registry.gather())
            .unwrap();
        assert!(!text.contains("pool="), "{text}");
    }
}
