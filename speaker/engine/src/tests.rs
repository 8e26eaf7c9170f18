use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Service};
use metallb_announce::{Endpoints, NodeView};
use metallb_config::{Interfaces, Options, Resources, View};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::change::Difference;
use crate::*;

const NODE: &str = "node-a";

fn object<K: DeserializeOwned>(name: &str, spec: &Value) -> K {
    serde_json::from_value(json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "x",
        "metadata": {"name": name, "namespace": "metallb-system"}, "spec": spec,
    }))
    .unwrap()
}

fn resources() -> Resources {
    let node = |name: &str| Node {
        metadata: serde_json::from_value(json!({"name": name})).unwrap(),
        ..Node::default()
    };
    Resources {
        namespace: "metallb-system".into(),
        pools: vec![object("web", &json!({"addresses": ["192.0.2.0/24"]}))],
        l2_advertisements: vec![object("l2", &json!({}))],
        nodes: vec![node(NODE), node("node-b")],
        ..Resources::default()
    }
}

fn with_bgp(mut resources: Resources) -> Resources {
    resources.bgp_advertisements = vec![object("bgp", &json!({}))];
    resources.peers = vec![peer("tor-a", "192.0.2.250"), peer("tor-b", "2001:db8::1")];
    resources
}

fn peer(name: &str, address: &str) -> metallb_api::BGPPeer {
    object(name, &json!({"myASN": 64500, "peerASN": 64501, "peerAddress": address}))
}

fn key(name: &str) -> ServiceKey {
    ServiceKey::new("default", name)
}

fn service(name: &str, ips: &[&str]) -> Event {
    let ingress: Vec<Value> = ips.iter().map(|ip| json!({"ip": ip})).collect();
    changed_service(
        name,
        &json!({
            "metadata": {"labels": {"app": name}},
            "spec": {"type": "LoadBalancer"}, "status": {"loadBalancer": {"ingress": ingress}},
        }),
    )
}

fn changed_service(name: &str, service: &Value) -> Event {
    let service: Service = serde_json::from_value(service.clone()).unwrap();
    Event::Service(
        key(name),
        Some(Arc::new(ServiceFacts {
            view: (&service).into(),
            uid: Some("uid-1".into()),
        })),
    )
}

fn slice(service: &str, node: &str) -> Event {
    let endpoints = Endpoints {
        any: true,
        nodes: [node].into_iter().collect(),
    };
    slice_of(&format!("{service}-x"), service, endpoints)
}

fn slice_of(name: &str, service: &str, endpoints: Endpoints) -> Event {
    let slice = Slice {
        service: service.to_owned(),
        endpoints,
    };
    Event::Slice(key(name), Some(Arc::new(slice)))
}

fn names(of: &[&str]) -> BTreeSet<String> {
    of.iter().map(|name| (*name).to_owned()).collect()
}

/// Interfaces that exist and can be used.
fn interfaces(of: &[&str]) -> Event {
    Event::Interfaces(Links {
        known: names(of),
        usable: names(of),
    })
}

fn engine() -> Engine {
    Engine::new(Settings {
        node: NODE.into(),
        options: Options {
            view: View::Load {
                node: Some(NODE.into()),
            },
            ..Options::default()
        },
        membership: true,
        ..Settings::default()
    })
}

/// An engine with the whole picture and one Service with an endpoint; this node owns it alone.
fn running(resources: Resources) -> (Engine, Vec<Effect>) {
    let mut engine = engine();
    let effects = engine.handle_all([
        service("web", &["192.0.2.1"]),
        slice("web", NODE),
        Event::Node(NODE.into(), Some(NodeView::default())),
        Event::Listed,
        Event::Resources(Box::new(resources)),
        Event::Members(names(&[NODE])),
        interfaces(&["eth0", "eth1"]),
    ]);
    (engine, effects)
}

/// The changes of what is answered for; withdrawn addresses have a minus sign, those that another is waited for a tilde.
fn layer2(effects: &[Effect]) -> Option<Vec<String>> {
    let mut all = Vec::new();
    for effect in effects {
        match effect {
            Effect::Addresses(changes) => {
                all.extend(changes.iter().map(|(ip, interfaces)| signed(ip, interfaces.is_some())));
            }
            Effect::HandOver(addresses) => all.extend(addresses.iter().map(|ip| format!("~{ip}"))),
            _ => {}
        }
    }
    Some(all).filter(|all| !all.is_empty())
}

/// The changes of what is advertised; withdrawn prefixes have a minus sign.
fn prefixes(effects: &[Effect]) -> Option<Vec<String>> {
    effects.iter().find_map(|effect| match effect {
        Effect::Routes(changes) => {
            let text = |change: &RouteChange| signed(&change.prefix, !change.paths.is_empty());
            Some(changes.iter().map(text).collect())
        }
        _ => None,
    })
}

fn signed(key: &impl ToString, announced: bool) -> String {
    let sign = if announced { "" } else { "-" };
    format!("{sign}{}", key.to_string())
}

fn list(items: &[&str]) -> Option<Vec<String>> {
    Some(items.iter().map(|item| (*item).to_owned()).collect())
}

fn notes(effects: &[Effect]) -> Vec<&str> {
    let mut notes = Vec::new();
    for effect in effects {
        if let Effect::Event { note, .. } = effect {
            notes.push(note.as_str());
        }
    }
    notes
}

fn statuses(effects: &[Effect]) -> Vec<(Protocol, Option<StatusContent>)> {
    let status = |effect: &Effect| match effect {
        Effect::Status(_, protocol, content) => Some((*protocol, content.clone())),
        _ => None,
    };
    effects.iter().filter_map(status).collect()
}

fn errors(effects: &[Effect]) -> Option<Vec<String>> {
    effects.iter().rev().find_map(|effect| match effect {
        Effect::Configuration(report) => Some(report.errors.clone()),
        _ => None,
    })
}

const ANNOUNCING: &str = "announcing from node \"node-a\" with protocol \"layer2\"";

mod bgp;
mod configuration;
mod endpoints;
mod ownership;
mod random;

// L2-85, BGP-99
#[test]
fn an_owned_service_is_announced_and_told_once() {
    let (_, effects) = running(resources());
    assert_eq!(layer2(&effects), Some(vec!["192.0.2.1".into()]));
    assert_eq!(notes(&effects), [ANNOUNCING]);
    let moved = |effect: &Effect| matches!(effect, Effect::Moved { .. });
    assert!(!effects.iter().any(moved), "nobody had it before");
    assert_eq!(
        statuses(&effects),
        [(Protocol::Layer2, Some(StatusContent::Interfaces(vec![].into())))]
    );
    assert!(effects.contains(&Effect::Announced(
        key("web").into(),
        Protocol::Layer2,
        vec!["192.0.2.1".parse().unwrap()]
    )));
}

// L2-85
#[test]
fn what_is_seen_again_is_told_to_nobody() {
    let (mut engine, _) = running(with_bgp(resources()));
    let again = [
        service("web", &["192.0.2.1"]),
        slice("web", NODE),
        Event::Resources(Box::new(with_bgp(resources()))),
        Event::Members(names(&[NODE])),
        interfaces(&["eth0"]),
    ];
    for event in again {
        let effects = engine.handle(event);
        let told = |effect: &Effect| !matches!(effect, Effect::Configuration(_) | Effect::Peers(_));
        assert!(!effects.iter().any(told), "{effects:?}");
    }
}

#[test]
fn the_data_plane_comes_before_everything_else() {
    let (_, effects) = running(with_bgp(resources()));
    assert!(matches!(effects[0], Effect::Routes(_)));
    assert!(matches!(effects[1], Effect::Addresses(_)));
}

#[test]
fn an_endpoint_more_changes_nothing_on_the_wire() {
    let (mut engine, _) = running(with_bgp(resources()));
    assert_eq!(engine.handle(slice("web", "node-b")), []);
}

// L2-10, BGP-14
#[test]
fn a_changed_address_replaces_the_old_one_in_one_step() {
    let (mut engine, _) = running(with_bgp(resources()));
    let effects = engine.handle(service("web", &["192.0.2.2"]));
    assert_eq!(layer2(&effects), list(&["-192.0.2.1", "192.0.2.2"]));
    assert_eq!(prefixes(&effects), list(&["-192.0.2.1/32", "192.0.2.2/32"]));
    assert_eq!(notes(&effects).len(), 2);
}

// L2-8, L2-87
#[test]
fn a_service_that_is_no_load_balancer_any_more_is_withdrawn() {
    let (mut engine, _) = running(with_bgp(resources()));
    let effects = engine.handle(changed_service("web", &json!({"spec": {"type": "NodePort"}})));
    assert_eq!(
        (layer2(&effects), prefixes(&effects)),
        (list(&["-192.0.2.1"]), list(&["-192.0.2.1/32"]))
    );
    for protocol in [Protocol::Bgp, Protocol::Layer2] {
        assert!(effects.contains(&Effect::Announced(Arc::new(key("web")), protocol, vec![])));
        assert!(effects.contains(&Effect::Status(Arc::new(key("web")), protocol, None)));
    }
}

// L2-7
#[test]
fn a_service_that_loses_our_class_is_withdrawn() {
    let (mut engine, _) = running(resources());
    let effects = engine.handle(changed_service(
        "web",
        &json!({
            "spec": {"type": "LoadBalancer", "loadBalancerClass": "other"},
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}},
        }),
    ));
    assert_eq!(layer2(&effects), list(&["-192.0.2.1"]));
}

#[test]
fn a_service_that_always_was_of_a_foreign_class_is_not_looked_at() {
    let (mut engine, _) = running(resources());
    let foreign = json!({
        "spec": {"type": "LoadBalancer", "loadBalancerClass": "other"},
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}]}},
    });
    assert_eq!(
        engine.handle_all([changed_service("api", &foreign), slice("api", NODE)]),
        []
    );
    assert!(
        !engine.services[&key("api")].announced.is_judged(),
        "there is no reason why"
    );
}

// L2-82
#[test]
fn a_deleted_service_leaves_nothing_behind() {
    let (mut engine, _) = running(with_bgp(resources()));
    let effects = engine.handle_all([Event::Service(key("web"), None), Event::Slice(key("web-x"), None)]);
    assert_eq!(
        (layer2(&effects), prefixes(&effects)),
        (list(&["-192.0.2.1"]), list(&["-192.0.2.1/32"]))
    );
    assert!(engine.services.is_empty() && engine.slices.is_empty());
}

// L2-13
#[test]
fn the_address_moves_with_the_members() {
    let (mut engine, _) = running(resources());
    let winner = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"]
        .into_iter()
        .find(|ip| {
            engine.handle(service("web", &[ip]));
            let lost = layer2(&engine.handle(Event::Members(names(&[NODE, "node-b"])))).is_some();
            engine.handle(Event::Members(names(&[NODE])));
            lost
        });
    let ip = winner.expect("node-b wins one of five addresses");
    engine.handle_all([service("web", &[ip]), Event::Members(names(&[NODE, "node-b"]))]);
    let effects = engine.handle(Event::Members(names(&[NODE])));
    assert_eq!(layer2(&effects), Some(vec![ip.to_owned()]));
    assert_eq!(notes(&effects), [ANNOUNCING]);
}

// L2-65
#[test]
fn absent_interfaces_are_a_failure_told_once_and_healed_when_they_appear() {
    let mut resources = resources();
    resources.l2_advertisements = vec![object("l2", &json!({"interfaces": ["eth9"]}))];
    let (mut engine, effects) = running(resources);
    assert_eq!(layer2(&effects), None);
    assert_eq!(
        notes(&effects),
        [
            "the interfaces specified by LB IP \"192.0.2.1\" doesn't exist in assigned node \"node-a\" with protocol \"layer2\""
        ]
    );
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Announced(..))));
    assert_eq!(engine.handle(interfaces(&["eth0"])), []);
    let effects = engine.handle(interfaces(&["eth0", "eth9"]));
    assert_eq!(layer2(&effects), Some(vec!["192.0.2.1".into()]));
    assert_eq!(
        statuses(&effects),
        [(
            Protocol::Layer2,
            Some(StatusContent::Interfaces(Arc::new(vec!["eth9".into()])))
        )]
    );
    assert_eq!(layer2(&engine.handle(interfaces(&["eth0"]))), list(&["-192.0.2.1"]));
}

#[test]
fn an_interface_that_is_down_announces_nothing_and_is_no_lack_of_one() {
    for spec in [json!({}), json!({"interfaces": ["eth0"]})] {
        let mut resources = resources();
        resources.l2_advertisements = vec![object("l2", &spec)];
        let (mut engine, effects) = running(resources);
        assert_eq!(layer2(&effects), list(&["192.0.2.1"]));
        let links = Links {
            known: names(&["eth0"]),
            usable: BTreeSet::new(),
        };
        let effects = engine.handle(Event::Interfaces(links));
        assert_eq!(layer2(&effects), list(&["-192.0.2.1"]));
        assert_eq!(statuses(&effects), [(Protocol::Layer2, None)]);
        assert_eq!(notes(&effects), Vec::<&str>::new());
        assert_eq!(layer2(&engine.handle(interfaces(&["eth0"]))), list(&["192.0.2.1"]));
    }
}

// L2-67
#[test]
fn a_shared_address_is_answered_until_its_last_service_goes() {
    let (mut engine, _) = running(resources());
    assert_eq!(
        layer2(&engine.handle_all([service("api", &["192.0.2.1"]), slice("api", NODE)])),
        None
    );
    assert_eq!(layer2(&engine.handle(Event::Service(key("web"), None))), None);
    assert_eq!(
        layer2(&engine.handle(Event::Service(key("api"), None))),
        list(&["-192.0.2.1"])
    );
}

// BGP-15, BGP-16
#[test]
fn an_aggregate_stays_until_its_last_service_goes() {
    let mut resources = with_bgp(resources());
    resources.bgp_advertisements = vec![object("bgp", &json!({"aggregationLength": 24}))];
    let (mut engine, effects) = running(resources);
    assert_eq!(prefixes(&effects), Some(vec!["192.0.2.0/24".into()]));
    assert_eq!(
        prefixes(&engine.handle_all([service("api", &["192.0.2.7"]), slice("api", NODE)])),
        None
    );
    assert_eq!(prefixes(&engine.handle(Event::Service(key("web"), None))), None);
    assert_eq!(
        prefixes(&engine.handle(Event::Service(key("api"), None))),
        list(&["-192.0.2.0/24"])
    );
}

// BGP-7, BGP-8
#[test]
fn node_condition_and_label_withdraw_and_bring_back() {
    let (mut engine, _) = running(with_bgp(resources()));
    let bad = [
        NodeView {
            network_unavailable: true,
            excluded: false,
        },
        NodeView {
            network_unavailable: false,
            excluded: true,
        },
    ];
    for view in bad {
        let effects = engine.handle(Event::Node(NODE.into(), Some(view)));
        assert_eq!(
            (layer2(&effects), prefixes(&effects)),
            (list(&["-192.0.2.1"]), list(&["-192.0.2.1/32"]))
        );
        let effects = engine.handle(Event::Node(NODE.into(), Some(NodeView::default())));
        assert!(layer2(&effects).is_some() && prefixes(&effects).is_some());
    }
}

#[test]
fn a_foreign_claim_is_told_on_the_services_that_have_the_address() {
    let (mut engine, _) = running(resources());
    let claim = |ip: &str| {
        Event::Conflict(Conflict {
            ip: ip.parse().unwrap(),
            interface: "eth0".into(),
            mac: Mac([2, 0, 0, 0, 0, 1]),
            claim: Claim::Confirmed,
        })
    };
    let effects = engine.handle(claim("192.0.2.1"));
    assert_eq!(
        notes(&effects),
        ["another host, 02-00-00-00-00-01, claims 192.0.2.1 on interface eth0 of node \"node-a\""]
    );
    assert_eq!(engine.handle(claim("192.0.2.2")), []);
}

// BGP-28, L2-2
#[test]
fn nothing_is_announced_before_configuration_services_and_slices_are_complete() {
    let mut engine = engine();
    let early = [
        service("web", &["192.0.2.1"]),
        slice("web", NODE),
        Event::Members(names(&[NODE])),
        interfaces(&["eth0"]),
        Event::Resources(Box::new(with_bgp(resources()))),
    ];
    for event in early {
        let effects = engine.handle(event);
        assert_eq!((layer2(&effects), prefixes(&effects)), (None, None));
    }
    let effects = engine.handle(Event::Listed);
    assert!(layer2(&effects).is_some() && prefixes(&effects).is_some());
}

// L2-3
#[test]
fn the_first_good_configuration_has_every_service_announced_once() {
    let mut engine = engine();
    let ips: Vec<String> = (1..=9).map(|last| format!("192.0.2.{last}")).collect();
    let names_and_ips = ips.iter().enumerate().map(|(at, ip)| (format!("web{at}"), ip));
    let mut events: Vec<Event> = names_and_ips
        .flat_map(|(name, ip)| [service(&name, &[ip]), slice(&name, NODE)])
        .collect();
    events.extend([Event::Members(names(&[NODE])), interfaces(&["eth0"]), Event::Listed]);
    assert_eq!(layer2(&engine.handle_all(events)), None);
    let effects = engine.handle(Event::Resources(Box::new(resources())));
    assert_eq!(layer2(&effects), Some(ips));
    assert_eq!(engine.handle(Event::Resources(Box::new(resources()))), []);
}

// L2-36
#[test]
fn layer_2_waits_for_the_membership_and_bgp_does_not() {
    let mut engine = engine();
    let effects = engine.handle_all([
        service("web", &["192.0.2.1"]),
        slice("web", NODE),
        interfaces(&["eth0"]),
        Event::Resources(Box::new(with_bgp(resources()))),
        Event::Listed,
    ]);
    assert_eq!(
        (layer2(&effects), prefixes(&effects)),
        (None, Some(vec!["192.0.2.1/32".into()]))
    );
    let effects = engine.handle(Event::Members(names(&[NODE])));
    assert_eq!(layer2(&effects), Some(vec!["192.0.2.1".into()]));
}

// BGP-60, L2-47
#[test]
fn old_news_have_no_effect() {
    let (mut engine, _) = running(with_bgp(resources()));
    let effects = engine.handle_all([
        service("web", &["192.0.2.1"]),
        slice("web", NODE),
        Event::Node(NODE.into(), Some(NodeView::default())),
        Event::Resources(Box::new(with_bgp(resources()))),
        Event::Members(names(&[NODE])),
        interfaces(&["eth0", "eth1"]),
        Event::Listed,
    ]);
    assert_eq!(effects, []);
}

// BGP-28
#[test]
fn a_service_that_cannot_be_announced_delays_no_other() {
    let mut engine = engine();
    let effects = engine.handle_all([
        changed_service(
            "bad",
            &json!({
                "spec": {"type": "LoadBalancer"}, "status": {"loadBalancer": {"ingress": [{"hostname": "x"}]}},
            }),
        ),
        service("foreign", &["203.0.113.1"]),
        service("web", &["192.0.2.1"]),
        slice("web", NODE),
        Event::Listed,
        Event::Members(names(&[NODE])),
        interfaces(&["eth0"]),
        Event::Resources(Box::new(resources())),
    ]);
    assert_eq!(layer2(&effects), Some(vec!["192.0.2.1".into()]));
}

// L2-74
#[test]
fn who_stands_in_announces_when_the_owner_is_suspected_and_withdraws_when_it_is_not() {
    let (mut engine, _) = running(resources());
    engine.handle(service("web", &["192.0.2.2"]));
    let effects = engine.handle(Event::Members(names(&[NODE, "node-b"])));
    assert_eq!(layer2(&effects), list(&["~192.0.2.2"]), "node-b is first");
    assert_eq!(engine.changed_partners(), Some(names(&["node-b"])));
    assert_eq!(engine.address_of("node-b"), Some("192.0.2.2".parse().unwrap()));
    let effects = engine.handle(Event::Suspects(names(&["node-b"])));
    assert_eq!(layer2(&effects), list(&["192.0.2.2"]));
    let moved = Effect::Moved {
        service: key("web").into(),
        from: "node-b".into(),
        addresses: vec!["192.0.2.2".parse().unwrap()],
    };
    assert!(effects.contains(&moved), "{effects:?}");
    assert_eq!(engine.changed_partners(), None, "node-b stands in for this one now");
    assert_eq!(engine.address_of("node-b"), None);
    let effects = engine.handle(Event::Suspects(names(&[])));
    assert_eq!(layer2(&effects), list(&["~192.0.2.2"]));
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Moved { .. })));
}

#[test]
fn who_is_suspected_itself_gives_way_unless_it_is_alone() {
    let (mut engine, _) = running(resources());
    assert_eq!(
        layer2(&engine.handle(Event::Suspects(names(&[NODE])))),
        None,
        "there is nobody else"
    );
    let effects = engine.handle(Event::Members(names(&[NODE, "node-b"])));
    assert_eq!(layer2(&effects), list(&["-192.0.2.1"]));
    let effects = engine.handle(Event::Suspects(names(&[])));
    assert_eq!(layer2(&effects), list(&["192.0.2.1"]));
}
