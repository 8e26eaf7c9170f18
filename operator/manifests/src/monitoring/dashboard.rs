//! The Grafana dashboard, a table of panels.

use serde_json::{Value, json};

/// Title, kind of panel, unit, what it shows, what is said when there is nothing to show, and the queries with their
/// legends; those of a table are its columns. `{$` begins the matchers of what the variable `namespace` chooses.
type Panel = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);

const NO_POOLS: &str = "There are no pools";
const NO_LAYER2: &str = "Nothing is announced by layer 2";
const NO_PEERS: &str = "There are no BGP peers";
const NO_BFD: &str = "No BGP peer has a BFD profile";
const OLD: &str = "MetalLB does not tell";

#[rustfmt::skip]
const ROWS: [(&str, &[Panel]); 6] = [
    ("Overview", &[
        ("Firing alerts", "stat", "none", "Alerts of MetalLB that fire now; docs/alerts.md says what to do.", OLD, &[
            ("alerts", r#"count(ALERTS{$,alertname=~"MetalLB.*",alertstate="firing"}) or vector(0)"#)]),
        ("Speakers", "stat", "none", "Speakers that are scraped.", OLD, &[
            ("speakers", r#"count(metallb_config_rejected_objects{$,component="speaker"}) or vector(0)"#)]),
        ("Leaders", "stat", "none", "Controllers that assign addresses; there should be one.", OLD, &[
            ("leaders", "sum(metallb_controller_leader{$}) or vector(0)")]),
        ("Versions", "stat", "none", "How many processes run which version.", OLD, &[
            ("{{version}}", "count by (version) (metallb_build_info{$})")]),
        ("Refused objects", "stat", "none", "Objects that a component refuses, in whole or in part.", OLD, &[
            ("{{component}}", "max by (component) (metallb_config_rejected_objects{$})")]),
        ("Stale configurations", "stat", "none", "Processes whose configuration is stale or not loaded.", OLD, &[
            ("processes", "(sum(metallb_k8s_client_config_stale_bool{$}) or vector(0)) + (count(metallb_k8s_client_config_loaded_bool{$} == 0) or vector(0))")]),
    ]),
    ("Pools", &[
        ("Pools", "table", "short", "Addresses of each pool.", NO_POOLS, &[
            ("Size", r#"sum by (pool) (metallb_allocator_addresses_total{$,pool=~"$pool"})"#),
            ("Used", r#"sum by (pool) (metallb_allocator_addresses_in_use_total{$,pool=~"$pool"})"#),
            ("Free", r#"sum by (pool) (metallb_allocator_addresses_total{$,pool=~"$pool"} - metallb_allocator_addresses_in_use_total{$,pool=~"$pool"})"#),
            ("Used %", r#"100 * sum by (pool) (metallb_allocator_addresses_in_use_total{$,pool=~"$pool"} / metallb_allocator_addresses_total{$,pool=~"$pool"})"#)]),
        ("Addresses in use", "timeseries", "short", "Addresses of each pool that Services have.", NO_POOLS, &[
            ("{{pool}}", r#"sum by (pool) (metallb_allocator_addresses_in_use_total{$,pool=~"$pool"})"#)]),
        ("Days until full", "timeseries", "d", "When a pool is full if it goes on as in the last 6 hours.", "No pool fills up", &[
            ("{{pool}}", r#"sum by (pool) ((metallb_allocator_addresses_total{$,pool=~"$pool"} - metallb_allocator_addresses_in_use_total{$,pool=~"$pool"}) / (deriv(metallb_allocator_addresses_in_use_total{$,pool=~"$pool"}[6h]) > 0)) / 86400"#)]),
        ("Failed allocations", "timeseries", "ops", "Looks at Services that did not get what they ask for, by reason.", OLD, &[
            ("{{reason}}", "sum by (reason) (rate(metallb_allocator_failures_total{$}[$__rate_interval])) > 0 or vector(0)")]),
        ("Waiting Services", "timeseries", "none", "Services without an address, by the reason of their condition.", OLD, &[
            ("{{reason}}", "sum by (reason) (metallb_allocator_pending_services{$}) > 0 or vector(0)")]),
    ]),
    ("Layer 2", &[
        ("Addresses by node", "timeseries", "none", "How many addresses each node answers for.", NO_LAYER2, &[
            ("{{node}}", r#"count by (node) (count by (node, ip) (metallb_speaker_announced{$,protocol="layer2",node=~"$node"}))"#)]),
        ("Owners", "table", "none", "Which node answers for which address, and whose it is.", NO_LAYER2, &[
            ("Announced", r#"max by (ip, service, node) (metallb_speaker_announced{$,protocol="layer2",node=~"$node"})"#)]),
        ("Requests and answers", "timeseries", "pps", "ARP and NDP frames for announced addresses.", OLD, &[
            ("requests", "sum(rate(metallb_layer2_requests_received{$}[$__rate_interval])) or vector(0)"),
            ("answers", "sum(rate(metallb_layer2_responses_sent{$}[$__rate_interval])) or vector(0)"),
            ("gratuitous", "sum(rate(metallb_layer2_gratuitous_sent{$}[$__rate_interval])) or vector(0)")]),
        ("Frames not answered", "timeseries", "pps", "By reason; most are for addresses of others.", OLD, &[
            ("{{reason}}", "sum by (reason) (rate(metallb_layer2_dropped_total{$}[$__rate_interval])) or vector(0)")]),
        ("Conflicts", "timeseries", "pps", "Claims of announced addresses: by other speakers (peer) and by other hosts (foreign).", OLD, &[
            ("{{ip}} {{kind}}", "sum by (ip, kind) (rate(metallb_layer2_conflicts_total{$}[$__rate_interval])) or vector(0)")]),
        ("Owner changes", "timeseries", "ops", "Services that another node took over, by cause.", OLD, &[
            ("{{cause}}", "sum by (cause) (rate(metallb_layer2_failover_seconds_count{$}[$__rate_interval])) or vector(0)")]),
    ]),
    ("Failover", &[
        ("Duration", "heatmap", "s", "How long addresses were without a node.", "There was no failover", &[
            ("{{le}}", "sum by (le) (increase(metallb_layer2_failover_seconds_bucket{$}[$__rate_interval]))")]),
        ("Percentiles", "timeseries", "s", "How long addresses were without a node, by cause, within the last hour.", "There was no failover", &[
            ("p50 {{cause}}", "histogram_quantile(0.5, sum by (le, cause) (increase(metallb_layer2_failover_seconds_bucket{$}[1h]))) >= 0"),
            ("p99 {{cause}}", "histogram_quantile(0.99, sum by (le, cause) (increase(metallb_layer2_failover_seconds_bucket{$}[1h]))) >= 0")]),
        ("Members", "timeseries", "none", "How many speakers each one sees alive, and how many there are.", "There is no membership", &[
            ("{{pod}}", "metallb_speaker_members{$}"),
            ("speakers", "count(metallb_speaker_members{$})")]),
    ]),
    ("BGP", &[
        ("Sessions", "state-timeline", "none", "1 while the session is established.", NO_PEERS, &[
            ("{{pod}} {{peer}}", r#"min by (pod, peer) (metallb_bgp_session_up{$,peer=~"$peer"})"#)]),
        ("Prefixes", "timeseries", "none", "What peers are told, and what they should be told.", NO_PEERS, &[
            ("{{pod}} {{peer}} announced", r#"sum by (pod, peer) (metallb_bgp_announced_prefixes_total{$,peer=~"$peer"})"#),
            ("{{pod}} {{peer}} wanted", r#"sum by (pod, peer) (metallb_bgp_pending_prefixes_total{$,peer=~"$peer"})"#)]),
        ("Updates", "timeseries", "pps", "UPDATE messages sent.", NO_PEERS, &[
            ("{{pod}} {{peer}}", r#"sum by (pod, peer) (rate(metallb_bgp_updates_total{$,peer=~"$peer"}[$__rate_interval]))"#)]),
        ("Notifications", "timeseries", "pps", "NOTIFICATION messages sent; each ends a session.", NO_PEERS, &[
            ("{{pod}} {{peer}}", r#"sum by (pod, peer) (rate(metallb_bgp_notifications_sent{$,peer=~"$peer"}[$__rate_interval]))"#)]),
        ("BFD sessions", "state-timeline", "none", "1 while the session is up.", NO_BFD, &[
            ("{{pod}} {{peer}}", r#"min by (pod, peer) (metallb_bfd_session_up{$,peer=~"$peer"})"#)]),
        ("BFD losses", "timeseries", "ops", "How often BFD sessions went down.", NO_BFD, &[
            ("{{pod}} {{peer}}", r#"sum by (pod, peer) (rate(metallb_bfd_session_down_events{$,peer=~"$peer"}[$__rate_interval]))"#)]),
    ]),
    ("Control", &[
        ("Queues", "timeseries", "none", "Objects that wait to be looked at.", OLD, &[
            ("{{name}}", "sum by (name) (workqueue_depth{$})")]),
        ("Waiting time", "timeseries", "s", "How long 99 of 100 objects waited in the queue at most.", "Nothing was queued", &[
            ("{{name}}", "histogram_quantile(0.99, sum by (le, name) (rate(workqueue_queue_duration_seconds_bucket{$}[$__rate_interval]))) >= 0")]),
        ("Failed looks", "timeseries", "ops", "Looks at objects that ended with an error, by controller.", OLD, &[
            ("{{controller}}", "sum by (controller) (rate(controller_runtime_reconcile_errors_total{$}[$__rate_interval])) or vector(0)")]),
        ("Updates of objects", "timeseries", "ops", "Objects that were looked at, and failures.", OLD, &[
            ("updates", "sum(rate(metallb_k8s_client_updates_total{$}[$__rate_interval])) or vector(0)"),
            ("errors", "sum(rate(metallb_k8s_client_update_errors_total{$}[$__rate_interval])) or vector(0)")]),
        ("Admission", "timeseries", "ops", "Objects that the webhooks judged, by verdict.", OLD, &[
            ("{{verdict}}", "sum by (verdict) (rate(metallb_admission_reviews_total{$}[$__rate_interval])) or vector(0)")]),
        ("Memory", "timeseries", "bytes", "Resident memory of each process.", OLD, &[
            ("{{pod}}", "process_resident_memory_bytes{$}")]),
        ("CPU", "timeseries", "percentunit", "Share of a processor that each process uses.", OLD, &[
            ("{{pod}}", "rate(process_cpu_seconds_total{$}[$__rate_interval])")]),
    ]),
];

/// Which choices there are, and the series that they come from; all but the first may be several at once.
const VARIABLES: [(&str, &str); 4] = [
    ("namespace", "metallb_allocator_addresses_total"),
    ("node", r#"metallb_speaker_announced{namespace="$namespace"}"#),
    ("pool", r#"metallb_allocator_addresses_total{namespace="$namespace"}"#),
    ("peer", r#"metallb_bgp_session_up{namespace="$namespace"}"#),
];

/// Makes the dashboard, as Grafana 10 and later import it.
#[must_use]
pub fn dashboard() -> Value {
    let mut panels = vec![];
    let mut top = 0;
    for (title, row) in ROWS {
        panels.push(json!({ "type": "row", "title": title, "collapsed": false, "panels": [],
            "gridPos": { "h": 1, "w": 24, "x": 0, "y": top } }));
        top += 1;
        let (width, height) = if row[0].1 == "stat" { (4, 4) } else { (8, 8) };
        for (place, shown) in row.iter().enumerate() {
            let (line, column) = (place * width / 24, place * width % 24);
            panels.push(panel(
                shown,
                &json!({ "h": height, "w": width, "x": column, "y": top + line * height }),
            ));
        }
        top += (row.len() * width).div_ceil(24) * height;
    }
    for (id, panel) in panels.iter_mut().enumerate() {
        panel["id"] = json!(id + 1);
    }
    let source = json!({ "name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus" });
    let variables: Vec<Value> = [source].into_iter().chain(VARIABLES.map(variable)).collect();
    json!({
        "uid": "metallb-rs", "title": "MetalLB", "tags": ["metallb"], "schemaVersion": 39, "editable": true,
        "time": { "from": "now-6h", "to": "now" }, "refresh": "1m",
        "templating": { "list": variables }, "panels": panels,
    })
}

fn variable((name, series): (&str, &str)) -> Value {
    let several = name != "namespace";
    let mut variable = json!({ "name": name, "label": name, "type": "query", "datasource": source(), "refresh": 2,
        "query": format!("label_values({series}, {name})"), "sort": 1, "multi": several, "includeAll": several });
    if several {
        // Also what is not there now.
        variable["allValue"] = json!(".*");
        variable["current"] = json!({ "text": ["All"], "value": ["$__all"] });
    }
    variable
}

fn source() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

fn panel((title, kind, unit, description, absent, queries): &Panel, place: &Value) -> Value {
    let (table, heatmap) = (*kind == "table", *kind == "heatmap");
    let ids = || ('A'..).map(String::from);
    let target = |(id, (legend, query)): (String, &(&str, &str))| {
        let format = if table {
            "table"
        } else if heatmap {
            "heatmap"
        } else {
            "time_series"
        };
        json!({ "refId": id, "datasource": source(), "expr": query.replace("{$", "{namespace=\"$namespace\""),
            "legendFormat": legend, "format": format, "instant": table, "range": !table })
    };
    let mut panel = json!({
        "title": title, "type": kind, "description": description, "datasource": source(), "gridPos": place,
        "targets": ids().zip(*queries).map(target).collect::<Vec<_>>(),
        "fieldConfig": { "defaults": { "unit": unit, "noValue": absent }, "overrides": [] },
        "options": { "legend": { "showLegend": true, "displayMode": "list", "placement": "bottom" } },
    });
    if table {
        let one = queries.len() == 1;
        let column = |id: String| {
            if one {
                "Value".to_owned()
            } else {
                format!("Value #{id}")
            }
        };
        let columns = ids().zip(*queries).map(|(id, (legend, _))| (column(id), json!(legend)));
        let renamed = Value::Object(columns.collect());
        panel["transformations"] = json!([{ "id": "merge", "options": {} },
            { "id": "organize", "options": { "excludeByName": { "Time": true }, "renameByName": renamed } }]);
        panel["fieldConfig"]["overrides"] = json!([{ "matcher": { "id": "byName", "options": "Used %" }, "properties": [
            { "id": "unit", "value": "percent" }, { "id": "min", "value": 0 }, { "id": "max", "value": 100 },
            { "id": "custom.cellOptions", "value": { "type": "gauge", "mode": "basic" } }] }]);
    }
    panel
}
