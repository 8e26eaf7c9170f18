//! The table once more (RFC 2918, RFC 7313).

use super::*;
use crate::{
    GracefulRestart,
    wire::{MessageType, RestartCapability},
};

const REQUEST: RouteRefresh = RouteRefresh {
    family: Family::IPV4_UNICAST,
    subtype: 0,
};
const BEGIN: [u8; 7] = hex!("0017 05 0001 01 01");
const END: [u8; 7] = hex!("0017 05 0001 02 01");

fn offering(route_refresh: bool, enhanced_refresh: bool) -> PeerConfig {
    PeerConfig {
        offer: Offer {
            route_refresh,
            enhanced_refresh,
            ..Offer::default()
        },
        ..config()
    }
}

fn open_with(more: &[Capability]) -> Message {
    let mut open = peer_open();
    open.capabilities.extend_from_slice(more);
    Message::Open(open)
}

fn establish(config: PeerConfig, more: &[Capability]) -> Scripted {
    let mut peer = Scripted::new(config);
    peer.connect()
        .receive(&open_with(more))
        .receive(&Message::Keepalive)
        .take();
    peer
}

fn enhanced() -> Scripted {
    let mut peer = establish(offering(true, true), &[Capability::EnhancedRouteRefresh]);
    let routes = [route("192.168.0.0/32"), route("2001:db8::1/128")];
    peer.feed(Event::RoutesChanged(&routes)).take();
    peer
}

fn ask(peer: &mut Scripted, family: Family, subtype: u8) -> Vec<Vec<u8>> {
    peer.receive(&Message::RouteRefresh(RouteRefresh { family, subtype }))
        .sent()
}

fn kinds(sent: &[Vec<u8>]) -> Vec<u8> {
    sent.iter().map(|message| message[2]).collect()
}

#[rstest] // BGP-66
#[case::not_offered(false, false, 0)]
#[case::plain(true, false, 1)]
fn route_refresh_repeats_the_table_if_it_was_offered(
    #[case] offered: bool,
    #[case] enhanced: bool,
    #[case] count: usize,
) {
    // What the peer offers alone is not agreed on.
    let mut peer = establish(offering(offered, enhanced), &[Capability::EnhancedRouteRefresh]);
    peer.feed(Event::RoutesChanged(&[route("192.168.0.0/32")])).take();
    let sent = ask(&mut peer, Family::IPV4_UNICAST, 0);
    assert_eq!(kinds(&sent), vec![2; count]);
}

#[test] // BGP-66
fn enhanced_refresh_has_a_begin_and_an_end() {
    let mut peer = enhanced();
    let sent = ask(&mut peer, Family::IPV4_UNICAST, 0);
    assert_eq!(kinds(&sent), [5, 2, 5]);
    assert_eq!((&sent[0][..], &sent[2][..]), (&BEGIN[..], &END[..]));
    // A family of which nothing is sent has an empty table, and that is an answer.
    let sent = ask(&mut peer, Family::IPV6_UNICAST, 0);
    assert_eq!(sent, [hex!("0017 05 0002 01 01"), hex!("0017 05 0002 02 01")]);
}

#[test] // BGP-66
fn refresh_of_what_was_not_negotiated_is_ignored() {
    let mut peer = enhanced();
    assert!(ask(&mut peer, Family { afi: 25, safi: 70 }, 0).is_empty());
    // The peer's own begin and end frame what nobody keeps; the rest is for those who know it.
    for subtype in 1..=255 {
        assert!(ask(&mut peer, Family::IPV4_UNICAST, subtype).is_empty(), "{subtype}");
    }
    assert_eq!(peer.state(), State::Established);
    let mut only_ipv4 = Scripted::new(offering(true, true));
    let capabilities = vec![
        Capability::Multiprotocol(Family::IPV4_UNICAST),
        Capability::FourOctetAsn(64501),
        Capability::EnhancedRouteRefresh,
    ];
    only_ipv4
        .connect()
        .receive(&Message::Open(Open::new(64501, 90, B, capabilities)))
        .receive(&Message::Keepalive)
        .feed(Event::RoutesChanged(&[]))
        .take();
    assert!(ask(&mut only_ipv4, Family::IPV6_UNICAST, 0).is_empty());
}

#[test] // BGP-66
fn changes_that_wait_go_before_the_begin_and_the_table_between_both() {
    let mut peer = enhanced();
    let many: Vec<PeerRoute> = (0..20_000u32)
        .map(|n| (IpAddr::from(n.to_be_bytes()).into(), Some(Arc::default())))
        .collect();
    let id = peer.id();
    let octets = |actions: &[Action]| actions.iter().map(sent_octets).sum::<usize>();
    // The peer is busy when it asks, twice.
    let queued = octets(&peer.session.handle(peer.now, Event::RoutesChanged(&many)));
    peer.session
        .handle(peer.now, Event::RoutesChanged(&[gone("192.168.0.0/32")]));
    let request = Codec::default().encode(&Message::RouteRefresh(REQUEST)).unwrap();
    for _ in 0..2 {
        let actions = peer.session.handle(peer.now, Event::Received(id, &request));
        assert!(!actions.iter().any(|action| matches!(action, Action::Send(_))));
    }
    peer.feed(Event::Written(id, queued));
    let sent = peer.sent();
    let kinds = kinds(&sent);
    assert_eq!(kinds[..2], [2, 5], "the withdrawal, then the begin");
    assert_eq!(kinds.iter().filter(|kind| **kind == 5).count(), 2, "one answer");
    assert_eq!(sent.last().unwrap()[..], END);
}

#[test] // BGP-66
fn under_graceful_restart_no_refresh_begins_before_end_of_rib() {
    let config = PeerConfig {
        graceful_restart: Some(GracefulRestart::default()),
        ..offering(true, true)
    };
    let helper = Capability::GracefulRestart(RestartCapability::default());
    let mut peer = establish(config, &[Capability::EnhancedRouteRefresh, helper]);
    assert!(ask(&mut peer, Family::IPV4_UNICAST, 0).is_empty());
    peer.feed(Event::RoutesChanged(&[route("192.168.0.0/32")]));
    let sent = peer.sent();
    assert_eq!(kinds(&sent), [2, 2, 2, 5, 2, 5], "each family has its end first");
    assert_eq!(
        (&sent[1][..], &sent[3][..]),
        (&hex!("0017 02 0000 0000")[..], &BEGIN[..])
    );
}

#[rstest] // BGP-66
#[case::begin(&hex!("0018 05 0001 01 01 00"), true)]
#[case::end(&hex!("001b 05 0001 02 01 00000000"), true)]
#[case::request_with_filters(&hex!("0018 05 0001 00 01 00"), false)]
fn begin_and_end_have_one_length(#[case] bytes: &[u8], #[case] wrong: bool) {
    let message = [&[0xff; 16][..], bytes].concat();
    let mut peer = enhanced();
    peer.receive_bytes(&message);
    if wrong {
        assert_eq!(refusal(&peer.take()), [&hex!("0701")[..], &message].concat());
    } else {
        assert_eq!(peer.state(), State::Established);
    }
    let mut plain = establish(offering(true, false), &[]);
    assert_eq!(plain.receive_bytes(&message).state(), State::Established);
}

#[test] // BGP-83
fn host_name_is_told_if_it_is_to_be_and_cut_to_what_fits() {
    let named = |host_name, node_name: String| {
        let offer = Offer {
            host_name,
            ..Offer::default()
        };
        let config = PeerConfig {
            node_name,
            offer,
            ..config()
        };
        let sent = Scripted::new(config).connect().sent();
        let frame = crate::wire::Frame {
            kind: MessageType::Open,
            body: bytes::Bytes::copy_from_slice(&sent[0][3..]),
        };
        let Ok(Message::Open(open)) = Codec::default().decode(&frame) else {
            panic!("no OPEN")
        };
        open.capabilities.into_iter().find_map(|capability| match capability {
            Capability::HostName { host, domain } => Some((host, domain)),
            _ => None,
        })
    };
    assert_eq!(named(false, "node-a".to_owned()), None);
    assert_eq!(named(true, String::new()), None);
    assert_eq!(
        named(true, "node-a".to_owned()),
        Some(("node-a".to_owned(), String::new()))
    );
    let long = format!("{}é", "n".repeat(63));
    assert_eq!(named(true, long).unwrap().0, "n".repeat(63));
}

#[rstest] // BGP-71
#[case::short("node drain", b"\x0anode drain".to_vec())]
#[case::none("", vec![])]
#[case::cut_between_two_characters(&"ä".repeat(128), [&[254][..], "ä".repeat(127).as_bytes()].concat())]
#[case::just_fitting(&"x".repeat(255), [&[255][..], &[b'x'; 255]].concat())]
fn last_word_carries_a_text(#[case] text: &str, #[case] data: Vec<u8>) {
    let mut peer = Scripted::new(config());
    peer.establish().take();
    peer.feed(Event::Stop(StopReason::Shutdown, text));
    let sent = peer.sent();
    assert_eq!(sent[0][3..], [&hex!("0602")[..], &data].concat());
}

#[test] // BGP-71
fn only_shutdown_and_reset_have_room_for_a_text() {
    for (subcode, length) in [(2, 4), (4, 4), (3, 0), (6, 0)] {
        let told = Notification::new(Code::Cease, subcode).with_communication("bye");
        assert_eq!(told.data.len(), length, "{subcode}");
    }
}

#[rstest] // BGP-71
#[case::cut_short(vec![9, b'b', b'y'], None)]
#[case::not_utf8(vec![2, 0xff, b'x'], Some("\u{fffd}x"))]
#[case::old_length(vec![1, b'x', b'y'], Some("x"))]
fn text_of_the_peer_is_shown_as_far_as_it_is_one(#[case] data: Vec<u8>, #[case] text: Option<&str>) {
    let told = Notification::with_data(Code::Cease, 2, data);
    assert_eq!(told.communication().as_deref(), text);
    let control = Notification::with_data(Code::Cease, 2, *b"\x03a\nb");
    assert_eq!(control.to_string(), r#"6/2 (administrative shutdown) "a\nb""#);
}
