//! The alerts of upstream's chart, such that they fire in every mode, and our own.

use serde_json::{Value, json};

use crate::context::Context;

/// Where people read what an alert means and what to do; the anchor is the alert's name.
const RUNBOOKS: &str = "https://github.com/metallb-rs/metallb-rs/blob/main/docs/alerts.md";

/// Usage of a pool in percent, and how bad that is.
const THRESHOLDS: [(u8, &str); 3] = [(75, "warning"), (85, "warning"), (95, "critical")];

/// How long upstream's alerts wait before anybody is woken. Upstream: usage alerts at once, whatever their text says.
const FOR: &str = "1m";

/// Lists all alerts.
pub(crate) fn rules(context: &Context<'_>) -> Vec<Value> {
    let alerts = context.spec.metrics.as_ref().and_then(|it| it.prometheus_rule.as_ref());
    let excluded = alerts.and_then(|alerts| alerts.exclude_pools.as_deref());
    let chosen = Chosen::new(&context.environment.namespace, excluded.unwrap_or_default());
    let mut rules = chosen.upstreams();
    rules.extend(chosen.ours());
    rules
}

/// Lists the alerts that upstream does not have, for one namespace, and without the pools that a regular expression fits.
#[must_use]
pub fn own_alerts(namespace: &str, exclude_pools: &str) -> Vec<Value> {
    Chosen::new(namespace, exclude_pools).ours()
}

/// The series that alerts are about.
struct Chosen {
    /// Matchers of our pods.
    here: String,
    /// How many addresses of each pool are in use.
    used: String,
    /// How many it has.
    total: String,
}

impl Chosen {
    fn new(namespace: &str, excluded: &str) -> Self {
        let here = format!("namespace={}", literal(namespace));
        let pools = match excluded.is_empty() {
            true => here.clone(),
            false => format!("{here},pool!~{}", literal(excluded)),
        };
        Self {
            here,
            used: format!("metallb_allocator_addresses_in_use_total{{{pools}}}"),
            total: format!("metallb_allocator_addresses_total{{{pools}}}"),
        }
    }

    fn upstreams(&self) -> Vec<Value> {
        let Self { here, used, total } = self;
        let mut rules = vec![
            rule(
                ("MetalLBStaleConfig", FOR, "warning"),
                &format!("metallb_k8s_client_config_stale_bool{{{here}}} == 1"),
                "Stale config on {{ $labels.pod }}",
                "{{ $labels.job }} - MetalLB {{ $labels.container }} on {{ $labels.pod }} has a stale config for > 1 minute",
            ),
            rule(
                ("MetalLBConfigNotLoaded", FOR, "warning"),
                &format!("metallb_k8s_client_config_loaded_bool{{{here}}} == 0"),
                "Config on {{ $labels.pod }} has not been loaded",
                "{{ $labels.job }} - MetalLB {{ $labels.container }} on {{ $labels.pod }} has not loaded for > 1 minute",
            ),
            rule(
                ("MetalLBAddressPoolExhausted", FOR, "critical"),
                &format!("{used} >= {total}"),
                "Exhausted address pool {{ $labels.pool }}",
                "MetalLB has no address left in pool {{ $labels.pool }} for > 1 minute",
            ),
        ];
        rules.extend(THRESHOLDS.map(|(percent, severity)| {
            rule(
                (&format!("MetalLBAddressPoolUsage{percent}Percent"), FOR, severity),
                &format!("({used} / {total}) * 100 > {percent}"),
                "Address pool {{ $labels.pool }} is nearly full",
                &format!("MetalLB has used more than {percent}% of pool {{{{ $labels.pool }}}} for > 1 minute"),
            )
        }));
        rules.push(rule(
            ("MetalLBBGPSessionDown", FOR, "critical"),
            &self.down("bgp"),
            "BGP session down",
            "{{ $labels.job }} - MetalLB on {{ $labels.pod }} has BGP session {{ $labels.peer }} down for > 1 minute",
        ));
        rules
    }

    /// None joins on a single label: that would lose the others, and with them whose alert it is.
    fn ours(&self) -> Vec<Value> {
        let Self { here, used, total } = self;
        // A counter that begins at 1 has not increased as Prometheus sees it.
        let conflicts = format!("metallb_layer2_conflicts_total{{{here},kind=\"foreign\"}}");
        vec![
            rule(
                ("MetalLBServicesPending", "10m", "warning"),
                &format!("sum by (namespace, reason) (metallb_allocator_pending_services{{{here}}}) > 0"),
                "Services wait for an address: {{ $labels.reason }}",
                "{{ $value }} Services have had no address for > 10 minutes, with reason {{ $labels.reason }}",
            ),
            rule(
                ("MetalLBPoolFullSoon", "1h", "warning"),
                &format!("predict_linear({used}[6h], 4 * 86400) > {total} and {used} / {total} > 0.5"),
                "Address pool {{ $labels.pool }} will be full within four days",
                "Pool {{ $labels.pool }} is more than half full, and as the last 6 hours went it is full within four days",
            ),
            // By node first: Services that share an address are no split.
            rule(
                ("MetalLBSplitBrain", "1m", "critical"),
                &format!(
                    "count by (namespace, ip) (count by (namespace, ip, node) \
                     (metallb_speaker_announced{{{here},protocol=\"layer2\"}} == 1)) > 1"
                ),
                "Several nodes announce {{ $labels.ip }}",
                "{{ $value }} nodes have announced {{ $labels.ip }} by layer 2 for > 1 minute",
            ),
            // Two equal halves agree with each other, but not with the number of speakers.
            rule(
                ("MetalLBMembershipSplit", "2m", "critical"),
                &format!(
                    "min by (namespace) (metallb_speaker_members{{{here}}}) < \
                     count by (namespace) (metallb_speaker_members{{{here}}})"
                ),
                "Speakers do not see each other",
                "A speaker has seen only {{ $value }} speakers alive, itself included, for > 2 minutes; more are running",
            ),
            rule(
                ("MetalLBAddressConflict", "0m", "critical"),
                &format!(
                    "sum by (namespace, ip) (increase({conflicts}[5m])) > 0 or sum by (namespace, ip) ({conflicts}) > 0 \
                     unless sum by (namespace, ip) ({conflicts} offset 5m)"
                ),
                "Another host claims {{ $labels.ip }}",
                "A host that is no speaker has answered for {{ $labels.ip }} within the last 5 minutes",
            ),
            rule(
                ("MetalLBAddressNotAnnounced", "10m", "critical"),
                &format!("{used} > 0 unless on (namespace) metallb_speaker_announced{{{here}}}"),
                "Nobody announces addresses of pool {{ $labels.pool }}",
                "Addresses of pool {{ $labels.pool }} are in use, and no speaker has announced any address for > 10 minutes",
            ),
            rule(
                ("MetalLBSlowFailover", "0m", "warning"),
                &format!(
                    "histogram_quantile(0.99, sum by (namespace, le) \
                     (increase(metallb_layer2_failover_seconds_bucket{{{here}}}[1h]))) > 5"
                ),
                "Failover of layer 2 is slow",
                "Within the last hour addresses were without a node for {{ $value }} seconds (99th percentile)",
            ),
            rule(
                ("MetalLBBFDSessionDown", "1m", "critical"),
                &self.down("bfd"),
                "BFD session down",
                "{{ $labels.pod }} has had no BFD session with {{ $labels.peer }} for > 1 minute",
            ),
            rule(
                ("MetalLBObjectsRejected", "5m", "warning"),
                &format!("max by (namespace, component) (metallb_config_rejected_objects{{{here}}}) > 0"),
                "The {{ $labels.component }} refuses configuration",
                "{{ $value }} objects have been refused by a {{ $labels.component }}, in whole or in part, for > 5 minutes",
            ),
            rule(
                ("MetalLBStatusWritesFailing", "10m", "warning"),
                &format!("increase(metallb_k8s_client_update_errors_total{{{here}}}[10m]) > 5"),
                "Updates fail on {{ $labels.pod }}",
                "{{ $labels.pod }} has failed with more than 5 updates in each span of 10 minutes for > 10 minutes",
            ),
            rule(
                ("MetalLBNoLeader", "2m", "critical"),
                &format!(
                    "sum by (namespace) (metallb_controller_leader{{{here}}}) != 1 or \
                     absent(metallb_controller_leader{{{here}}})"
                ),
                "No controller assigns addresses",
                "For > 2 minutes there has not been exactly one controller that assigns addresses",
            ),
        ]
    }

    /// Sessions that are down. frr-k8s counts under names of its own, unless they are changed while scraping.
    fn down(&self, protocol: &str) -> String {
        let here = &self.here;
        ["metallb", "frrk8s"]
            .map(|prefix| format!("{prefix}_{protocol}_session_up{{{here}}} == 0"))
            .join(" or ")
    }
}

fn rule((name, wait, severity): (&str, &str, &str), expression: &str, summary: &str, description: &str) -> Value {
    // Thresholds are the user's, so all of them have one runbook.
    let usage = "MetalLBAddressPoolUsage";
    let anchor = if name.starts_with(usage) { usage } else { name };
    json!({
        "alert": name,
        "expr": expression,
        "for": wait,
        "labels": { "severity": severity },
        "annotations": {
            "summary": summary,
            "description": description,
            "runbook_url": format!("{RUNBOOKS}#{}", anchor.to_lowercase()),
        },
    })
}

/// A string of PromQL, whatever it holds; its escapes are those of JSON.
fn literal(text: &str) -> String {
    Value::from(text).to_string()
}
