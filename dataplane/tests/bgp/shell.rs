//! What the shell does with sockets, against a scripted router on loopback.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV6},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use metallb_bgp::{
    StopReason,
    wire::{NextHop, Update},
};
use metallb_dataplane::bgp::{Attributes, MessageType, Password, PeerConfig};
use metallb_test_runner::skip;
use nix::errno::Errno;
use socket2::{Domain, Socket, Type};

use crate::{
    PATIENCE, gone, host_routes,
    neighbour::{in_namespace, run},
    route, route_with,
    router::Router,
    session, speaker,
};

pub(crate) fn announced(update: &Update) -> Vec<String> {
    update.all_announced().map(|prefix| prefix.to_string()).collect()
}

pub(crate) async fn routes_reach_the_router_and_counters_say_so() {
    let router = Router::listen().await;
    let handle = speaker(router.peer("r"), vec![route("192.0.2.1/32")]);
    let mut line = router.establish().await;
    assert_eq!(announced(&line.update().await), ["192.0.2.1/32"]);
    let state = session(&handle, "r", |state| state.up).await;
    assert_eq!(state.counters.advertised(), 1);
    assert_eq!(state.counters.sent(MessageType::Update), 1);
    assert_eq!(state.counters.received(MessageType::Open), 1);
    assert_eq!(state.reason, None);
}

/// All tasks share one thread, so that one that never yields stops the others.
pub(crate) fn a_peer_that_never_stops_sending_leaves_others_their_turn() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let (turns, over) = (Arc::<AtomicU32>::default(), Arc::<AtomicBool>::default());
    // The flood ends whatever happens: a runtime that is held up could not end it.
    let enough = 200;
    let watch = thread::spawn({
        let (turns, over) = (Arc::clone(&turns), Arc::clone(&over));
        move || {
            let end = Instant::now() + PATIENCE;
            while turns.load(Ordering::Relaxed) < enough && Instant::now() < end {
                thread::sleep(Duration::from_millis(10));
            }
            over.store(true, Ordering::Relaxed);
            turns.load(Ordering::Relaxed)
        }
    });
    runtime.unwrap().block_on(async {
        let router = Router::listen().await;
        let handle = speaker(router.peer("r"), vec![]);
        let flood = router.establish().await.flood(&over);
        while !over.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(1)).await;
            turns.fetch_add(1, Ordering::Relaxed);
        }
        // Who reads no more would leave the thread writing.
        drop(handle);
        tokio::task::spawn_blocking(move || flood.join().unwrap())
            .await
            .unwrap();
    });
    let turns = watch.join().unwrap();
    assert!(turns >= enough, "others had {turns} turns in {PATIENCE:?}");
}

// BGP-41
pub(crate) async fn ipv6_peer_is_dialled() {
    let router = Router::listen_on(Ipv6Addr::LOCALHOST.into()).await;
    let handle = speaker(router.peer("r"), vec![route("2001:db8::1/128"), route("192.0.2.1/32")]);
    let mut line = router.establish().await;
    assert_eq!(
        announced(&line.update().await),
        ["2001:db8::1/128"],
        "only the session's own family"
    );
    session(&handle, "r", |state| state.up).await;
}

// BGP-41
pub(crate) fn link_local_peer_is_dialled_on_its_interface() {
    in_namespace(async {
        run("ip addr add fe80::1/64 dev lo nodad");
        // The loopback interface is always the first one.
        let router = Router::listen_at(SocketAddrV6::new("fe80::1".parse().unwrap(), 0, 0, 1).into()).await;
        let peer = PeerConfig {
            zone: Some("lo".to_owned()),
            ..router.peer("r")
        };
        let handle = speaker(peer, vec![route("2001:db8::1/128")]);
        let mut line = router.establish().await;
        let update = line.update().await;
        let local = "fe80::1".parse().unwrap();
        assert_eq!(update.mp_reach().unwrap().next_hop, NextHop::V6Pair(local, local));
        let state = session(&handle, "r", |state| state.up).await;
        assert_eq!(state.label(), format!("[fe80::1%lo]:{}", state.peer.port()));
    });
}

// BGP-40
pub(crate) fn device_of_the_peer_is_used() {
    in_namespace(async {
        let router = Router::listen().await;
        let on = |device: &str| PeerConfig {
            device: Some(device.to_owned()),
            ..router.peer("r")
        };
        let handle = speaker(on("vrf9"), vec![]);
        let reason = session(&handle, "r", |state| state.reason.is_some())
            .await
            .reason
            .unwrap();
        assert!(reason.contains("bind to device vrf9"), "{reason}");
        handle.set_peers(vec![on("lo")]);
        router.establish().await;
    });
}

// BGP-29
pub(crate) async fn unchanged_peer_is_not_touched() {
    let (one, two) = (Router::listen().await, Router::listen().await);
    let handle = speaker(one.peer("one"), vec![]);
    let mut line = one.establish().await;
    handle.set_peers(vec![one.peer("one"), two.peer("two")]);
    two.establish().await;
    handle.set_peers(vec![one.peer("one")]);
    handle.change_routes(vec![route("192.0.2.1/32")]);
    line.update().await;
    assert!(!one.is_dialled().await);
    assert_eq!(handle.sessions().borrow().len(), 1);
}

// BGP-30, BGP-32
pub(crate) async fn changed_removed_and_shut_down_peers_are_told_why() {
    let router = Router::listen().await;
    let handle = speaker(router.peer("r"), vec![route("192.0.2.1/32")]);
    let mut line = router.establish().await;
    let changed = || PeerConfig {
        router_id: None,
        ..router.peer("r")
    };

    handle.set_peers(vec![changed()]);
    assert_eq!(line.notification().await, StopReason::ConfigChange.notification());
    let mut line = router.establish().await;
    session(&handle, "r", |state| state.up).await;

    handle.set_peers(vec![]);
    assert_eq!(line.notification().await, StopReason::Deconfigured.notification());
    assert!(handle.sessions().borrow().is_empty());

    handle.set_peers(vec![changed()]);
    let mut line = router.establish().await;
    handle.shutdown().await;
    assert_eq!(line.notification().await, StopReason::Shutdown.notification());
}

// BGP-31
pub(crate) async fn lost_session_returns_at_once_with_all_routes() {
    let router = Router::listen().await;
    let handle = speaker(router.peer("r"), vec![route("192.0.2.1/32")]);
    let mut line = router.establish().await;
    line.update().await;
    drop(line);
    let state = session(&handle, "r", |state| state.reason.is_some()).await;
    assert!(state.reason.unwrap().starts_with("connection closed"));
    let mut line = router.establish().await;
    assert_eq!(announced(&line.update().await), ["192.0.2.1/32"]);
}

// BGP-22
pub(crate) async fn routes_reach_the_listed_peers_only() {
    let (one, two) = (Router::listen().await, Router::listen().await);
    let mut first = route("192.0.2.1/32");
    first.paths[0].peers = BTreeSet::from(["one".to_owned(), "nobody".to_owned()]);
    let handle = speaker(one.peer("one"), vec![first, route("192.0.2.2/32")]);
    handle.set_peers(vec![one.peer("one"), two.peer("two")]);
    let (mut one, mut two) = (one.establish().await, two.establish().await);
    assert_eq!(announced(&one.update().await), ["192.0.2.1/32", "192.0.2.2/32"]);
    assert_eq!(announced(&two.update().await), ["192.0.2.2/32"]);
}

// BGP-59, BGP-60
pub(crate) async fn only_differences_are_sent() {
    let router = Router::listen().await;
    let handle = speaker(router.peer("r"), host_routes(10));
    let mut line = router.establish().await;
    line.update().await;
    handle.change_routes(host_routes(10).into_iter().rev().collect());
    let changed = Attributes {
        communities: [7].into(),
        ..Attributes::default()
    };
    handle.change_routes(vec![route_with("192.168.0.3/32", changed)]);
    let update = line.update().await;
    assert_eq!(
        (announced(&update), update.all_withdrawn().count()),
        (vec!["192.168.0.3/32".to_owned()], 0)
    );
}

// BGP-58
pub(crate) async fn fifteen_hundred_prefixes_take_two_updates_each_way() {
    let router = Router::listen().await;
    let routes = host_routes(1500);
    let wanted = routes.iter().map(|route| route.prefix.to_string()).collect();
    let handle = speaker(router.peer("r"), routes.clone());
    let mut line = router.establish().await;
    let mut known = BTreeSet::new();
    assert_eq!(line.learn(&mut known, &wanted).await, 2);
    handle.change_routes(gone(routes));
    assert_eq!(line.learn(&mut known, &BTreeSet::new()).await, 2);
}

// BGP-42
pub(crate) async fn black_holed_and_stuck_peers_delay_no_other() {
    let (stuck, good) = (Router::listen().await, Router::listen().await);
    // Documentation addresses: at best the kernel has no route, at worst the SYN is never answered.
    let hole = PeerConfig {
        address: "198.51.100.1".parse().unwrap(),
        ..good.peer("hole")
    };
    let handle = speaker(hole.clone(), host_routes(60_000));
    handle.set_peers(vec![hole, stuck.peer("stuck"), good.peer("good")]);
    // Establishes, then never reads again.
    let _stuck = stuck.establish().await;
    let mut line = good.establish().await;
    let wanted: BTreeSet<_> = host_routes(60_000)
        .iter()
        .map(|route| route.prefix.to_string())
        .collect();
    let mut known = BTreeSet::new();
    while known.len() < wanted.len() {
        known.extend(announced(&line.update().await));
    }
    handle.change_routes(gone(host_routes(60_000).split_off(1)));
    while known.len() > 1 {
        for prefix in line.update().await.all_withdrawn() {
            known.remove(&prefix.to_string());
        }
    }
    handle.shutdown().await;
}

// BGP-36
pub(crate) async fn missing_source_address_is_named() {
    let router = Router::listen().await;
    let source = Some("198.51.100.77".parse().unwrap());
    let handle = speaker(
        PeerConfig {
            source,
            ..router.peer("r")
        },
        vec![],
    );
    let state = session(&handle, "r", |state| state.reason.is_some()).await;
    let reason = state.reason.unwrap();
    assert!(reason.contains("source address 198.51.100.77"), "{reason}");
    assert!(!state.up);
}

// BGP-73
pub(crate) async fn md5_keys_must_agree() {
    for address in ["127.0.0.1", "::1"] {
        let address = address.parse().unwrap();
        let router = Router::listen_on(address).await;
        if let Err(error) = metallb_net::set_tcp_md5(&router.listener, address, b"secret\n") {
            skip(format!("this kernel has no TCP-MD5: {error}"));
        }
        let with_key = |key: &str| PeerConfig {
            password: Some(Password::new(key)),
            ..router.peer("r")
        };
        let handle = speaker(with_key("secret"), vec![]);
        assert!(!router.is_dialled().await, "the key is taken verbatim");
        handle.set_peers(vec![with_key("secret\n")]);
        let _line = router.establish().await;
        session(&handle, "r", |state| state.up).await;
    }
}

// BGP-43
pub(crate) fn eighty_octets_are_accepted_for_both_families() {
    let peers: [(Domain, IpAddr); 2] = [
        (Domain::IPV4, Ipv4Addr::LOCALHOST.into()),
        (Domain::IPV6, Ipv6Addr::LOCALHOST.into()),
    ];
    for (domain, peer) in peers {
        let socket = Socket::new(domain, Type::STREAM, None).unwrap();
        match metallb_net::set_tcp_md5(&socket, peer, &[b'k'; 80]) {
            Err(error) if error.raw_os_error() == Some(Errno::ENOPROTOOPT as i32) => skip("this kernel has no TCP-MD5"),
            result => result.unwrap(),
        }
    }
}
