//! Graceful restart as the restarting speaker (RFC 4724, RFC 8538).

use super::*;
use crate::{
    GracefulRestart,
    wire::{RestartCapability, RestartFamily},
};

fn restarting() -> PeerConfig {
    PeerConfig {
        graceful_restart: Some(GracefulRestart::default()),
        ..config()
    }
}

/// The peer's OPEN: it helps us, and takes NOTIFICATIONs for a restart or not.
fn helper(notification: bool) -> Message {
    let mut open = peer_open();
    open.capabilities.push(Capability::GracefulRestart(RestartCapability {
        notification,
        time: 120,
        ..RestartCapability::default()
    }));
    Message::Open(open)
}

fn establish(config: PeerConfig, open: &Message) -> Scripted {
    let mut peer = Scripted::new(config);
    peer.connect().receive(open).receive(&Message::Keepalive).take();
    peer
}

fn last_word(mut peer: Scripted, reason: StopReason) -> Vec<Vec<u8>> {
    peer.feed(Event::Stop(reason, ""));
    peer.sent()
}

/// Of a family each.
const ENDS_OF_RIB: [&[u8]; 2] = [&hex!("0017 02 0000 0000"), &hex!("001d 02 0000 0006 800f03 000201")];

fn restart_of(open: &[u8]) -> Vec<u8> {
    let at = open
        .windows(2)
        .position(|window| window == [0x40, 6] || window == [0x40, 10]);
    at.map(|at| open[at..].to_vec()).unwrap_or_default()
}

#[rstest] // BGP-70
#[case::own_family(false, 120, &hex!("4006 c078 00010180"), &hex!("4006 4078 00010180"))]
#[case::both_families(true, 120, &hex!("400a c078 00010180 00020180"), &hex!("400a 4078 00010180 00020180"))]
#[case::no_time(false, 0, &hex!("4006 c000 00010180"), &hex!("4006 4000 00010180"))]
#[case::twelve_bits(false, 9999, &hex!("4006 cfff 00010180"), &hex!("4006 4fff 00010180"))]
fn only_the_first_open_says_that_we_have_restarted(
    #[case] dual_stack: bool,
    #[case] time: u64,
    #[case] first: &[u8],
    #[case] later: &[u8],
) {
    let restart = GracefulRestart {
        restart_time: secs(time),
    };
    let mut peer = Scripted::new(PeerConfig {
        dual_stack,
        graceful_restart: Some(restart),
        ..config()
    });
    peer.session.set_restarted();
    assert_eq!(restart_of(&peer.connect().sent()[0]), first);
    peer.close().tick();
    assert_eq!(restart_of(&peer.connect().sent()[0]), later);
}

#[test] // BGP-70
fn peer_that_is_new_to_a_running_speaker_is_not_told_of_a_restart() {
    let mut peer = Scripted::new(restarting());
    assert_eq!(restart_of(&peer.connect().sent()[0]), hex!("4006 4078 00010180"));
}

#[test] // BGP-67
fn end_of_rib_follows_the_whole_table_and_not_the_part_that_is_known() {
    let mut peer = establish(restarting(), &helper(true));
    // The table is not known for longer than anything takes.
    for _ in 0..5 {
        peer.sleep(secs(1)).receive(&Message::Keepalive);
    }
    assert!(!peer.sent().iter().any(|message| ENDS_OF_RIB.contains(&&message[..])));
    peer.feed(Event::RoutesChanged(&[route("192.168.0.0/32")]));
    assert_eq!(peer.sent()[1..], ENDS_OF_RIB);
    peer.feed(Event::RoutesChanged(&[route("192.168.0.1/32")]));
    assert_eq!(peer.sent().len(), 1, "once a session");
    peer.close().tick();
    peer.connect().receive(&helper(true)).receive(&Message::Keepalive);
    let sent = peer.sent();
    assert_eq!(sent[sent.len() - 2..], ENDS_OF_RIB, "the next session has them, too");
}

#[test] // BGP-67
fn empty_table_ends_as_well_and_each_family_of_the_session_has_its_end() {
    for dual_stack in [true, false] {
        let config = PeerConfig {
            dual_stack,
            ..restarting()
        };
        let mut peer = establish(config, &helper(false));
        peer.feed(Event::RoutesChanged(&[]));
        assert_eq!(peer.sent(), ENDS_OF_RIB);
    }
}

#[test]
fn table_too_long_for_the_buffers_ends_after_its_last_message() {
    let mut peer = establish(restarting(), &helper(true));
    let many: Vec<PeerRoute> = (0..50_000u32)
        .map(|n| (IpAddr::from(n.to_be_bytes()).into(), Some(Arc::default())))
        .collect();
    peer.feed(Event::RoutesChanged(&many));
    let sent = peer.sent();
    let ends = sent
        .iter()
        .filter(|message| ENDS_OF_RIB.contains(&&message[..]))
        .count();
    assert_eq!(
        (ends, &sent[sent.len() - 2..]),
        (2, &ENDS_OF_RIB.map(<[u8]>::to_vec)[..])
    );
    assert_eq!(peer.session.rib().advertised(), 50_000);
}

#[rstest] // BGP-68
#[case::off(config(), helper(true))]
#[case::peer_does_not_help(restarting(), Message::Open(peer_open()))]
fn without_agreement_nothing_is_different(#[case] config: PeerConfig, #[case] open: Message) {
    let mut peer = establish(config.clone(), &open);
    peer.feed(Event::RoutesChanged(&[]));
    assert!(peer.sent().is_empty(), "no End-of-RIB");
    assert_eq!(peer.session.negotiated().unwrap().graceful_restart, None);
    assert_eq!(last_word(peer, StopReason::Restart), [hex!("0015 03 0602")]);
    assert_eq!(
        last_word(establish(config, &open), StopReason::Deconfigured),
        [hex!("0015 03 0603")]
    );
}

#[rstest] // BGP-67, BGP-69
#[case::restart(StopReason::Restart, true, &[])]
#[case::restart_of_an_old_helper(StopReason::Restart, false, &[])]
#[case::leaving(StopReason::Shutdown, true, &hex!("0017 03 0609 0602"))]
#[case::removed(StopReason::Deconfigured, true, &hex!("0017 03 0609 0603"))]
#[case::elsewhere(StopReason::Moved, true, &hex!("0017 03 0609 0606"))]
#[case::bfd_is_no_cover(StopReason::BfdDown, true, &hex!("0017 03 0609 060a"))]
#[case::it_comes_back(StopReason::Reset, true, &hex!("0015 03 0604"))]
#[case::so_does_this(StopReason::ConfigChange, true, &hex!("0015 03 0606"))]
#[case::any_word_ends_it_for_an_old_helper(StopReason::Shutdown, false, &hex!("0015 03 0602"))]
#[case::bfd_with_an_old_helper(StopReason::BfdDown, false, &hex!("0015 03 060a"))]
fn routes_stay_with_who_comes_back_only(#[case] reason: StopReason, #[case] notification: bool, #[case] word: &[u8]) {
    let peer = establish(restarting(), &helper(notification));
    assert_eq!(last_word(peer, reason).concat(), word);
}

#[test]
fn restart_while_the_session_opens_does_not_end_what_the_peer_still_keeps() {
    let mut peer = Scripted::new(restarting());
    peer.connect().take();
    assert!(last_word(peer, StopReason::Restart).is_empty());
    let mut peer = Scripted::new(restarting());
    peer.connect().receive(&helper(true)).take();
    assert!(last_word(peer, StopReason::Restart).is_empty());
}

#[test]
fn peer_that_refuses_the_capability_gets_a_session_without() {
    let mut peer = Scripted::new(restarting());
    let refusal = Notification::with_data(Code::Open, 7, hex!("4000"));
    peer.connect().receive(&Message::Notification(refusal)).take();
    while peer.state() != State::Connect {
        peer.tick();
    }
    peer.take();
    assert!(restart_of(&peer.connect().sent()[0]).is_empty());
    peer.receive(&helper(true)).receive(&Message::Keepalive);
    assert_eq!(peer.session.negotiated().unwrap().graceful_restart, None);
}

#[test]
fn reason_of_a_hard_reset_is_told() {
    let bye = Notification::with_data(Code::Cease, 2, *b"\x03bye").hard();
    assert_eq!(bye.data, hex!("0602 03 627965"));
    let text = DownReason::Received(bye).to_string();
    assert_eq!(
        text,
        "peer sent NOTIFICATION 6/9 (hard reset) for 6/2 (administrative shutdown) \"bye\""
    );
    let nested = Notification::with_data(Code::Cease, 9, [6, 9].repeat(30_000));
    assert!(nested.to_string().len() < 100);
}

#[rstest]
#[case::its_own_restart(Notification::new(Code::Cease, 4).hard(), true)]
#[case::shutdown(Notification::new(Code::Cease, 2).hard(), false)]
fn hard_reset_asks_for_what_it_encloses(#[case] notification: Notification, #[case] at_once: bool) {
    let mut peer = Scripted::new(config());
    let pauses = pauses(&mut peer, 1, |peer| {
        peer.establish().receive(&Message::Notification(notification.clone()));
    });
    assert_eq!(pauses[0] == Duration::ZERO, at_once, "{pauses:?}");
}

proptest::proptest! {
    #[test] // BGP-81
    fn whatever_is_said_of_restarts_is_read_without_panic(value in proptest::collection::vec(0u8.., 0..64)) {
        let capability = [&[0x40, u8::try_from(value.len()).unwrap()][..], &value].concat();
        let length = u8::try_from(capability.len()).unwrap();
        let body = [&hex!("04 fbf5 0009 0a000002")[..], &[length + 2, 2, length], &capability].concat();
        let frame = crate::wire::Frame { kind: crate::wire::MessageType::Open, body: body.into() };
        let Ok(Message::Open(open)) = Codec::default().decode(&frame) else {
            panic!("the OPEN is in order")
        };
        let known = open.capabilities[0].restart().is_some();
        proptest::prop_assert_eq!(known, value.len() >= 2 && (value.len() - 2) % 4 == 0);
    }
}

#[test]
fn helpers_capability_of_frr_is_understood() {
    let open = hex!("04 fbf5 00b4 0a000002 06 0204 4002c078");
    let frame = crate::wire::Frame {
        kind: crate::wire::MessageType::Open,
        body: bytes::Bytes::copy_from_slice(&open),
    };
    let Ok(Message::Open(open)) = Codec::default().decode(&frame) else {
        panic!("the OPEN is in order")
    };
    let expected = RestartCapability {
        restarted: true,
        notification: true,
        time: 120,
        families: Vec::<RestartFamily>::new(),
    };
    assert_eq!(open.capabilities[0].restart(), Some(&expected));
}
