use std::collections::BTreeMap;

use rstest::rstest;
use serde_json::{Value, json};

use super::{Cluster, cluster};
use crate::{Community, Interfaces};

fn two_pools() -> Cluster {
    cluster()
        .pool("a", &["10.0.0.0/24"])
        .pool("b", &["10.0.1.0/24"])
        .node("n", json!({ "zone": "x" }))
}

#[rstest]
#[case(json!({}), &["a", "b"])]
#[case(json!({ "ipAddressPools": ["a"] }), &["a"])]
#[case(json!({ "ipAddressPools": ["a", "unknown"] }), &["a"])]
#[case(json!({ "ipAddressPools": ["unknown"] }), &[])]
#[case(json!({ "ipAddressPoolSelectors": [{ "matchLabels": { "tier": "b" } }] }), &["b"])]
#[case(json!({ "ipAddressPools": ["a"], "ipAddressPoolSelectors": [{ "matchLabels": { "tier": "b" } }] }), &["a", "b"])]
fn advertisements_choose_pools_by_name_or_label(#[case] spec: Value, #[case] chosen: &[&str]) {
    let mut cluster = two_pools().l2("l2", spec.clone()).bgp("bgp", spec);
    cluster.resources.pools[1].metadata.labels = Some(BTreeMap::from([("tier".to_owned(), "b".to_owned())]));
    let pools = cluster.accepts().config.pools;
    let layer2: Vec<_> = pools
        .values()
        .filter(|pool| !pool.l2.is_empty())
        .map(|pool| pool.name.as_str())
        .collect();
    let bgp: Vec<_> = pools
        .values()
        .filter(|pool| !pool.bgp.is_empty())
        .map(|pool| pool.name.as_str())
        .collect();
    assert_eq!((layer2.as_slice(), bgp.as_slice()), (chosen, chosen));
}

#[test] // W-12
fn names_that_lead_nowhere_are_warned_of() {
    let parsed = two_pools()
        .bgp("x", json!({ "ipAddressPools": ["c"], "peers": ["p"] }))
        .accepts();
    let fields: Vec<_> = parsed.warnings.iter().map(|warning| warning.field.as_str()).collect();
    assert_eq!(fields, ["spec.ipAddressPools[0]", "spec.peers[0]"]);
}

const BAD_SELECTOR: &str = "invalid label selector";

#[rstest]
#[case(json!({ "ipAddressPools": ["a", "a"] }), "spec.ipAddressPools", "duplicate definition")] // L-1
#[case(json!({ "nodeSelectors": [{}, {}] }), "spec.nodeSelectors[1]", "duplicate definition")] // L-2
#[case(json!({ "serviceSelectors": [{ "matchLabels": { "a b": "c" } }] }), "spec.serviceSelectors[0]", BAD_SELECTOR)] // L-2
#[case(json!({ "ipAddressPoolSelectors": [{ "matchLabels": { "a": "b c" } }] }), "spec.ipAddressPoolSelectors[0]", BAD_SELECTOR)]
#[case(
    json!({ "preferredNodeSelectors": [{ "weight": 1, "preference": { "matchExpressions": [{ "key": "a", "operator": "In" }] } }] }),
    "spec.preferredNodeSelectors[0].preference",
    BAD_SELECTOR
)]
#[case(json!({ "preferredNodeSelectors": [{ "weight": 0, "preference": {} }] }), "spec.preferredNodeSelectors[0].weight", "1 to 100")] // L-3
fn a_bad_l2_advertisement_is_left_out(#[case] spec: Value, #[case] field: &str, #[case] words: &str) {
    let cluster = two_pools().l2("good", json!({})).l2("bad", spec);
    cluster.refuses("L2Advertisement bad", field, words);
    let l2 = &cluster.parse().config.pools["a"].l2;
    assert_eq!(
        l2.iter().map(|l2| l2.name.as_deref()).collect::<Vec<_>>(),
        [Some("good")]
    );
}

#[test]
fn weights_of_preferences_add_up_per_node() {
    let spec = json!({ "interfaces": ["eth1", "eth0"], "preferredNodeSelectors": [
        { "weight": 10, "preference": {} },
        { "weight": 5, "preference": { "matchLabels": { "zone": "x" } } },
    ]});
    let parsed = two_pools().node("m", json!({})).l2("l2", spec).accepts();
    let l2 = &parsed.config.pools["a"].l2[0];
    assert_eq!(
        l2.preferred,
        BTreeMap::from([("m".to_owned(), 10), ("n".to_owned(), 15)])
    );
    assert_eq!(
        l2.interfaces,
        Interfaces::Only(["eth0".to_owned(), "eth1".to_owned()].into())
    );
}

// L2-32, L2-89, L2-90
#[test]
fn an_advertisement_prefers_among_its_own_nodes_only() {
    let spec = json!({
        "ipAddressPools": ["a"], "ipAddressPoolSelectors": [{}],
        "nodeSelectors": [{ "matchLabels": { "zone": "x" } }],
        "preferredNodeSelectors": [{ "weight": 50, "preference": {} }],
    });
    let parsed = two_pools().node("m", json!({})).l2("l2", spec).accepts();
    let [l2] = &parsed.config.pools["a"].l2[..] else {
        panic!("the pool is reached twice, by name and by selector")
    };
    assert_eq!(l2.preferred, BTreeMap::from([("n".to_owned(), 50)]));
}

#[rstest]
#[case(json!({ "aggregationLength": 0 }), "spec.aggregationLength", "invalid aggregation length 0")]
#[case(json!({ "aggregationLength": 33 }), "spec.aggregationLength", "invalid aggregation length 33 for IPv4")]
#[case(json!({ "aggregationLengthV6": 129 }), "spec.aggregationLengthV6", "invalid aggregation length 129 for IPv6")]
#[case(json!({ "aggregationLengthV6": -1 }), "spec.aggregationLengthV6", "invalid aggregation length -1")] // W-14
#[case(
    json!({ "aggregationLength": 26, "serviceSelectors": [{}] }),
    "spec.serviceSelectors",
    "serviceSelectors and aggregationLength are mutually exclusive"
)]
#[case(json!({ "localPref": -1 }), "spec.localPref", "0 to 4294967295")] // W-14
#[case(json!({ "ipAddressPools": ["a", "a"] }), "spec.ipAddressPools", "duplicate definition")]
#[case(json!({ "communities": ["1:2", "1:2"] }), "spec.communities", "duplicate definition")]
#[case(json!({ "peers": ["p", "p"] }), "spec.peers", "duplicate definition")]
#[case(json!({ "nodeSelectors": [{}, {}] }), "spec.nodeSelectors[1]", "duplicate definition")]
#[case(json!({ "communities": ["1:2:3"] }), "spec.communities[0]", "invalid community format")]
#[case(json!({ "communities": ["99999:1"] }), "spec.communities[0]", "invalid community value: invalid section")]
#[case(json!({ "communities": ["big:1:2:3"] }), "spec.communities[0]", "expected community to be of format large")]
fn a_bad_bgp_advertisement_is_left_out(#[case] spec: Value, #[case] field: &str, #[case] words: &str) {
    for cluster in [two_pools(), two_pools().admission()] {
        let cluster = cluster.bgp("good", json!({})).bgp("bad", spec.clone());
        cluster.refuses("BGPAdvertisement bad", field, words);
        assert_eq!(cluster.parse().config.pools["a"].bgp.len(), 1);
    }
}

#[test]
fn an_unknown_alias_is_refused_at_load_and_tolerated_at_admission() {
    let cluster = two_pools().bgp("x", json!({ "communities": ["NO_SUCH", "1:2"] }));
    let parsed = cluster.parse();
    let summary = "invalid community format: NO_SUCH\ninvalid community \"NO_SUCH\" in BGP advertisement";
    assert_eq!(parsed.refused[0].summary(), summary);
    let parsed = cluster.admission().accepts();
    assert_eq!(
        parsed.config.pools["a"].bgp[0].communities,
        [Community::Standard(1 << 16 | 2)].into()
    );
}

#[test] // W-21: an alias with a colon works, and wins over the literal
fn aliases_are_looked_up_before_literals() {
    let communities = json!({ "communities": [
        { "name": "cust", "value": "large:1:2:3" }, { "name": "1:2", "value": "3:4" }] });
    let cluster = two_pools()
        .community("c", communities)
        .bgp("x", json!({ "communities": ["cust", "1:2"] }));
    let expected = [
        Community::Large {
            global: 1,
            data1: 2,
            data2: 3,
        },
        Community::Standard(3 << 16 | 4),
    ];
    assert_eq!(cluster.accepts().config.pools["a"].bgp[0].communities, expected.into());
}

#[rstest]
#[case("1:x", "invalid community value: invalid section")] // C-1
#[case("short:1:2:3", "expected community to be of format large")]
#[case("", "invalid community format")]
fn a_bad_alias_leaves_the_others_of_its_object(#[case] value: &str, #[case] words: &str) {
    let aliases = json!({ "communities": [{ "name": "bad", "value": value }, { "name": "good", "value": "1:2" }] });
    let cluster = two_pools()
        .community("c", aliases)
        .bgp("x", json!({ "communities": ["good"] }));
    cluster.refuses("Community c", "spec.communities[0].value", words);
    assert_eq!(cluster.parse().config.pools["a"].bgp.len(), 1);
}

#[test] // C-2
fn an_alias_belongs_to_the_older_object() {
    let alias = |value: &str| json!({ "communities": [{ "name": "x", "value": value }] });
    let cluster = two_pools().community("z", alias("1:1")).community("a", alias("2:2"));
    cluster.refuses(
        "Community a",
        "spec.communities[0].name",
        "duplicate definition of community \"x\"",
    );
    let parsed = cluster.bgp("ad", json!({ "communities": ["x"] })).parse();
    assert_eq!(
        parsed.config.pools["a"].bgp[0].communities,
        [Community::Standard(1 << 16 | 1)].into()
    );
}

#[test] // A-4, with upstream's text
fn an_aggregate_must_not_reach_out_of_the_pool() {
    let cluster = cluster()
        .pool("a", &["1.1.1.0/28"])
        .pool("b", &["1.1.0.0/24"])
        .bgp("x", json!({ "aggregationLength": 26 }));
    let words = "invalid aggregation length 26: prefix 28 in this pool is more specific than the aggregation length for addresses 1.1.1.0/28";
    cluster.refuses("BGPAdvertisement x", "spec.aggregationLength", words);
    // The other pool keeps the advertisement.
    let pools = cluster.parse().config.pools;
    assert_eq!((pools["a"].bgp.len(), pools["b"].bgp.len()), (0, 1));
}

#[rstest] // a range is judged by its biggest block
#[case("3.3.3.2-3.3.3.254", 26, true)]
#[case("3.3.3.2-3.3.3.254", 25, false)]
#[case("3.3.3.2-3.3.3.254", 24, false)]
fn a_range_is_judged_by_its_biggest_block(#[case] range: &str, #[case] length: u8, #[case] fits: bool) {
    let cluster = cluster()
        .pool("a", &[range])
        .bgp("x", json!({ "aggregationLength": length }));
    assert_eq!(cluster.refused().is_empty(), fits);
}

/// Two advertisements of one pool that differ in localPref.
fn rivals(addresses: &[&str], first: Value, second: Value) -> Cluster {
    let with_pref = |mut spec: Value, pref: u32| {
        spec["localPref"] = pref.into();
        spec
    };
    cluster()
        .node("n1", json!({ "rack": "1" }))
        .node("n2", json!({ "rack": "2" }))
        .pool("a", addresses)
        .bgp("z", with_pref(first, 1))
        .bgp("b", with_pref(second, 2))
}

fn rack(number: &str) -> Value {
    json!({ "nodeSelectors": [{ "matchLabels": { "rack": number } }] })
}

const V4: &[&str] = &["10.0.0.0/16"];
const V6: &[&str] = &["fc00::/64"];
const DUAL: &[&str] = &["10.0.0.0/16", "fc00::/64"];

#[rstest]
#[case(V4, json!({}), json!({}), true)]
#[case(V4, json!({ "aggregationLength": 24 }), json!({}), false)]
#[case(V4, json!({ "aggregationLengthV6": 64 }), json!({}), true)]
#[case(V6, json!({ "aggregationLengthV6": 64 }), json!({}), false)]
#[case(V6, json!({ "aggregationLength": 24 }), json!({}), true)]
#[case(DUAL, json!({ "aggregationLength": 24 }), json!({}), true)]
#[case(DUAL, json!({ "aggregationLength": 24, "aggregationLengthV6": 64 }), json!({}), false)]
#[case(V4, json!({ "peers": ["p"] }), json!({ "peers": ["q"] }), false)]
#[case(V4, json!({ "peers": ["p"] }), json!({ "peers": ["p", "q"] }), true)]
#[case(V4, json!({ "peers": ["p"] }), json!({}), true)]
#[case(V4, rack("1"), rack("2"), false)]
#[case(V4, rack("1"), rack("1"), true)]
#[case(V4, rack("1"), json!({}), true)]
#[case(V4, json!({ "serviceSelectors": [{}] }), json!({}), false)] // left to the speaker
fn local_prefs_of_one_route_must_agree(
    #[case] addresses: &[&str],
    #[case] first: Value,
    #[case] second: Value,
    #[case] conflict: bool,
) {
    let cluster = rivals(addresses, first, second);
    if conflict {
        // The newer loses, whatever its name.
        cluster.refuses(
            "BGPAdvertisement b",
            "spec.localPref",
            "localPref 1 is already set by BGPAdvertisement z",
        );
    }
    assert_eq!(
        cluster.parse().config.pools["a"].bgp.len(),
        if conflict { 1 } else { 2 }
    );
}

#[test] // P-8, A-10, A-11, C-3 do not hold for our native back-end
fn native_announces_ipv6_and_large_communities() {
    let parsed = cluster()
        .pool("a", V6)
        .bgp("x", json!({ "communities": ["large:1:2:3"] }))
        .admission()
        .accepts();
    assert_eq!(parsed.config.pools["a"].bgp.len(), 1);
}

#[test]
fn only_the_advertisements_of_the_node_are_loaded() {
    let cluster = rivals(V4, rack("1"), rack("2")).bgp(
        "broken",
        json!({ "communities": ["1:2:3"], "nodeSelectors": rack("2")["nodeSelectors"] }),
    );
    let on = |node| cluster.clone().on(node).parse();
    assert_eq!(on("n1").config.pools["a"].bgp[0].name.as_deref(), Some("z"));
    assert_eq!(on("n1").refused.len(), 0);
    assert_eq!(on("n2").config.pools["a"].bgp[0].name.as_deref(), Some("b"));
    assert_eq!(on("n2").refused.len(), 1);
}

#[test] // W-10
fn an_advertisement_that_selects_no_node_is_warned_of() {
    let nowhere = json!({ "nodeSelectors": [{ "matchLabels": { "rack": "none" } }] });
    let cluster = cluster()
        .pool("gold", &["10.0.0.0/24"])
        .l2("l2", nowhere.clone())
        .bgp("bgp", nowhere)
        .admission();
    assert!(
        cluster.accepts().warnings.is_empty(),
        "without any Node nothing is known"
    );
    let warnings = cluster.node("n", json!({ "rack": "a" })).accepts().warnings;
    let texts: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "BGPAdvertisement bgp: spec.nodeSelectors: no Node matches, so nobody announces",
            "L2Advertisement l2: spec.nodeSelectors: no Node matches, so nobody announces",
        ]
    );
}

#[test]
fn the_limit_of_communities_is_that_of_the_back_end() {
    let list: Vec<String> = (0..64).map(|value| format!("64500:{value}")).collect();
    let entry = json!({ "communities": list });
    let cluster = cluster()
        .pool("gold", &["10.0.0.0/24"])
        .bgp("many", entry.clone())
        .legacy(
            "old",
            json!({ "protocol": "bgp", "addresses": ["10.0.1.0/24"], "bgpAdvertisements": [entry] }),
        );
    assert_eq!(cluster.accepts().config.pools["gold"].bgp[0].communities.len(), 64);
    let refused = cluster.frr().parse().refused;
    assert_eq!(
        refused.iter().map(|refused| refused.rule.id()).collect::<Vec<_>>(),
        ["A-12", "A-12"]
    );
}

#[test] // M-3
fn control_characters_are_refused_wherever_they_would_be_printed() {
    let new = [
        cluster().l2("a", json!({ "interfaces": ["eth0", "eth1\u{7f}"] })),
        cluster().community("a", json!({ "communities": [{ "name": "a\nb", "value": "1:2" }] })),
    ];
    let fields = ["spec.interfaces[1]", "spec.communities[0].name"];
    for (cluster, field) in new.into_iter().zip(fields) {
        for cluster in [cluster.clone(), cluster.admission()] {
            let refused = cluster.parse().refused;
            let said: Vec<_> = refused
                .iter()
                .map(|refused| (refused.rule.id(), refused.field.as_str()))
                .collect();
            assert_eq!(said, [("M-3", field)]);
            assert!(!refused[0].reason.contains(char::is_control), "{refused:?}");
        }
    }
}

#[rstest] // M-3
#[case("spec.ipAddressPools[0]", cluster().l2("a", json!({ "ipAddressPools": ["a\nb"] })))]
#[case("spec.ipAddressPools[0]", cluster().bgp("a", json!({ "ipAddressPools": ["a\nb"] })))]
#[case("spec.peers[0]", cluster().bgp("a", json!({ "peers": ["a\nb"] })))]
#[case("spec.bfdProfile", cluster().peer("a", json!({ "bfdProfile": "a\nb" })))]
#[case("spec.passwordSecret.name", cluster().peer("a", json!({ "passwordSecret": { "name": "a\nb" } })))]
#[case(
    "spec.serviceAllocation.namespaces[0]",
    cluster().pool_spec("a", json!({ "addresses": ["10.0.0.0/24"], "serviceAllocation": { "namespaces": ["a\nb"] } }))
)]
fn names_with_control_characters_are_admitted_no_more(#[case] field: &str, #[case] cluster: Cluster) {
    let refused = cluster.admission().parse().refused;
    let said: Vec<_> = refused
        .iter()
        .map(|refused| (refused.rule.id(), refused.field.as_str()))
        .collect();
    assert_eq!(said, [("M-3", field)]);
}
