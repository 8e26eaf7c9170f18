//! Random histories: what incremental judging amounts to is what judging everything anew amounts to.

use std::collections::BTreeMap;

use ipnet::IpNet;
use metallb_announce::Path;
use proptest::prelude::*;

use super::*;

const NODES: [&str; 5] = [NODE, "node-b", "node-c", "node-d", "node-e"];

/// What the data plane and the status objects have been told.
#[derive(Debug, Default, PartialEq)]
struct Told {
    addresses: BTreeMap<IpAddr, Interfaces>,
    routes: BTreeMap<IpNet, Vec<Arc<Path>>>,
    announced: BTreeMap<(String, Protocol), Vec<IpAddr>>,
    statuses: BTreeMap<(String, Protocol), StatusContent>,
}

impl Told {
    fn apply(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Addresses(changes) => {
                    for (ip, interfaces) in changes {
                        put(&mut self.addresses, ip, interfaces);
                    }
                }
                Effect::HandOver(addresses) => {
                    for ip in addresses {
                        assert!(self.addresses.remove(&ip).is_some(), "{ip} was not announced");
                    }
                }
                Effect::Routes(changes) => {
                    for change in changes {
                        let paths = Some(change.paths).filter(|paths| !paths.is_empty());
                        put(&mut self.routes, change.prefix, paths);
                    }
                }
                Effect::Announced(key, protocol, addresses) => {
                    let addresses = Some(addresses).filter(|addresses| !addresses.is_empty());
                    put(&mut self.announced, (key.to_string(), protocol), addresses);
                }
                Effect::Status(key, protocol, content) => {
                    put(&mut self.statuses, (key.to_string(), protocol), content);
                }
                _ => {}
            }
        }
    }
}

fn put<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => drop(map.insert(key, value)),
        None => drop(map.remove(&key)),
    }
}

/// The last event of each subject, which is all that a newcomer has to be told.
#[derive(Default)]
struct Present(BTreeMap<String, Event>);

impl Present {
    fn note(&mut self, event: &Event) {
        let subject = match event {
            Event::Service(key, _) => format!("1 service {key}"),
            Event::Slice(key, _) => format!("1 slice {key}"),
            Event::Node(name, _) => format!("1 node {name}"),
            Event::Resources(_) => "2 resources".to_owned(),
            Event::Members(_) => "3 members".to_owned(),
            Event::Said(_) => "3 said".to_owned(),
            Event::Owners(key, _) => format!("4 owners {key}"),
            Event::OwnersListed => "4 owners".to_owned(),
            Event::ClaimsEnded(_) => "7 ended".to_owned(),
            Event::Suspects(_) => "3 suspects".to_owned(),
            Event::Unaware(_) => "4 unaware".to_owned(),
            Event::Interfaces(_) => "4 interfaces".to_owned(),
            Event::Conflict(_) => "6 conflict".to_owned(),
            Event::Uncarried(_) => "5 uncarried".to_owned(),
            Event::Listed => "9 listed".to_owned(),
        };
        self.0.insert(subject, event.clone());
    }
}

fn some_nodes() -> impl Strategy<Value = Vec<&'static str>> {
    prop::sample::subsequence(NODES.to_vec(), 0..=NODES.len())
}

fn some_service() -> impl Strategy<Value = Event> {
    let name = prop::sample::select(vec!["a", "b", "c", "d"]);
    let ips = prop::sample::subsequence(
        vec!["192.0.2.1", "192.0.2.2", "192.0.2.3", "198.51.100.1", "2001:db8::1"],
        0..3,
    );
    (name, ips, any::<bool>(), 0..16u8).prop_map(|(name, ips, local, odd)| {
        let ingress: Vec<Value> = ips.iter().map(|ip| json!({"ip": ip})).collect();
        let policy = if local { "Local" } else { "Cluster" };
        let kind = if odd == 0 { "ClusterIP" } else { "LoadBalancer" };
        let class = (odd == 1).then_some("foreign");
        let annotations = if odd < 8 {
            json!({"metallb.io/allow-shared-ip": "x"})
        } else {
            json!({})
        };
        match odd {
            2 => Event::Service(key(name), None),
            _ => changed_service(
                name,
                &json!({
                    "metadata": {"labels": {"app": name}, "annotations": annotations},
                    "spec": {"type": kind, "externalTrafficPolicy": policy, "loadBalancerClass": class},
                    "status": {"loadBalancer": {"ingress": ingress}},
                }),
            ),
        }
    })
}

fn some_slice() -> impl Strategy<Value = Event> {
    let name = prop::sample::select(vec!["x", "y", "z"]);
    let service = prop::sample::select(vec!["a", "b", "c", "d"]);
    (name, service, some_nodes(), 0..12u8).prop_map(|(name, service, nodes, gone)| {
        let endpoints = Endpoints {
            any: !nodes.is_empty(),
            nodes: nodes.iter().copied().collect(),
        };
        match gone {
            0 => Event::Slice(key(name), None),
            _ => slice_of(name, service, endpoints),
        }
    })
}

/// Pools come and go, and are announced from, and preferred on, these nodes and those.
fn some_resources() -> impl Strategy<Value = Event> {
    let ad = (some_nodes(), some_nodes(), any::<bool>());
    (ad, some_nodes(), any::<bool>(), 0..4u8).prop_map(|((l2, preferred, narrow), known, second, variant)| {
        let hosts = |names: &[&str]| -> Value {
            json!([{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": names}]}])
        };
        let node = |name: &&str| Node {
            metadata: serde_json::from_value(json!({"name": name, "labels": {"kubernetes.io/hostname": name}}))
                .unwrap(),
            ..Node::default()
        };
        let mut all = with_bgp(resources());
        all.nodes = known.iter().chain([&NODE]).map(node).collect();
        all.nodes.dedup_by_key(|node| node.metadata.name.clone());
        let mut spec = json!({});
        if !l2.is_empty() {
            spec["nodeSelectors"] = hosts(&l2);
        }
        if !preferred.is_empty() {
            let preference = json!({"weight": 10, "preference": hosts(&preferred)[0]});
            spec["preferredNodeSelectors"] = json!([preference]);
        }
        if narrow {
            spec["interfaces"] = json!(["eth1"]);
        }
        all.l2_advertisements = vec![object("l2", &spec)];
        if second {
            all.pools.push(object(
                "more",
                &json!({"addresses": ["198.51.100.0/24", "2001:db8::/64"]}),
            ));
        }
        match variant {
            0 => all.bgp_advertisements[0].spec.local_pref = Some(7),
            1 if !l2.is_empty() => all.bgp_advertisements = vec![object("bgp", &json!({"nodeSelectors": hosts(&l2)}))],
            _ => {}
        }
        Event::Resources(Box::new(all))
    })
}

/// Most often all have one setting, and one or two have something to say that counts: so that what changes from one event
/// to the next are single nodes.
fn some_said() -> impl Strategy<Value = Event> {
    let usual = Member {
        failback: Failback::Delayed,
        ..ownership::member("x", &["eth0", "eth1"])
    };
    let member = (some_interfaces(), any::<[bool; 2]>(), 0..12u8).prop_map(|(interfaces, flags, odd)| Member {
        newcomer: flags[0],
        more: odd == 0,
        failback: if odd == 1 {
            Failback::Immediate
        } else {
            Failback::Delayed
        },
        ..ownership::member("x", &interfaces)
    });
    let said = prop_oneof![1 => Just(None), 8 => member.prop_map(Some), 31 => Just(Some(usual))];
    let failback =
        prop_oneof![1 => Just(Failback::Immediate), 3 => Just(Failback::Delayed), 3 => Just(Failback::Never)];
    (prop::collection::vec(said, NODES.len()), failback).prop_map(|(members, failback)| {
        let named = NODES.iter().zip(members).map(|(name, mut member)| {
            if let Some(member) = member.as_mut().filter(|member| member.failback == Failback::Delayed) {
                member.failback = failback;
            }
            ((*name).to_owned(), member)
        });
        Event::Said(named.collect())
    })
}

fn some_interfaces() -> impl Strategy<Value = Vec<&'static str>> {
    prop::sample::subsequence(vec!["eth0", "eth1"], 0..=2)
}

fn some_owners() -> impl Strategy<Value = Event> {
    let name = prop::sample::select(vec!["a", "b", "c", "d"]);
    let owners = prop::sample::subsequence(NODES.to_vec(), 0..=2);
    (name, owners).prop_map(|(name, owners)| Event::Owners(key(name), names(&owners)))
}

fn some_event() -> impl Strategy<Value = Event> {
    let node = prop::sample::select(NODES.to_vec());
    let view = prop::option::of((any::<bool>(), any::<bool>()));
    prop_oneof![
        4 => some_service(),
        3 => some_slice(),
        2 => some_resources(),
        3 => some_nodes().prop_map(|nodes| Event::Members(names(&nodes))),
        3 => some_nodes().prop_map(|nodes| Event::Suspects(names(&nodes))),
        1 => some_nodes().prop_map(|nodes| Event::Unaware(names(&nodes))),
        2 => (node, view).prop_map(|(name, view)| {
            let view = view.map(|(network_unavailable, excluded)| NodeView { network_unavailable, excluded });
            Event::Node(name.to_owned(), view)
        }),
        3 => some_said(),
        2 => some_owners(),
        1 => some_interfaces().prop_map(|links| interfaces(&links)),
        1 => any::<bool>().prop_map(|ipv4| {
            Event::Uncarried([("tor-a".to_owned(), Families { ipv4, ipv6: false })].into())
        }),
    ]
}

fn fresh(membership: bool) -> Engine {
    let mut settings = engine().settings;
    settings.membership = membership;
    Engine::new(settings)
}

proptest! {
    /// An engine that saw everything happen has told the same as one that is told the present, unless pools vanished
    /// under Services meanwhile, which only the first one knows.
    #[test]
    fn a_history_amounts_to_its_present(
        batches in prop::collection::vec(prop::collection::vec(some_event(), 1..4), 1..25),
        membership in any::<bool>(),
    ) {
        let (mut engine, mut told, mut present) = (fresh(membership), Told::default(), Present::default());
        let start = vec![
            Event::Resources(Box::new(with_bgp(resources()))),
            Event::Members(names(&[NODE])),
            interfaces(&["eth0", "eth1"]),
            service("a", &["192.0.2.1"]),
            service("b", &["192.0.2.2"]),
            service("c", &["192.0.2.3"]),
            slice("a", NODE),
            slice("b", "node-b"),
            slice("c", "node-c"),
            Event::Listed,
        ];
        for batch in [start].into_iter().chain(batches) {
            batch.iter().for_each(|event| present.note(event));
            told.apply(engine.handle_all(batch));
        }
        let mut anew = fresh(membership);
        anew.kept.clone_from(&engine.kept);
        let mut expected = Told::default();
        expected.apply(anew.handle_all(present.0.into_values()));
        prop_assert_eq!(told, expected);
        prop_assert_eq!(engine.changed_partners().unwrap_or_default(), anew.changed_partners().unwrap_or_default());
    }

    /// One member after the other says something else, and that is all that happens.
    #[test]
    fn what_a_member_says_is_judged_for_all_services_that_it_concerns(
        steps in prop::collection::vec((0..NODES.len(), some_interfaces(), any::<bool>()), 1..6),
    ) {
        let mut said: BTreeMap<String, Option<Member>> = NODES.iter().map(|name| ((*name).to_owned(), None)).collect();
        let mut all = resources();
        all.nodes.clear();
        for name in NODES {
            let metadata = serde_json::from_value(json!({"name": name})).unwrap();
            all.nodes.push(Node { metadata, ..Node::default() });
            said.insert(name.to_owned(), Some(ownership::member("x", &["eth0", "eth1"])));
        }
        all.l2_advertisements = vec![object("l2", &json!({"interfaces": ["eth1"]}))];
        let mut start = vec![
            Event::Resources(Box::new(all)),
            Event::Members(names(&NODES)),
            interfaces(&["eth0", "eth1"]),
            Event::Listed,
        ];
        for number in 1..16 {
            let name = format!("s{number}");
            start.extend([service(&name, &[&format!("192.0.2.{number}")]), slice(&name, NODE)]);
        }
        let (mut engine, mut told) = (fresh(true), Told::default());
        told.apply(engine.handle_all(start.clone()));
        for (node, interfaces, newcomer) in steps {
            let delayed = |member: Member| Member { failback: Failback::Delayed, ..member };
            let now = Member { newcomer, ..ownership::member("x", &interfaces) };
            said.insert(NODES[node].to_owned(), Some(now));
            let said: BTreeMap<_, _> = said.iter().map(|(name, member)| (name.clone(), member.clone().map(delayed))).collect();
            told.apply(engine.handle(Event::Said(said.clone())));
            let mut expected = Told::default();
            expected.apply(fresh(true).handle_all(start.iter().cloned().chain([Event::Said(said)])));
            prop_assert_eq!(&told, &expected);
        }
    }

    /// Whoever is suspected, by all, and whatever the members say, a Service has exactly one owner if it has a candidate at
    /// all. If there is another, the owner is no suspect and has an interface.
    #[test]
    fn there_is_one_owner(
        members in some_nodes(),
        suspects in some_nodes(),
        said in some_said(),
        owned in some_owners(),
        narrow in any::<bool>(),
        local in some_nodes(),
        policy in any::<bool>(),
    ) {
        let policy = if policy { "Local" } else { "Cluster" };
        let service = changed_service("a", &json!({
            "spec": {"type": "LoadBalancer", "externalTrafficPolicy": policy},
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}},
        }));
        let endpoints = Endpoints { any: true, nodes: local.iter().copied().collect() };
        let all = Resources { nodes: Vec::new(), ..resources() };
        let node = |name: &str| Node {
            metadata: serde_json::from_value(json!({"name": name})).unwrap(),
            ..Node::default()
        };
        let all = Resources { nodes: NODES.iter().map(|name| node(name)).collect(), ..all };
        let mut all = all;
        if narrow {
            all.l2_advertisements = vec![object("l2", &json!({"interfaces": ["eth1"]}))];
        }
        let mut owners = Vec::new();
        for name in &members {
            let mut settings = fresh(true).settings;
            (settings.node, settings.options.view) = ((*name).into(), View::Load { node: Some((*name).into()) });
            let mut engine = Engine::new(settings);
            let mut told = Told::default();
            told.apply(engine.handle_all([
                Event::Resources(Box::new(all.clone())),
                Event::Members(names(&members)),
                said.clone(),
                owned.clone(),
                interfaces(&["eth0", "eth1"]),
                service.clone(),
                slice_of("x", "a", endpoints.clone()),
                Event::Listed,
            ]));
            told.apply(engine.handle(Event::Suspects(names(&suspects))));
            if !told.addresses.is_empty() {
                owners.push(*name);
            }
        }
        let candidates: Vec<&str> = members.iter().copied().filter(|name| policy == "Cluster" || local.contains(name)).collect();
        prop_assert_eq!(owners.len(), usize::from(!candidates.is_empty()), "{:?}", owners);
        let Event::Said(said) = said else { unreachable!() };
        let reaches = |member: &Member| {
            member.more || if narrow { member.interfaces.contains_key("eth1") } else { !member.interfaces.is_empty() }
        };
        let complete = members.iter().all(|name| said[*name].is_some());
        let able = |name: &str| !complete || said[name].as_ref().is_some_and(reaches);
        let fit = |name: &&str| (!able(name), suspects.contains(name));
        let best = candidates.iter().map(fit).min();
        prop_assert_eq!(owners.first().map(fit), best);
    }
}
