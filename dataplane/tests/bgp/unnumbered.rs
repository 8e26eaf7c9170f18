//! Unnumbered peers: the router is found by its router advertisements.

use std::time::{Duration, Instant};

use metallb_bgp::RemoteAs;
use metallb_dataplane::bgp::{BgpHandle, Farewell, PeerConfig, StopReason};
use metallb_net::RouterSocket;
use metallb_test_runner::skip;

use crate::{
    frr::Frr,
    neighbour::{in_namespace, run},
    route, session, speaker,
};

fn peer(interface: &str) -> PeerConfig {
    PeerConfig {
        node_name: "node-a".to_owned(),
        ..PeerConfig::unnumbered("frr", 64500, RemoteAs::External, interface)
    }
}

async fn reason(handle: &BgpHandle, words: &str) {
    session(handle, "frr", |state| {
        state.reason.as_ref().is_some_and(|reason| reason.contains(words))
    })
    .await;
}

// BGP-79
pub(crate) fn what_keeps_a_router_from_being_found_is_told() {
    in_namespace(async {
        let handle = speaker(peer("node9"), vec![]);
        reason(&handle, "there is no interface node9").await;
        assert_eq!(handle.sessions().borrow()["frr"].label(), "node9:179");
        run("ip link add node9 type veth peer name peer9");
        reason(&handle, "interface node9 is down").await;
        run("ip link set node9 addrgenmode none && ip link set node9 up && ip link set peer9 up");
        reason(&handle, "interface node9 has no link-local address").await;
        run("ip addr add fe80::1/64 dev node9 nodad");
        reason(&handle, "no router has been heard on interface node9").await;
    });
}

/// A link, and a socket that hears at its other end what we say there. The other end stays in our namespace.
async fn link_with_a_listener() -> RouterSocket {
    run("ip link add node0 type veth peer name peer0 && ip link set node0 up && ip link set peer0 up");
    let index = nix::net::if_::if_nametoindex("peer0").unwrap();
    RouterSocket::open("peer0", index).unwrap()
}

/// The router lifetime of the next advertisement.
async fn lifetime(socket: &RouterSocket) -> u16 {
    let mut packet = [0; 128];
    loop {
        let heard = tokio::time::timeout(crate::PATIENCE, socket.receive(&mut packet)).await;
        let (length, _) = heard.unwrap().unwrap();
        if packet[0] == 134 && length >= 16 {
            return u16::from_be_bytes([packet[6], packet[7]]);
        }
    }
}

// BGP-79
pub(crate) fn a_link_is_told_that_the_node_leaves_for_good() {
    in_namespace(async {
        let socket = link_with_a_listener().await;
        for (reason, told) in [(StopReason::Shutdown, true), (StopReason::Restart, false)] {
            let handle = speaker(peer("node0"), vec![]);
            assert_eq!(lifetime(&socket).await, 30);
            handle
                .leave(Farewell {
                    reason,
                    text: String::new(),
                })
                .await;
            let goodbye = async { while lifetime(&socket).await > 0 {} };
            let heard = tokio::time::timeout(Duration::from_millis(500), goodbye).await.is_ok();
            assert_eq!(heard, told, "{reason:?}");
        }
    });
}

// BGP-79
pub(crate) fn frr_that_is_no_default_router_is_found() {
    in_namespace(async {
        let frr = Frr::start_at(&[], &[], &UNNUMBERED).await;
        if !frr.zebra {
            skip("zebra, which sends router advertisements, cannot run here");
        }
        frr.configure(&["interface peer0", "ipv6 nd ra-lifetime 0"]);
        let handle = speaker(peer("node0"), vec![]);
        session(&handle, "frr", |state| state.up).await;
    });
}

const UNNUMBERED: [&str; 3] = [
    "neighbor peer0 interface remote-as external",
    "address-family ipv6 unicast",
    "neighbor peer0 activate",
];

// BGP-79, BGP-63, BGP-111
pub(crate) fn frr_on_a_link_without_addresses_is_found_and_found_again() {
    in_namespace(async {
        let frr = Frr::start_at(&[], &[], &UNNUMBERED).await;
        if !frr.zebra {
            skip("zebra, which sends router advertisements, cannot run here");
        }
        let began = Instant::now();
        let handle = speaker(peer("node0"), vec![route("192.168.0.1/32"), route("2001:db8::1/128")]);
        session(&handle, "frr", |state| state.up).await;
        eprintln!("up {:?} after the start", began.elapsed());
        frr.shows(
            "show bgp ipv4 unicast 192.168.0.1/32",
            &["fe80::", "valid, external, best"],
        )
        .await;
        frr.shows(
            "show bgp ipv6 unicast 2001:db8::1/128",
            &["fe80::", "valid, external, best"],
        )
        .await;
        frr.shows("show ip route 192.168.0.1/32", &["fe80::", "via peer0"])
            .await;
        frr.shows("show ipv6 route 2001:db8::1/128", &["fe80::", "via peer0"])
            .await;
        frr.shows("show bgp neighbors peer0", &["171.77.153.120"]).await;

        for flap in [
            ("ip link set node0 down", "ip link set node0 up"),
            ("ip link set peer0 down", "ip link set peer0 up"),
        ] {
            let act = |command: &str| match command.contains("node0") {
                true => run(command),
                false => frr.neighbour.run(command),
            };
            act(flap.0);
            session(&handle, "frr", |state| !state.up).await;
            act(flap.1);
            let began = Instant::now();
            session(&handle, "frr", |state| state.up).await;
            eprintln!("up {:?} after {}", began.elapsed(), flap.1);
        }
        frr.shows("show ip route 192.168.0.1/32", &["fe80::", "via peer0"])
            .await;
    });
}
