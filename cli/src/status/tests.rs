use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Node, Pod, Service};
use metallb_api::{BGPAdvertisement, BGPPeer, BGPSessionState, IPAddressPool, L2Advertisement, ServiceL2Status};
use serde_json::json;

use super::gist;
use super::rows::report;
use super::text::text;
use crate::args::Args;
use crate::explain::tests::read;
use crate::facts::Facts;
use crate::table::Style;
use crate::world::World;

/// A cluster of five thousand Services, three hundred nodes and twenty peers.
pub(crate) fn large() -> Facts {
    let nodes = || (0..300).map(|n| format!("node-{n}"));
    let namespace = "metallb-system";
    let services = (0..5000).map(|n| {
        json!({"metadata": {"name": format!("s{n}"), "namespace": "shop"},
            "spec": {"type": "LoadBalancer", "clusterIPs": ["10.96.0.1"], "ports": [{"port": 80}]},
            "status": {"loadBalancer": {"ingress": [{"ip": format!("10.0.{}.{}", n / 256, n % 256)}]}}})
    });
    let answers = (0..5000).map(|n| {
        json!({"metadata": {"name": format!("l2-{n}"), "namespace": namespace}, "spec": {},
            "status": {"node": format!("node-{}", n % 300), "serviceName": format!("s{n}"), "serviceNamespace": "shop"}})
    });
    let pods = nodes().map(|node| {
        json!({"metadata": {"name": format!("speaker-{node}"), "namespace": namespace, "labels": {"component": "speaker"}},
            "spec": {"nodeName": node, "containers": [{"name": "speaker", "image": "metallb:1"}]},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]}})
    });
    let peers = (0..20).map(|n| {
        json!({"metadata": {"name": format!("tor-{n}"), "namespace": namespace},
            "spec": {"myASN": 64500, "peerASN": 64501, "peerAddress": format!("192.0.2.{n}")}})
    });
    let states = nodes().flat_map(|node| {
        (0..20).map(move |n| {
            json!({"metadata": {"name": format!("{node}-{n}"), "namespace": namespace}, "spec": {},
                "status": {"node": node, "peerName": format!("tor-{n}"), "bgpStatus": "Established", "prefixesWanted": 5000}})
        })
    });
    let meta = json!({"name": "all", "namespace": namespace});
    Facts {
        services: read::<Service>(services),
        nodes: read::<Node>(nodes().map(|name| json!({"metadata": {"name": name}}))),
        pods: read::<Pod>(pods),
        pools: read::<IPAddressPool>([json!({"metadata": meta, "spec": {"addresses": ["10.0.0.0/16"]}})].into_iter()),
        l2_advertisements: read::<L2Advertisement>([json!({"metadata": meta, "spec": {}})].into_iter()),
        bgp_advertisements: read::<BGPAdvertisement>([json!({"metadata": meta, "spec": {}})].into_iter()),
        peers: read::<BGPPeer>(peers),
        l2_statuses: read::<ServiceL2Status>(answers),
        session_states: read::<BGPSessionState>(states),
        ..Facts::default()
    }
}

/// A bound against a mistake of order, generous for builds without optimization.
// CLI-8
#[test]
fn a_large_cluster_is_told_of_in_seconds() {
    let facts = large();
    let begun = Instant::now();
    let args = <Args as clap::Parser>::try_parse_from(["kubectl-metallb", "version"]).unwrap();
    let world = World::new(&facts, &args.global).unwrap();
    let report = report(&facts, &world);
    let printed = text(&report, Style::default());
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(report.problems, []);
    let told: usize = report
        .body
        .status
        .speakers
        .iter()
        .filter_map(|row| row.l2_addresses.get())
        .sum();
    assert_eq!(told, 5000);
    // Nobody reads three hundred rows of which there is nothing to say.
    assert!(
        printed.contains("… and 300 more nodes without notes (-o wide)"),
        "{printed}"
    );
    assert!(printed.contains("tor-19  192.0.2.19  64501  300/300 up"), "{printed}");
}

#[test]
fn time_that_passes_is_no_change() {
    let at = |age: &str, time: &str| {
        format!(
            "! control.pending  a/b waits for an address for {age}: X\n  \"time\": \"{time}\",\nrenewed: {time}\nRests on: objects of {time}.\n"
        )
    };
    assert_eq!(gist(&at("4s", "1")), gist(&at("12m", "2")));
    assert_ne!(gist(&at("4s", "1")), gist(&at("4s", "1").replace('X', "Y")));
}
