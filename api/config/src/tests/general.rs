use kube::ResourceExt;
use proptest::prelude::*;
use serde_json::json;

use super::cluster;
use super::crowd::{aged, crowd, newcomer, with};
use crate::{AddressRange, Change, ObjectRef, Parsed, Rule, judge_change, parse};

#[test]
fn objects_of_other_namespaces_are_not_looked_at() {
    let mut cluster = cluster().pool("a", &["10.0.0.0/24"]).pool("b", &["bad"]);
    cluster.resources.pools[1].metadata.namespace = Some("default".to_owned());
    assert_eq!(cluster.accepts().config.pools.len(), 1);
}

#[test]
fn one_bad_object_of_each_kind_disables_no_other() {
    let parsed = cluster()
        .pool("good", &["10.0.0.0/24"])
        .pool("bad", &["x"])
        .legacy("legacy-bad", json!({ "protocol": "layer2", "addresses": ["x"] }))
        .l2("good", json!({}))
        .l2("bad", json!({ "nodeSelectors": [{}, {}] }))
        .bgp("good", json!({}))
        .bgp("bad", json!({ "aggregationLength": 99 }))
        .peer("good", json!({}))
        .peer("bad", json!({ "peerAddress": "x" }))
        .bfd("good", json!({}))
        .bfd("bad", json!({ "echoInterval": 1 }))
        .community("bad", json!({ "communities": [{ "name": "x", "value": "x" }] }))
        .parse();
    assert_eq!(parsed.refused.len(), 7);
    let config = parsed.config;
    assert_eq!(
        (config.pools.len(), config.peers.len(), config.bfd_profiles.len()),
        (1, 1, 1)
    );
    assert_eq!((config.pools["good"].l2.len(), config.pools["good"].bgp.len()), (1, 1));
}

#[test]
fn an_empty_cluster_is_a_valid_configuration() {
    assert_eq!(cluster().accepts(), Parsed::default());
}

proptest! {
    #[test]
    fn accepted_ranges_are_disjoint(cluster in crowd()) {
        let config = cluster.parse().config;
        let ranges: Vec<AddressRange> = config.pools.values().flat_map(|pool| pool.entries.clone()).collect();
        for (index, a) in ranges.iter().enumerate() {
            prop_assert!(ranges[index + 1..].iter().all(|b| !a.overlaps(b)));
        }
    }

    #[test]
    fn every_pool_is_accepted_or_refused_with_a_reason(cluster in crowd()) {
        let parsed = cluster.parse();
        let pools = cluster.resources.pools.iter().map(|pool| ("IPAddressPool", pool.name_any()));
        let legacy = cluster.resources.address_pools.iter().map(|pool| ("AddressPool", pool.name_any()));
        for (kind, name) in pools.chain(legacy) {
            let used = parsed.config.pools.get(&name).is_some_and(|pool| pool.kind.as_str() == kind);
            let refused = parsed.refused.iter().any(|refused| refused.object == ObjectRef::new(kind, &name));
            prop_assert!(used || refused);
        }
    }

    #[test]
    fn the_order_of_objects_never_matters(
        (cluster, shuffled) in crowd().prop_flat_map(|cluster| {
            let resources = cluster.resources.clone();
            let lists = (
                Just(resources.pools).prop_shuffle(),
                Just(resources.address_pools).prop_shuffle(),
                Just(resources.peers).prop_shuffle(),
                Just(resources.l2_advertisements).prop_shuffle(),
                Just(resources.bgp_advertisements).prop_shuffle(),
                Just(resources.bfd_profiles).prop_shuffle(),
                Just(resources.communities).prop_shuffle(),
                Just(resources.nodes).prop_shuffle(),
            );
            (Just(cluster), lists)
        }),
        admission in any::<bool>(),
    ) {
        let cluster = if admission { cluster.admission() } else { cluster };
        let mut other = cluster.clone();
        let all = &mut other.resources;
        (
            all.pools,
            all.address_pools,
            all.peers,
            all.l2_advertisements,
            all.bgp_advertisements,
            all.bfd_profiles,
            all.communities,
            all.nodes,
        ) = shuffled;
        prop_assert_eq!(cluster.parse(), other.parse());
    }

    #[test]
    fn judging_a_change_says_what_a_full_parse_says_of_the_object(cluster in crowd(), newcomer in newcomer()) {
        let cluster = cluster.admission();
        let (object, alone) = &newcomer;
        let change = Change { object: object.clone(), with: Some(alone) };
        let judged = judge_change(&cluster.resources, &change, &cluster.options);
        let mut full = parse(&with(&cluster.resources, &newcomer), &cluster.options);
        full.refused.retain(|refused| refused.concerns(object));
        full.warnings.retain(|warning| warning.object == *object);
        prop_assert_eq!(judged.refused, full.refused);
        prop_assert_eq!(judged.warnings, full.warnings);
    }

    #[test]
    fn what_admission_accepts_is_understood_at_load(
        newcomers in prop::collection::vec(newcomer(), 0..14),
        (frr, nodes) in (any::<bool>(), any::<bool>()),
    ) {
        let mut cluster = if frr { cluster().frr() } else { cluster() };
        if nodes {
            cluster = cluster.node("n1", json!({ "rack": "a" })).node("n2", json!({ "rack": "b" }));
        }
        let admission = cluster.clone().admission().options;
        for (second, (object, alone)) in newcomers.into_iter().enumerate() {
            let change = Change { object: object.clone(), with: Some(&alone) };
            if judge_change(&cluster.resources, &change, &admission).refused.is_empty() {
                cluster.resources = with(&cluster.resources, &(object, aged(&alone, second)));
            }
        }
        // Objects may come in any order, so what they name may be missing, or gone again.
        let names_something = [Rule::A8, Rule::Ap10, Rule::B11];
        let mut refused = cluster.parse().refused;
        refused.retain(|refused| !names_something.contains(&refused.rule));
        prop_assert_eq!(refused, []);
    }
}
