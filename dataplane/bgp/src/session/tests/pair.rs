//! Sessions against each other on a virtual clock.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::{Path, RouteChange, RouteTable};

/// Two sessions joined by a wire without delay.
struct Pair {
    sessions: [Session; 2],
    now: Instant,
    wire: VecDeque<(usize, InFlight)>,
    received: [Vec<Message>; 2],
    /// While set, nothing gets through.
    cut: bool,
}

enum InFlight {
    Connected(ConnectionId, Ipv4Addr),
    Accepted(Ipv4Addr),
    Refused(ConnectionId),
    Bytes(Bytes),
    Written(ConnectionId, usize),
    Closed,
}

impl Pair {
    fn new(one: PeerConfig, two: PeerConfig) -> Self {
        let sessions = [
            Session::new(one, 1),
            Session::new(
                PeerConfig {
                    dialing: Dialing::Passive,
                    ..two
                },
                2,
            ),
        ];
        let (wire, received) = (VecDeque::new(), [vec![], vec![]]);
        let mut pair = Self {
            sessions,
            now: start(),
            wire,
            received,
            cut: false,
        };
        pair.drive(1, Event::Start);
        pair.drive(0, Event::Start);
        pair
    }

    fn drive(&mut self, side: usize, event: Event<'_>) {
        self.handle(side, event);
        while let Some((side, item)) = self.wire.pop_front() {
            let current = self.sessions[side].current;
            match (item, current) {
                (InFlight::Connected(id, local), _) => self.connected(side, id, local),
                (InFlight::Accepted(local), _) => {
                    if let Some(id) = self.sessions[side].accept() {
                        self.connected(side, id, local);
                    }
                }
                (InFlight::Refused(id), _) => self.handle(side, Event::ConnectFailed(id, "cut".to_owned())),
                (InFlight::Written(id, octets), _) => self.handle(side, Event::Written(id, octets)),
                (InFlight::Bytes(bytes), Some(id)) => self.handle(side, Event::Received(id, &bytes)),
                (InFlight::Closed, Some(id)) => self.handle(side, Event::Closed(id, None)),
                (InFlight::Bytes(_) | InFlight::Closed, None) => {}
            }
        }
    }

    fn connected(&mut self, side: usize, id: ConnectionId, local: Ipv4Addr) {
        self.handle(side, Event::Connected(id, LinkAddresses::only(local.into())));
    }

    fn handle(&mut self, side: usize, event: Event<'_>) {
        // An answer to bytes goes where they came from, even if that is the last thing sent there.
        let mut current = self.sessions[side].current;
        for action in self.sessions[side].handle(self.now, event) {
            match action {
                Action::Connect(id) if self.cut => self.wire.push_back((side, InFlight::Refused(id))),
                Action::Connect(id) => {
                    current = Some(id);
                    self.wire.push_back((side, InFlight::Connected(id, A)));
                    self.wire.push_back((1 - side, InFlight::Accepted(B)));
                }
                Action::Send(bytes) => {
                    self.wire
                        .extend(current.map(|id| (side, InFlight::Written(id, bytes.len()))));
                    if !self.cut {
                        self.wire.push_back((1 - side, InFlight::Bytes(bytes)));
                    }
                }
                Action::Close(_) if !self.cut => self.wire.push_back((1 - side, InFlight::Closed)),
                Action::Received(message) => self.received[side].push(message),
                Action::Update(frame) => {
                    let codec = self.sessions[side].negotiated().map(|agreed| agreed.egress.codec);
                    self.received[side].push(codec.unwrap_or_default().decode(&frame).unwrap());
                }
                _ => {}
            }
        }
    }

    fn sleep(&mut self, period: Duration) {
        let end = self.now + period;
        loop {
            let next = (0..2)
                .filter_map(|side| Some((self.sessions[side].next_deadline()?, side)))
                .min();
            let Some((at, side)) = next.filter(|(at, _)| *at <= end) else {
                break;
            };
            self.now = at;
            self.drive(side, Event::Tick);
        }
        self.now = end;
    }

    fn states(&self) -> [State; 2] {
        [self.sessions[0].state(), self.sessions[1].state()]
    }

    fn prefixes(&self, side: usize) -> Vec<String> {
        let mut known = BTreeSet::new();
        for message in &self.received[side] {
            match message {
                Message::Open(_) => known.clear(),
                Message::Update(update) => {
                    let gone: Vec<_> = update.all_withdrawn().collect();
                    known.retain(|prefix| !gone.contains(prefix));
                    known.extend(update.all_announced());
                }
                _ => {}
            }
        }
        known
            .into_iter()
            .map(|prefix: ipnet::IpNet| prefix.to_string())
            .collect()
    }
}

fn pair() -> Pair {
    let two = PeerConfig::new("speaker", 64501, RemoteAs::Asn(64500), A.into());
    Pair::new(config(), two)
}

#[test]
fn two_sessions_establish_and_stay_established() {
    let mut pair = pair();
    assert_eq!(pair.states(), [State::Established; 2]);
    pair.sleep(secs(3600));
    assert_eq!(pair.states(), [State::Established; 2]);
    assert_eq!(
        pair.sessions[1].negotiated().unwrap().hold_time,
        Some(secs(9)),
        "the lower one counts on both sides"
    );
}

#[test]
fn routes_follow_changes_and_outlast_a_cut() {
    let mut pair = pair();
    pair.drive(
        0,
        Event::RoutesChanged(&[route("192.168.0.1/32"), route("192.168.0.2/32")]),
    );
    assert_eq!(pair.prefixes(1), ["192.168.0.1/32", "192.168.0.2/32"]);
    pair.cut = true;
    pair.sleep(secs(10));
    assert!(!pair.states().contains(&State::Established));
    pair.drive(
        0,
        Event::RoutesChanged(&[gone("192.168.0.1/32"), route("192.168.0.3/32")]),
    );
    pair.cut = false;
    pair.sleep(secs(150));
    assert_eq!(pair.states(), [State::Established; 2]);
    assert_eq!(pair.prefixes(1), ["192.168.0.2/32", "192.168.0.3/32"]);
}

#[derive(Clone, Debug)]
enum Step {
    /// A host is announced to whom this names; to nobody when empty.
    Change(u8, Vec<&'static str>),
    Known,
    Read,
    Cut,
    Reset,
    Drain,
    Shun,
    Resume,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let peers = prop::collection::vec(prop_oneof![Just("router"), Just("other")], 0..3);
    let step = prop_oneof![
        8 => (0..6u8, peers).prop_map(|(host, peers)| Step::Change(host, peers)),
        4 => Just(Step::Read),
        1 => Just(Step::Known),
        1 => Just(Step::Cut),
        1 => Just(Step::Reset),
        1 => Just(Step::Drain),
        1 => Just(Step::Shun),
        1 => Just(Step::Resume),
    ];
    let last = [Step::Known, Step::Resume, Step::Read];
    prop::collection::vec(step, 0..40).prop_map(move |steps| steps.into_iter().chain(last.clone()).collect())
}

fn perform(pair: &mut Pair, table: &mut RouteTable, step: Step) {
    match step {
        Step::Change(host, peers) => {
            let path = |peer: &str| Path {
                peers: [peer.to_owned()].into(),
                attributes: Arc::default(),
            };
            let prefix = format!("192.168.0.{host}/32").parse().unwrap();
            let paths = peers.into_iter().map(path).collect();
            table.change(RouteChange { prefix, paths });
        }
        Step::Known => {
            table.set_known();
        }
        Step::Read => {}
        Step::Cut => {
            // Longer than the hold time: what was sent meanwhile is lost with the session.
            pair.cut = true;
            pair.sleep(secs(30));
            pair.cut = false;
        }
        Step::Reset => pair.drive(0, Event::Reset(StopReason::Reset)),
        Step::Drain => pair.drive(0, Event::Show(Posture::Withdraw)),
        Step::Shun => pair.drive(0, Event::Show(Posture::Shun)),
        Step::Resume => pair.drive(0, Event::Show(Posture::Announce)),
    }
}

proptest! {
    #[test]
    fn whatever_happens_the_receiver_comes_to_know_the_table(steps in steps()) {
        let (mut pair, mut table) = (pair(), RouteTable::default());
        let reader = table.add_reader();
        let mut wanted = BTreeSet::new();
        for step in steps {
            if let Step::Change(host, peers) = &step {
                let prefix = format!("192.168.0.{host}/32");
                wanted.remove(&prefix);
                wanted.extend(peers.contains(&"router").then_some(prefix));
            }
            let read = matches!(step, Step::Read);
            perform(&mut pair, &mut table, step);
            if read && let Some(routes) = table.read(reader, "router") {
                pair.drive(0, Event::RoutesChanged(&routes));
            }
        }
        pair.sleep(secs(300));
        prop_assert_eq!(pair.states(), [State::Established; 2]);
        prop_assert_eq!(pair.prefixes(1), wanted.into_iter().collect::<Vec<_>>());
    }
}
