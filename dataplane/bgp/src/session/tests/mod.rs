//! Sessions against scripted peers on a virtual clock.

mod pair;

use std::net::{IpAddr, Ipv4Addr};

use hex_literal::hex;
use rstest::rstest;

use super::*;
use crate::{
    Offer, RemoteAs,
    wire::{Capability, Family, Update},
};

const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

fn config() -> PeerConfig {
    PeerConfig {
        hold_time: Some(secs(9)),
        ..PeerConfig::new("router", 64500, RemoteAs::Asn(64501), B.into())
    }
}

#[expect(clippy::disallowed_methods, reason = "a virtual clock starts somewhere")]
fn start() -> Instant {
    Instant::now()
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn route(prefix: &str) -> Route {
    Route::new(prefix.parse().unwrap())
}

/// A session with a hand-driven peer.
struct Scripted {
    session: Session,
    now: Instant,
    actions: Vec<Action>,
}

impl Scripted {
    fn new(config: PeerConfig) -> Self {
        let mut scripted = Self {
            session: Session::new(config, 1),
            now: start(),
            actions: vec![],
        };
        scripted.feed(Event::Start);
        scripted
    }

    /// Feeds an event; what is sent is taken by the kernel at once.
    fn feed(&mut self, event: Event<'_>) -> &mut Self {
        let mut actions = self.session.handle(self.now, event);
        let sent = |actions: &[Action]| actions.iter().map(sent_octets).sum::<usize>();
        let mut octets = sent(&actions);
        while octets > 0 {
            let more = self.session.handle(self.now, Event::Written(octets));
            octets = sent(&more);
            actions.extend(more);
        }
        self.actions.extend(actions);
        self
    }

    fn receive(&mut self, message: &Message) -> &mut Self {
        let codec = self
            .session
            .connection
            .as_ref()
            .map(Connection::codec)
            .unwrap_or_default();
        let bytes = codec.encode(message).unwrap();
        self.feed(Event::Received(&bytes))
    }

    fn connect(&mut self) -> &mut Self {
        self.feed(Event::Connected(LinkAddresses::only(A.into())))
    }

    fn open(&mut self) -> &mut Self {
        self.connect().receive(&Message::Open(peer_open()))
    }

    fn establish(&mut self) -> &mut Self {
        self.open().receive(&Message::Keepalive)
    }

    /// Sleeps until the next deadline and ticks.
    fn tick(&mut self) -> &mut Self {
        self.now = self.session.next_deadline().unwrap();
        self.feed(Event::Tick)
    }

    /// Ticks through every deadline of a period.
    fn sleep(&mut self, period: Duration) -> &mut Self {
        let end = self.now + period;
        while self.session.next_deadline().is_some_and(|at| at <= end) {
            self.tick();
        }
        self.now = end;
        self
    }

    fn take(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// Takes what was sent, without the headers' markers.
    fn sent(&mut self) -> Vec<Vec<u8>> {
        let sent = |action| match action {
            Action::Send(bytes) => Some(bytes[16..].to_vec()),
            _ => None,
        };
        self.take().into_iter().filter_map(sent).collect()
    }

    fn state(&self) -> State {
        self.session.state()
    }
}

fn sent_octets(action: &Action) -> usize {
    match action {
        Action::Send(bytes) => bytes.len(),
        _ => 0,
    }
}

fn peer_open() -> Open {
    let capabilities = vec![
        Capability::Multiprotocol(Family::IPV4_UNICAST),
        Capability::Multiprotocol(Family::IPV6_UNICAST),
        Capability::FourOctetAsn(64501),
    ];
    Open::new(64501, 90, B, capabilities)
}

/// Returns the NOTIFICATION that was sent, as code, subcode and data; the session must have ended with it.
fn refusal(actions: &[Action]) -> Vec<u8> {
    let position = actions
        .iter()
        .position(|action| matches!(action, Action::Close))
        .expect("closed");
    let [
        Action::Send(bytes),
        Action::Close,
        Action::Down(DownReason::Sent { .. }),
        ..,
    ] = &actions[position - 1..]
    else {
        panic!("{actions:?}")
    };
    assert_eq!(bytes[18], 3);
    bytes[19..].to_vec()
}

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

#[test] // BGP-49
fn established_only_after_the_peers_keepalive_and_no_update_before() {
    let mut peer = Scripted::new(config());
    peer.feed(Event::RoutesChanged(&[route("192.168.0.0/32")]));
    peer.open();
    assert_eq!(peer.state(), State::OpenConfirm);
    assert_eq!(peer.sent().iter().map(|message| message[2]).collect::<Vec<_>>(), [1, 4]);
    peer.receive(&Message::Keepalive);
    assert_eq!(peer.state(), State::Established);
    let actions = peer.take();
    assert!(matches!(&actions[..], [Action::Received(_), Action::Up(_), Action::Send(update)] if update[18] == 2));
}

#[test] // BGP-45
fn update_is_upstreams_to_external_and_internal_peers() {
    let mut peer = Scripted::new(config());
    let mut announced = route("192.168.0.0/32");
    announced.communities.insert(64500 << 16 | 7);
    peer.feed(Event::RoutesChanged(&[announced])).establish();
    let external = hex!("0037 02 0000 001b 40010100 4002060201 0000fbf4 4003040a000001 c00804fbf40007 20c0a80000");
    assert_eq!(peer.sent().pop().unwrap(), external);

    let mut peer = Scripted::new(PeerConfig {
        remote: RemoteAs::Internal,
        ..config()
    });
    let mut announced = route("192.168.0.0/32");
    announced.local_pref = 100;
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

#[test] // BGP-50
fn frozen_peer_is_down_at_the_negotiated_hold_time() {
    let mut peer = Scripted::new(config());
    let start = peer.establish().now;
    peer.take();
    while peer.state() == State::Established {
        peer.tick();
    }
    assert_eq!(peer.now - start, secs(9));
    assert_eq!(refusal(&peer.take()), hex!("0400"));
}

#[test]
fn keepalives_hold_the_session_up_both_ways() {
    let mut peer = Scripted::new(config());
    peer.establish().take();
    for _ in 0..60 {
        peer.sleep(secs(1)).receive(&Message::Keepalive);
    }
    assert_eq!(peer.state(), State::Established);
    // Every three seconds, less up to a quarter of jitter.
    let keepalives = peer.sent().len();
    assert!((20..=27).contains(&keepalives), "{keepalives}");
}

#[test] // BGP-34
fn hold_time_zero_means_no_keepalives_and_no_deadline() {
    let mut peer = Scripted::new(PeerConfig {
        hold_time: Some(Duration::ZERO),
        ..config()
    });
    peer.establish();
    assert_eq!(peer.session.next_deadline(), None);
    assert_eq!(peer.session.negotiated().unwrap().hold_time, None);
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
    peer.connect().feed(Event::Received(&bytes));
    assert_eq!(refusal(&peer.take()), answer);
}

fn framed(message: &[u8]) -> Vec<u8> {
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

#[rstest] // BGP-32
#[case(StopReason::Shutdown, &hex!("0015 03 0602"))]
#[case(StopReason::Deconfigured, &hex!("0015 03 0603"))]
#[case(StopReason::ConfigChange, &hex!("0015 03 0606"))]
#[case(StopReason::Collision, &hex!("0015 03 0607"))]
fn stopping_says_why_and_stays_stopped(#[case] reason: StopReason, #[case] notification: &[u8]) {
    let mut peer = Scripted::new(config());
    peer.establish().take();
    peer.feed(Event::Stop(reason));
    let actions = peer.take();
    let [
        Action::Send(bytes),
        Action::Close,
        Action::Down(DownReason::Stopped(stopped)),
    ] = &actions[..]
    else {
        panic!("{actions:?}")
    };
    assert_eq!((&bytes[16..], *stopped), (notification, reason));
    assert_eq!((peer.state(), peer.session.next_deadline()), (State::Idle, None));
}

#[test] // BGP-51
fn peer_that_stops_reading_is_given_up_after_eight_minutes() {
    let mut peer = Scripted::new(config());
    peer.establish();
    let routes = [route("192.168.0.0/32")];
    // The kernel takes nothing any more, while the peer goes on sending.
    let actions = peer.session.handle(peer.now, Event::RoutesChanged(&routes));
    assert!(matches!(actions[..], [Action::Send(_)]));
    let start = peer.now;
    while peer.state() == State::Established {
        peer.now += secs(1);
        let keepalive = Codec::default().encode(&Message::Keepalive).unwrap();
        let received = peer.session.handle(peer.now, Event::Received(&keepalive));
        let ticked = peer.session.handle(peer.now, Event::Tick);
        peer.actions = [received, ticked].concat();
    }
    assert_eq!(peer.now - start, secs(480));
    let actions = peer.take();
    assert_eq!(refusal(&actions), hex!("0800"));
}

#[test] // BGP-51
fn changes_collapse_while_the_peer_is_busy() {
    let mut peer = Scripted::new(config());
    let many: Vec<Route> = (0..20_000u32)
        .map(|n| Route::new(IpAddr::from(n.to_be_bytes()).into()))
        .collect();
    peer.establish().take();
    let sent: usize = peer
        .session
        .handle(peer.now, Event::RoutesChanged(&many))
        .iter()
        .map(sent_octets)
        .sum();
    assert!(sent > HIGH_WATER);
    for round in 0..10 {
        let actions = peer.session.handle(peer.now, Event::RoutesChanged(&many[round..]));
        assert_eq!(actions, []);
    }
    peer.feed(Event::Written(sent));
    assert_eq!(peer.session.rib().advertised(), 20_000 - 9);
    assert_eq!(peer.sent().len(), 1, "one withdrawal of nine prefixes");
}

fn pauses(peer: &mut Scripted, count: usize, fail: impl Fn(&mut Scripted)) -> Vec<Duration> {
    let pause = |_| {
        fail(peer);
        let failed = peer.now;
        while peer.state() != State::Connect {
            peer.tick();
        }
        peer.now - failed
    };
    (0..count).map(pause).collect()
}

#[test] // BGP-52
fn attempts_back_off_with_jitter_up_to_two_minutes() {
    let mut peer = Scripted::new(config());
    let pauses = pauses(&mut peer, 10, |peer| {
        peer.feed(Event::ConnectFailed("refused".to_owned()));
    });
    assert_eq!(pauses[0], Duration::ZERO);
    for (pause, nominal) in pauses[1..]
        .iter()
        .zip([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 120.0, 120.0])
    {
        assert!(
            (0.75..1.25).contains(&(pause.as_secs_f64() / nominal)),
            "{pause:?} instead of {nominal} s"
        );
    }
}

#[test] // BGP-52
fn peer_that_refuses_our_as_is_dialled_at_most_ten_times_in_the_first_minute() {
    let mut peer = Scripted::new(config());
    let start = peer.now;
    let mut attempts = 0;
    while peer.now - start < secs(60) {
        attempts += 1;
        // As FRR does: its own OPEN first, then the refusal.
        peer.open()
            .receive(&Message::Notification(Notification::new(Code::Open, 2)));
        while peer.state() != State::Connect {
            peer.tick();
        }
    }
    assert!(attempts <= 10, "{attempts}");
    assert!(
        peer.take()
            .contains(&Action::Down(DownReason::Received(Notification::new(Code::Open, 2))))
    );
}

#[test]
fn back_off_starts_anew_only_after_a_session_that_lasted() {
    let mut peer = Scripted::new(config());
    let flap = |peer: &mut Scripted| {
        peer.establish().feed(Event::Closed(None));
    };
    assert!(pauses(&mut peer, 4, flap)[3] > secs(2));
    let lasting = |peer: &mut Scripted| {
        peer.establish();
        for _ in 0..9 {
            peer.sleep(secs(1)).receive(&Message::Keepalive);
        }
        peer.feed(Event::Closed(None));
    };
    assert_eq!(pauses(&mut peer, 1, lasting), [Duration::ZERO]);
}

#[test]
fn connect_time_replaces_the_doubling() {
    let mut peer = Scripted::new(PeerConfig {
        connect_time: Some(secs(7)),
        ..config()
    });
    let pauses = pauses(&mut peer, 4, |peer| {
        peer.feed(Event::ConnectFailed("refused".to_owned()));
    });
    assert_eq!(pauses, [0, 7, 7, 7].map(secs));
}

#[test]
fn silent_peer_is_given_up() {
    let mut peer = Scripted::new(config());
    peer.sleep(secs(10));
    assert!(
        peer.take()
            .contains(&Action::Down(DownReason::ConnectTimeout(secs(10))))
    );
    let mut peer = Scripted::new(config());
    peer.connect().sleep(secs(240));
    assert_eq!(refusal(&peer.take()), hex!("0400"));
}

#[test] // BGP-55
fn peer_that_refuses_capabilities_gets_fewer_once() {
    let mut peer = Scripted::new(config());
    let refuse = |peer: &mut Scripted, notification| {
        peer.connect().receive(&Message::Notification(notification));
        while peer.state() != State::Connect {
            peer.tick();
        }
        peer.sent().remove(0)[13..].to_vec()
    };
    let all = refuse(&mut peer, Notification::with_data(Code::Open, 7, hex!("0104 00020001")));
    let without_families = refuse(&mut peer, Notification::new(Code::Open, 4));
    let all_again = refuse(&mut peer, Notification::new(Code::Open, 4));
    let none = refuse(&mut peer, Notification::new(Code::Open, 2));
    assert_eq!(all, all_again);
    assert_eq!(without_families, hex!("0206 41040000fbf4"));
    assert_eq!(none, []);
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
    assert_eq!(open::offer(&config, &link, None).router_id, expected);
}

#[test] // BGP-66
fn route_refresh_repeats_the_table_if_it_was_offered() {
    let refresh = Message::RouteRefresh(RouteRefresh {
        family: Family::IPV4_UNICAST,
        subtype: 0,
    });
    let foreign = Message::RouteRefresh(RouteRefresh {
        family: Family { afi: 25, safi: 70 },
        subtype: 0,
    });
    for offered in [true, false] {
        let offer = Offer {
            route_refresh: offered,
            ..Offer::default()
        };
        let mut peer = Scripted::new(PeerConfig { offer, ..config() });
        peer.feed(Event::RoutesChanged(&[route("192.168.0.0/32")]))
            .establish()
            .take();
        assert!(peer.receive(&foreign).sent().is_empty());
        assert_eq!(peer.receive(&refresh).sent().len(), usize::from(offered));
    }
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
    assert_eq!(NextHops::choose(&over_v4, &codec, false).ipv6, Reach::NotCarried);
    let both = NextHops::choose(&over_v4, &codec, true);
    assert_eq!(both.ipv4, via(crate::wire::NextHop::V4(A)));
    assert_eq!(both.ipv6, via(crate::wire::NextHop::V6("fd00::1".parse().unwrap())));
    let over_v6 = LinkAddresses::only(v6);
    assert_eq!(NextHops::choose(&over_v6, &codec, true).ipv4, Reach::Unknown);
    let reach = NextHops::choose(&over_v6, &extended, true).ipv4;
    assert_eq!(reach, via(crate::wire::NextHop::V6("fd00::1".parse().unwrap())));
}

#[test]
fn passive_session_waits_to_be_called() {
    let mut peer = Scripted::new(PeerConfig {
        passive: true,
        ..config()
    });
    assert_eq!((peer.state(), peer.session.next_deadline()), (State::Active, None));
    peer.establish();
    assert_eq!(peer.state(), State::Established);
    peer.feed(Event::Closed(None));
    assert_eq!(peer.state(), State::Active);
    assert_eq!(peer.establish().state(), State::Established);
}

#[test]
fn table_is_sent_again_to_the_next_session() {
    let mut peer = Scripted::new(config());
    peer.feed(Event::RoutesChanged(&[route("192.168.0.0/32")])).establish();
    let first = peer.sent().pop();
    peer.feed(Event::Closed(None)).tick();
    assert_eq!(peer.establish().sent().pop(), first);
}
