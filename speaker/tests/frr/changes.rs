//! What many changes, and the change from one back-end to another, cost at the router.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::Secret;
use kube::api::DeleteParams;
use metallb_api::{BFDProfile, BGPPeer, IPAddressPool, L2Advertisement};
use metallb_test_runner::in_namespace;
use serde_json::json;

use crate::{
    daemons::eventually,
    node::{Node, make},
    whole::{connections, gone, settled},
};

const TABLE: &str = "show bgp ipv4 unicast";
/// Services beside which others come and go; `FRR_SERVICES=1000` for as many as there may be, which takes minutes.
const SERVICES: u32 = 200;
const CYCLES: u32 = 100;

fn services() -> u32 {
    std::env::var("FRR_SERVICES").map_or(SERVICES, |text| text.parse().unwrap())
}

fn address(n: u32) -> String {
    format!("10.64.{}.{}", n / 250, n % 250)
}

/// How often BGP and BFD came up and went down, as the router says.
fn lives(node: &Node) -> String {
    let counters = node.router.vtysh("show bfd peers counters");
    let downs = counters.lines().filter(|line| line.contains("Session down events"));
    connections(node) + &downs.collect::<String>()
}

/// Services come and go beside many others, and what concerns no peer changes; no session notices.
async fn churn(node: &Node) {
    let spec = json!({ "addresses": ["10.64.0.0/15"] });
    let large = json!({ "metadata": { "name": "large" }, "spec": spec });
    make(&node.ours::<IPAddressPool>(), large).await;
    let many = services();
    for n in 0..many {
        node.service(&format!("s{n}"), &address(n)).await;
        // What is at the router is no work for the rest.
        if n % 100 == 99 {
            node.router_shows(TABLE, &[&format!("Displayed  {} routes", n + 1)]);
        }
    }
    settled(node);
    let before = lives(node);

    let begun = Instant::now();
    node.service("one-more", "10.65.0.1").await;
    node.router_shows("show bgp ipv4 unicast 10.65.0.1/32", &["10.0.0.1 from 10.0.0.1"]);
    println!(
        "one more of {many} Services is at the router after {:?}",
        begun.elapsed()
    );

    for n in 0..CYCLES {
        let name = format!("passing{n}");
        node.service(&name, &format!("10.65.1.{n}")).await;
        let unused = json!({ "metadata": { "name": name }, "spec": {} });
        make(&node.ours::<BFDProfile>(), unused.clone()).await;
        make(&node.ours::<L2Advertisement>(), unused.clone()).await;
        make(&node.ours::<Secret>(), json!({ "metadata": { "name": name } })).await;
        node.end_service(&name).await;
        let none = DeleteParams::default();
        node.ours::<BFDProfile>().delete(&name, &none).await.unwrap();
        node.ours::<L2Advertisement>().delete(&name, &none).await.unwrap();
    }
    node.service("last", "10.65.0.2").await;
    node.router_shows(TABLE, &["10.65.0.2/32"]);
    gone(node, TABLE, "10.65.1.");
    node.router_shows(TABLE, &[&format!("Displayed  {} routes", many + 2)]);
    assert_eq!(lives(node), before);
}

// FRR-20, FRR-37, FRR-38, BGP-114
pub(crate) fn frr_takes_a_hundred_services_more_and_less_without_a_flap() {
    in_namespace(async {
        let node = Node::new().await;
        let _speaker = node.speaker();
        churn(&node).await;
    });
}

/// Looks all the time how long the router is without a route.
struct Watch {
    over: Arc<AtomicBool>,
    watching: JoinHandle<Duration>,
}

impl Watch {
    fn start(node: &Node, prefix: &'static str) -> Self {
        let (shell, over) = (node.router.shell(), Arc::<AtomicBool>::default());
        let ended = Arc::clone(&over);
        let watching = thread::spawn(move || {
            let (mut longest, mut seen) = (Duration::ZERO, Instant::now());
            while !ended.load(Ordering::Relaxed) {
                if shell(TABLE).contains(prefix) {
                    seen = Instant::now();
                } else {
                    longest = longest.max(seen.elapsed());
                }
            }
            longest
        });
        Self { over, watching }
    }

    /// The longest time for which it was not there.
    fn end(self) -> Duration {
        self.over.store(true, Ordering::Relaxed);
        self.watching.join().unwrap()
    }
}

/// The back-ends of the node one after another, each in a new pod as when the operator changes the DaemonSet: the old pod
/// has ended before the new one starts.
async fn switched(restarting: bool) {
    let mut node = Node::without_frr().await;
    node.frr_k8s_definitions().await;
    let peers = node.ours::<BGPPeer>();
    peers.delete("four", &DeleteParams::default()).await.unwrap();
    // Without BFD, so that only the end of the session tells the router.
    node.peer_with("four", "10.0.0.2", json!({ "enableGracefulRestart": restarting }))
        .await;
    node.service("stays", "198.51.100.1").await;
    node.service("goes0", "198.51.100.10").await;
    let mut speaker = node.speaker_with("native");
    node.router_shows(TABLE, &["198.51.100.1/32", "198.51.100.10/32"]);
    let mut frr_k8s = None;
    let way = ["native", "frr", "frr-k8s", "native"];
    for (step, to) in way.iter().enumerate().skip(1) {
        let (from, before) = (way[step - 1], connections(&node));
        let watch = Watch::start(&node, "198.51.100.1/32");
        speaker.stop();
        drop(frr_k8s.take());
        node.end_frr();
        // What changes meanwhile is not forgotten.
        node.end_service(&format!("goes{}", step - 1)).await;
        node.service(&format!("goes{step}"), &format!("198.51.100.1{step}"))
            .await;
        if *to != "native" {
            node.renew_frr();
        }
        if *to == "frr-k8s" {
            frr_k8s = Some(node.start_frr_k8s());
        }
        speaker = node.speaker_with(to);
        eventually("another session", || {
            let now = connections(&node);
            (now != before).then_some(()).ok_or(now)
        });
        node.router_shows(TABLE, &["198.51.100.1/32", &format!("198.51.100.1{step}/32")]);
        gone(&node, TABLE, &format!("198.51.100.1{}/32", step - 1));
        node.router_shows(TABLE, &["Displayed  2 routes"]);
        let without = watch.end();
        println!("{from} to {to}: the router was without the route for {without:?}");
        assert!(!restarting || without.is_zero(), "graceful restart kept no route");
    }
}

// FRR-59
pub(crate) fn from_back_end_to_back_end_the_router_ends_with_the_routes_that_are_wanted() {
    in_namespace(switched(false));
}

// FRR-17, FRR-59
pub(crate) fn with_graceful_restart_a_change_of_back_ends_costs_no_route() {
    in_namespace(switched(true));
}
