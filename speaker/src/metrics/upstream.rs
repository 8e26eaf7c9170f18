//! What is exposed compared with `upstream.prom`, which records what upstream exposes: names, types, help and labels.

use std::collections::{BTreeMap, BTreeSet};

use metallb_dataplane::bgp::{self, Sessions};
use metallb_runtime::CancellationToken;
use serde_json::json;
use tokio::sync::watch;

use super::families::Bgp;
use super::*;
use crate::bfd::Bfd;
use crate::bfd::tests::peers;
use crate::sessions::tests::untried;

/// Families that only we have.
const OURS: [&str; 5] = [
    "metallb_bfd_packets_refused_total",
    "metallb_bgp_session_failures_total",
    "metallb_bgp_unsendable_prefixes",
    "metallb_config_rejected_objects",
    "metallb_layer2_failover_seconds",
];

/// Type, help, and the names of the labels of each series.
#[derive(Debug, Default, PartialEq, Eq)]
struct Family {
    kind: String,
    help: String,
    series: BTreeSet<Vec<String>>,
}

fn families(text: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", "HELP", name, help] => families.entry(name.into()).or_default().help = help.into(),
            ["#", "TYPE", name, kind] => families.entry(name.into()).or_default().kind = kind.into(),
            ["#", ..] => {}
            _ => {
                let series = line.split(' ').next().unwrap();
                let (name, labels) = series.split_once('{').unwrap_or((series, ""));
                let labels = labels
                    .trim_end_matches('}')
                    .split(',')
                    .filter(|label| !label.is_empty());
                let labels = labels
                    .map(|label| label.split('=').next().unwrap().to_owned())
                    .collect();
                families.entry(name.into()).or_default().series.insert(labels);
            }
        }
    }
    families
}

// BGP-95
#[tokio::test]
async fn everything_of_upstreams_is_exposed_as_upstream_does() {
    let (handle, _work) = bgp::start(CancellationToken::new());
    let (bfd, work) = Bfd::start(handle).unwrap();
    let work = tokio::spawn(work);
    let (_sessions, seen) = watch::channel::<Sessions>([("tor".to_owned(), untried())].into());
    let metrics = Metrics::new("node-a").unwrap();
    metrics.registry.register(Box::new(Bgp::new(seen).unwrap())).unwrap();
    let paths = bfd::BfdSessions::new(bfd.clone()).unwrap();
    metrics.registry.register(Box::new(paths)).unwrap();
    let service = Arc::new(ServiceKey::new("default", "web"));
    metrics.announced(service, Protocol::Bgp, vec!["192.168.10.0".parse().unwrap()]);
    bfd.apply(peers(
        &[("tor", json!({ "peerAddress": "192.0.2.1" }))],
        &[("fast", json!({}))],
    ));
    let mut sessions = bfd.sessions();
    sessions.wait_for(|sessions| !sessions.is_empty()).await.unwrap();

    let mut exposed = families(&metrics.text());
    // A histogram is several families here.
    exposed.retain(|name, _| !OURS.iter().any(|ours| name.starts_with(ours)));
    assert_eq!(exposed, families(include_str!("upstream.prom")));
    bfd.shutdown();
    work.await.unwrap().unwrap();
}

#[test]
fn a_difference_is_seen() {
    let text = "# HELP a Number of b.\n# TYPE a gauge\na{x=\"1\",y=\"2\"} 3\n";
    let other = [
        text.replace("gauge", "counter"),
        text.replace("b.", "c."),
        text.replace("y=", "z="),
        text.replace("a{x=\"1\",y=\"2\"}", "a"),
    ];
    for other in other {
        assert_ne!(families(text), families(&other), "{other}");
    }
}
