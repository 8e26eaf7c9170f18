//! Clusters of all kinds of objects over few names and addresses, so that many are in each other's way.

use metallb_api::{AddressPool, BFDProfile, BGPAdvertisement, BGPPeer, Community, IPAddressPool, L2Advertisement};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};

use super::{Cluster, cluster, labelled, object};
use crate::{Backend, ObjectRef, Resources};

/// One of few names.
fn name() -> impl Strategy<Value = &'static str> {
    select(vec!["a", "b", "c", "d"])
}

fn names() -> impl Strategy<Value = Vec<&'static str>> {
    subsequence(vec!["a", "b", "c", "d"], 0..3)
}

/// Selectors by rack, sometimes bad or twice the same.
fn selectors() -> impl Strategy<Value = Vec<Value>> {
    let one = select(vec![
        json!({ "matchLabels": { "rack": "a" } }),
        json!({ "matchLabels": { "rack": "b" } }),
        json!({ "matchExpressions": [{ "key": "rack", "operator": "Exists" }] }),
        json!({ "matchExpressions": [{ "key": "rack", "operator": "Near" }] }),
        json!({ "matchExpressions": [{ "key": "rack", "operator": "In", "values": ["a", "a"] }] }),
        json!({}),
    ]);
    prop_oneof![4 => Just(Vec::new()), 3 => prop::collection::vec(one, 1..3)]
}

fn labels() -> impl Strategy<Value = Value> {
    select(vec![json!({}), json!({ "rack": "a" }), json!({ "rack": "b" })])
}

fn addresses() -> impl Strategy<Value = Vec<String>> {
    let v4 = (0u8..60, 0u8..8).prop_map(|(first, length)| format!("10.0.0.{first}-10.0.0.{}", first + length));
    let v6 = (0u8..30).prop_map(|first| format!("fc00::{first:x}/127"));
    let entry = prop_oneof![6 => v4, 2 => v6, 1 => Just("nonsense".to_owned())];
    prop::collection::vec(entry, 0..4)
}

fn pool() -> impl Strategy<Value = Value> {
    addresses().prop_map(|addresses| json!({ "addresses": addresses }))
}

fn communities() -> impl Strategy<Value = Vec<&'static str>> {
    subsequence(vec!["black", "white", "1:1", "large:1:2:3", "1:x"], 0..3)
}

fn aggregation() -> impl Strategy<Value = Value> {
    select(vec![Value::Null, json!(32), json!(30), json!(24), json!(33)])
}

fn legacy_pool() -> impl Strategy<Value = Value> {
    let entry = (communities(), aggregation(), 0i64..3).prop_map(|(communities, aggregation, local)| {
        json!({ "communities": communities, "aggregationLength": aggregation, "localPref": local })
    });
    let protocol = select(vec!["layer2", "bgp", "bgp"]);
    (addresses(), protocol, prop::collection::vec(entry, 0..3)).prop_map(|(addresses, protocol, list)| {
        json!({ "addresses": addresses, "protocol": protocol, "bgpAdvertisements": list })
    })
}

fn layer2() -> impl Strategy<Value = Value> {
    (names(), selectors(), selectors()).prop_map(|(pools, chosen, nodes)| {
        json!({ "ipAddressPools": pools, "ipAddressPoolSelectors": chosen, "nodeSelectors": nodes })
    })
}

fn bgp() -> impl Strategy<Value = Value> {
    let choice = (names(), selectors(), selectors(), names());
    (choice, communities(), aggregation(), 0i64..3).prop_map(
        |((pools, chosen, nodes, peers), communities, aggregation, local)| {
            json!({ "ipAddressPools": pools, "ipAddressPoolSelectors": chosen, "nodeSelectors": nodes, "peers": peers,
                "communities": communities, "aggregationLength": aggregation, "localPref": local })
        },
    )
}

fn peer() -> impl Strategy<Value = Value> {
    let profile = prop_oneof![Just(Value::Null), name().prop_map(Value::from)];
    let router = select(vec![Value::Null, json!("1.1.1.1"), json!("1.1.1.2")]);
    (1u8..4, 1u16..3, selectors(), profile, router).prop_map(|(address, asn, nodes, profile, router)| {
        json!({ "myASN": asn, "peerASN": 9, "peerAddress": format!("10.1.0.{address}"), "nodeSelectors": nodes,
            "bfdProfile": profile, "routerID": router })
    })
}

fn profile() -> impl Strategy<Value = Value> {
    (any::<bool>(), select(vec![Value::Null, json!(9), json!(300)]))
        .prop_map(|(echo, interval)| json!({ "echoMode": echo, "receiveInterval": interval }))
}

fn aliases() -> impl Strategy<Value = Value> {
    let alias = (select(vec!["black", "white", "1:1"]), select(vec!["1:1", "1:2", "x"]));
    prop::collection::vec(alias, 0..3).prop_map(|list| {
        let list: Vec<Value> = list
            .into_iter()
            .map(|(name, value)| json!({ "name": name, "value": value }))
            .collect();
        json!({ "communities": list })
    })
}

/// Objects of one kind: a few names, each at most once, of few ages, with labels.
fn some<K: serde::de::DeserializeOwned + kube::Resource + Clone + std::fmt::Debug>(
    spec: impl Strategy<Value = Value>,
) -> impl Strategy<Value = Vec<K>> {
    let one = (name(), 0u8..3, labels(), spec);
    prop::collection::vec(one, 0..4).prop_map(|list| {
        let mut objects: Vec<K> = Vec::new();
        for (name, second, labels, spec) in list {
            let mut made: K = object(name, second, &spec);
            made.meta_mut().labels = serde_json::from_value(labels).unwrap();
            if objects.iter().all(|other| other.meta().name != made.meta().name) {
                objects.push(made);
            }
        }
        objects
    })
}

/// A whole cluster, with nodes in two racks that have addresses of their own.
pub(super) fn crowd() -> impl Strategy<Value = Cluster> {
    let pools = (some::<IPAddressPool>(pool()), some::<AddressPool>(legacy_pool()));
    let advertisements = (some::<L2Advertisement>(layer2()), some::<BGPAdvertisement>(bgp()));
    let rest = (
        some::<BGPPeer>(peer()),
        some::<BFDProfile>(profile()),
        some::<Community>(aliases()),
    );
    let backend = select(vec![Backend::Native, Backend::Frr]);
    (pools, advertisements, rest, backend, any::<bool>()).prop_map(|(pools, advertisements, rest, backend, nodes)| {
        let mut cluster = cluster();
        cluster.options.backend = backend;
        let all = &mut cluster.resources;
        (all.pools, all.address_pools) = pools;
        (all.l2_advertisements, all.bgp_advertisements) = advertisements;
        (all.peers, all.bfd_profiles, all.communities) = rest;
        if nodes {
            all.nodes = vec![
                labelled("n1", &json!({ "rack": "a" })),
                labelled("n2", &json!({ "rack": "b" })),
            ];
            let address = json!({ "addresses": [{ "type": "InternalIP", "address": "10.0.0.9" }] });
            all.nodes[0].status = serde_json::from_value(address).unwrap();
        }
        cluster
    })
}

/// Something to put into the cluster: the object, and nothing but it.
pub(super) fn newcomer() -> impl Strategy<Value = (ObjectRef, Resources)> {
    macro_rules! one {
        ($kind:ty, $list:ident, $spec:expr) => {
            (name(), labels(), $spec)
                .prop_map(|(name, labels, spec)| {
                    let mut made: $kind = object(name, 0, &spec);
                    made.metadata.creation_timestamp = None;
                    made.metadata.labels = serde_json::from_value(labels).unwrap();
                    let mut alone = Resources::default();
                    alone.$list.push(made);
                    (ObjectRef::new(stringify!($kind), name), alone)
                })
                .boxed()
        };
    }
    prop_oneof![
        3 => one!(IPAddressPool, pools, pool()),
        2 => one!(AddressPool, address_pools, legacy_pool()),
        2 => one!(L2Advertisement, l2_advertisements, layer2()),
        3 => one!(BGPAdvertisement, bgp_advertisements, bgp()),
        2 => one!(BGPPeer, peers, peer()),
        1 => one!(BFDProfile, bfd_profiles, profile()),
        1 => one!(Community, communities, aliases()),
    ]
}

/// The resources with the newcomer in the place of its older self.
pub(super) fn with(resources: &Resources, (me, alone): &(ObjectRef, Resources)) -> Resources {
    let mut all = resources.clone();
    macro_rules! put {
        ($($list:ident),*) => {
            $(if let Some(new) = alone.$list.first() {
                all.$list.retain(|object| object.metadata.name.as_deref() != Some(me.name.as_str()));
                all.$list.push(new.clone());
            })*
        };
    }
    put!(
        pools,
        address_pools,
        l2_advertisements,
        bgp_advertisements,
        peers,
        bfd_profiles,
        communities
    );
    all
}

/// The newcomer once it is stored.
pub(super) fn aged(alone: &Resources, second: usize) -> Resources {
    let mut stored = alone.clone();
    let created: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time =
        serde_json::from_value(json!(format!("2026-01-01T00:00:{second:02}Z"))).unwrap();
    macro_rules! age {
        ($($list:ident),*) => {
            $(for object in &mut stored.$list {
                object.metadata.creation_timestamp = Some(created.clone());
            })*
        };
    }
    age!(
        pools,
        address_pools,
        l2_advertisements,
        bgp_advertisements,
        peers,
        bfd_profiles,
        communities
    );
    stored
}
