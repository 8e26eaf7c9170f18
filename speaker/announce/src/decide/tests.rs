use super::*;
use crate::{Extension, Failback, Standing, outranks};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use metallb_config::{AddressRange, BgpAdvertisement, Config, L2Advertisement, PoolKind, Selector};
use rstest::rstest;

const ME: &str = "node-b";

/// A cluster of three nodes and one pool announced everywhere; `node-b` owns 10.0.0.1.
struct Cluster {
    config: Config,
    nodes: BTreeMap<Arc<str>, NodeView>,
    members: BTreeSet<Arc<str>>,
    suspects: BTreeSet<Arc<str>>,
    standings: Option<BTreeMap<Arc<str>, Standing>>,
    failback: Failback,
    owners: BTreeSet<Arc<str>>,
    endpoints: Endpoints,
    ignore_exclude_label: bool,
}

fn names(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(ToString::to_string).collect()
}

fn l2() -> L2Advertisement {
    L2Advertisement {
        name: Some("l2".into()),
        nodes: names(&["node-a", "node-b", "node-c"]),
        interfaces: Interfaces::All,
        services: vec![],
        preferred: BTreeMap::new(),
    }
}

fn bgp() -> BgpAdvertisement {
    BgpAdvertisement {
        name: Some("bgp".into()),
        nodes: names(&["node-a", "node-b", "node-c"]),
        peers: BTreeSet::new(),
        services: vec![],
        aggregation_v4: 32,
        aggregation_v6: 128,
        local_pref: 0,
        communities: BTreeSet::new(),
    }
}

fn selector(key: &str, value: &str) -> Selector {
    let labels = BTreeMap::from([(key.to_owned(), value.to_owned())]);
    Selector::parse(&LabelSelector {
        match_labels: Some(labels),
        match_expressions: None,
    })
    .unwrap()
}

fn pool(name: &str, range: &str) -> Pool {
    Pool {
        name: name.into(),
        kind: PoolKind::IpAddressPool,
        entries: vec![AddressRange::parse(range).unwrap()],
        auto_assign: true,
        avoid_buggy_ips: false,
        allocation: None,
        l2: vec![l2()],
        bgp: vec![bgp()],
    }
}

impl Cluster {
    fn new() -> Self {
        let mut dual = pool("main", "10.0.0.0/24");
        dual.entries.push(AddressRange::parse("2001:db8::/64").unwrap());
        let pools = [dual, pool("other", "10.9.0.0/24")];
        let config = Config {
            pools: pools.into_iter().map(|p| (p.name.clone(), p)).collect(),
            ..Config::default()
        };
        let all = names(&["node-a", "node-b", "node-c"]);
        Self {
            config,
            nodes: all.iter().map(|n| (n.as_str().into(), NodeView::default())).collect(),
            endpoints: Endpoints {
                any: true,
                nodes: ["node-a"].into_iter().collect(),
            },
            members: all.iter().map(|n| n.as_str().into()).collect(),
            suspects: BTreeSet::new(),
            standings: None,
            failback: Failback::Immediate,
            owners: BTreeSet::new(),
            ignore_exclude_label: false,
        }
    }

    fn pool(&mut self) -> &mut Pool {
        self.config.pools.get_mut("main").unwrap()
    }

    fn decide_on(&self, node: &str, service: &ServiceView) -> Decision {
        let inputs = Inputs {
            node,
            nodes: &self.nodes,
            members: Some(&self.members),
            suspects: &self.suspects,
            extension: self.standings.as_ref().map(|standings| Extension {
                standings,
                failback: self.failback,
                owners: &self.owners,
            }),
            ignore_exclude_label: self.ignore_exclude_label,
            class: "",
        };
        decide(&inputs, self.pool_of(service), service, &self.endpoints)
    }

    fn pool_of(&self, service: &ServiceView) -> Option<&Pool> {
        self.config.pool_holding(&service.addresses()?)
    }

    fn decide(&self, service: &ServiceView) -> Decision {
        self.decide_on(ME, service)
    }
}

fn service(ips: &[&str]) -> ServiceView {
    ServiceView {
        load_balancer: true,
        ingress: ips.iter().map(|ip| ip.parse().ok()).collect(),
        ..ServiceView::default()
    }
}

fn prefixes(decision: &Decision) -> Vec<String> {
    decision
        .bgp
        .as_ref()
        .map(|r| r.iter().map(|r| r.prefix.to_string()).collect())
        .unwrap_or_default()
}

// BGP-1, L2-18
#[test]
fn every_node_announces_routes_and_one_answers_arp() {
    let cluster = Cluster::new();
    let owners: Vec<bool> = ["node-a", "node-b", "node-c"]
        .map(|n| cluster.decide_on(n, &service(&["10.0.0.1"])).layer2.is_ok())
        .into();
    assert_eq!(owners, [false, true, false]);
    for node in ["node-a", "node-b", "node-c"] {
        assert_eq!(
            prefixes(&cluster.decide_on(node, &service(&["10.0.0.1"]))),
            ["10.0.0.1/32"]
        );
    }
}

// BGP-12, BGP-13, L2-6, L2-7, L2-9
#[rstest]
#[case(ServiceView { load_balancer: false, ..service(&["10.0.0.1"]) }, Reason::NotLoadBalancer)]
#[case(ServiceView { class: Some("foreign".into()), ..service(&["10.0.0.1"]) }, Reason::ClassChanged)]
#[case(service(&[]), Reason::NoIpAllocated)]
#[case(service(&["10.0.0.1", "host.example"]), Reason::InvalidIp)]
#[case(service(&["10.0.0.1", "10.9.0.1"]), Reason::IpNotAllowed)]
#[case(service(&["192.0.2.1"]), Reason::IpNotAllowed)]
fn a_service_that_fails_the_gate_is_announced_by_no_protocol(#[case] service: ServiceView, #[case] reason: Reason) {
    assert_eq!(Cluster::new().decide(&service), Decision::none(reason));
}

// BGP-6, L2-20
#[test]
fn without_usable_endpoints_nothing_is_announced() {
    let mut cluster = Cluster::new();
    cluster.endpoints = Endpoints::default();
    let got = cluster.decide(&service(&["10.0.0.1"]));
    assert_eq!(
        (got.layer2.err(), got.bgp.err()),
        (Some(Reason::NotOwner), Some(Reason::NoEndpoints))
    );
}

// BGP-2, BGP-6, L2-19
#[test]
fn local_policy_announces_only_where_endpoints_are() {
    let cluster = Cluster::new();
    let local = ServiceView {
        local: true,
        ..service(&["10.0.0.1"])
    };
    let there = cluster.decide_on("node-a", &local);
    assert!(there.layer2.is_ok() && there.bgp.is_ok());
    let here = cluster.decide(&local);
    assert_eq!(
        (here.layer2.err(), here.bgp.err()),
        (Some(Reason::NotOwner), Some(Reason::NoLocalEndpoints))
    );
}

// L2-13
#[test]
fn a_dead_member_loses_the_address_to_the_next_in_order() {
    let mut cluster = Cluster::new();
    cluster.members.remove(ME);
    assert!(cluster.decide_on("node-a", &service(&["10.0.0.1"])).layer2.is_ok());
    assert!(cluster.decide_on("node-c", &service(&["10.0.0.1"])).layer2.is_err());
}

// BGP-7, BGP-8, L2-24, L2-25
#[test]
fn an_unavailable_or_excluded_node_steps_back() {
    let mut cluster = Cluster::new();
    cluster.nodes.insert(
        ME.into(),
        NodeView {
            network_unavailable: true,
            excluded: true,
        },
    );
    let got = cluster.decide(&service(&["10.0.0.1"]));
    assert_eq!(
        (got.layer2.err(), got.bgp.err()),
        (
            Some(Reason::NodeNetworkUnavailable),
            Some(Reason::NodeNetworkUnavailable)
        )
    );
    cluster.nodes.insert(
        ME.into(),
        NodeView {
            network_unavailable: false,
            excluded: true,
        },
    );
    let got = cluster.decide(&service(&["10.0.0.1"]));
    assert_eq!(
        (got.layer2.err(), got.bgp.err()),
        (
            Some(Reason::NodeLabeledExcludeBalancers),
            Some(Reason::NodeLabeledExcludeBalancers)
        )
    );
    cluster.ignore_exclude_label = true;
    let got = cluster.decide(&service(&["10.0.0.1"]));
    assert!(got.layer2.is_ok() && got.bgp.is_ok());
}

#[test]
fn an_unknown_node_object_does_not_keep_a_live_member_from_announcing() {
    let mut cluster = Cluster::new();
    cluster.nodes.clear();
    let got = cluster.decide(&service(&["10.0.0.1"]));
    assert!(got.layer2.is_ok() && got.bgp.is_ok());
}

#[test]
fn defeat_exclusion_and_the_lack_of_candidates_are_told_apart() {
    let mut cluster = Cluster::new();
    let reason = |cluster: &Cluster, node| cluster.decide_on(node, &service(&["10.0.0.1"])).layer2.err();
    assert_eq!(reason(&cluster, "node-a"), Some(Reason::NotOwner));
    cluster.members.clear();
    assert_eq!(reason(&cluster, "node-a"), Some(Reason::NoCandidate));
    for view in cluster.nodes.values_mut() {
        view.excluded = true;
    }
    assert_eq!(reason(&cluster, "node-a"), Some(Reason::NodeLabeledExcludeBalancers));
}

#[test]
fn the_ranking_names_who_stands_in() {
    let ranking = Cluster::new().decide(&service(&["10.0.0.1"])).ranking.unwrap();
    let names: Vec<&str> = ranking.nodes().iter().map(|node| &**node).collect();
    assert_eq!(names, ["node-b", "node-a", "node-c"]);
}

// BGP-10, L2-22
#[test]
fn advertisements_limit_nodes() {
    let mut cluster = Cluster::new();
    cluster.pool().l2[0].nodes = names(&["node-a"]);
    cluster.pool().bgp[0].nodes = names(&["node-a"]);
    let got = cluster.decide(&service(&["10.0.0.1"]));
    assert_eq!(
        (got.layer2.err(), got.bgp.err()),
        (Some(Reason::NoMatchingAdvertisement), Some(Reason::NotOwner))
    );
    assert!(cluster.decide_on("node-a", &service(&["10.0.0.1"])).layer2.is_ok());
}

// L2-23
#[test]
fn a_node_with_the_endpoints_and_without_advertisement_is_told_apart_from_one_without_endpoints() {
    let mut cluster = Cluster::new();
    cluster.pool().l2[0].nodes = names(&[ME]);
    let local = ServiceView {
        local: true,
        ..service(&["10.0.0.1"])
    };
    let reasons = ["node-a", ME].map(|node| cluster.decide_on(node, &local).layer2.err());
    assert_eq!(
        reasons,
        [Some(Reason::NoMatchingAdvertisement), Some(Reason::NoCandidate)]
    );
}

// L2-28, L2-91
#[test]
fn only_nodes_of_advertisements_that_select_the_service_are_candidates_on_their_interfaces() {
    let mut cluster = Cluster::new();
    let ad = |nodes: &[&str], app: &str, interface: &str| L2Advertisement {
        nodes: names(nodes),
        services: vec![selector("app", app)],
        interfaces: Interfaces::Only(names(&[interface])),
        ..l2()
    };
    cluster.pool().l2 = vec![ad(&["node-a"], "one", "eth1"), ad(&["node-b", "node-c"], "two", "eth0")];
    for last in 1..50 {
        let ip = format!("10.0.0.{last}");
        let announced = |app: &str| {
            let labels = BTreeMap::from([("app".to_owned(), app.to_owned())]);
            let service = ServiceView {
                labels: labels.iter().collect(),
                ..service(&[&ip])
            };
            let on = |node| cluster.decide_on(node, &service).layer2.map(|layer2| layer2.interfaces);
            ["node-a", "node-b", "node-c"].map(on)
        };
        let only = |name: &str| Ok(Interfaces::Only(names(&[name])));
        let (lost, unselected) = (Err(Reason::NotOwner), Err(Reason::NoMatchingAdvertisement));
        let [a, b, c] = announced("one");
        assert_eq!((a, b, c), (only("eth1"), unselected.clone(), unselected.clone()));
        let [a, b, c] = announced("two");
        assert_eq!(a, unselected);
        assert!([(&b, &c), (&c, &b)].contains(&(&only("eth0"), &lost)), "{b:?} {c:?}");
        assert_eq!(announced("three"), [(); 3].map(|()| unselected.clone()));
    }
}

// BGP-11, L2-27
#[test]
fn service_selectors_limit_services() {
    let mut cluster = Cluster::new();
    cluster.pool().l2[0].services = vec![selector("app", "web"), selector("app", "api")];
    cluster.pool().bgp[0].services = vec![selector("app", "web"), selector("app", "api")];
    let bare = cluster.decide(&service(&["10.0.0.1"]));
    assert_eq!(bare.bgp.err(), Some(Reason::NoMatchingAdvertisement));
    assert_eq!(bare.layer2.err(), Some(Reason::NoMatchingAdvertisement));
    let labels = BTreeMap::from([("app".to_owned(), "api".to_owned())]);
    let mut labelled = ServiceView {
        labels: labels.iter().collect(),
        ..service(&["10.0.0.1"])
    };
    let got = cluster.decide(&labelled);
    assert!(got.layer2.is_ok() && got.bgp.is_ok());
    labelled.shared = true;
    assert_eq!(
        cluster.decide(&labelled).layer2.err(),
        Some(Reason::SharedIpWithServiceSelector)
    );
}

// L2-31
#[test]
fn preferences_add_up_over_advertisements_and_beat_the_hash() {
    let mut cluster = Cluster::new();
    let preferring = |node: &str, weight| L2Advertisement {
        preferred: [(node.to_owned(), weight)].into(),
        ..l2()
    };
    cluster.pool().l2 = vec![
        preferring("node-c", 40),
        preferring("node-c", 30),
        preferring("node-a", 60),
    ];
    assert!(cluster.decide_on("node-c", &service(&["10.0.0.1"])).layer2.is_ok());
}

// L2-29
#[test]
fn interfaces_are_the_union_over_advertisements_of_this_node() {
    let mut cluster = Cluster::new();
    let on = |nodes: &[&str], only: &str| L2Advertisement {
        nodes: names(nodes),
        interfaces: Interfaces::Only(names(&[only])),
        ..l2()
    };
    cluster.pool().l2 = vec![on(&[ME], "eth0"), on(&[ME], "eth1"), on(&["node-a"], "eth2")];
    let got = cluster.decide(&service(&["10.0.0.1"])).layer2.unwrap();
    assert_eq!(got.interfaces, Interfaces::Only(names(&["eth0", "eth1"])));
    cluster.pool().l2.push(l2());
    assert_eq!(
        cluster.decide(&service(&["10.0.0.1"])).layer2.unwrap().interfaces,
        Interfaces::All
    );
}

// BGP-15, BGP-17
#[test]
fn aggregates_are_masked_and_stand_beside_host_routes() {
    let mut cluster = Cluster::new();
    cluster.pool().bgp.push(BgpAdvertisement {
        aggregation_v4: 24,
        local_pref: 7,
        ..bgp()
    });
    assert_eq!(
        prefixes(&cluster.decide(&service(&["10.0.0.1"]))),
        ["10.0.0.0/24", "10.0.0.1/32"]
    );
}

// L2-17
#[test]
fn a_dual_stack_service_yields_routes_of_both_families_from_one_node() {
    let got = Cluster::new().decide(&service(&["10.0.0.1", "2001:db8::5"]));
    assert_eq!(prefixes(&got), ["10.0.0.1/32", "2001:db8::5/128"]);
    assert_eq!(got.layer2.unwrap().addresses.len(), 2);
}

// BGP-19, BGP-20, L2-11
#[rstest]
#[case(32, &[], &[], true)]
#[case(24, &[], &[], false)]
#[case(32, &["a"], &["b"], false)]
#[case(32, &["a"], &["a", "b"], true)]
fn conflicting_local_preferences_stop_only_this_service(
    #[case] second_length: u8,
    #[case] first_peers: &[&str],
    #[case] second_peers: &[&str],
    #[case] conflict: bool,
) {
    let mut cluster = Cluster::new();
    cluster.pool().bgp = vec![
        BgpAdvertisement {
            local_pref: 100,
            peers: names(first_peers),
            ..bgp()
        },
        BgpAdvertisement {
            local_pref: 200,
            peers: names(second_peers),
            aggregation_v4: second_length,
            ..bgp()
        },
    ];
    let got = cluster.decide(&service(&["10.0.0.1"]));
    assert_eq!(got.bgp.err() == Some(Reason::ConflictingAdvertisements), conflict);
    assert!(got.layer2.is_ok());
}

#[test]
fn with_membership_off_all_known_nodes_are_candidates() {
    let mut cluster = Cluster::new();
    cluster.members.clear();
    let inputs = Inputs {
        node: ME,
        nodes: &cluster.nodes,
        members: None,
        suspects: &cluster.suspects,
        extension: None,
        ignore_exclude_label: false,
        class: "",
    };
    let service = service(&["10.0.0.1"]);
    let got = decide(&inputs, cluster.pool_of(&service), &service, &cluster.endpoints);
    assert!(got.layer2.is_ok());
}

#[test]
fn a_suspect_answers_only_where_there_is_nobody_else() {
    let mut cluster = Cluster::new();
    let (service, mut order) = (service(&["10.0.0.1"]), Vec::new());
    for _ in 0..=3 {
        let ranking = cluster.decide(&service).ranking.unwrap();
        let winner = Arc::clone(&ranking.nodes()[0]);
        let answers = cluster.decide_on(&winner, &service).layer2.is_ok();
        assert!(answers, "{winner} is first in the eyes of itself, too");
        cluster.suspects.insert(Arc::clone(&winner));
        order.push(winner.to_string());
    }
    assert_eq!(order, ["node-b", "node-a", "node-c", "node-b"]);
}

mod standings;
