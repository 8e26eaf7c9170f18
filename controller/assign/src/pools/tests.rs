use super::*;
use metallb_api::{IPAddressPool, IPAddressPoolSpec};

fn pool(name: &str, addresses: &[&str]) -> IPAddressPool {
    let spec = IPAddressPoolSpec {
        addresses: addresses.iter().map(ToString::to_string).collect(),
        ..IPAddressPoolSpec::default()
    };
    let mut pool = IPAddressPool::new(name, spec);
    pool.metadata.namespace = Some("metallb-system".into());
    pool
}

fn of(pools: &[IPAddressPool]) -> Resources {
    Resources {
        namespace: "metallb-system".into(),
        pools: pools.to_vec(),
        ..Resources::default()
    }
}

fn names(verdict: &Verdict) -> Vec<String> {
    verdict.accepted.as_ref().unwrap().pools.keys().cloned().collect()
}

#[test]
fn one_bad_pool_leaves_the_others_usable_and_is_reported() {
    // CTL-50
    let verdict = Pools::default().load(&of(&[pool("bad", &["junk"]), pool("good", &["1.2.3.0/24"])]));
    assert_eq!(names(&verdict), ["good"]);
    assert!(verdict.accepted.as_ref().unwrap().unusable.contains("bad"));
    assert!(verdict.message().contains("bad"), "{}", verdict.message());
}

#[test]
fn an_empty_pool_is_told_in_upstreams_words() {
    // CTL-130
    let verdict = Pools::default().load(&of(&[pool("p", &[])]));
    assert_eq!(
        verdict.message(),
        "configuration error: parsing address pool p: pool has no prefixes defined"
    );
}

#[test]
fn nothing_is_in_force_before_something_is_usable() {
    // CTL-30
    let mut pools = Pools::default();
    assert_eq!(pools.load(&of(&[pool("p", &["junk"])])).accepted, None);
    assert_eq!(names(&pools.load(&of(&[pool("p", &["1.2.3.0/24"])]))), ["p"]);
    assert!(names(&emptied(&mut pools)).is_empty());
}

#[test]
fn no_pools_at_all_is_a_configuration() {
    assert!(names(&Pools::default().load(&of(&[]))).is_empty());
}

#[test]
fn a_pool_that_became_illegible_stays_as_it_was() {
    // CTL-47 CTL-48
    let mut pools = Pools::default();
    let good = pools.load(&of(&[pool("p", &["1.2.3.0/24"])]));
    let bad = pools.load(&of(&[pool("p", &["junk"])]));
    assert_eq!(bad.accepted, good.accepted);
    assert!(!bad.refused.is_empty());
    let again = pools.load(&of(&[pool("p", &["1.2.3.0/24"])]));
    assert_eq!((again.accepted, again.refused), (good.accepted, Vec::new()));
}

#[test]
fn a_pool_gone_wrong_does_not_hold_on_to_what_another_has_now() {
    let mut pools = Pools::default();
    pools.load(&of(&[pool("p", &["1.2.3.0/24"])]));
    let verdict = pools.load(&of(&[pool("p", &["junk"]), pool("q", &["1.2.3.0/25"])]));
    assert_eq!(names(&verdict), ["q"]);
}

/// What is in force when all pools are known to be gone.
fn emptied(pools: &mut Pools) -> Verdict {
    pools.load(&of(&[]));
    let gone = pools.gone().clone();
    pools.drop_gone(&gone);
    pools.load(&of(&[]))
}

#[test]
fn a_pool_that_is_gone_stays_as_it_was_until_it_is_dropped() {
    // CTL-39
    let mut pools = Pools::default();
    let good = pools.load(&of(&[pool("p", &["1.2.3.0/24"]), pool("q", &["1.2.4.0/24"])]));
    assert!(pools.gone().is_empty());
    let without = of(&[pool("q", &["1.2.4.0/24"])]);
    assert_eq!(pools.load(&without).accepted, good.accepted);
    let gone = BTreeSet::from(["p".to_owned()]);
    assert_eq!(pools.gone(), &gone);
    pools.drop_gone(&gone);
    assert_eq!(names(&pools.load(&without)), ["q"]);
    assert!(pools.gone().is_empty());
}

#[test]
fn a_pool_that_is_back_is_gone_no_more() {
    let mut pools = Pools::default();
    pools.load(&of(&[pool("p", &["1.2.3.0/24"])]));
    pools.load(&of(&[]));
    let back = of(&[pool("p", &["1.2.3.0/25"])]);
    let accepted = pools.load(&back).accepted;
    assert!(pools.gone().is_empty());
    pools.drop_gone(&BTreeSet::from(["p".to_owned()]));
    assert_eq!(pools.load(&back).accepted, accepted);
}

#[test]
fn services_of_a_gone_pool_are_left_alone_where_another_pool_has_a_part_of_it() {
    let mut pools = Pools::default();
    pools.load(&of(&[pool("p", &["1.2.3.0/24"])]));
    let part = of(&[pool("q", &["1.2.3.0/25"])]);
    let verdict = pools.load(&part);
    assert_eq!(names(&verdict), ["q"]);
    let gone = BTreeSet::from(["p".to_owned()]);
    assert_eq!(verdict.accepted.unwrap().unusable, gone);
    pools.drop_gone(&gone);
    assert!(pools.load(&part).accepted.unwrap().unusable.is_empty());
}

#[test]
fn that_the_only_pool_is_gone_which_never_was_legible_is_not_believed_at_once() {
    // CTL-30
    let mut pools = Pools::default();
    pools.load(&of(&[pool("p", &["junk"])]));
    assert_eq!(pools.load(&of(&[])).accepted, None);
    assert!(names(&emptied(&mut pools)).is_empty());
}

fn allocating(mut pool: IPAddressPool, allocation: serde_json::Value) -> IPAddressPool {
    pool.spec.service_allocation = Some(serde_json::from_value(allocation).unwrap());
    pool
}

#[test]
fn duplicates_overlaps_and_mixed_ranges_are_refused_by_name() {
    // CTL-99 CTL-100 CTL-101
    let twice = serde_json::json!({ "namespaces": ["a", "a"] });
    let selector = serde_json::json!({ "matchLabels": { "a": "b" } });
    let selectors = serde_json::json!({ "serviceSelectors": [selector, selector] });
    let refused: [(Vec<IPAddressPool>, &str); 4] = [
        (vec![allocating(pool("p", &["1.2.3.0/24"]), twice)], "duplicate"),
        (vec![allocating(pool("p", &["1.2.3.0/24"]), selectors)], "duplicate"),
        (
            vec![pool("p", &["1.2.3.0/24"]), pool("q", &["1.2.3.128/25"])],
            "overlaps",
        ),
        (vec![pool("p", &["1.2.3.0-fc00::1"])], "1.2.3.0-fc00::1"),
    ];
    for (pools, text) in refused {
        let message = Pools::default().load(&of(&pools)).message();
        assert!(message.contains(text), "{message}");
    }
}

#[test]
fn namespaces_by_name_and_by_label_are_both_let_in() {
    // CTL-95
    let mut resources = of(&[allocating(
        pool("p", &["1.2.3.0/24"]),
        serde_json::json!({ "namespaces": ["named"], "namespaceSelectors": [{ "matchLabels": { "a": "b" } }] }),
    )]);
    let mut labelled = k8s_openapi::api::core::v1::Namespace::default();
    labelled.metadata.name = Some("labelled".into());
    labelled.metadata.labels = Some([("a".to_owned(), "b".to_owned())].into());
    resources.namespaces = vec![labelled];
    let verdict = Pools::default().load(&resources);
    let pool = &verdict.accepted.as_ref().unwrap().pools["p"];
    let lets_in = |namespace| {
        pool.allocation
            .as_ref()
            .unwrap()
            .allows(namespace, &std::collections::BTreeMap::new())
    };
    assert!(lets_in("named") && lets_in("labelled") && !lets_in("other"));
}

#[allow(clippy::needless_pass_by_value)]
fn decode<K: serde::de::DeserializeOwned>(name: &str, spec: serde_json::Value) -> K {
    let metadata = serde_json::json!({ "name": name, "namespace": "metallb-system" });
    serde_json::from_value(serde_json::json!({ "metadata": metadata, "spec": spec })).unwrap()
}

#[allow(clippy::needless_pass_by_value)]
fn node(name: &str, labels: serde_json::Value) -> k8s_openapi::api::core::v1::Node {
    let node = serde_json::json!({ "metadata": { "name": name, "labels": labels } });
    serde_json::from_value(node).unwrap()
}

/// Pools `p`, which an L2Advertisement takes to Nodes of zone a, and `q`.
fn announced() -> Resources {
    let mut resources = of(&[pool("p", &["1.2.3.0/24"]), pool("q", &["1.2.4.0/24"])]);
    let zone = serde_json::json!([{ "matchLabels": { "zone": "a" } }]);
    let spec = serde_json::json!({ "ipAddressPools": ["p"], "nodeSelectors": zone });
    resources.l2_advertisements = vec![decode("l2", spec)];
    resources.nodes = vec![node("n", serde_json::json!({ "zone": "a" }))];
    resources
}

fn barred(verdict: &Verdict, pool: &str) -> Option<metallb_announce::reach::Barred> {
    let reaches = verdict.reaches.as_ref().unwrap();
    reaches[pool].judge(&metallb_announce::ServiceView::default()).err()
}

#[test]
fn who_may_announce_follows_from_advertisements_and_nodes() {
    use metallb_announce::reach::Barred;
    let mut pools = Pools::default();
    let mut resources = announced();
    let first = pools.load(&resources);
    assert_eq!(
        (barred(&first, "p"), barred(&first, "q")),
        (None, Some(Barred::NoAdvertisement))
    );
    resources.nodes = vec![node("n", serde_json::json!({ "zone": "b" }))];
    let second = pools.load(&resources);
    assert_eq!(barred(&second, "p"), Some(Barred::NoMatchingNode));
    // To the allocator all this is nothing.
    assert_eq!(first.accepted, second.accepted);
    resources.nodes.clear();
    assert_eq!(pools.load(&resources).reaches, None);
}

#[test]
fn the_exclude_label_counts_only_if_speakers_are_known_to_heed_it() {
    let label = "node.kubernetes.io/exclude-from-external-load-balancers";
    let mut resources = announced();
    resources.nodes = vec![node("n", serde_json::json!({ "zone": "a", label: "" }))];
    let judge = |ignored| barred(&Pools::new(Backend::Native, ignored).load(&resources), "p");
    assert_eq!(judge(true), None);
    assert_eq!(judge(false), Some(metallb_announce::reach::Barred::NodesExcluded));
}

#[test]
fn nothing_is_claimed_where_speakers_may_use_what_is_refused_now() {
    let mut resources = announced();
    let wide = serde_json::json!({ "ipAddressPools": ["p"], "aggregationLength": 8 });
    resources.bgp_advertisements = vec![decode("wide", wide)];
    let verdict = Pools::default().load(&resources);
    let known: Vec<&str> = verdict.reaches.as_ref().unwrap().keys().map(String::as_str).collect();
    assert_eq!((known, verdict.refused.as_slice()), (vec!["q"], [].as_slice()));
    resources.bgp_advertisements.clear();
    resources.communities = vec![decode(
        "c",
        serde_json::json!({ "communities": [{ "name": "a", "value": "junk" }] }),
    )];
    let verdict = Pools::default().load(&resources);
    assert_eq!((verdict.reaches.unwrap().len(), verdict.refused.len()), (2, 1));
    resources.bgp_advertisements = vec![decode("bad", serde_json::json!({ "communities": ["junk"] }))];
    assert_eq!(Pools::default().load(&resources).reaches, None);
}

#[test]
fn a_peer_that_cannot_be_read_here_is_a_peer_nevertheless() {
    // Passwords are in Secrets, which the controller does not read.
    let mut resources = announced();
    let spec =
        serde_json::json!({ "myASN": 1, "peerASN": 2, "peerAddress": "10.0.0.1", "passwordSecret": { "name": "s" } });
    resources.peers = vec![decode("tor", spec)];
    resources.bgp_advertisements = vec![decode("a", serde_json::json!({ "ipAddressPools": ["q"] }))];
    let verdict = Pools::default().load(&resources);
    assert_eq!(
        (barred(&verdict, "q"), verdict.refused.len(), verdict.doubts()),
        (None, 0, String::new())
    );
}

#[test]
fn names_that_lead_nowhere_are_doubts_and_odd_ranges_are_not() {
    let mut resources = announced();
    resources.pools.push(pool("odd", &["127.0.0.0/24"]));
    resources.bgp_advertisements = vec![decode("a", serde_json::json!({ "peers": ["gone"] }))];
    resources.peers = vec![decode(
        "idle",
        serde_json::json!({ "myASN": 1, "peerASN": 2, "peerAddress": "10.0.0.1",
            "nodeSelectors": [{ "matchLabels": { "zone": "none" } }], "disableMP": true }),
    )];
    let verdict = Pools::default().load(&resources);
    assert_eq!(
        verdict.doubts(),
        "BGPAdvertisement a: spec.peers[0]: there is no BGPPeer \"gone\"\n\
         BGPPeer idle: spec.nodeSelectors: no Node matches, so nobody opens the session"
    );
    assert_eq!(verdict.message(), "");
}

#[test]
fn too_many_doubts_are_counted() {
    let doubt = |place: usize| Warning {
        object: ObjectRef::new("BGPAdvertisement", &format!("a{place}")),
        field: "spec.peers[0]".into(),
        reason: "there is no BGPPeer".into(),
        rule: Rule::W12,
    };
    let verdict = Verdict {
        doubts: (0..1000).map(doubt).collect(),
        ..Verdict::default()
    };
    let text = verdict.doubts();
    let last = text.lines().last().unwrap();
    let more: usize = last
        .strip_prefix("and ")
        .unwrap()
        .strip_suffix(" more")
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(text.lines().count() - 1 + more, 1000);
    assert!(text.len() < DOUBTS_LIMIT + 20);
}
