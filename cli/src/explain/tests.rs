use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Node, Service};
use metallb_api::{IPAddressPool, L2Advertisement};
use serde_json::json;

use super::service::report;
use crate::args::{Args, FailOn};
use crate::facts::{Facts, Read};
use crate::world::World;

pub(crate) fn read<T: serde::de::DeserializeOwned>(objects: impl Iterator<Item = serde_json::Value>) -> Read<T> {
    Read::Got(objects.map(|object| serde_json::from_value(object).unwrap()).collect())
}

/// A bound against a mistake of order, generous for builds without optimization.
#[test]
fn one_of_five_thousand_services_on_three_hundred_nodes_is_explained_in_seconds() {
    let services = (0..5000).map(|n| {
        let ip = format!("10.0.{}.{}", n / 256, n % 256);
        json!({"metadata": {"name": format!("s{n}"), "namespace": "shop"},
            "spec": {"type": "LoadBalancer", "clusterIPs": ["10.96.0.1"], "ports": [{"port": 80}]},
            "status": {"loadBalancer": {"ingress": [{"ip": ip}]}}})
    });
    let meta = json!({"name": "all", "namespace": "metallb-system"});
    let pool = json!({"metadata": meta, "spec": {"addresses": ["10.0.0.0/16"]}});
    let facts = Facts {
        services: read::<Service>(services),
        nodes: read::<Node>((0..300).map(|n| json!({"metadata": {"name": format!("node-{n}")}}))),
        pools: read::<IPAddressPool>([pool].into_iter()),
        l2_advertisements: read::<L2Advertisement>([json!({"metadata": meta, "spec": {}})].into_iter()),
        ..Facts::default()
    };
    let begun = Instant::now();
    let args = <Args as clap::Parser>::try_parse_from(["kubectl-metallb", "version"]).unwrap();
    let world = World::new(&facts, &args.global).unwrap();
    let report = report(&facts, &world, "shop", "s4999").unwrap().judged(FailOn::Error);
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert_eq!(report.body.explanation.layer2.ranked.len(), 300);
    // The Service lacks the annotation that names its pool, which the controller would write.
    assert_eq!(report.problems[0].id, "control.behind");
}

#[test]
fn a_node_of_a_large_cluster_is_explained_in_seconds() {
    let facts = crate::status::tests::large();
    let args = <Args as clap::Parser>::try_parse_from(["kubectl-metallb", "version"]).unwrap();
    let world = World::new(&facts, &args.global).unwrap();
    let begun = Instant::now();
    let report = super::node::report(&facts, &world, "node-7").unwrap();
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    assert_eq!(report.body.explanation.bgp.len(), 5000);
}
