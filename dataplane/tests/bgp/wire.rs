//! What leaves and what is taken, as the kernel sees it.

use std::time::Duration;

use metallb_bgp::RemoteAs;
use metallb_dataplane::bgp::{MessageType, Password, PeerConfig};
use metallb_l2::TAKE_ALL;
use metallb_net::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, LinkSocket};
use metallb_test_runner::skip;
use socket2::SockRef;

use crate::{PATIENCE, neighbour::in_namespace, router::Router, session, shell, speaker};

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// The options of a SYN without ACK to that port; `None` for any other packet.
fn syn_options(packet: &[u8], port: u16) -> Option<&[u8]> {
    let tcp = match packet.first()? >> 4 {
        4 => packet
            .get(usize::from(packet[0] & 15) * 4..)
            .filter(|_| packet.get(9) == Some(&6))?,
        6 => packet.get(40..).filter(|_| packet.get(6) == Some(&6))?,
        _ => return None,
    };
    let to = u16::from_be_bytes([*tcp.get(2)?, *tcp.get(3)?]);
    let length = usize::from(tcp.get(12)? >> 4) * 4;
    let syn = tcp.get(13)? & (SYN | ACK) == SYN;
    tcp.get(20..length).filter(|_| syn && to == port)
}

fn has_option(mut options: &[u8], wanted: u8) -> bool {
    loop {
        match options {
            [kind, ..] if *kind == wanted => return true,
            [1, rest @ ..] => options = rest,
            [0, ..] | [] => return false,
            [_, length, ..] => options = options.get(usize::from(*length).max(2)..).unwrap_or_default(),
            [_] => return false,
        }
    }
}

// BGP-73, BGP-112
pub(crate) fn no_syn_leaves_unsigned_while_there_is_a_password() {
    in_namespace(async {
        for (address, ethertype) in [("127.0.0.1", ETHERTYPE_IPV4), ("::1", ETHERTYPE_IPV6)] {
            let address = address.parse().unwrap();
            let router = Router::listen_on(address).await;
            if let Err(error) = metallb_net::set_tcp_md5(&router.listener, address, b"other") {
                skip(format!("this kernel has no TCP-MD5: {error}"));
            }
            let capture = LinkSocket::open(ethertype, &TAKE_ALL).unwrap();
            let peer = router.peer("r");
            let port = peer.port;
            let handle = shell();
            let with_key = |key: &str| PeerConfig {
                password: Some(Password::new(key)),
                ..peer.clone()
            };
            // The router has another key: each attempt is repeated, and there is a second configuration.
            handle.set_peers(vec![with_key("secret")]);
            let (mut seen, mut buffer) = (0, [0; 2048]);
            let end = tokio::time::Instant::now() + PATIENCE;
            while seen < 4 {
                assert!(tokio::time::Instant::now() < end, "only {seen} SYNs");
                if seen == 2 {
                    handle.set_peers(vec![with_key("rotated")]);
                }
                let Some(received) = capture.receive(&mut buffer).unwrap() else {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                };
                if let Some(options) = syn_options(&buffer[..received.len], port) {
                    assert!(has_option(options, 19), "{options:x?}");
                    seen += 1;
                }
            }
            handle.shutdown().await;
        }
    });
}

// BGP-75
pub(crate) async fn what_came_over_a_router_is_not_heard_with_ttl_security() {
    let router = Router::listen().await;
    let secured = PeerConfig {
        ttl_security: true,
        hold_time: Some(Duration::from_secs(3)),
        ..router.peer("r")
    };
    let handle = speaker(secured, vec![]);
    assert!(!router.is_dialled().await, "its SYN-ACK has TTL 64");
    SockRef::from(&router.listener).set_ttl_v4(255).unwrap();
    let line = router.establish().await;
    let state = session(&handle, "r", |state| state.up).await;
    line.set_ttl(254);
    let down = session(&handle, "r", |state| !state.up).await;
    assert!(down.reason.unwrap().contains("4/0"));
    assert_eq!(state.counters.received(MessageType::Open), 1);
}

// BGP-38
pub(crate) async fn router_of_the_wrong_kind_of_as_is_told_which() {
    let router = Router::listen().await;
    let internal = PeerConfig {
        remote: RemoteAs::Internal,
        ..router.peer("r")
    };
    let handle = speaker(internal, vec![]);
    let mut line = router.accept().await;
    line.open_as(4_200_000_000).await;
    let answer = line.notification().await;
    assert_eq!(
        (answer.subcode, answer.data),
        (2, 4_200_000_000u32.to_be_bytes().to_vec())
    );
    let state = session(&handle, "r", |state| state.reason.is_some()).await;
    assert!(state.reason.unwrap().contains("4200000000"));
}
