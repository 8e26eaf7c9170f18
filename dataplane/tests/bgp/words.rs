//! Route refresh with begin and end (RFC 7313), and the texts of people (RFC 9003), with FRR and BIRD.

use std::collections::BTreeSet;

use metallb_bgp::{Offer, wire::Capability};
use metallb_dataplane::bgp::{Attributes, BgpHandle, Farewell, MessageType, PeerConfig, Posture, StopReason};

use crate::{
    bird::{self, Bird, IPV4},
    eventually,
    frr::{self, Frr, NEIGHBOR, up},
    neighbour::in_namespace,
    route, route_with,
    router::Router,
    session, speaker,
};

fn refreshing(peer: PeerConfig) -> PeerConfig {
    let offer = Offer {
        route_refresh: true,
        enhanced_refresh: true,
        host_name: true,
        ..Offer::default()
    };
    PeerConfig {
        offer,
        node_name: "node-a".to_owned(),
        ..peer
    }
}

fn sent(handle: &BgpHandle, peer: &str, kind: MessageType) -> u64 {
    handle.sessions().borrow()[peer].counters.sent(kind)
}

// BGP-66, BGP-83
pub(crate) fn frr_gets_begin_and_end_of_the_table_that_it_asks_for() {
    in_namespace(async move {
        let frr = Frr::start(NEIGHBOR).await;
        let handle = speaker(refreshing(frr::peer()), vec![route("192.168.0.1/32")]);
        up(&handle).await;
        frr.shows("show bgp ipv4 unicast", &["192.168.0.1/32"]).await;
        frr.shows(
            "show bgp neighbors 10.0.0.1",
            &["Enhanced Route Refresh: advertised and received", "Hostname: node-a"],
        )
        .await;
        frr.vtysh("clear bgp ipv4 unicast 10.0.0.1 soft in");
        eventually("begin and end", || {
            let count = sent(&handle, "frr", MessageType::RouteRefresh);
            (count == 2).then_some(()).ok_or(count)
        })
        .await;
        assert_eq!(sent(&handle, "frr", MessageType::Update), 2);
        // Not a word of complaint, and the route is still there.
        frr.shows("show bgp ipv4 unicast", &["192.168.0.1/32"]).await;
        assert!(handle.sessions().borrow()["frr"].up);
    });
}

// BGP-66
pub(crate) fn bird_gets_begin_and_end_of_the_table_that_it_asks_for() {
    in_namespace(async move {
        let bird = Bird::start(IPV4);
        let handle = speaker(refreshing(bird::peer()), vec![route("192.168.0.1/32")]);
        session(&handle, "bird", |state| state.up).await;
        bird.shows("show route protocol speaker", &["192.168.0.1/32"]).await;
        bird.shows("show protocols all speaker", &["Enhanced refresh"]).await;
        bird.birdc("reload in speaker");
        // It asks for both of its channels.
        eventually("begin and end", || {
            let count = sent(&handle, "bird", MessageType::RouteRefresh);
            (count >= 2).then_some(()).ok_or(count)
        })
        .await;
        bird.shows("show route protocol speaker", &["192.168.0.1/32"]).await;
        assert!(handle.sessions().borrow()["bird"].up);
    });
}

// BGP-72
pub(crate) fn frr_prefers_other_paths_to_shunned_ones() {
    in_namespace(async move {
        let frr = Frr::start(NEIGHBOR).await;
        let coloured = Attributes {
            communities: [64500 << 16 | 7].into(),
            ..Attributes::default()
        };
        let handle = speaker(frr::peer(), vec![route_with("192.168.0.1/32", coloured)]);
        up(&handle).await;
        const ROUTE: &str = "show bgp ipv4 unicast 192.168.0.1/32";
        frr.shows(ROUTE, &["Community: 64500:7"]).await;
        handle.show(Posture::Shun);
        // RFC 8326 §4.2: FRR lowers the preference without being told to.
        frr.shows(ROUTE, &["Community: 64500:7 graceful-shutdown", "localpref 0"])
            .await;
        handle.show(Posture::Announce);
        eventually("the route as it was", || {
            let answer = frr.vtysh(ROUTE);
            let plain = answer.contains("64500:7") && !answer.contains("graceful-shutdown");
            plain.then_some(()).ok_or(answer)
        })
        .await;
        handle.show(Posture::Withdraw);
        eventually("an empty table", || {
            let table = frr.vtysh("show bgp ipv4 unicast");
            (!table.contains("192.168.0.1")).then_some(()).ok_or(table)
        })
        .await;
        assert!(handle.sessions().borrow()["frr"].up);
    });
}

// BGP-71
pub(crate) fn what_people_write_goes_both_ways_with_frr() {
    in_namespace(async move {
        let frr = Frr::start(NEIGHBOR).await;
        let handle = speaker(frr::peer(), vec![]);
        up(&handle).await;
        frr.configure(&[
            "router bgp 64501",
            "neighbor 10.0.0.1 shutdown message Wartung bis zwölf",
        ]);
        let state = session(&handle, "frr", |state| !state.up).await;
        let reason = state.reason.unwrap();
        assert!(reason.contains("Wartung bis zwölf"), "{reason}");
        frr.configure(&["router bgp 64501", "no neighbor 10.0.0.1 shutdown"]);
        handle.command("frr", metallb_dataplane::bgp::Command::Reset(StopReason::Reset));
        up(&handle).await;
        let drain = Farewell {
            text: "node drain".to_owned(),
            ..Farewell::default()
        };
        handle.leave(drain).await;
        frr.shows(
            "show bgp neighbors 10.0.0.1 json",
            &["\"lastShutdownDescription\":\"node drain\""],
        )
        .await;
    });
}

/// What the product offers, as a router sees it.
pub(crate) async fn capabilities_are_offered_once_each() {
    let router = Router::listen().await;
    let _handle = speaker(refreshing(router.peer("r")), vec![]);
    let mut line = router.accept().await;
    let open = line.establish_offering(&[], &[]).await;
    let codes: Vec<u8> = open.capabilities.iter().map(Capability::code).collect();
    assert_eq!(
        codes.len(),
        codes.iter().collect::<BTreeSet<_>>().len() + 1,
        "{codes:?}: two families"
    );
    assert!(codes.contains(&70) && codes.contains(&73));
}
