use proptest::prelude::*;
use serde_json::json;

use super::{Cluster, cluster, object};
use crate::{AddressRange, Parsed};

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

/// Pools over a few addresses, so that many overlap, and peers of a few addresses and ASNs.
fn crowd() -> impl Strategy<Value = Cluster> {
    let range = (0u8..40, 0u8..12).prop_map(|(first, length)| format!("10.0.0.{first}-10.0.0.{}", first + length));
    let pool = (prop::collection::vec(range, 0..3), 0u8..3, any::<bool>());
    let pools = prop::collection::vec(pool, 0..12);
    let peers = prop::collection::vec((1u8..4, 1u16..4, 0u8..3), 0..8);
    (pools, peers).prop_map(|(pools, peers)| {
        let mut cluster = cluster().bgp("x", json!({ "localPref": 1 })).bgp("y", json!({}));
        for (index, (addresses, second, legacy)) in pools.into_iter().enumerate() {
            let name = format!("pool-{index}");
            let spec = json!({ "addresses": addresses, "protocol": "bgp" });
            if legacy {
                cluster.resources.address_pools.push(object(&name, second, &spec));
            } else {
                cluster.resources.pools.push(object(&name, second, &spec));
            }
        }
        for (index, (address, asn, second)) in peers.into_iter().enumerate() {
            let spec = json!({ "myASN": asn, "peerASN": 9, "peerAddress": format!("10.1.0.{address}") });
            cluster
                .resources
                .peers
                .push(object(&format!("peer-{index}"), second, &spec));
        }
        cluster
    })
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
        let refused = |name: &str| parsed.refused.iter().any(|refused| refused.object.name == name);
        for index in 0..cluster.resources.pools.len() + cluster.resources.address_pools.len() {
            let name = format!("pool-{index}");
            prop_assert!(parsed.config.pools.contains_key(&name) != refused(&name));
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
                Just(resources.bgp_advertisements).prop_shuffle(),
            );
            (Just(cluster), lists)
        }),
        admission in any::<bool>(),
    ) {
        let cluster = if admission { cluster.admission() } else { cluster };
        let mut other = cluster.clone();
        (other.resources.pools, other.resources.address_pools, other.resources.peers, other.resources.bgp_advertisements) =
            shuffled;
        prop_assert_eq!(cluster.parse(), other.parse());
    }
}
