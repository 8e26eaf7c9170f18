use std::fmt::Write as _;

use metallb_announce::{Endpoints, layer2_case};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::args::{Args, Command};
use crate::explain::announcers::{Slices, serving};
use crate::input::files::Text;

/// What a random cluster is made of; numbers are taken modulo what there is.
#[derive(Clone, Debug)]
struct Cluster {
    /// Last octets where each pool begins and ends, and its priority.
    pools: Vec<(u8, u8, u8)>,
    /// What each Service has, if anything; whether it is local.
    services: Vec<(Option<u8>, bool)>,
    /// Nodes by rack, and whether they are excluded.
    nodes: Vec<(u8, bool)>,
    /// For each advertisement: pool, rack, peer, all of them none if zero, and its aggregation length.
    ads: Vec<(u8, u8, u8, bool)>,
    /// Racks of peers, and whether they carry both families.
    peers: Vec<(u8, bool)>,
}

fn cluster() -> impl Strategy<Value = Cluster> {
    let small = 0u8..4;
    (
        prop::collection::vec((0u8..24, 0u8..8, small.clone()), 1..4),
        prop::collection::vec((prop::option::of(0u8..32), any::<bool>()), 0..8),
        prop::collection::vec((1u8..3, prop::bool::weighted(0.2)), 1..4),
        prop::collection::vec((small.clone(), 0u8..3, small.clone(), any::<bool>()), 0..4),
        prop::collection::vec((0u8..3, any::<bool>()), 0..3),
    )
        .prop_map(|(pools, services, nodes, ads, peers)| Cluster {
            pools,
            services,
            nodes,
            ads,
            peers,
        })
}

fn racks(rack: u8) -> Value {
    match rack {
        0 => json!([]),
        rack => json!([{ "matchLabels": { "rack": format!("r{rack}") } }]),
    }
}

impl Cluster {
    fn objects(&self) -> Vec<Value> {
        let ours = |kind: &str, name: String, spec: Value| {
            let version = if kind == "BGPPeer" { "v1beta2" } else { "v1beta1" };
            json!({ "apiVersion": format!("metallb.io/{version}"), "kind": kind,
                "metadata": { "name": name, "namespace": "metallb-system" }, "spec": spec })
        };
        let mut all = vec![json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "shop" } })];
        for (n, (rack, excluded)) in self.nodes.iter().enumerate() {
            let mut labels = json!({ "rack": format!("r{rack}") });
            if *excluded {
                labels["node.kubernetes.io/exclude-from-external-load-balancers"] = "".into();
            }
            all.push(json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": format!("n{n}"), "labels": labels } }));
            let slice = json!({ "name": format!("x{n}"), "namespace": "shop", "labels": { "kubernetes.io/service-name": format!("s{n}") } });
            let endpoint = json!({ "addresses": ["10.0.0.1"], "nodeName": format!("n{n}") });
            all.push(
                json!({ "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": slice,
                "addressType": "IPv4", "endpoints": [endpoint] }),
            );
        }
        for (n, (from, more, priority)) in self.pools.iter().enumerate() {
            let spec = json!({ "addresses": [format!("192.0.2.{from}-192.0.2.{}", from + more)],
                "serviceAllocation": { "priority": priority } });
            all.push(ours("IPAddressPool", format!("p{n}"), spec));
        }
        for (n, (pool, rack, peer, wide)) in self.ads.iter().enumerate() {
            let pools = if *pool == 0 {
                json!([])
            } else {
                json!([format!("p{}", pool - 1)])
            };
            let mut spec = json!({ "ipAddressPools": pools, "nodeSelectors": racks(*rack) });
            all.push(ours("L2Advertisement", format!("l{n}"), spec.clone()));
            spec["peers"] = if *peer == 0 {
                json!([])
            } else {
                json!([format!("t{}", peer - 1)])
            };
            spec["aggregationLength"] = if *wide { 30.into() } else { 32.into() };
            all.push(ours("BGPAdvertisement", format!("b{n}"), spec));
        }
        for (n, (rack, both)) in self.peers.iter().enumerate() {
            let spec = json!({ "myASN": 64500, "peerASN": 64501, "peerAddress": format!("198.51.100.{}", n + 1),
                "nodeSelectors": racks(*rack), "dualStackAddressFamily": both });
            all.push(ours("BGPPeer", format!("t{n}"), spec));
        }
        for (n, (ip, local)) in self.services.iter().enumerate() {
            let ingress: Vec<_> = ip.iter().map(|ip| json!({ "ip": format!("192.0.2.{ip}") })).collect();
            let policy = if *local { "Local" } else { "Cluster" };
            all.push(json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": format!("s{n}"), "namespace": "shop" },
                "spec": { "type": "LoadBalancer", "clusterIPs": ["10.96.0.1"], "ports": [{ "port": 80 }], "externalTrafficPolicy": policy },
                "status": { "loadBalancer": { "ingress": ingress } } }));
        }
        all
    }
}

fn text(objects: &[Value]) -> Text {
    let mut text = String::new();
    objects
        .iter()
        .for_each(|object| writeln!(text, "---\n{object}").unwrap());
    Text {
        name: "test".to_owned(),
        text,
    }
}

fn facts(objects: &[Value]) -> Facts {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("all.json");
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
    std::fs::write(&path, list.to_string()).unwrap();
    let from = format!("--from={}", path.display());
    let args = <Args as clap::Parser>::try_parse_from(["kubectl-metallb", "version", &from]).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(input::read(&args.global, Wanted::Everything)).unwrap()
}

fn planned(before: &[Value], change: &[Value]) -> Report<Body> {
    let args = <Args as clap::Parser>::try_parse_from(["kubectl-metallb", "plan", "x"]).unwrap();
    let Command::Plan(asked) = &args.command else {
        panic!("{args:?}")
    };
    report(&facts(before), &args.global, asked, &[text(change)]).unwrap()
}

fn world(facts: &Facts) -> World {
    let args = <Args as clap::Parser>::try_parse_from(["kubectl-metallb", "version"]).unwrap();
    World::new(facts, &args.global).unwrap()
}

/// What each node tells each peer, and who answers for each Service, told one by one.
type Told = (
    BTreeMap<(String, String), BTreeSet<String>>,
    BTreeMap<String, Option<String>>,
);

fn told(facts: &Facts, world: &World) -> Told {
    let (mut routes, mut owners) = (BTreeMap::new(), BTreeMap::new());
    for (peer, node) in world
        .parsed
        .config
        .peers
        .values()
        .flat_map(|peer| peer.nodes.iter().map(move |node| (peer, node)))
    {
        routes.insert((node.clone(), peer.name.clone()), BTreeSet::new());
    }
    for service in facts.services.list() {
        let view = ServiceView::from(service);
        let pool = view.addresses().and_then(|ips| world.parsed.config.pool_holding(&ips));
        let own = |slice: &&k8s_openapi::api::discovery::v1::EndpointSlice| {
            slice.labels().get("kubernetes.io/service-name") == service.metadata.name.as_ref()
        };
        let endpoints: Endpoints = serving(facts.slices.list().iter().filter(own));
        let inputs = world.inputs();
        let owner = layer2_case(&inputs, pool, &view, &endpoints).ok();
        let owner = owner.and_then(|case| Some(case.ranked.first()?.node.to_string()));
        owners.insert(service.name_any(), owner);
        for (node, own) in metallb_announce::bgp_case(&inputs, pool, &view, &endpoints)
            .into_iter()
            .flatten()
        {
            for route in own.into_iter().flatten() {
                for peer in world.parsed.config.peers.values() {
                    let meant = route.path.peers.is_empty() || route.path.peers.contains(&peer.name);
                    if let Some(all) = routes.get_mut(&(node.to_string(), peer.name.clone()))
                        && meant
                        && peer.exchanges(route.prefix.addr().is_ipv4())
                    {
                        all.insert(route.prefix.to_string());
                    }
                }
            }
        }
    }
    (routes, owners)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_of_nothing_is_nothing(cluster in cluster()) {
        // What admission refuses now cannot be in a cluster that it guards.
        let all = cluster.objects();
        let report = planned(&all, &all);
        let plan = &report.body.plan;
        prop_assert!(plan.objects.is_empty() && plan.addresses.is_empty() && plan.interrupted.is_empty());
        prop_assert!(plan.owners.as_ref().unwrap().is_empty());
        prop_assert!(plan.routes.as_ref().unwrap().is_empty());
        prop_assert!(plan.sessions.as_ref().unwrap().is_empty());
        prop_assert_eq!(report.judged(FailOn::Warning).exit_code, 0);
    }

    #[test]
    fn what_is_not_judged_again_is_as_it_was(before in cluster(), after in cluster(), same in any::<[bool; 5]>()) {
        let mut after = after;
        let [pools, services, nodes, ads, peers] = same;
        if pools { after.pools.clone_from(&before.pools); }
        if services { after.services.clone_from(&before.services); }
        if nodes { after.nodes.clone_from(&before.nodes); }
        if ads { after.ads.clone_from(&before.ads); }
        if peers { after.peers.clone_from(&before.peers); }
        // Endpoints stay as they are.
        let [before, mut after] = [before, after].map(|cluster| facts(&cluster.objects()));
        after.slices = before.slices.clone();
        let old = before.services.list();
        after.services = crate::facts::Read::Got(after.services.list().iter().filter(|own| old.iter().any(|old| old.name_any() == own.name_any())).cloned().collect());
        let worlds = [world(&before), world(&after)];
        let services = [&before, &after].map(|facts| {
            let all = facts.services.list().iter();
            all.map(|own| (Key::of(own), Arc::new(own.clone()))).collect::<BTreeMap<_, _>>()
        });
        let sides = [0, 1].map(|at| Side { world: &worlds[at], services: &services[at] });
        let found = announce::compare(&sides[0], &sides[1], &Slices::new(&before));
        let [(old_routes, old_owners), (new_routes, new_owners)] = [told(&before, &worlds[0]), told(&after, &worlds[1])];
        let mut rows: BTreeMap<(String, String), [BTreeSet<String>; 2]> = BTreeMap::new();
        for row in &found.routes {
            for node in &row.nodes {
                for peer in &row.peers {
                    let both = rows.entry((node.clone(), peer.clone())).or_default();
                    both[0].extend(row.add.iter().cloned());
                    both[1].extend(row.remove.iter().cloned());
                }
            }
        }
        for (place, old) in &old_routes {
            let Some(new) = new_routes.get(place) else { continue };
            let wanted = [new - old, old - new];
            prop_assert_eq!(rows.remove(place).unwrap_or_default(), wanted, "{:?}", place);
        }
        prop_assert!(rows.is_empty(), "{:?}", rows);
        for name in old_owners.keys().chain(new_owners.keys()) {
            let row = found.owners.iter().find(|row| row.service == format!("shop/{name}"));
            let [old, new] = [&old_owners, &new_owners].map(|owners| owners.get(name).cloned().flatten());
            match row {
                Some(row) => prop_assert_eq!((&row.before, &row.after), (&old, &new)),
                None => prop_assert_eq!(old, new, "{}", name),
            }
        }
    }
}

/// A bound against a mistake of order, generous for builds without optimization.
#[test]
fn a_plan_for_five_thousand_services_on_three_hundred_nodes_is_made_in_seconds() {
    let mut all = Cluster {
        pools: Vec::new(),
        services: Vec::new(),
        nodes: vec![(1, false); 300],
        ads: vec![(0, 0, 0, false)],
        peers: vec![(0, true); 20],
    }
    .objects();
    let pool = |range: &str| {
        json!({ "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
            "metadata": { "name": "all", "namespace": "metallb-system" }, "spec": { "addresses": [range] } })
    };
    all.push(pool("10.0.0.0/16"));
    all.extend((0..5000).map(|n| {
        let ip = format!("10.0.{}.{}", n / 256, n % 256);
        json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": format!("t{n}"), "namespace": "shop" },
            "spec": { "type": "LoadBalancer", "clusterIPs": ["10.96.0.1"], "ports": [{ "port": 80 }] },
            "status": { "loadBalancer": { "ingress": [{ "ip": ip }] } } })
    }));
    let begun = std::time::Instant::now();
    let report = planned(&all, &[pool("10.0.1.0-10.0.255.255")]);
    assert!(begun.elapsed().as_secs() < 120, "{:?}", begun.elapsed());
    assert_eq!(report.body.plan.addresses.len(), 256);
    assert_eq!(report.body.plan.kept, 5000 - 256);
}
