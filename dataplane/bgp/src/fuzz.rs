//! The bodies of the fuzz targets in `tests/fuzz`, which stable tests call, too.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use crate::{
    Action, Event, LinkAddresses, Offer, PeerConfig, RemoteAs, Session, State,
    wire::{Capability, Codec, Family, Framer, Message, Open},
};

const US: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const PEER_ASN: u32 = 64501;

/// Reads messages as every kind of session would; what was understood whole is the same when it is written and read
/// again.
///
/// # Panics
/// When it is not.
pub fn decode(bytes: &[u8]) {
    for (as4, extended_message) in [(false, false), (true, false), (false, true), (true, true)] {
        let codec = Codec {
            as4,
            extended_message,
            ipv6: true,
            extended_next_hop: true,
            ..Codec::default()
        };
        let mut framer = Framer::default();
        framer.push(bytes);
        while let Ok(Some(frame)) = framer.next(extended_message) {
            match codec.decode(&frame) {
                Ok(message) => check_repeatable(&codec, &message),
                Err(error) => drop((error.notification(), error.to_string())),
            }
        }
    }
}

fn check_repeatable(codec: &Codec, message: &Message) {
    if matches!(message, Message::Update(update) if update.treat_as_withdraw()) {
        return;
    }
    // What was read in a short form may be too long in ours.
    if let Ok(written) = codec.encode(message) {
        assert_eq!(codec.decode_all(&written).as_deref(), Ok(std::slice::from_ref(message)));
    }
}

/// Has sessions in every state take in what is in `bytes`: parts whose first octet says how long they are and how much
/// later the next one comes.
///
/// # Panics
/// When something due was not done, or an ended session keeps its connection.
pub fn session(start: Instant, bytes: &[u8]) {
    for prefix in [vec![], vec![open()], vec![open(), Message::Keepalive]] {
        drive(start, &prefix, bytes);
    }
}

fn open() -> Message {
    let families = Family::UNICAST.map(Capability::Multiprotocol);
    let others = [Capability::FourOctetAsn(PEER_ASN), Capability::RouteRefresh];
    Message::Open(Open::new(
        PEER_ASN,
        90,
        PEER,
        families.into_iter().chain(others).collect(),
    ))
}

fn drive(start: Instant, prefix: &[Message], bytes: &[u8]) {
    let config = PeerConfig {
        offer: Offer {
            route_refresh: true,
            ..Offer::default()
        },
        dual_stack: true,
        ..PeerConfig::new("router", 64500, RemoteAs::External, PEER.into())
    };
    let mut session = Session::new(config, 1);
    let mut now = start;
    let Some(id) = session
        .handle(now, Event::Start)
        .into_iter()
        .find_map(|action| match action {
            Action::Connect(id) => Some(id),
            _ => None,
        })
    else {
        panic!("a session that is started dials");
    };
    session.handle(now, Event::RoutesChanged(&[]));
    session.handle(now, Event::Connected(id, LinkAddresses::only(US.into())));
    for message in prefix {
        let message = Codec::default().encode(message).expect("it is short");
        session.handle(now, Event::Received(id, &message));
    }
    let mut rest = bytes;
    while let [length, tail @ ..] = rest {
        let (part, later) = tail.split_at(usize::from(*length).min(tail.len()));
        let actions = session.handle(now, Event::Received(id, part));
        let closed = actions
            .iter()
            .any(|action| matches!(action, Action::Close(closed) if *closed == id));
        assert!(!closed || session.negotiated().is_none(), "closed, but not ended");
        now += Duration::from_millis(u64::from(*length) * 20);
        session.handle(now, Event::Tick);
        rest = later;
    }
    assert!(
        session.next_deadline().is_none_or(|at| at > now),
        "everything due was done"
    );
    assert!(session.state() != State::Connect || session.negotiated().is_none());
}
