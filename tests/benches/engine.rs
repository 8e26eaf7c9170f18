//! What it costs this node to decide, with 10 000 Services and 100 nodes.
//!
//! `cargo bench -p metallb-engine --bench engine`; medians of CPU time.

use std::collections::BTreeSet;
use std::hint::black_box;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use metallb_announce::{Endpoints, NodeView, ServiceView};
use metallb_config::{Options, Resources, View};
use metallb_engine::{Engine, Event, Links, ServiceFacts, ServiceKey, Settings, Slice};
use nix::time::{ClockId, clock_gettime};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const NODES: usize = 100;
const SERVICES: u32 = 10_000;

/// What is measured, and how many milliseconds it may take where that was decided.
const ROWS: [(&str, Option<u32>); 6] = [
    ("first decisions", None),
    ("one Service more", None),
    ("old news", None),
    ("a member goes", Some(20)),
    ("a member comes", Some(20)),
    ("a Node more in all advertisements", Some(20)),
];

fn object<K: DeserializeOwned>(name: &str, spec: &Value) -> K {
    let object = json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "x", "metadata": {"name": name, "namespace": "m"}, "spec": spec,
    });
    serde_json::from_value(object).expect("an object of the kind")
}

fn node(index: usize) -> String {
    format!("node-{index}")
}

fn resources(nodes: usize) -> Resources {
    let labelled = |index: usize| Node {
        metadata: serde_json::from_value(json!({"name": node(index)})).expect("metadata"),
        ..Node::default()
    };
    Resources {
        namespace: "m".into(),
        pools: vec![object("pool", &json!({"addresses": ["10.0.0.0/16"]}))],
        l2_advertisements: vec![object("l2", &json!({}))],
        bgp_advertisements: vec![object("bgp", &json!({}))],
        peers: vec![object(
            "tor",
            &json!({"myASN": 1, "peerASN": 2, "peerAddress": "192.0.2.1"}),
        )],
        nodes: (0..nodes).map(labelled).collect(),
        ..Resources::default()
    }
}

fn key(index: u32) -> ServiceKey {
    ServiceKey::new("default", &format!("service-{index}"))
}

fn service(index: u32) -> [Event; 2] {
    let facts = ServiceFacts {
        view: ServiceView {
            load_balancer: true,
            ingress: vec![Some(Ipv4Addr::from_bits(0x0a00_0000 + index).into())],
            ..ServiceView::default()
        },
        uid: None,
    };
    let slice = Slice {
        service: key(index).name,
        endpoints: Endpoints {
            any: true,
            nodes: [node(0)].into_iter().collect(),
        },
    };
    [
        Event::Service(key(index), Some(Arc::new(facts))),
        Event::Slice(key(index), Some(Arc::new(slice))),
    ]
}

fn members(count: usize) -> Event {
    Event::Members((0..count).map(node).collect::<BTreeSet<_>>())
}

fn present() -> Vec<Event> {
    let services = (0..SERVICES).flat_map(service);
    let nodes = (0..NODES).map(|index| Event::Node(node(index), Some(NodeView::default())));
    let rest = [
        Event::Listed,
        Event::Resources(Box::new(resources(NODES))),
        members(NODES),
        Event::Interfaces(Links {
            known: ["eth0".to_owned()].into(),
            usable: ["eth0".to_owned()].into(),
        }),
    ];
    services.chain(nodes).chain(rest).collect()
}

fn engine() -> Engine {
    Engine::new(Settings {
        node: node(0),
        membership: true,
        options: Options {
            view: View::Load { node: Some(node(0)) },
            ..Options::default()
        },
        ..Settings::default()
    })
}

/// CPU time of this thread, which others on the machine do not lengthen.
fn cpu() -> Duration {
    let clock = ClockId::CLOCK_THREAD_CPUTIME_ID;
    clock_gettime(clock).expect("Linux has this clock").into()
}

fn timed(engine: &mut Engine, events: Vec<Event>) -> Duration {
    let start = cpu();
    black_box(engine.handle_all(events));
    cpu() - start
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn main() {
    let mut engine = engine();
    let mut row = 0;
    let mut print = |time: Duration| {
        let ((name, limit), now) = (ROWS[row], time.as_secs_f64() * 1e3);
        let limit = limit.map_or_else(String::new, |limit| {
            format!("   {:>4.2} of {limit} ms", now / f64::from(limit))
        });
        println!("{name:<35} {now:>10.3} ms{limit}");
        row += 1;
    };
    print(timed(&mut engine, present()));
    let more = |engine: &mut Engine, n| timed(engine, service(SERVICES + n).into());
    print(median((0..200).map(|n| more(&mut engine, n)).collect()));
    print(median(
        (0..200).map(|n| timed(&mut engine, service(n).into())).collect(),
    ));
    let (mut goes, mut comes) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        goes.push(timed(&mut engine, vec![members(NODES - 1)]));
        comes.push(timed(&mut engine, vec![members(NODES)]));
    }
    print(median(goes));
    print(median(comes));
    let more = |engine: &mut Engine, n| timed(engine, vec![Event::Resources(Box::new(resources(NODES + n)))]);
    print(median((1..10).map(|n| more(&mut engine, n)).collect()));
}
