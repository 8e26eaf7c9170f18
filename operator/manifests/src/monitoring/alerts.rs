//! The alerts of upstream's chart, such that they fire in every mode.

use serde_json::{Value, json};

use crate::context::Context;

/// Usage of a pool in percent, and how bad that is.
const THRESHOLDS: [(u8, &str); 3] = [(75, "warning"), (85, "warning"), (95, "critical")];

/// How long something must last before anybody is woken. Upstream: usage alerts at once, whatever their text says.
const FOR: &str = "1m";

pub(crate) fn rules(context: &Context<'_>) -> Vec<Value> {
    let namespace = literal(&context.environment.namespace);
    let here = format!("namespace={namespace}");
    let alerts = context.spec.metrics.as_ref().and_then(|it| it.prometheus_rule.as_ref());
    let excluded = alerts
        .and_then(|alerts| alerts.exclude_pools.as_deref())
        .unwrap_or_default();
    let pools = if excluded.is_empty() {
        here.clone()
    } else {
        format!("{here},pool!~{}", literal(excluded))
    };
    let used = format!("metallb_allocator_addresses_in_use_total{{{pools}}}");
    let total = format!("metallb_allocator_addresses_total{{{pools}}}");
    let mut rules = vec![
        rule(
            "MetalLBStaleConfig",
            &format!("metallb_k8s_client_config_stale_bool{{{here}}} == 1"),
            "warning",
            "Stale config on {{ $labels.pod }}",
            "{{ $labels.job }} - MetalLB {{ $labels.container }} on {{ $labels.pod }} has a stale config for > 1 minute",
        ),
        rule(
            "MetalLBConfigNotLoaded",
            &format!("metallb_k8s_client_config_loaded_bool{{{here}}} == 0"),
            "warning",
            "Config on {{ $labels.pod }} has not been loaded",
            "{{ $labels.job }} - MetalLB {{ $labels.container }} on {{ $labels.pod }} has not loaded for > 1 minute",
        ),
        rule(
            "MetalLBAddressPoolExhausted",
            &format!("{used} >= {total}"),
            "critical",
            "Exhausted address pool {{ $labels.pool }}",
            "MetalLB has no address left in pool {{ $labels.pool }} for > 1 minute",
        ),
    ];
    rules.extend(THRESHOLDS.map(|(percent, severity)| {
        rule(
            &format!("MetalLBAddressPoolUsage{percent}Percent"),
            &format!("({used} / {total}) * 100 > {percent}"),
            severity,
            "Address pool {{ $labels.pool }} is nearly full",
            &format!("MetalLB has used more than {percent}% of pool {{{{ $labels.pool }}}} for > 1 minute"),
        )
    }));
    // frr-k8s counts under names of its own, unless they are changed while scraping.
    let down = ["metallb", "frrk8s"].map(|prefix| format!("{prefix}_bgp_session_up{{{here}}} == 0"));
    rules.push(rule(
        "MetalLBBGPSessionDown",
        &down.join(" or "),
        "critical",
        "BGP session down",
        "{{ $labels.job }} - MetalLB on {{ $labels.pod }} has BGP session {{ $labels.peer }} down for > 1 minute",
    ));
    rules
}

fn rule(name: &str, expression: &str, severity: &str, summary: &str, description: &str) -> Value {
    json!({
        "alert": name,
        "expr": expression,
        "for": FOR,
        "labels": { "severity": severity },
        "annotations": { "summary": summary, "description": description },
    })
}

/// A string of PromQL, whatever it holds; its escapes are those of JSON.
fn literal(text: &str) -> String {
    Value::from(text).to_string()
}
