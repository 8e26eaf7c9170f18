//! What the shell does with sockets, against a scripted router on loopback.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddrV6,
    process::Command,
    time::Duration,
};

use metallb_bfd::Control;
use metallb_dataplane::bfd::{Refusal, SessionConfig, SessionKey, State};
use metallb_test_runner::skip;
use socket2::{Domain, Socket, Type};

use crate::{
    eventually, far, fast, key,
    neighbour::{in_namespace, run},
    router::{Router, at},
    session, sessions, set, shell, speaker, up,
};

// BGP-86
pub(crate) fn packets_leave_with_ttl_255_from_a_high_port_that_stays() {
    in_namespace(async {
        let handle = speaker([key("127.0.0.2"), key("127.0.0.3"), far("127.0.0.2")]);
        sessions(&handle, |sessions| sessions.len() == 3).await;
        let mut ports = BTreeSet::new();
        for address in [at("127.0.0.2", 3784), at("127.0.0.3", 3784), at("127.0.0.2", 4784)] {
            let router = Router::listen(address, None);
            let first = router.establish().await;
            let later = router.hear().await;
            assert_eq!((first.ttl, later.ttl), (255, 255));
            assert_eq!(first.from, later.from);
            assert!(first.from.port() >= 49152, "{}", first.from);
            ports.insert(first.from.port());
        }
        assert_eq!(ports.len(), 3, "one for each session");
    });
}

// BGP-93
pub(crate) fn ipv6_and_link_local_peers_are_reached() {
    in_namespace(async {
        run("ip addr add fd00::2/128 dev lo nodad && ip addr add fe80::2/64 dev lo nodad");
        let local = SessionKey {
            zone: Some("lo".to_owned()),
            ..key("fe80::2")
        };
        let handle = speaker([key("fd00::2"), local.clone()]);
        sessions(&handle, |sessions| sessions.len() == 2).await;
        // The loopback interface is always the first one.
        let addresses = [
            at("fd00::2", 3784),
            SocketAddrV6::new("fe80::2".parse().unwrap(), 3784, 0, 1).into(),
        ];
        for address in addresses {
            let router = Router::listen(address, None);
            assert_eq!(router.hear().await.ttl, 255);
        }
    });
}

// BGP-86
pub(crate) fn what_was_routed_is_refused_over_one_hop_and_taken_over_several() {
    in_namespace(async {
        let handle = speaker([key("127.0.0.2"), far("127.0.0.2")]);
        sessions(&handle, |sessions| sessions.len() == 2).await;
        let near = Router::listen(at("127.0.0.2", 3784), None).with_ttl(254);
        let heard = near.hear().await;
        near.say(&heard, State::Down);
        eventually("a refusal", || match handle.refusals().get(&Refusal::Ttl) {
            Some(1) => Ok(()),
            _ => Err(format!("{:?}", handle.refusals())),
        })
        .await;
        assert_eq!(
            handle.sessions().borrow()[&key("127.0.0.2")].counters.control_input(),
            0
        );
        let far_away = Router::listen(at("127.0.0.2", 4784), None).with_ttl(3);
        far_away.establish().await;
        let state = up(&handle, &far("127.0.0.2")).await;
        assert!(state.counters.control_input() >= 2 && state.counters.control_output() >= 2);
        assert_eq!((state.counters.ups(), state.counters.downs()), (1, 0));
    });
}

pub(crate) fn a_port_that_another_daemon_has_is_reported_until_it_is_free() {
    in_namespace(async {
        let other = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        other.bind(&at("0.0.0.0", 3784).into()).unwrap();
        let handle = speaker([key("127.0.0.2")]);
        let state = session(&handle, &key("127.0.0.2"), |session| session.error.is_some()).await;
        let error = state.error.unwrap();
        assert!(error.contains("UDP port 3784") && error.contains("in use"), "{error}");
        drop(other);
        session(&handle, &key("127.0.0.2"), |session| session.error.is_none()).await;
        Router::listen(at("127.0.0.2", 3784), None).establish().await;
        up(&handle, &key("127.0.0.2")).await;
    });
}

// BGP-84
pub(crate) fn echoes_over_several_hops_are_told_to_have_no_effect() {
    in_namespace(async {
        let (handle, _) = shell();
        let echoing = SessionConfig {
            echo_transmit: Some(Duration::from_millis(50)),
            ..fast()
        };
        set(&handle, [far("127.0.0.2")], &echoing);
        let state = session(&handle, &far("127.0.0.2"), |session| session.error.is_some()).await;
        let error = state.error.unwrap();
        assert!(error.contains("echoes") && error.contains("several hops"), "{error}");
        // It works apart from that.
        Router::listen(at("127.0.0.2", 4784), None).establish().await;
        up(&handle, &far("127.0.0.2")).await;
        set(&handle, [far("127.0.0.2")], &fast());
        session(&handle, &far("127.0.0.2"), |session| session.error.is_none()).await;
    });
}

pub(crate) fn malformed_packets_are_counted_with_their_reasons() {
    in_namespace(async {
        let (handle, key) = (speaker([key("127.0.0.2")]), key("127.0.0.2"));
        sessions(&handle, |sessions| sessions.len() == 1).await;
        let router = Router::listen(at("127.0.0.2", 3784), None);
        let heard = router.establish().await;
        up(&handle, &key).await;
        let good = Router::answer(&heard, State::Up).encode();
        let wrong = |place: usize, octets: &[u8]| {
            let mut bytes = good.to_vec();
            bytes[place..][..octets.len()].copy_from_slice(octets);
            bytes
        };
        let bad = [
            (Refusal::TooShort, good[..23].to_vec()),
            (Refusal::TooShort, Vec::new()),
            (Refusal::Version, wrong(0, &[0x40])),
            (Refusal::Length, wrong(3, &[25])),
            (Refusal::Length, wrong(3, &[23])),
            (Refusal::Multiplier, wrong(2, &[0])),
            (Refusal::Multipoint, wrong(1, &[0xc1])),
            (Refusal::Authentication, wrong(1, &[0xc4])),
            (Refusal::MyDiscriminator, wrong(4, &[0; 4])),
            (Refusal::YourDiscriminator, wrong(8, &[0; 4])),
            (
                Refusal::Discriminator,
                wrong(8, &(!heard.packet.my_discriminator).to_be_bytes()),
            ),
        ];
        let mut expected = BTreeMap::new();
        for (reason, bytes) in &bad {
            router.say_bytes(&heard, bytes);
            *expected.entry(*reason).or_insert(0) += 1;
        }
        // To the port of several hops nobody listens; from another address nobody is known.
        let stranger = Router::listen(at("127.0.0.3", 3784), None);
        let hello = Control {
            your_discriminator: 0,
            ..Router::answer(&heard, State::Down)
        };
        stranger.say_bytes(&heard, &hello.encode());
        expected.insert(Refusal::Peer, 1);
        eventually("all of them counted", || {
            let counted = handle.refusals();
            if counted == expected {
                Ok(())
            } else {
                Err(format!("{counted:?}"))
            }
        })
        .await;
        assert_eq!(up(&handle, &key).await.counters.downs(), 0);
    });
}

pub(crate) fn a_missing_vrf_is_named() {
    in_namespace(async {
        let within = SessionKey {
            device: Some("red".to_owned()),
            ..key("10.0.0.2")
        };
        let other = key("127.0.0.2");
        let handle = speaker([within.clone(), other.clone()]);
        let state = session(&handle, &within, |session| session.error.is_some()).await;
        let error = state.error.unwrap();
        assert!(error.contains("VRF red: No such device"), "{error}");
        Router::listen(at("127.0.0.2", 3784), None).establish().await;
        up(&handle, &other).await;
    });
}

pub(crate) fn forwarding_is_followed_without_a_loss_of_the_session() {
    in_namespace(async {
        let (handle, key) = (speaker([]), key("127.0.0.2"));
        let returning = SessionConfig {
            echo_receive: Some(Duration::from_millis(50)),
            ..fast()
        };
        run("sysctl -q -w net.ipv4.ip_forward=0");
        set(&handle, [key.clone()], &returning);
        sessions(&handle, |sessions| sessions.len() == 1).await;
        let router = Router::listen(at("127.0.0.2", 3784), None);
        let mut heard = router.establish().await;
        assert_eq!(heard.packet.required_min_echo_rx, 0);
        // Each interface has its own say, and that of this session is `lo`.
        for (setting, echoes) in [
            ("ip_forward=1", 50_000),
            ("conf.lo.forwarding=0", 0),
            ("conf.lo.forwarding=1", 50_000),
            ("ip_forward=0", 0),
        ] {
            run(&format!("sysctl -q -w net.ipv4.{setting}"));
            heard = router.until(|packet| packet.required_min_echo_rx == echoes).await;
            router.say(&heard, State::Up);
        }
        assert_eq!(heard.packet.state, State::Up);
        assert_eq!(up(&handle, &key).await.counters.downs(), 0);
    });
}

pub(crate) fn a_missing_interface_is_reported_until_it_is_there() {
    in_namespace(async {
        let local = SessionKey {
            zone: Some("late0".to_owned()),
            ..key("fe80::2")
        };
        let handle = speaker([local.clone()]);
        let state = session(&handle, &local, |session| session.error.is_some()).await;
        let error = state.error.unwrap();
        assert!(error.contains("interface late0"), "{error}");
        run("ip link add late0 type veth peer late1 && ip link set late1 up && ip link set late0 up");
        session(&handle, &local, |session| session.error.is_none()).await;
    });
}

// BGP-89
pub(crate) fn a_session_that_ends_and_the_end_of_the_process_are_no_failures() {
    in_namespace(async {
        let (handle, stop) = shell();
        let (one, two) = (key("127.0.0.2"), key("127.0.0.3"));
        set(&handle, [one.clone(), two.clone()], &fast());
        sessions(&handle, |sessions| sessions.len() == 2).await;
        let routers = ["127.0.0.2", "127.0.0.3"].map(|ip| Router::listen(at(ip, 3784), None));
        routers[0].establish().await;
        routers[1].establish().await;
        set(&handle, [two.clone()], &fast());
        let goodbye = routers[0].until(|packet| packet.state == State::AdminDown).await;
        routers[0].say(&goodbye, State::Down);
        sessions(&handle, |sessions| !sessions.contains_key(&one)).await;
        assert_eq!(up(&handle, &two).await.counters.downs(), 0);
        stop.cancel();
        let goodbye = routers[1].until(|packet| packet.state == State::AdminDown).await;
        assert_eq!(goodbye.packet.diagnostic.code(), 7);
        routers[1].say(&goodbye, State::Down);
        // The thread ends, and the table with it.
        let mut table = handle.sessions();
        while table.changed().await.is_ok() {}
        assert!(table.borrow().is_empty());
    });
}

// BGP-93
pub(crate) fn the_same_router_in_two_vrfs_is_two_sessions() {
    in_namespace(async {
        for (number, name) in [(10, "red"), (20, "blue")] {
            let made = Command::new("sh")
                .args(["-c", &format!("ip link add {name} type vrf table {number}")])
                .output()
                .unwrap();
            if !made.status.success() {
                skip("this kernel has no VRF");
            }
            run(&format!("ip link set {name} up && ip addr add 10.0.0.2/32 dev {name}"));
        }
        let within = |device: &str| SessionKey {
            device: Some(device.to_owned()),
            ..key("10.0.0.2")
        };
        let handle = speaker([within("red"), within("blue")]);
        sessions(&handle, |sessions| sessions.len() == 2).await;
        for device in ["red", "blue"] {
            let router = Router::listen(at("10.0.0.2", 3784), Some(device));
            router.establish().await;
            up(&handle, &within(device)).await;
        }
        assert_eq!(up(&handle, &within("red")).await.counters.downs(), 0);
    });
}
