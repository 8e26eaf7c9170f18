use std::collections::BTreeSet;

use metallb_config::{AddressRange, BgpAdvertisement, Interfaces, Selector};
use proptest::prelude::*;

use super::*;
use crate::election::order;
use crate::{Decision, NodeView, decide};

const NODES: [&str; 4] = ["node-a", "node-b", "node-c", "node-d"];

/// Everything that a decision depends on, drawn at random; bit n of a set stands for the n-th node.
#[derive(Clone, Debug)]
struct World {
    unavailable: u8,
    excluded: u8,
    unknown: u8,
    members: Option<u8>,
    suspects: u8,
    layer2: Vec<(u8, u8, bool)>,
    bgp: Vec<(u8, u32)>,
    any: bool,
    local: Option<u8>,
    shared: bool,
    address: u8,
    load_balancer: bool,
}

fn world() -> impl Strategy<Value = World> {
    let set = || 0..16_u8;
    let rare = || prop_oneof![3 => Just(0_u8), 1 => 0..16_u8];
    let ads = prop::collection::vec((set(), set(), prop::bool::weighted(0.2)), 0..3);
    let bgp = prop::collection::vec((set(), 0..2_u32), 0..3);
    let often = || prop::bool::weighted(0.9);
    let service = (
        often(),
        prop::option::of(set()),
        prop::bool::weighted(0.2),
        any::<u8>(),
        often(),
    );
    let nodes = (rare(), rare(), rare(), prop::option::of(set()), rare());
    (nodes, ads, bgp, service).prop_map(|(nodes, layer2, bgp, service)| World {
        unavailable: nodes.0,
        excluded: nodes.1,
        unknown: nodes.2,
        members: nodes.3,
        suspects: nodes.4,
        layer2,
        bgp,
        any: service.0,
        local: service.1,
        shared: service.2,
        address: service.3,
        load_balancer: service.4,
    })
}

fn names<N: From<&'static str> + Ord>(set: u8) -> BTreeSet<N> {
    let named = NODES.into_iter().enumerate();
    named
        .filter(|(n, _)| set & (1 << n) != 0)
        .map(|(_, name)| name.into())
        .collect()
}

/// Who is ranked, and who is out.
type Sorted = (Vec<Rank>, BTreeMap<Arc<str>, Out>);

/// What is decided on each node, and for all of them at once.
struct Decided {
    nodes: BTreeMap<&'static str, Decision>,
    layer2: Result<Sorted, Reason>,
    bgp: Result<BgpCase, Reason>,
}

fn decided(world: &World) -> Decided {
    let everywhere = Selector::default();
    let pool = Pool {
        name: "main".into(),
        entries: vec![AddressRange::parse("192.0.2.0/24").unwrap()],
        l2: world
            .layer2
            .iter()
            .map(|(nodes, preferred, selects)| L2Advertisement {
                nodes: names(*nodes),
                interfaces: Interfaces::All,
                services: selects.then(|| everywhere.clone()).into_iter().collect(),
                preferred: names::<String>(*preferred).into_iter().map(|node| (node, 10)).collect(),
                ..L2Advertisement::default()
            })
            .collect(),
        bgp: world
            .bgp
            .iter()
            .map(|(nodes, local_pref)| BgpAdvertisement {
                nodes: names(*nodes),
                aggregation_v4: 32,
                local_pref: *local_pref,
                ..BgpAdvertisement::default()
            })
            .collect(),
        ..Pool::default()
    };
    let unavailable: BTreeSet<Arc<str>> = names(world.unavailable);
    let excluded: BTreeSet<Arc<str>> = names(world.excluded);
    let nodes = names::<Arc<str>>(!world.unknown).into_iter().map(|name| {
        let view = NodeView {
            network_unavailable: unavailable.contains(&name),
            excluded: excluded.contains(&name),
        };
        (name, view)
    });
    let nodes = nodes.collect();
    let members = world.members.map(names);
    let suspects = names(world.suspects);
    let service = ServiceView {
        load_balancer: world.load_balancer,
        ingress: vec![Some([192, 0, 2, world.address].into())],
        local: world.local.is_some(),
        shared: world.shared,
        ..ServiceView::default()
    };
    let endpoints = Endpoints {
        any: world.any,
        nodes: names::<String>(world.local.unwrap_or_default()).into_iter().collect(),
    };
    let inputs = Inputs {
        node: "",
        nodes: &nodes,
        members: members.as_ref(),
        suspects: &suspects,
        extension: None,
        ignore_exclude_label: false,
        class: "",
    };
    let on = |node| decide(&Inputs { node, ..inputs }, Some(&pool), &service, &endpoints);
    let layer2 = layer2_case(&inputs, Some(&pool), &service, &endpoints);
    Decided {
        nodes: NODES.into_iter().map(|node| (node, on(node))).collect(),
        layer2: layer2.map(|case| (case.ranked, case.out)),
        bgp: bgp_case(&inputs, Some(&pool), &service, &endpoints),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    // CLI-17
    #[test]
    fn the_first_one_ranked_is_the_one_that_announces(world in world()) {
        let decided = decided(&world);
        let announcing = decided.nodes.iter().filter(|(_, decision)| decision.layer2.is_ok());
        let announcing: Vec<&str> = announcing.map(|(node, _)| *node).collect();
        let ranked = decided.layer2.as_ref().map(|(ranked, _)| ranked.as_slice()).unwrap_or_default();
        let first: Vec<&str> = ranked.iter().take(1).map(|rank| &*rank.node).collect();
        prop_assert_eq!(announcing, first);
        if world.suspects == 0 {
            let scores = ranked.iter().map(|rank| (&*rank.node, rank.score)).collect();
            let address = [192, 0, 2, world.address].into();
            let sorted = order(ranked.iter().map(|rank| &*rank.node), address, &scores);
            let own: Vec<&str> = ranked.iter().map(|rank| &*rank.node).collect();
            prop_assert_eq!(own, sorted);
        }
    }

    #[test]
    fn a_node_is_ranked_or_out(world in world()) {
        let decided = decided(&world);
        let Ok((ranked, out)) = &decided.layer2 else {
            return Ok(());
        };
        for node in names::<Arc<str>>(!world.unknown) {
            prop_assert!(ranked.iter().any(|rank| rank.node == node) != out.contains_key(&node), "{}", node);
        }
        for (node, why) in out {
            let verdict = decided.nodes[&**node].layer2.as_ref();
            prop_assert!(verdict.is_err(), "{node} is out and announces");
            if let (Out::Excluded(reason), Err(told)) = (why, verdict) {
                prop_assert!([*reason, Reason::NoMatchingAdvertisement].contains(told));
            }
        }
    }

    #[test]
    fn bgp_is_decided_for_all_as_for_each(world in world()) {
        let decided = decided(&world);
        for node in names::<Arc<str>>(!world.unknown) {
            let own = decided.nodes[&*node].bgp.clone();
            let all = decided.bgp.clone().and_then(|all| all[&node].clone());
            prop_assert_eq!(own, all);
        }
    }
}
