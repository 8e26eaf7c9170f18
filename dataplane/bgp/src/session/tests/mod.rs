//! Sessions against scripted peers on a virtual clock.

mod collision;
mod malformed;
mod opening;
mod pair;
mod refresh;
mod restart;
mod retry;
mod routes;
mod tolerance;

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use hex_literal::hex;
use rstest::rstest;

use super::{transmit::HIGH_WATER, *};
use crate::{
    Attributes, Offer, RemoteAs,
    wire::{Capability, Codec, Open, RouteRefresh, Update},
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

fn route(prefix: &str) -> PeerRoute {
    (prefix.parse().unwrap(), Some(Arc::default()))
}

fn gone(prefix: &str) -> PeerRoute {
    (prefix.parse().unwrap(), None)
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
            let more = match self.session.current {
                Some(id) => self.session.handle(self.now, Event::Written(id, octets)),
                None => vec![],
            };
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
        self.receive_bytes(&bytes)
    }

    fn receive_bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.feed(Event::Received(self.id(), bytes))
    }

    fn id(&self) -> ConnectionId {
        self.session.current.expect("a connection, or an attempt at one")
    }

    fn connect(&mut self) -> &mut Self {
        let id = self.session.accept().unwrap_or_else(|| self.id());
        self.feed(Event::Connected(id, LinkAddresses::only(A.into())))
    }

    fn close(&mut self) -> &mut Self {
        self.feed(Event::Closed(self.id(), None))
    }

    fn refuse_tcp(&mut self) -> &mut Self {
        self.feed(Event::ConnectFailed(self.id(), "refused".to_owned()))
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
        .position(|action| matches!(action, Action::Close(_)))
        .expect("closed");
    let [
        Action::Send(bytes),
        Action::Close(_),
        Action::Down(DownReason::Sent { .. }),
        ..,
    ] = &actions[position - 1..]
    else {
        panic!("{actions:?}")
    };
    assert_eq!(bytes[18], 3);
    bytes[19..].to_vec()
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

#[rstest] // BGP-32
#[case(StopReason::Shutdown, &hex!("0015 03 0602"))]
#[case(StopReason::Deconfigured, &hex!("0015 03 0603"))]
#[case(StopReason::ConfigChange, &hex!("0015 03 0606"))]
#[case(StopReason::Collision, &hex!("0015 03 0607"))]
fn stopping_says_why_and_stays_stopped(#[case] reason: StopReason, #[case] notification: &[u8]) {
    let mut peer = Scripted::new(config());
    peer.establish().take();
    peer.feed(Event::Stop(reason, ""));
    let actions = peer.take();
    let [
        Action::Send(bytes),
        Action::Close(_),
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
        let received = peer.session.handle(peer.now, Event::Received(peer.id(), &keepalive));
        let ticked = peer.session.handle(peer.now, Event::Tick);
        peer.actions = [received, ticked].concat();
    }
    assert_eq!(peer.now - start, secs(480));
    let actions = peer.take();
    assert_eq!(refusal(&actions), hex!("0800"));
}

#[test]
fn passive_session_waits_to_be_called() {
    let mut peer = Scripted::new(PeerConfig {
        dialing: Dialing::Passive,
        ..config()
    });
    assert_eq!((peer.state(), peer.session.next_deadline()), (State::Active, None));
    peer.establish();
    assert_eq!(peer.state(), State::Established);
    peer.close();
    assert_eq!(peer.state(), State::Active);
    assert_eq!(peer.establish().state(), State::Established);
}

#[test]
fn events_of_another_connection_have_no_effect() {
    let mut peer = Scripted::new(config());
    let first = peer.id();
    peer.refuse_tcp().tick().take();
    let link = LinkAddresses::only(A.into());
    // The dial that was given up succeeds after all.
    peer.feed(Event::Connected(first, link));
    assert_eq!(peer.take(), [Action::Close(first)]);
    peer.feed(Event::ConnectFailed(first, "late".to_owned()));
    assert_eq!((peer.state(), peer.take()), (State::Connect, vec![]));
    peer.establish().take();
    let current = peer.id();
    let garbage = vec![0; 19];
    for event in [
        Event::Received(first, &garbage),
        Event::Closed(first, None),
        Event::Written(first, 1000),
        Event::Connected(current, link),
        Event::ConnectFailed(current, "late".to_owned()),
    ] {
        peer.feed(event);
        assert_eq!((peer.state(), peer.take()), (State::Established, vec![]));
    }
    peer.close().take();
    peer.feed(Event::Received(current, &garbage))
        .feed(Event::Closed(current, None));
    assert_eq!((peer.state(), peer.take()), (State::Idle, vec![]));
}

#[test]
fn reset_tells_the_peer_and_begins_anew_at_once() {
    let mut peer = Scripted::new(config());
    peer.feed(Event::RoutesChanged(&[route("192.168.0.0/32")]))
        .establish()
        .take();
    let before = peer.id();
    peer.feed(Event::Reset(StopReason::Reset));
    let [
        Action::Send(bytes),
        Action::Close(closed),
        Action::Down(DownReason::Stopped(StopReason::Reset)),
        Action::Connect(dialled),
    ] = &peer.take()[..]
    else {
        panic!("no fresh session")
    };
    assert_eq!((&bytes[16..], *closed), (&hex!("0015 03 0604")[..], before));
    assert_ne!(*dialled, before);
    assert_eq!(peer.establish().sent().last().unwrap()[2], 2, "the table again");
}

#[test]
fn reset_ends_the_pause_between_attempts() {
    let mut peer = Scripted::new(config());
    pauses(&mut peer, 5, |peer| {
        peer.refuse_tcp();
    });
    peer.refuse_tcp().take();
    peer.feed(Event::Reset(StopReason::Reset));
    assert!(matches!(peer.take()[..], [Action::Connect(_)]));
    let mut stopped = Scripted::new(config());
    stopped.feed(Event::Stop(StopReason::Shutdown, "")).take();
    stopped.feed(Event::Reset(StopReason::Reset));
    assert_eq!((stopped.state(), stopped.take()), (State::Idle, vec![]));
}

#[test]
fn time_in_a_state_starts_with_the_state() {
    let mut peer = Scripted::new(config());
    let start = peer.now;
    assert_eq!(peer.session.since(), Some(start));
    peer.sleep(secs(3)).establish();
    assert_eq!(peer.session.since(), Some(start + secs(3)));
    peer.sleep(secs(2)).receive(&Message::Keepalive);
    assert_eq!(peer.session.since(), Some(start + secs(3)));
}
