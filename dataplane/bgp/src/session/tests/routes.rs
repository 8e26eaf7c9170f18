//! What the peer is told.

use super::*;

fn attributes<const N: usize>(local_pref: u32, communities: [u32; N]) -> PeerRoute {
    let attributes = Attributes {
        local_pref,
        communities: communities.into(),
        ..Attributes::default()
    };
    ("192.168.0.0/32".parse().unwrap(), Some(attributes.into()))
}

#[test] // BGP-45
fn update_is_upstreams_to_external_and_internal_peers() {
    let mut peer = Scripted::new(config());
    let announced = attributes(0, [64500 << 16 | 7]);
    peer.feed(Event::RoutesChanged(&[announced])).establish();
    let external = hex!("0037 02 0000 001b 40010100 4002060201 0000fbf4 4003040a000001 c00804fbf40007 20c0a80000");
    assert_eq!(peer.sent().pop().unwrap(), external);

    let mut peer = Scripted::new(PeerConfig {
        remote: RemoteAs::Internal,
        ..config()
    });
    let announced = attributes(100, []);
    peer.feed(Event::RoutesChanged(&[announced])).connect();
    let open = Open::new(64500, 90, B, vec![Capability::FourOctetAsn(64500)]);
    peer.receive(&Message::Open(open)).receive(&Message::Keepalive);
    let internal = hex!("0031 02 0000 0015 40010100 400200 4003040a000001 40050400000064 20c0a80000");
    assert_eq!(peer.sent().pop().unwrap(), internal);
}

#[test] // BGP-39
fn local_asn_replaces_ours_in_open_and_path() {
    let mut peer = Scripted::new(PeerConfig {
        local_asn: Some(65410),
        ..config()
    });
    peer.feed(Event::RoutesChanged(&[route("192.168.0.0/32")])).establish();
    let sent = peer.sent();
    assert_eq!(sent[0][4..6], 65410u16.to_be_bytes());
    assert!(sent[2].windows(6).any(|window| window == hex!("0201 0000ff82")));
}

#[test] // BGP-51
fn changes_collapse_while_the_peer_is_busy() {
    let mut peer = Scripted::new(config());
    let many: Vec<PeerRoute> = (0..20_000u32)
        .map(|n| (IpAddr::from(n.to_be_bytes()).into(), Some(Arc::default())))
        .collect();
    peer.establish().take();
    let sent: usize = peer
        .session
        .handle(peer.now, Event::RoutesChanged(&many))
        .iter()
        .map(sent_octets)
        .sum();
    assert!(sent > HIGH_WATER);
    for (prefix, _) in &many[..9] {
        let actions = peer.session.handle(peer.now, Event::RoutesChanged(&[(*prefix, None)]));
        assert_eq!(actions, []);
    }
    peer.feed(Event::Written(peer.id(), sent));
    assert_eq!(peer.session.rib().advertised(), 20_000 - 9);
    assert_eq!(peer.sent().len(), 1, "one withdrawal of nine prefixes");
}

#[test] // BGP-62, BGP-63
fn families_and_next_hops_follow_the_session() {
    let v6: IpAddr = "fd00::1".parse().unwrap();
    let codec = Codec {
        ipv6: true,
        ..Codec::default()
    };
    let extended = Codec {
        extended_next_hop: true,
        ..codec
    };
    let via = |next_hop| Reach::Via(next_hop);
    let over_v4 = LinkAddresses {
        ipv6: Some("fd00::1".parse().unwrap()),
        ..LinkAddresses::only(A.into())
    };
    assert_eq!(NextHops::choose(&over_v4, &codec, false).ipv6, Reach::NotWanted);
    let both = NextHops::choose(&over_v4, &codec, true);
    assert_eq!(both.ipv4, via(crate::wire::NextHop::V4(A)));
    assert_eq!(both.ipv6, via(crate::wire::NextHop::V6("fd00::1".parse().unwrap())));
    let over_v6 = LinkAddresses::only(v6);
    assert_eq!(NextHops::choose(&over_v6, &codec, true).ipv4, Reach::NoNextHop);
    let reach = NextHops::choose(&over_v6, &extended, true).ipv4;
    assert_eq!(reach, via(crate::wire::NextHop::V6("fd00::1".parse().unwrap())));
}

#[test]
fn table_is_sent_again_to_the_next_session() {
    let mut peer = Scripted::new(config());
    peer.feed(Event::RoutesChanged(&[route("192.168.0.0/32")])).establish();
    let first = peer.sent().pop();
    peer.close().tick();
    assert_eq!(peer.establish().sent().pop(), first);
}

#[test]
fn drained_session_stays_up_without_routes_even_after_a_loss() {
    let mut peer = Scripted::new(config());
    peer.feed(Event::RoutesChanged(&[route("192.168.0.0/32")]))
        .establish()
        .take();
    peer.feed(Event::Show(Posture::Withdraw));
    assert_eq!(peer.sent(), [hex!("001c 02 0005 20c0a80000 0000")]);
    assert_eq!(
        (peer.state(), peer.session.prefixes()),
        (State::Established, Prefixes::default())
    );
    peer.close().tick();
    assert!(!peer.establish().sent().iter().any(|message| message[2] == 2));
    peer.feed(Event::Show(Posture::Announce));
    assert_eq!(peer.sent().len(), 1);
    assert_eq!(peer.session.prefixes().advertised, 1);
}

#[test]
fn the_first_change_says_that_the_routes_are_known() {
    let mut peer = Scripted::new(config());
    assert!(!peer.session.routes_known());
    peer.feed(Event::RoutesChanged(&[]));
    assert!(peer.session.routes_known());
}

fn open_with(families: &[Family]) -> Message {
    let families = families.iter().map(|family| Capability::Multiprotocol(*family));
    let capabilities = families.chain([Capability::FourOctetAsn(64501)]).collect();
    Message::Open(Open::new(64501, 90, B, capabilities))
}

#[rstest] // BGP-97
#[case::own_family(false, &[Family::IPV4_UNICAST], Prefixes { desired: 2, advertised: 2, unsendable: 0 })]
#[case::peer_lacks_it(false, &[Family::IPV6_UNICAST], Prefixes { desired: 0, advertised: 0, unsendable: 2 })]
#[case::peer_lacks_the_other(true, &[Family::IPV4_UNICAST], Prefixes { desired: 2, advertised: 2, unsendable: 1 })]
#[case::no_next_hop(true, &[Family::IPV4_UNICAST, Family::IPV6_UNICAST], Prefixes { desired: 2, advertised: 2, unsendable: 1 })]
fn what_cannot_be_sent_is_counted_apart(
    #[case] dual_stack: bool,
    #[case] offered: &[Family],
    #[case] expected: Prefixes,
) {
    let mut peer = Scripted::new(PeerConfig { dual_stack, ..config() });
    let routes = ["192.168.0.0/32", "192.168.0.1/32", "2001:db8::1/128"].map(route);
    peer.feed(Event::RoutesChanged(&routes));
    let down = Prefixes {
        desired: if dual_stack { 3 } else { 2 },
        ..Prefixes::default()
    };
    assert_eq!(peer.session.prefixes(), down);
    peer.connect().receive(&open_with(offered)).receive(&Message::Keepalive);
    assert_eq!(peer.session.prefixes(), expected);
    peer.close();
    assert_eq!(peer.session.prefixes(), down);
}

#[test] // BGP-24, BGP-97
fn route_that_fits_no_message_is_not_pending() {
    let mut peer = Scripted::new(config());
    let huge = Attributes {
        communities: (0..1100).collect(),
        ..Attributes::default()
    };
    let prefix = "192.168.0.0/32".parse().unwrap();
    peer.feed(Event::RoutesChanged(&[
        (prefix, Some(huge.into())),
        route("192.168.0.1/32"),
    ]));
    peer.establish();
    let expected = Prefixes {
        desired: 1,
        advertised: 1,
        unsendable: 1,
    };
    assert_eq!(peer.session.prefixes(), expected);
    assert!(peer.take().contains(&Action::Oversized(vec![prefix])));
}

#[test] // BGP-62
fn families_that_are_wanted_and_not_offered_are_lacking() {
    for (dual_stack, offered, carried, lacking) in [
        (false, Family::IPV4_UNICAST, vec![Family::IPV4_UNICAST], vec![]),
        (false, Family::IPV6_UNICAST, vec![], vec![Family::IPV4_UNICAST]),
        (
            true,
            Family::IPV4_UNICAST,
            vec![Family::IPV4_UNICAST],
            vec![Family::IPV6_UNICAST],
        ),
    ] {
        let mut peer = Scripted::new(PeerConfig { dual_stack, ..config() });
        peer.connect().receive(&open_with(&[offered]));
        let next_hops = peer.session.negotiated().unwrap().egress.next_hops;
        assert_eq!((next_hops.carried(), next_hops.lacking()), (carried, lacking));
    }
}

const FAREWELL: u32 = Attributes::GRACEFUL_SHUTDOWN;

#[rstest] // BGP-72
#[case::external(RemoteAs::Asn(64501), 64501, &hex!("c008 08 fbf40007 ffff0000"))]
#[case::internal(RemoteAs::Internal, 64500, &hex!("400504 00000000 c008 08 fbf40007 ffff0000"))]
fn shunned_routes_keep_their_communities_and_ask_for_other_paths(
    #[case] remote: RemoteAs,
    #[case] asn: u32,
    #[case] bytes: &[u8],
) {
    let mut peer = Scripted::new(PeerConfig { remote, ..config() });
    peer.feed(Event::RoutesChanged(&[attributes(100, [64500 << 16 | 7])]));
    peer.connect()
        .receive(&Message::Open(Open::new(
            asn,
            90,
            B,
            vec![Capability::FourOctetAsn(asn)],
        )))
        .receive(&Message::Keepalive);
    let before = peer.sent().pop().unwrap();
    peer.feed(Event::Show(Posture::Shun));
    let sent = peer.sent();
    assert_eq!(sent.len(), 1);
    assert!(
        sent[0].windows(bytes.len()).any(|window| window == bytes),
        "{sent:02x?}"
    );
    // Shunned is not gone, a route that comes meanwhile is no better, and nothing is said twice.
    assert_eq!(peer.session.prefixes().advertised, 1);
    peer.feed(Event::RoutesChanged(&[route("192.168.0.9/32")]))
        .feed(Event::Show(Posture::Shun));
    let sent = peer.sent();
    assert_eq!(sent.len(), 1);
    assert!(sent[0].windows(4).any(|window| window == FAREWELL.to_be_bytes()));
    peer.feed(Event::Show(Posture::Announce));
    let sent = peer.sent();
    assert!(sent.contains(&before), "as before");
    assert!(!sent.concat().windows(4).any(|window| window == FAREWELL.to_be_bytes()));
}

#[test] // BGP-72
fn routes_are_shunned_before_they_are_withdrawn() {
    let mut peer = Scripted::new(config());
    peer.feed(Event::RoutesChanged(&[route("192.168.0.0/32")]))
        .establish()
        .take();
    peer.feed(Event::Show(Posture::Shun));
    assert_eq!(peer.sent().len(), 1);
    peer.feed(Event::Show(Posture::Withdraw));
    assert_eq!(peer.sent(), [hex!("001c 02 0005 20c0a80000 0000")]);
}
