use super::*;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use rstest::rstest;

const OPEN: NodeView = NodeView {
    network_unavailable: false,
    excluded: false,
};
const LABELLED: NodeView = NodeView { excluded: true, ..OPEN };
const UNAVAILABLE: NodeView = NodeView {
    network_unavailable: true,
    ..OPEN
};

fn names(list: &str) -> BTreeSet<String> {
    list.split_whitespace().map(ToOwned::to_owned).collect()
}

fn for_tier(tier: &str) -> Vec<Selector> {
    let labels = [("tier".to_owned(), tier.to_owned())].into();
    let selector = LabelSelector {
        match_labels: Some(labels),
        match_expressions: None,
    };
    vec![Selector::parse(&selector).unwrap()]
}

fn l2(nodes: &str, services: &[Selector]) -> L2Advertisement {
    L2Advertisement {
        nodes: names(nodes),
        services: services.to_vec(),
        ..L2Advertisement::default()
    }
}

fn bgp(nodes: &str, peers: &str) -> BgpAdvertisement {
    BgpAdvertisement {
        nodes: names(nodes),
        peers: names(peers),
        ..BgpAdvertisement::default()
    }
}

fn pool(l2: &[L2Advertisement], bgp: &[BgpAdvertisement]) -> Pool {
    Pool {
        l2: l2.to_vec(),
        bgp: bgp.to_vec(),
        ..Pool::default()
    }
}

/// A cluster of `a` and `b`, with BGPPeer `tor`.
fn reach(pool: &Pool, nodes: [NodeView; 2], ignore_exclude_label: bool) -> Reach {
    let nodes = ["a", "b"].map(Arc::from).into_iter().zip(nodes).collect();
    let around = Surroundings {
        nodes: &nodes,
        peers: &names("tor"),
        ignore_exclude_label,
    };
    Reach::new(pool, around)
}

fn service(shared: bool) -> ServiceView {
    ServiceView {
        labels: [("tier", "web")].into_iter().collect(),
        shared,
        ..ServiceView::default()
    }
}

fn judge(pool: &Pool, nodes: [NodeView; 2]) -> Option<Barred> {
    reach(pool, nodes, false).judge(&service(false)).err()
}

#[rstest]
#[case::nothing_selects_the_pool(pool(&[], &[]), Some(Barred::NoAdvertisement))]
#[case::layer_2(pool(&[l2("a", &[])], &[]), None)]
#[case::bgp(pool(&[], &[bgp("a", "")]), None)]
#[case::bgp_to_one_peer(pool(&[], &[bgp("a", "tor other")]), None)]
#[case::no_such_peer(pool(&[], &[bgp("a", "other")]), Some(Barred::NoPeer))]
#[case::other_services(pool(&[l2("a", &for_tier("db"))], &[]), Some(Barred::ServiceNotSelected))]
#[case::this_service(pool(&[l2("a", &for_tier("web"))], &[]), None)]
#[case::no_node(pool(&[l2("", &[])], &[bgp("", "")]), Some(Barred::NoMatchingNode))]
#[case::a_node_that_is_gone(pool(&[l2("gone", &[])], &[]), Some(Barred::NoMatchingNode))]
#[case::one_way_of_two(pool(&[l2("", &[])], &[bgp("b", "")]), None)]
#[case::what_covers_has_no_node(pool(&[l2("a", &for_tier("db")), l2("", &[])], &[]), Some(Barred::NoMatchingNode))]
fn the_configuration_alone_may_bar_all_nodes(#[case] pool: Pool, #[case] expected: Option<Barred>) {
    assert_eq!(judge(&pool, [OPEN, OPEN]), expected);
}

#[rstest]
#[case([OPEN, LABELLED], "a b", None)]
#[case([OPEN, LABELLED], "b", Some(Barred::NodesExcluded))]
#[case([LABELLED, LABELLED], "a b", Some(Barred::NodesExcluded))]
#[case([UNAVAILABLE, UNAVAILABLE], "a b", Some(Barred::NodesUnavailable))]
#[case([UNAVAILABLE, LABELLED], "a b", Some(Barred::NodesExcluded))]
#[case([UNAVAILABLE, OPEN], "a b", None)]
fn nodes_may_be_excluded(#[case] nodes: [NodeView; 2], #[case] selected: &str, #[case] expected: Option<Barred>) {
    for pool in [pool(&[l2(selected, &[])], &[]), pool(&[], &[bgp(selected, "")])] {
        assert_eq!(judge(&pool, nodes), expected);
    }
}

#[test]
fn a_label_that_speakers_ignore_bars_nobody_but_a_missing_network_does() {
    let pool = pool(&[l2("a b", &[])], &[]);
    let judge = |nodes| reach(&pool, nodes, true).judge(&service(false)).err();
    assert_eq!(judge([LABELLED, LABELLED]), None);
    assert_eq!(judge([UNAVAILABLE, UNAVAILABLE]), Some(Barred::NodesUnavailable));
}

#[test]
fn layer_2_bars_a_shared_address_under_service_selectors_and_bgp_does_not() {
    let ads = [l2("a", &for_tier("web")), l2("a", &[])];
    let shared = |pool: &Pool| reach(pool, [OPEN, OPEN], false).judge(&service(true)).err();
    assert_eq!(shared(&pool(&ads, &[])), Some(Barred::SharedIpWithServiceSelector));
    assert_eq!(shared(&pool(&ads, &[bgp("a", "")])), None);
    assert_eq!(shared(&pool(&ads[1..], &[])), None);
}

#[test]
fn a_node_more_or_less_changes_nothing_while_another_is_left() {
    let pool = pool(&[l2("a b", &[])], &[bgp("a b", "")]);
    let both = reach(&pool, [OPEN, OPEN], false);
    assert_eq!(both, reach(&pool, [LABELLED, OPEN], false));
    assert_ne!(both, reach(&pool, [LABELLED, LABELLED], false));
}

#[test]
fn each_reason_has_a_sentence_of_its_own() {
    let all = [
        Barred::NoAdvertisement,
        Barred::ServiceNotSelected,
        Barred::SharedIpWithServiceSelector,
        Barred::NoMatchingNode,
        Barred::NoPeer,
        Barred::NodesUnavailable,
        Barred::NodesExcluded,
    ];
    let sentences: BTreeSet<String> = all.iter().map(|barred| barred.sentence("p")).collect();
    assert_eq!(sentences.len(), all.len());
    assert!(
        sentences
            .iter()
            .all(|sentence| sentence.contains("no node may announce"))
    );
}
