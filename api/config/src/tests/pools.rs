use std::collections::{BTreeMap, BTreeSet};

use rstest::rstest;
use serde_json::{Value, json};

use super::cluster;
use crate::{Namespaces, PoolKind};

#[test] // P-1
fn a_pool_without_addresses_is_refused() {
    cluster()
        .pool("gold", &[])
        .refuses("IPAddressPool gold", "spec.addresses", "pool has no prefixes defined");
}

#[test] // P-2, and: all errors are reported
fn every_bad_entry_is_reported_with_its_place() {
    let parsed = cluster()
        .pool("gold", &["10.0.0.0/24", "x", "10.0.0.1-fc00::1"])
        .parse();
    let fields: Vec<_> = parsed.refused.iter().map(|refused| refused.field.as_str()).collect();
    assert_eq!(fields, ["spec.addresses[1]", "spec.addresses[2]"]);
    assert!(parsed.config.pools.is_empty());
}

#[rstest] // P-4
#[case(&["10.0.0.0/24"], &["10.0.0.0/24"])]
#[case(&["10.0.0.0/24"], &["10.0.0.255-10.0.1.4"])]
#[case(&["10.0.0.7-10.0.0.9"], &["10.0.0.0/8"])]
#[case(&["192.168.0.0/24", "fc00::/64"], &["fc00::ffff-fc00::1:0:0:0"])]
#[case(&["10.5.0.0/24"], &["::ffff:10.0.0.0/104"])] // W-17
fn overlapping_pools_leave_the_older_one(#[case] old: &[&str], #[case] new: &[&str]) {
    let cluster = cluster().pool("silver", old).pool("gold", new);
    cluster.refuses(
        "IPAddressPool gold",
        "spec.addresses[0]",
        "overlaps with already defined CIDR",
    );
    let parsed = cluster.parse();
    assert!(
        parsed.refused[0].reason.ends_with("of IPAddressPool silver"),
        "{}",
        parsed.refused[0]
    );
    assert_eq!(parsed.refused[0].involves[0].to_string(), "IPAddressPool silver");
    assert_eq!(parsed.config.pools.keys().collect::<Vec<_>>(), ["silver"]);
}

#[test]
fn neighbouring_ranges_do_not_overlap() {
    cluster()
        .pool("a", &["10.0.0.0/25", "10.0.0.128/25"])
        .pool("b", &["10.0.1.0-10.0.1.9", "10.0.1.10/32"])
        .accepts();
}

#[test] // P-4, AP-3
fn a_pool_that_overlaps_itself_is_refused_and_hurts_nobody() {
    let cluster = cluster()
        .pool("twice", &["10.0.0.0/24", "fc00::/64", "10.0.0.5/32"])
        .pool("other", &["10.0.0.0/16"]);
    cluster.refuses("IPAddressPool twice", "spec.addresses[2]", "of the same pool");
    assert!(cluster.parse().config.pools.contains_key("other"));
}

#[test] // AP-3, W-7
fn overlap_is_judged_over_both_kinds() {
    cluster()
        .legacy("old", json!({ "protocol": "layer2", "addresses": ["10.0.0.0/24"] }))
        .pool("new", &["10.0.0.1/32"])
        .refuses("IPAddressPool new", "spec.addresses[0]", "of AddressPool old");
    cluster()
        .pool("old", &["10.0.0.1/32"])
        .legacy("new", json!({ "protocol": "layer2", "addresses": ["10.0.0.0/24"] }))
        .refuses("AddressPool new", "spec.addresses[0]", "of IPAddressPool old");
}

#[test] // AP-2, P-5
fn names_are_unique_over_both_kinds() {
    let cluster = cluster()
        .pool("a", &["10.0.0.0/24"])
        .legacy("a", json!({ "protocol": "layer2", "addresses": ["10.0.1.0/24"] }));
    cluster.refuses(
        "AddressPool a",
        "metadata.name",
        "duplicate pool: the name is already defined by IPAddressPool a",
    );
    assert_eq!(cluster.parse().config.pools["a"].kind, PoolKind::IpAddressPool);
}

#[test]
fn a_refused_pool_blocks_no_other_pool_at_load() {
    let cluster = cluster()
        .pool("a", &["10.0.0.0/24"])
        .pool("b", &["10.0.0.9-10.0.1.9"])
        .pool("c", &["10.0.1.0/24"]);
    let parsed = cluster.parse();
    assert_eq!(parsed.config.pools.keys().collect::<Vec<_>>(), ["a", "c"]);
    assert_eq!(parsed.refused.len(), 1);
    // But nothing new is admitted that overlaps an object that exists.
    assert_eq!(cluster.admission().parse().refused.len(), 2);
}

#[rstest]
#[case(json!({ "namespaces": ["a", "b", "a"] }), "spec.serviceAllocation.namespaces", "duplicate definition")] // P-6
#[case(json!({ "serviceSelectors": [{}, {}] }), "spec.serviceAllocation.serviceSelectors[1]", "duplicate")] // P-7
#[case(
    json!({ "namespaceSelectors": [{ "matchExpressions": [{ "key": "a", "operator": "Is" }] }] }),
    "spec.serviceAllocation.namespaceSelectors[0]",
    "invalid label selector"
)]
fn a_bad_service_allocation_is_refused(#[case] allocation: Value, #[case] field: &str, #[case] words: &str) {
    cluster()
        .pool_spec(
            "gold",
            json!({ "addresses": ["10.0.0.0/24"], "serviceAllocation": allocation }),
        )
        .refuses("IPAddressPool gold", field, words);
}

#[test]
fn service_allocation_joins_names_and_labels_of_namespaces() {
    let by_label = json!([{ "matchLabels": { "team": "a" } }]);
    let spec = json!({ "addresses": ["10.0.0.0/24"], "serviceAllocation": {
        "priority": 7, "namespaces": ["named"], "namespaceSelectors": by_label,
        "serviceSelectors": [{ "matchLabels": { "app": "web" } }] } });
    let cluster = cluster()
        .pool_spec("gold", spec)
        .namespace("x", json!({ "team": "a" }))
        .namespace("y", json!({}));
    let allocation = cluster.accepts().config.pools["gold"].allocation.clone().unwrap();
    assert_eq!(allocation.priority, 7);
    let labels = BTreeMap::from([("app".to_owned(), "web".to_owned())]);
    let allowed = |namespace| allocation.allows(namespace, &labels);
    assert_eq!(["named", "x", "y"].map(allowed), [true, true, false]);
    assert!(!allocation.allows("named", &BTreeMap::new()));
}

#[test] // W-32
fn namespace_selectors_that_select_nothing_allow_nobody() {
    let spec = json!({ "addresses": ["10.0.0.0/24"],
        "serviceAllocation": { "namespaceSelectors": [{ "matchLabels": { "team": "none" } }] } });
    let parsed = cluster().pool_spec("gold", spec).namespace("x", json!({})).accepts();
    let allocation = parsed.config.pools["gold"].allocation.clone().unwrap();
    assert_eq!(allocation.namespaces, Namespaces::Only(BTreeSet::new()));
}

#[test] // W-18
fn addresses_that_never_work_are_accepted_with_a_warning() {
    let parsed = cluster().pool("gold", &["127.0.0.1/32", "10.0.0.0/24"]).accepts();
    assert_eq!(parsed.warnings.len(), 1);
    assert!(
        parsed.warnings[0]
            .to_string()
            .starts_with("IPAddressPool gold: spec.addresses[0]: 127.0.0.1/32")
    );
}

#[rstest] // W-18
#[case("10.0.0.5/24", "10.0.0.5/24 means the whole of 10.0.0.0/24")]
#[case("10.0.0.0-10.0.0.9", "10.0.0.0-10.0.0.9 holds 10.0.0.7, an address of Node n")]
#[case("10.0.0.7/32", "10.0.0.7/32 holds 10.0.0.7, an address of Node n")]
#[case(
    "10.244.0.0-10.244.1.9",
    "10.244.0.0-10.244.1.9 holds addresses of the Pods (10.244.1.0/24) of Node n"
)]
#[case("10.0.1.0/24", "")]
fn what_a_pool_takes_from_a_node_is_warned_of(#[case] addresses: &str, #[case] words: &str) {
    let mut cluster = cluster().pool("gold", &[addresses]).node("n", json!({})).admission();
    let body = json!({ "spec": { "podCIDRs": ["10.244.1.0/24", "nonsense"] },
        "status": { "addresses": [{ "type": "InternalIP", "address": "10.0.0.7" }, { "type": "Hostname", "address": "n" }] } });
    let node: k8s_openapi::api::core::v1::Node = serde_json::from_value(body).unwrap();
    (cluster.resources.nodes[0].spec, cluster.resources.nodes[0].status) = (node.spec, node.status);
    let warnings: Vec<String> = cluster.accepts().warnings.iter().map(|w| w.reason.clone()).collect();
    let expected: Vec<&str> = [words].into_iter().filter(|words| !words.is_empty()).collect();
    assert_eq!(
        warnings
            .iter()
            .map(String::as_str)
            .filter(|w| !w.contains("10.0.0.0/24 holds"))
            .collect::<Vec<_>>(),
        expected
    );
}

#[rstest] // AP-4
#[case(json!([]), "spec.addresses", "pool has no prefixes defined")]
#[case(json!(["10.0.0.0"]), "spec.addresses[0]", "invalid CIDR")]
fn a_legacy_pool_follows_the_same_grammar(#[case] addresses: Value, #[case] field: &str, #[case] words: &str) {
    cluster()
        .legacy("old", json!({ "protocol": "layer2", "addresses": addresses }))
        .refuses("AddressPool old", field, words);
}

#[rstest]
#[case("layer2", json!([{}]), "spec.bgpAdvertisements", "only valid with protocol bgp")] // AP-5
#[case("bgp", json!([{ "aggregationLength": 33 }]), "spec.bgpAdvertisements[0].aggregationLength", "invalid aggregation length 33")] // AP-6
#[case("bgp", json!([{ "aggregationLength": 16 }]), "spec.bgpAdvertisements[0].aggregationLength", "more specific")] // AP-7
#[case("bgp", json!([{ "communities": ["1:1", "1:1"] }]), "spec.bgpAdvertisements[0].communities", "duplicate definition")] // AP-8
#[case("bgp", json!([{ "localPref": 1 }, { "localPref": 1 }]), "spec.bgpAdvertisements[1]", "duplicate definition")] // AP-9
#[case("bgp", json!([{ "communities": ["70000:1"] }]), "spec.bgpAdvertisements[0].communities[0]", "invalid section")] // AP-10
#[case("bgp", json!([{}, { "localPref": 1 }]), "spec.bgpAdvertisements[1].localPref", "localPref 0 is already set by AddressPool old.bgpAdvertisements[0]")]
fn a_bad_advertisement_in_a_legacy_pool_is_refused(
    #[case] protocol: &str,
    #[case] list: Value,
    #[case] field: &str,
    #[case] words: &str,
) {
    let spec = json!({ "protocol": protocol, "addresses": ["10.0.0.0/24"], "bgpAdvertisements": list });
    cluster()
        .node("n", json!({}))
        .legacy("old", spec)
        .refuses("AddressPool old", field, words);
}

#[test] // AP-7: the IPv4 length is not held against IPv6 entries, AP-11: large communities are fine
fn a_dual_stack_legacy_pool_may_have_an_advertisement() {
    let spec = json!({ "protocol": "bgp", "addresses": ["10.0.0.0/24", "fc00::/64"],
        "bgpAdvertisements": [{ "aggregationLength": 24, "localPref": 5, "communities": ["large:1:2:3"] }] });
    let parsed = cluster().legacy("old", spec).node("n", json!({})).accepts();
    let bgp = &parsed.config.pools["old"].bgp;
    assert_eq!(
        (
            bgp.len(),
            bgp[0].aggregation_v4,
            bgp[0].aggregation_v6,
            bgp[0].local_pref
        ),
        (1, 24, 128, 5)
    );
    assert_eq!(bgp[0].nodes, BTreeSet::from(["n".to_owned()]));
}

#[test]
fn legacy_pools_bring_their_own_advertisements_and_take_no_others() {
    let parsed = cluster()
        .legacy("l2", json!({ "protocol": "layer2", "addresses": ["10.0.0.0/24"] }))
        .legacy("bgp", json!({ "protocol": "bgp", "addresses": ["10.0.1.0/24"] }))
        .l2("all", json!({}))
        .bgp("all", json!({ "ipAddressPools": ["l2", "bgp"] }))
        .node("n", json!({}))
        .accepts();
    let pools = &parsed.config.pools;
    assert_eq!((pools["l2"].l2.len(), pools["l2"].bgp.len()), (1, 0));
    assert_eq!((pools["bgp"].l2.len(), pools["bgp"].bgp.len()), (0, 1));
    assert_eq!((&pools["l2"].l2[0].name, &pools["bgp"].bgp[0].name), (&None, &None));
    assert_eq!(
        (pools["bgp"].bgp[0].aggregation_v4, pools["bgp"].bgp[0].aggregation_v6),
        (32, 128)
    );
}
