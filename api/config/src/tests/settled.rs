//! What counts on a node while its labels change.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Cluster, cluster, labelled};
use crate::{Rule, Settled};

fn rack(name: &str) -> Value {
    json!([{ "matchLabels": { "rack": name } }])
}

/// Peer `old` for rack b and peer `new` for zone a, as Node `n` sees them, which is in zone a.
fn two_peers(new: &Value) -> Cluster {
    let mut here = json!({ "nodeSelectors": [{ "matchLabels": { "zone": "a" } }] });
    for (key, value) in new.as_object().unwrap() {
        here[key] = value.clone();
    }
    let node = json!({ "zone": "a" });
    cluster()
        .peer("old", json!({ "nodeSelectors": rack("b") }))
        .peer("new", here)
        .node("n", node)
        .on("n")
}

/// The Node gets into rack b, too.
fn relabelled(mut cluster: Cluster) -> Cluster {
    cluster.resources.nodes = vec![labelled("n", &json!({ "zone": "a", "rack": "b" }))];
    cluster
}

fn settle(cluster: &Cluster, before: Option<&Settled>) -> Settled {
    Settled::new(&cluster.resources, before, &cluster.options)
}

fn peers(settled: &Settled) -> Vec<&str> {
    settled.config.peers.keys().map(String::as_str).collect()
}

#[test] // B-31
fn of_two_peers_of_one_address_the_one_that_runs_stays_and_the_other_is_refused() {
    let cluster = two_peers(&json!({ "myASN": 64777 }));
    let before = settle(&cluster, None);
    assert_eq!((peers(&before), before.refused.len()), (vec!["new"], 0));
    let after = relabelled(cluster.clone());
    let settled = settle(&after, Some(&before));
    assert_eq!(peers(&settled), ["new"]);
    let summaries: Vec<String> = settled.refused.iter().map(crate::Refused::summary).collect();
    assert_eq!(
        summaries,
        [
            "BGPPeer old: spec.peerAddress: peer 10.0.0.1 port 179 already exists: BGPPeer new has the same and can be on the same node"
        ]
    );
    // It stays so, and ends when the node leaves the rack.
    assert_eq!(peers(&settle(&after, Some(&settled))), ["new"]);
    assert!(settle(&cluster, Some(&settled)).refused.is_empty());
    // After a restart nobody knows who ran: the older one.
    assert_eq!(peers(&settle(&after, None)), ["old"]);
}

#[test] // B-31, B-32
fn two_peers_that_native_can_run_side_by_side_both_run_and_each_rule_that_they_break_is_a_doubt() {
    let cluster = two_peers(&json!({ "myASN": 64777, "sourceAddress": "10.0.0.9" }));
    let before = settle(&cluster, None);
    assert_eq!(before.doubts().count(), 0);
    let settled = settle(&relabelled(cluster), Some(&before));
    assert_eq!((peers(&settled), settled.refused.len()), (vec!["new", "old"], 0));
    let rules: BTreeSet<Rule> = settled.warnings.iter().map(|warning| warning.rule).collect();
    assert_eq!(rules, [Rule::B31, Rule::B32].into());
    let doubts: Vec<String> = settled.doubts().collect();
    assert_eq!(doubts.len(), 2);
    assert!(
        doubts.iter().all(|doubt| doubt.starts_with("BGPPeer old: ")),
        "{doubts:?}"
    );
    assert!(
        doubts
            .iter()
            .any(|doubt| doubt.contains("myASN 64500 differs from 64777 of BGPPeer new")),
        "{doubts:?}"
    );
}

#[test]
fn a_peer_that_is_edited_to_where_another_one_runs_is_not_the_one_that_runs() {
    let cluster = two_peers(&json!({})).peer("other", json!({ "peerAddress": "10.0.0.2" }));
    let before = settle(&cluster, None);
    let mut edited = cluster;
    edited.resources.peers[1].spec.peer_address = Some("10.0.0.2".into());
    let settled = settle(&edited, Some(&before));
    // It is older than the one that it collides with, and yet that one stays as it was, and so does it.
    assert_eq!(settled.refused[0].object.name, "new");
    assert_eq!(settled.config.peers["new"].endpoint.to_string(), "10.0.0.1");
    assert_eq!(settled.config.peers["other"].endpoint.to_string(), "10.0.0.2");
}

#[test]
fn names_that_lead_nowhere_are_doubts_and_odd_ranges_advice() {
    let cluster = cluster()
        .pool("odd", &["127.0.0.0/24"])
        .bgp("a", json!({ "peers": ["gone"], "ipAddressPools": ["lost"] }))
        .peer("p", json!({ "disableMP": true }))
        .node("n", json!({}))
        .on("n");
    let settled = settle(&cluster, None);
    let doubts: Vec<String> = settled.doubts().collect();
    assert_eq!(
        doubts,
        [
            "BGPAdvertisement a: spec.ipAddressPools[0]: there is no usable IPAddressPool \"lost\"",
            "BGPAdvertisement a: spec.peers[0]: there is no BGPPeer \"gone\"",
            "BGPPeer p: spec.disableMP: disableMP is deprecated and has no effect; use dualStackAddressFamily",
        ]
    );
    assert_eq!((settled.warnings.len(), settled.refused.len()), (4, 0));
}

#[test] // B-11
fn a_peer_with_an_unknown_profile_is_left_out_and_named() {
    let cluster = cluster()
        .peer("p", json!({ "bfdProfile": "gone" }))
        .node("n", json!({}))
        .on("n");
    let settled = settle(&cluster, None);
    assert_eq!(peers(&settled), [] as [&str; 0]);
    assert_eq!(settled.refused[0].rule, Rule::B11);
}
