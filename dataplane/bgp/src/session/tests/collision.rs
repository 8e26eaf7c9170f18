//! Two sessions that dial each other, whatever arrives first.

use std::collections::VecDeque;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

/// What is on its way to one end of a connection.
enum Item {
    Connected,
    Accept,
    Refused,
    Bytes(Bytes),
    Closed,
}

#[derive(Default)]
struct Line {
    /// How each end calls it, as long as it has it.
    ends: [Option<ConnectionId>; 2],
    queues: [VecDeque<Item>; 2],
}

/// Two shells, without sockets.
struct Net {
    sessions: [Session; 2],
    main: [Option<ConnectionId>; 2],
    second: [Option<ConnectionId>; 2],
    lines: Vec<Line>,
    now: Instant,
    ups: [u32; 2],
    collisions: u32,
    listens: [bool; 2],
}

impl Net {
    fn new(configs: [PeerConfig; 2], listens: [bool; 2]) -> Self {
        let [one, two] = configs;
        Self {
            sessions: [Session::new(one, 1), Session::new(two, 2)],
            main: [None; 2],
            second: [None; 2],
            lines: vec![],
            now: start(),
            ups: [0; 2],
            collisions: 0,
            listens,
        }
    }

    fn feed(&mut self, side: usize, event: Event<'_>) {
        let mut actions: VecDeque<_> = self.sessions[side].handle(self.now, event).into();
        while let Some(action) = actions.pop_front() {
            match action {
                Action::Connect(id) => {
                    let mut line = Line::default();
                    line.ends[side] = Some(id);
                    line.queues[side].push_back(if self.listens[1 - side] {
                        Item::Connected
                    } else {
                        Item::Refused
                    });
                    if self.listens[1 - side] {
                        line.queues[1 - side].push_back(Item::Accept);
                    }
                    self.lines.push(line);
                }
                Action::Send(bytes) => {
                    let id = self.main[side].expect("a connection to send on");
                    actions.extend(self.send(side, id, bytes));
                }
                Action::SendOn(id, bytes) => {
                    assert_eq!(self.second[side], Some(id));
                    actions.extend(self.send(side, id, bytes));
                }
                Action::Promote(id) => {
                    assert_eq!(self.second[side].take(), Some(id));
                    self.main[side] = Some(id);
                }
                Action::Close(id) => self.close(side, id),
                Action::Up(_) => self.ups[side] += 1,
                _ => {}
            }
        }
    }

    fn send(&mut self, side: usize, id: ConnectionId, bytes: Bytes) -> Vec<Action> {
        self.collisions += u32::from(bytes[18..] == hex!("03 06 07"));
        let octets = bytes.len();
        let line = self.line(side, id).expect("an open connection");
        line.queues[1 - side].push_back(Item::Bytes(bytes));
        self.sessions[side].handle(self.now, Event::Written(id, octets))
    }

    fn line(&mut self, side: usize, id: ConnectionId) -> Option<&mut Line> {
        self.lines.iter_mut().find(|line| line.ends[side] == Some(id))
    }

    fn close(&mut self, side: usize, id: ConnectionId) {
        self.main[side].take_if(|main| *main == id);
        self.second[side].take_if(|second| *second == id);
        if let Some(line) = self.line(side, id) {
            line.ends[side] = None;
            line.queues[side].clear();
            line.queues[1 - side].push_back(Item::Closed);
        }
    }

    fn deliver(&mut self, line: usize, side: usize) {
        let Some(item) = self.lines[line].queues[side].pop_front() else {
            return;
        };
        let link = LinkAddresses::only([A, B][side].into());
        match (item, self.lines[line].ends[side]) {
            (Item::Accept, _) => match self.sessions[side].accept() {
                Some(id) => {
                    self.lines[line].ends[side] = Some(id);
                    let first = self.sessions[side].current == Some(id);
                    [&mut self.second, &mut self.main][usize::from(first)][side] = Some(id);
                    self.feed(side, Event::Connected(id, link));
                }
                None => self.lines[line].queues[1 - side].push_back(Item::Closed),
            },
            (Item::Connected, Some(id)) => {
                self.main[side] = Some(id);
                self.feed(side, Event::Connected(id, link));
            }
            (Item::Refused, Some(id)) => self.feed(side, Event::ConnectFailed(id, "refused".to_owned())),
            (Item::Bytes(bytes), Some(id)) => self.feed(side, Event::Received(id, &bytes)),
            (Item::Closed, Some(id)) => {
                self.lines[line].ends[side] = None;
                self.main[side].take_if(|main| *main == id);
                self.second[side].take_if(|second| *second == id);
                self.feed(side, Event::Closed(id, None));
            }
            (_, None) => {}
        }
    }

    /// Delivers everything in an order that the numbers choose, and lets time pass until nothing happens any more.
    fn settle(&mut self, order: &[usize]) {
        let mut order = order.iter().copied().cycle();
        let end = self.now + secs(300);
        loop {
            let waiting: Vec<_> = (0..self.lines.len())
                .flat_map(|line| [(line, 0), (line, 1)])
                .filter(|(line, side)| !self.lines[*line].queues[*side].is_empty())
                .collect();
            if !waiting.is_empty() {
                let (line, side) = waiting[order.next().unwrap_or_default() % waiting.len()];
                self.deliver(line, side);
                continue;
            }
            let next = (0..2)
                .filter_map(|side| Some((self.sessions[side].next_deadline()?, side)))
                .min();
            let Some((at, side)) = next.filter(|(at, _)| *at < end) else {
                return;
            };
            self.now = at;
            self.feed(side, Event::Tick);
        }
    }

    /// One session, over one connection, and no other connection left.
    fn assert_joined(&self) {
        let states = [self.sessions[0].state(), self.sessions[1].state()];
        assert_eq!(states, [State::Established; 2]);
        let open: Vec<_> = self.lines.iter().filter(|line| line.ends != [None; 2]).collect();
        assert_eq!(open.len(), 1);
        assert_eq!([open[0].ends[0], open[0].ends[1]], self.main);
        assert_eq!(self.second, [None; 2]);
    }
}

fn both() -> [PeerConfig; 2] {
    let one = PeerConfig {
        dialing: Dialing::Both,
        ..config()
    };
    let two = PeerConfig {
        my_asn: 64501,
        remote: RemoteAs::Asn(64500),
        address: A.into(),
        ..one.clone()
    };
    [one, two]
}

// BGP-77
#[test]
fn of_two_connections_that_of_the_higher_identifier_stays() {
    for order in [[0].as_slice(), &[1], &[0, 1, 2, 3], &[3, 2, 1, 0]] {
        let mut net = Net::new(both(), [true; 2]);
        net.feed(0, Event::Start);
        net.feed(1, Event::Start);
        net.settle(order);
        net.assert_joined();
        assert!(net.collisions >= 1, "{order:?}");
        assert_eq!(net.ups, [1, 1], "no flap");
    }
    // Taken in turns, both have heard both OPENs: B is the higher one.
    let mut net = Net::new(both(), [true; 2]);
    net.feed(0, Event::Start);
    net.feed(1, Event::Start);
    net.settle(&[0, 1]);
    net.assert_joined();
    assert_eq!(net.lines[0].ends, [None; 2]);
    assert_ne!(net.lines[1].ends, [None; 2]);
}

// BGP-77
#[test]
fn a_connection_beside_an_established_one_is_refused() {
    let mut net = Net::new(both(), [true; 2]);
    net.feed(0, Event::Start);
    net.feed(1, Event::Start);
    net.settle(&[0]);
    net.assert_joined();
    assert_eq!([net.sessions[0].accept(), net.sessions[1].accept()], [None; 2]);
}

#[test]
fn who_neither_waits_nor_accepts_takes_no_connection() {
    let mut peer = Scripted::new(config());
    assert_eq!(peer.session.accept(), None);
    peer.feed(Event::Stop(StopReason::Shutdown, ""));
    assert_eq!(peer.session.accept(), None);
}

// BGP-78
#[test]
fn of_two_connections_that_the_peer_has_dialled_the_later_counts() {
    let mut peer = Scripted::new(PeerConfig {
        dialing: Dialing::Passive,
        ..config()
    });
    peer.connect();
    let second = peer.session.accept().unwrap();
    peer.feed(Event::Connected(second, LinkAddresses::only(A.into())));
    let bytes = Codec::default().encode(&Message::Open(peer_open())).unwrap();
    peer.feed(Event::Received(second, &bytes));
    assert_eq!((peer.session.state(), peer.id()), (State::OpenConfirm, second));
}

#[test]
fn what_follows_an_open_that_is_not_decided_on_has_a_limit() {
    let config = PeerConfig {
        dialing: Dialing::Both,
        ..config()
    };
    let mut session = Session::new(config, 1);
    // Ours is being dialled, and would win.
    session.handle(start(), Event::Start);
    let id = session.accept().unwrap();
    session.handle(start(), Event::Connected(id, LinkAddresses::only(A.into())));
    let open = Open {
        router_id: Ipv4Addr::new(9, 9, 9, 9),
        ..peer_open()
    };
    let encode = |message| Codec::default().encode(&message).unwrap();
    session.handle(start(), Event::Received(id, &encode(Message::Open(open))));
    let keepalive = encode(Message::Keepalive);
    assert!(session.handle(start(), Event::Received(id, &keepalive)).is_empty());
    let actions = session.handle(start(), Event::Received(id, &keepalive.repeat(300)));
    assert!(
        actions
            .iter()
            .any(|action| matches!(action, Action::Close(closed) if *closed == id)),
        "{actions:?}"
    );
}

proptest! {
    // BGP-77
    #[test]
    fn whatever_arrives_first_one_session_is_left(
        order in prop::collection::vec(0usize..6, 1..40),
        listens in prop::sample::select(vec![[true, true], [true, false], [false, true]]),
        restarts in prop::collection::vec(0usize..2, 0..3),
    ) {
        let mut net = Net::new(both(), listens);
        net.feed(0, Event::Start);
        net.feed(1, Event::Start);
        net.settle(&order);
        net.assert_joined();
        for side in restarts {
            net.feed(side, Event::Reset(StopReason::Reset));
            net.settle(&order);
            net.assert_joined();
        }
    }
}
