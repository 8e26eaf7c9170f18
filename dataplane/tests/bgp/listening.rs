//! Routers that connect to us.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use metallb_bgp::{
    StopReason,
    wire::{Message, Notification, notification::Code},
};
use metallb_dataplane::bgp::{BgpHandle, Dialing, Listen, Password, PeerConfig, Range, RemoteAs};
use metallb_test_runner::skip;
use tokio::net::TcpSocket;

use crate::{
    eventually,
    frr::Frr,
    neighbour::{in_namespace, run, take_descriptors},
    route,
    router::{Line, OUR_ASN, ROUTER_ASN},
    session, shell, speaker,
};

/// A port that is free on loopback, for a moment.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

fn listening(handle: &BgpHandle, ranges: Vec<Range>) -> u16 {
    let port = free_port();
    handle.set_listening(Listen { port, ranges });
    port
}

fn passive(name: &str, address: &str) -> PeerConfig {
    PeerConfig {
        dialing: Dialing::Passive,
        router_id: Some(Ipv4Addr::new(10, 0, 0, 1)),
        ..PeerConfig::new(name, OUR_ASN, RemoteAs::Asn(ROUTER_ASN), address.parse().unwrap())
    }
}

/// Connects from an address of loopback, as soon as somebody listens; `key` signs.
async fn connect(from: &str, port: u16, key: Option<&[u8]>) -> Line {
    let from: IpAddr = from.parse().unwrap();
    loop {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(from, 0)).unwrap();
        if let Some(key) = key {
            metallb_net::set_tcp_md5(&socket, Ipv4Addr::LOCALHOST.into(), key).unwrap();
        }
        match socket.connect((Ipv4Addr::LOCALHOST, port).into()).await {
            Ok(stream) => return Line::over(stream),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

fn rejected() -> Notification {
    Notification::new(Code::Cease, 5)
}

// BGP-78
pub(crate) async fn passive_peer_waits_and_strangers_are_refused() {
    let handle = shell();
    let port = listening(&handle, vec![]);
    handle.change_routes(vec![route("192.0.2.1/32")]);
    handle.routes_known();
    handle.set_peers(vec![passive("r", "127.0.0.2")]);
    let mut stranger = connect("127.0.0.9", port, None).await;
    assert_eq!(stranger.notification().await, rejected());
    let mut line = connect("127.0.0.2", port, None).await;
    line.establish().await;
    line.update().await;
    session(&handle, "r", |state| state.up).await;
    let mut second = connect("127.0.0.2", port, None).await;
    assert_eq!(second.notification().await, StopReason::Collision.notification());
    drop(line);
    session(&handle, "r", |state| !state.up).await;
    connect("127.0.0.2", port, None).await.establish().await;
    handle.shutdown().await;
}

// BGP-78
pub(crate) async fn range_takes_whom_it_has_room_for_and_forgets_them() {
    let handle = shell();
    let range = Range {
        prefix: "127.9.0.0/24".parse().unwrap(),
        limit: 2,
        peer: passive("lab", "0.0.0.0"),
    };
    let port = listening(&handle, vec![range]);
    handle.change_routes(vec![route("192.0.2.1/32")]);
    handle.routes_known();
    let mut lines = vec![];
    for from in ["127.9.0.1", "127.9.0.2"] {
        let mut line = connect(from, port, None).await;
        line.establish().await;
        line.update().await;
        session(&handle, &format!("lab[{from}]"), |state| state.up).await;
        lines.push(line);
    }
    for stranger in ["127.9.0.3", "127.8.0.1"] {
        assert_eq!(connect(stranger, port, None).await.notification().await, rejected());
    }
    // Unrelated peers come and go.
    handle.set_peers(vec![]);
    lines.remove(0);
    let mut sessions = handle.sessions();
    sessions.wait_for(|sessions| sessions.len() == 1).await.unwrap();
    let mut line = connect("127.9.0.3", port, None).await;
    line.establish().await;
    session(&handle, "lab[127.9.0.3]", |state| state.up).await;
    // Who is in another AS is told so, and gone.
    drop(line);
    sessions.wait_for(|sessions| sessions.len() == 1).await.unwrap();
    let mut wrong = connect("127.9.0.3", port, None).await;
    wrong.open_as(64999).await;
    let answer = wrong.notification().await;
    assert_eq!((answer.code, answer.subcode), (Code::Open, 2));
    sessions.wait_for(|sessions| sessions.len() == 1).await.unwrap();
    handle.set_listening(Listen::default());
    assert_eq!(lines[0].notification().await, StopReason::Deconfigured.notification());
}

fn need_md5() {
    let probe = TcpSocket::new_v4().unwrap();
    if let Err(error) = metallb_net::set_tcp_md5(&probe, Ipv4Addr::LOCALHOST.into(), b"k") {
        skip(format!("this kernel has no TCP-MD5: {error}"));
    }
}

// BGP-73, BGP-78
pub(crate) async fn members_of_a_range_sign_with_its_key() {
    need_md5();
    let handle = shell();
    let range = |prefix: &str, key: Option<&str>| Range {
        prefix: prefix.parse().unwrap(),
        limit: 10,
        peer: PeerConfig {
            password: key.map(Password::new),
            ..passive(prefix, "0.0.0.0")
        },
    };
    let ranges = vec![
        range("127.9.0.0/24", Some("nine")),
        range("127.8.0.0/24", Some("eight")),
        range("127.7.0.0/24", None),
    ];
    let port = listening(&handle, ranges);
    let mut lines = vec![];
    for (from, key) in [
        ("127.9.0.1", Some("nine")),
        ("127.9.0.2", Some("nine")),
        ("127.8.0.1", Some("eight")),
        ("127.7.0.1", None),
    ] {
        let mut line = connect(from, port, key.map(str::as_bytes)).await;
        line.establish().await;
        lines.push(line);
    }
    session_count(&handle, 4).await;
    // Neither a wrong key nor none is answered.
    for key in [None, Some(&b"eight"[..])] {
        let wrong = tokio::time::timeout(Duration::from_millis(500), connect("127.9.0.3", port, key)).await;
        assert!(wrong.is_err(), "{key:?}");
    }
    // Members that leave do not affect the others, and one that returns needs the key again.
    drop(lines.remove(0));
    session_count(&handle, 3).await;
    let wrong = tokio::time::timeout(Duration::from_millis(500), connect("127.9.0.1", port, None)).await;
    assert!(wrong.is_err());
    connect("127.9.0.1", port, Some(b"nine")).await.establish().await;
    session_count(&handle, 4).await;
    handle.shutdown().await;
    for line in &mut lines {
        assert_eq!(line.notification().await, StopReason::Shutdown.notification());
    }
}

async fn session_count(handle: &BgpHandle, count: usize) {
    let mut sessions = handle.sessions();
    let counted = sessions.wait_for(|all| all.values().filter(|state| state.up).count() == count);
    tokio::time::timeout(crate::PATIENCE, counted).await.unwrap().unwrap();
}

pub(crate) fn who_connects_while_descriptors_are_short_waits_for_one() {
    in_namespace(async {
        let handle = shell();
        let port = listening(&handle, vec![]);
        handle.set_peers(vec![passive("r", "127.0.0.2")]);
        // Somebody listens.
        drop(connect("127.0.0.9", port, None).await);
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new("127.0.0.2".parse().unwrap(), 0)).unwrap();
        let taken = take_descriptors();
        let stream = socket.connect((Ipv4Addr::LOCALHOST, port).into()).await.unwrap();
        let state = session(&handle, "r", |state| state.reason.is_some()).await;
        let reason = state.reason.unwrap();
        assert!(reason.contains("Too many open files"), "{reason}");
        drop(taken);
        Line::over(stream).establish().await;
        session(&handle, "r", |state| state.up).await;
    });
}

// BGP-73, BGP-78
pub(crate) async fn keys_of_those_who_connect_are_taken_up_live() {
    let handle = shell();
    let with_key = |key: &str| PeerConfig {
        password: Some(Password::new(key)),
        ..passive("r", "127.0.0.2")
    };
    need_md5();
    let port = listening(&handle, vec![]);
    handle.set_peers(vec![with_key("one")]);
    let mut line = connect("127.0.0.2", port, Some(b"one")).await;
    line.establish().await;
    session(&handle, "r", |state| state.up).await;
    handle.set_peers(vec![with_key("two")]);
    assert_eq!(line.notification().await, StopReason::ConfigChange.notification());
    let mut line = connect("127.0.0.2", port, Some(b"two")).await;
    line.establish().await;
    session(&handle, "r", |state| state.up).await;
    handle.set_peers(vec![passive("r", "127.0.0.2")]);
    line.notification().await;
    connect("127.0.0.2", port, None).await.establish().await;
    session(&handle, "r", |state| state.up).await;
}

pub(crate) async fn port_that_is_taken_is_told_and_nothing_else_suffers() {
    let taken = tokio::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await.unwrap();
    let router = crate::router::Router::listen().await;
    let handle = shell();
    let port = taken.local_addr().unwrap().port();
    handle.set_listening(Listen { port, ranges: vec![] });
    handle.set_peers(vec![passive("r", "127.0.0.2"), router.peer("other")]);
    let state = session(&handle, "r", |state| state.reason.is_some()).await;
    let reason = state.reason.unwrap();
    assert!(
        reason.contains(&format!("port {port}")) && reason.contains("in use"),
        "{reason}"
    );
    let _line = router.establish().await;
    session(&handle, "other", |state| state.up).await;
}

// BGP-77
pub(crate) async fn of_our_connection_and_the_routers_one_is_left() {
    let router = crate::router::Router::listen().await;
    let handle = shell();
    let port = listening(&handle, vec![]);
    let peer = PeerConfig {
        dialing: Dialing::Both,
        router_id: Some(Ipv4Addr::new(10, 0, 0, 1)),
        ..router.peer("r")
    };
    handle.set_peers(vec![peer]);
    let mut theirs = router.accept().await;
    assert!(matches!(theirs.next().await, Some(Message::Open(_))));
    // The router, whose identifier is the higher one, has dialled as well, and knows nothing of the other connection yet.
    let mut ours = connect("127.0.0.1", port, None).await;
    ours.establish().await;
    assert_eq!(theirs.notification().await, StopReason::Collision.notification());
    session(&handle, "r", |state| state.up).await;
    handle.command("r", metallb_dataplane::bgp::Command::Reset(StopReason::Reset));
    assert_eq!(ours.notification().await, StopReason::Reset.notification());
}

// BGP-77
pub(crate) fn frr_with_the_higher_identifier_that_dials_too_has_one_session() {
    simultaneous_open("10.0.0.1");
}

// BGP-77
pub(crate) fn frr_with_the_lower_identifier_that_dials_too_has_one_session() {
    simultaneous_open("10.0.0.9");
}

fn simultaneous_open(identifier: &'static str) {
    in_namespace(async move {
        let lines = [
            "neighbor 10.0.0.1 remote-as 64500",
            "neighbor 10.0.0.1 timers connect 1",
        ];
        let frr = Frr::start(&lines).await;
        let peer = PeerConfig {
            dialing: Dialing::Both,
            router_id: Some(identifier.parse().unwrap()),
            ..PeerConfig::new("frr", 64500, RemoteAs::Asn(64501), "10.0.0.2".parse().unwrap())
        };
        let handle = speaker(peer, vec![route("192.168.0.1/32")]);
        session(&handle, "frr", |state| state.up).await;
        frr.shows("show bgp ipv4 unicast", &["192.168.0.1/32"]).await;
        eventually("one connection", || {
            let listed = run("ss -Htn state established '( sport = 179 or dport = 179 )' | wc -l");
            let count = String::from_utf8(listed.stdout).unwrap();
            (count.trim() == "1").then_some(()).ok_or(count)
        })
        .await;
        handle.shutdown().await;
    });
}

// BGP-78
pub(crate) fn frr_may_be_the_one_that_dials() {
    in_namespace(async {
        let frr = Frr::start(&[
            "neighbor 10.0.0.1 remote-as 64500",
            "neighbor 10.0.0.1 timers connect 1",
        ])
        .await;
        let handle = shell();
        handle.change_routes(vec![route("192.168.0.1/32")]);
        handle.routes_known();
        let range = Range {
            prefix: "10.0.0.0/24".parse().unwrap(),
            limit: 100,
            peer: PeerConfig::new("lab", 64500, RemoteAs::External, Ipv4Addr::UNSPECIFIED.into()),
        };
        handle.set_listening(Listen {
            ranges: vec![range],
            ..Listen::default()
        });
        session(&handle, "lab[10.0.0.2]", |state| state.up).await;
        frr.shows("show bgp ipv4 unicast", &["192.168.0.1/32"]).await;
    });
}

// BGP-75
pub(crate) fn frr_with_ttl_security_wants_it_of_us() {
    in_namespace(async {
        let lines = [
            "neighbor 10.0.0.1 remote-as 64500",
            "neighbor 10.0.0.1 passive",
            "neighbor 10.0.0.1 ttl-security hops 1",
        ];
        let frr = Frr::start(&lines).await;
        let peer = |ttl_security| PeerConfig {
            ttl_security,
            ..PeerConfig::new("frr", 64500, RemoteAs::Asn(64501), "10.0.0.2".parse().unwrap())
        };
        let handle = speaker(peer(false), vec![route("192.168.0.1/32")]);
        let state = session(&handle, "frr", |state| state.reason.is_some()).await;
        assert!(!state.up);
        handle.set_peers(vec![peer(true)]);
        session(&handle, "frr", |state| state.up).await;
        frr.shows("show bgp ipv4 unicast", &["192.168.0.1/32"]).await;
    });
}
