//! Upstream's metrics, under upstream's names.

use metallb_assign::Verdict;
use metallb_ipam::Counters;
use metallb_runtime::work::{QueueMetrics, WorkMetrics};
use prometheus::{IntCounter, IntGauge, IntGaugeVec, Opts, Registry};

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
    pools: [IntGaugeVec; 7],
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
        Ok(Self {
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

    /// Removes the series of all pools, when somebody else shows them.
    pub(crate) fn hide_pools(&self) {
        for gauge in &self.pools {
            gauge.reset();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
