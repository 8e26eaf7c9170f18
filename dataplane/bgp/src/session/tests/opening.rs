//! What the OPENs say, and what is refused.

use super::*;

#[test] // BGP-44
fn open_is_upstreams() {
    let mut peer = Scripted::new(config());
    let open = hex!("0031 01 04 fbf4 0009 0a000001 14 0212 010400010001 010400020001 41040000fbf4");
    assert_eq!(peer.connect().sent(), [open]);
    assert_eq!(peer.state(), State::OpenSent);
}

#[test]
fn hold_time_defaults_to_ninety_seconds() {
    let mut peer = Scripted::new(PeerConfig {
        hold_time: None,
        ..config()
    });
    assert_eq!(peer.connect().sent()[0][6..8], 90u16.to_be_bytes());
}

#[rstest] // BGP-35
#[case::a_third_by_default(None, 9, 90, 3.0)]
#[case::configured(Some(2), 9, 90, 2.0)]
#[case::scaled_down_with_the_peers_hold_time(Some(20), 60, 30, 10.0)]
fn keepalive_interval_follows_the_hold_time(
    #[case] keepalive: Option<u64>,
    #[case] hold: u64,
    #[case] theirs: u16,
    #[case] expected: f64,
) {
    let config = PeerConfig {
        hold_time: Some(secs(hold)),
        keepalive_time: keepalive.map(secs),
        ..config()
    };
    let mut peer = Scripted::new(config);
    peer.connect().receive(&Message::Open(Open {
        hold_time: theirs,
        ..peer_open()
    }));
    let negotiated = peer.session.negotiated().unwrap();
    assert_eq!(negotiated.keepalive_time, Some(Duration::from_secs_f64(expected)));
}

#[test] // BGP-35
fn hold_time_is_three_keepalives_when_only_those_are_given() {
    let config = PeerConfig {
        hold_time: None,
        keepalive_time: Some(secs(5)),
        ..config()
    };
    assert_eq!(config.proposed_hold(), 15);
}

#[rstest] // BGP-53
#[case::other_as(Open { capabilities: vec![Capability::FourOctetAsn(64999)], ..peer_open() }, &hex!("0202 0000fde7"))]
#[case::other_as_of_an_old_peer(Open { two_octet_asn: 64999, capabilities: vec![], ..peer_open() }, &hex!("0202 fde7"))]
#[case::identifier_zero(Open { router_id: Ipv4Addr::UNSPECIFIED, ..peer_open() }, &hex!("0203"))]
#[case::hold_time_of_two(Open { hold_time: 2, ..peer_open() }, &hex!("0206"))]
fn unacceptable_open_is_answered_with_its_code(#[case] open: Open, #[case] answer: &[u8]) {
    let mut peer = Scripted::new(config());
    peer.connect().receive(&Message::Open(open));
    assert_eq!(refusal(&peer.take()), answer);
}

#[rstest] // BGP-53
#[case::marker(vec![0; 19], &hex!("0101"))]
#[case::length(framed(&hex!("0012 04")), &hex!("0102 0012"))]
#[case::kind(framed(&hex!("0013 2a")), &hex!("0103 2a"))]
#[case::version(framed(&hex!("001d 01 03 fbf5 0009 0a000002 00")), &hex!("0201 0004"))]
fn garbage_is_answered_with_its_code(#[case] bytes: Vec<u8>, #[case] answer: &[u8]) {
    let mut peer = Scripted::new(config());
    peer.connect().receive_bytes(&bytes);
    assert_eq!(refusal(&peer.take()), answer);
}

pub(super) fn framed(message: &[u8]) -> Vec<u8> {
    [&[0xff; 16][..], message].concat()
}

#[test] // BGP-53
fn equal_identifier_is_refused_on_internal_sessions_only() {
    let open = |asn| Message::Open(Open::new(asn, 90, A, vec![Capability::FourOctetAsn(asn)]));
    let mut internal = Scripted::new(PeerConfig {
        remote: RemoteAs::Internal,
        ..config()
    });
    internal.connect().receive(&open(64500));
    assert_eq!(refusal(&internal.take()), hex!("0203"));
    let mut external = Scripted::new(config());
    assert_eq!(external.connect().receive(&open(64501)).state(), State::OpenConfirm);
}

#[rstest] // BGP-38
#[case(RemoteAs::External, 64501, true)]
#[case(RemoteAs::External, 64500, false)]
#[case(RemoteAs::Internal, 64500, true)]
#[case(RemoteAs::Internal, 64501, false)]
fn dynamic_asn_accepts_its_kind(#[case] remote: RemoteAs, #[case] asn: u32, #[case] accepted: bool) {
    let mut peer = Scripted::new(PeerConfig { remote, ..config() });
    peer.connect().receive(&Message::Open(Open::new(
        asn,
        90,
        B,
        vec![Capability::FourOctetAsn(asn)],
    )));
    if accepted {
        assert_eq!(peer.state(), State::OpenConfirm);
    } else {
        assert_eq!(refusal(&peer.take()), [&hex!("0202")[..], &asn.to_be_bytes()].concat());
    }
}

#[test] // BGP-54
fn unexpected_messages_are_answered_by_state() {
    let update = Message::Update(Update::default());
    let mut open_sent = Scripted::new(config());
    open_sent.connect().receive(&Message::Keepalive);
    assert_eq!(refusal(&open_sent.take()), hex!("0501 04"));
    let mut open_confirm = Scripted::new(config());
    open_confirm.open().receive(&update);
    assert_eq!(refusal(&open_confirm.take()), hex!("0502 02"));
    let mut established = Scripted::new(config());
    established.establish().receive(&Message::Open(peer_open()));
    assert_eq!(refusal(&established.take()), hex!("0503 01"));
}

#[rstest] // BGP-37
#[case::configured(Some(Ipv4Addr::new(1, 2, 3, 4)), "10.0.0.1", None, "1.2.3.4")]
#[case::connection(None, "10.0.0.1", None, "10.0.0.1")]
#[case::interface(None, "fd00::1", Some(Ipv4Addr::new(10, 0, 0, 9)), "10.0.0.9")]
#[case::hash(None, "fd00::1", None, "171.77.153.120")]
fn router_id_is_chosen_in_upstreams_order(
    #[case] configured: Option<Ipv4Addr>,
    #[case] local: IpAddr,
    #[case] ipv4: Option<Ipv4Addr>,
    #[case] expected: Ipv4Addr,
) {
    let config = PeerConfig {
        router_id: configured,
        node_name: "node-a".to_owned(),
        ..config()
    };
    let link = LinkAddresses {
        ipv4,
        ..LinkAddresses::only(local)
    };
    assert_eq!(open::offer(&config, &link, None, false).router_id, expected);
}

#[test] // BGP-111
fn a_refused_identifier_names_the_field_to_set() {
    let mut peer = Scripted::new(config());
    peer.connect()
        .receive(&Message::Notification(Notification::new(Code::Open, 3)));
    let told = peer.take().into_iter().find_map(|action| match action {
        Action::Down(reason) => Some(reason.to_string()),
        _ => None,
    });
    assert!(told.unwrap().contains("routerID"));
}
