use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Service};
use k8s_openapi::api::events::v1::Event;
use kube::{Api, api::DeleteParams};
use metallb_api::BGPPeer;
use metallb_test_runner::in_namespace;
use serde_json::json;
use tokio::time::sleep;

use crate::{daemons::eventually, node::Node};

/// How often sessions came up.
pub(crate) fn connections(node: &Node) -> String {
    let answer = node.router.vtysh("show bgp neighbors 10.0.0.1");
    let line = answer.lines().find(|line| line.contains("Connections established"));
    line.unwrap_or_default().trim().to_owned()
}

/// Waits until BGP and BFD are up and stay it: two FRRs end their first session, as each makes its BFD session anew once
/// it knows the address that it has towards the other one.
pub(crate) fn settled(node: &Node) -> String {
    eventually("lasting session", || {
        let before = connections(node);
        let bfd = [(&node.router, "10.0.0.1"), (&node.frr, "10.0.0.2")].map(|(frr, peer)| {
            let answer = frr.vtysh("show bfd peers brief");
            let is_up = answer.lines().any(|it| it.contains(peer) && it.contains(" up"));
            is_up.then_some(()).ok_or(answer)
        });
        let bgp = node.router.vtysh("show bgp neighbors 10.0.0.1");
        std::thread::sleep(Duration::from_secs(2));
        let up = bgp.contains("Established") && bfd.iter().all(Result::is_ok);
        let lasting = up && before == connections(node);
        lasting.then_some(before).ok_or_else(|| format!("{bfd:?} {bgp}"))
    })
}

pub(crate) fn gone(node: &Node, command: &str, text: &str) {
    eventually(&format!("end of {text}"), || {
        let answer = node.router.vtysh(command);
        (!answer.contains(text)).then_some(()).ok_or(answer)
    });
}

// FRR-3, FRR-18, BGP-57
pub(crate) fn services_and_peers_come_and_go_at_the_router() {
    in_namespace(async {
        let node = Node::new().await;
        node.service("a", "198.51.100.1").await;
        let _speaker = node.speaker();
        let colours = ["64500:7", "Large Community: 64500:1:2", "10.0.0.1 from 10.0.0.1"];
        node.router_shows("show bgp ipv4 unicast 198.51.100.1/32", &colours);
        let connections_before = settled(&node);
        node.service("b", "198.51.100.2").await;
        node.router_shows("show bgp ipv4 unicast", &["198.51.100.1/32", "198.51.100.2/32"]);
        let services: Api<Service> = Api::namespaced(node.client.clone(), "default");
        services.delete("a", &DeleteParams::default()).await.unwrap();
        gone(&node, "show bgp ipv4 unicast", "198.51.100.1/32");
        node.peer("six", "fd00::2").await;
        node.service("c", "2001:db8::1").await;
        node.router_shows(
            "show bgp ipv6 unicast 2001:db8::1/128",
            &["64500:7", "fd00::1 from fd00::1"],
        );
        node.ours::<BGPPeer>()
            .delete("six", &DeleteParams::default())
            .await
            .unwrap();
        gone(&node, "show bgp ipv6 unicast", "2001:db8::1");
        assert_eq!(connections(&node), connections_before);
    });
}

// FRR-35, FRR-36
pub(crate) fn a_new_speaker_resets_no_session_and_a_new_bgpd_learns_all_again() {
    in_namespace(async {
        let mut node = Node::new().await;
        node.service("a", "198.51.100.1").await;
        let speaker = node.speaker();
        node.router_shows("show bgp ipv4 unicast", &["198.51.100.1/32"]);
        let connections_before = settled(&node);
        drop(speaker);
        let written = std::fs::metadata(node.path("frr.conf")).unwrap().modified().unwrap();
        let _speaker = node.speaker();
        // One Service more shows that it is at work.
        node.service("b", "198.51.100.2").await;
        node.router_shows("show bgp ipv4 unicast", &["198.51.100.1/32", "198.51.100.2/32"]);
        assert_ne!(
            std::fs::metadata(node.path("frr.conf")).unwrap().modified().unwrap(),
            written
        );
        assert_eq!(connections(&node), connections_before);
        node.frr.restart("bgpd");
        eventually("another session", || {
            let now = connections(&node);
            (now != connections_before).then_some(()).ok_or(now)
        });
        node.router_shows("show bgp ipv4 unicast", &["198.51.100.1/32", "198.51.100.2/32"]);
    });
}

// FRR-30
pub(crate) fn frr_may_start_after_the_speaker() {
    in_namespace(async {
        let mut node = Node::without_frr().await;
        node.service("a", "198.51.100.1").await;
        let _speaker = node.speaker();
        eventually("words of the reloader about FRR", || {
            let words = std::fs::read_to_string(node.path("last-error")).unwrap_or_default();
            words.contains("FRR does not run").then_some(()).ok_or(words)
        });
        node.frr.begin(None);
        node.router_shows("show bgp ipv4 unicast", &["198.51.100.1/32"]);
        // It knows that this was done, and does the next.
        node.service("b", "198.51.100.2").await;
        node.router_shows("show bgp ipv4 unicast", &["198.51.100.1/32", "198.51.100.2/32"]);
    });
}

// FRR-17, FRR-36
pub(crate) fn a_router_with_graceful_restart_keeps_the_routes_while_all_of_the_pod_is_gone() {
    in_namespace(async {
        let mut node = Node::new().await;
        let peers = node.ours::<BGPPeer>();
        peers.delete("four", &DeleteParams::default()).await.unwrap();
        // Without BFD, which would tell the router that the path is gone.
        node.peer_with("four", "10.0.0.2", json!({ "enableGracefulRestart": true }))
            .await;
        node.service("a", "198.51.100.1").await;
        let speaker = node.speaker();
        let neighbour = "show bgp neighbors 10.0.0.1";
        node.router_shows(
            neighbour,
            &["Established", "Graceful Restart Capability: advertised and received"],
        );
        node.router_shows("show bgp ipv4 unicast", &["198.51.100.1/32"]);
        drop(speaker);
        node.frr.end();
        gone(&node, neighbour, "Established");
        let kept = node.router.vtysh("show bgp ipv4 unicast 198.51.100.1/32");
        assert!(kept.contains("stale"), "{kept}");
        node.frr.begin(None);
        let _speaker = node.speaker();
        node.router_shows(neighbour, &["Established"]);
        eventually("route of the new session", || {
            let route = node.router.vtysh("show bgp ipv4 unicast 198.51.100.1/32");
            let is_new = route.contains("10.0.0.1 from 10.0.0.1") && !route.contains("stale");
            is_new.then_some(()).ok_or(route)
        });
    });
}

// FRR-22, FRR-32
pub(crate) fn what_frr_refuses_is_told_in_its_words_and_changes_nothing() {
    in_namespace(async {
        let node = Node::new().await;
        node.service("a", "198.51.100.1").await;
        let _speaker = node.speaker();
        node.router_shows("show bgp ipv4 unicast", &["198.51.100.1/32"]);
        let connections_before = settled(&node);
        node.extras("frobnicate everything\n").await;
        let words = "FRR refuses its configuration: line ";
        summary(&node, |summary| {
            summary.contains(words) && summary.contains("frobnicate")
        })
        .await;
        told(&node, "frrConfigurationRefused", words).await;
        assert_eq!(connections(&node), connections_before);
        node.ours::<ConfigMap>()
            .delete("bgpextras", &DeleteParams::default())
            .await
            .unwrap();
        summary(&node, str::is_empty).await;
        told(&node, "frrConfigurationResolved", "no longer: FRR refuses").await;
        node.service("b", "198.51.100.2").await;
        node.router_shows("show bgp ipv4 unicast", &["198.51.100.1/32", "198.51.100.2/32"]);
    });
}

/// Waits for an event.
async fn told(node: &Node, reason: &str, note: &str) {
    let events: Api<Event> = Api::all(node.client.clone());
    for _ in 0..600 {
        let events = events.list(&Default::default()).await.unwrap();
        let is = |event: &&Event| event.reason.as_deref() == Some(reason);
        let notes = events.items.iter().filter(is).filter_map(|event| event.note.as_deref());
        if notes.into_iter().any(|it| it.starts_with(note)) {
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("no event {reason}");
}

/// Waits for what the ConfigurationState says.
pub(crate) async fn summary(node: &Node, wanted: impl Fn(&str) -> bool) {
    for _ in 0..600 {
        if node.summary().await.is_some_and(|summary| wanted(&summary)) {
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
    let log = std::fs::read_to_string(node.path("speaker.log")).unwrap_or_default();
    panic!("the ConfigurationState says {:?}\n{log}", node.summary().await);
}
