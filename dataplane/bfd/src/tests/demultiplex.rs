//! Which session a packet belongs to.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use proptest::prelude::*;

use super::lab::{Dice, Entry, Lab, address, fast};
use crate::{Action, Arrival, Bfd, Control, Diagnostic, Event, Hops, Refusal, SessionConfig, SessionKey, State};

fn arrival() -> Arrival<'static> {
    Arrival {
        hops: Hops::Single,
        peer: address(1),
        local: address(0),
        interface: "eth0",
        device: None,
        ttl: 255,
    }
}

fn hello() -> Control {
    Control {
        diagnostic: Diagnostic::None,
        state: State::Down,
        poll: false,
        final_: false,
        independent: false,
        demand: false,
        multiplier: 3,
        my_discriminator: 7,
        your_discriminator: 0,
        desired_min_tx: 1_000_000,
        required_min_rx: 1_000_000,
        required_min_echo_rx: 0,
    }
}

fn bfd(keys: impl IntoIterator<Item = SessionKey>) -> Bfd {
    let mut dice = Dice::new(1);
    let mut bfd = Bfd::new(move |buffer| dice.fill(buffer));
    let sessions = keys.into_iter().map(|key| (key, fast())).collect();
    bfd.handle(super::some_time(), Event::Sessions(sessions));
    bfd
}

fn key(peer: IpAddr) -> SessionKey {
    SessionKey::new(peer, Hops::Single)
}

/// The session that took the packet, or why none did.
fn outcome(bfd: &mut Bfd, arrival: Arrival<'_>, packet: Control) -> Result<SessionKey, Refusal> {
    let bytes = packet.encode();
    let actions = bfd.handle(super::some_time(), Event::Control { arrival, bytes: &bytes });
    let of = |id| {
        let mut sessions = bfd.sessions();
        sessions
            .find(|(_, status)| status.local_discriminator == id)
            .unwrap()
            .0
            .clone()
    };
    match actions.first().unwrap() {
        Action::Accepted(id) => Ok(of(*id)),
        Action::Refused(refusal) => Err(*refusal),
        other => panic!("{other:?}"),
    }
}

fn discriminator(bfd: &Bfd, key: &SessionKey) -> u32 {
    bfd.sessions()
        .find(|(other, _)| *other == key)
        .unwrap()
        .1
        .local_discriminator
}

#[test]
fn the_first_packet_is_known_by_where_it_comes_from() {
    let mut bfd = bfd([key(address(1))]);
    assert_eq!(outcome(&mut bfd, arrival(), hello()), Ok(key(address(1))));
    let stranger = Arrival {
        peer: address(9),
        ..arrival()
    };
    assert_eq!(outcome(&mut bfd, stranger, hello()), Err(Refusal::Peer));
}

#[test]
fn later_packets_are_known_by_our_discriminator_alone() {
    let mut bfd = bfd([key(address(1))]);
    let known = Control {
        your_discriminator: discriminator(&bfd, &key(address(1))),
        ..hello()
    };
    // RFC 5881 §6: the address of the peer may have changed.
    let moved = Arrival {
        peer: address(9),
        ..arrival()
    };
    assert_eq!(outcome(&mut bfd, moved, known), Ok(key(address(1))));
    let wrong = Control {
        your_discriminator: known.your_discriminator ^ 1,
        ..hello()
    };
    assert_eq!(outcome(&mut bfd, arrival(), wrong), Err(Refusal::Discriminator));
}

// BGP-93
#[test]
fn one_router_in_two_vrfs_on_two_links_and_at_two_distances_is_five_sessions() {
    let red = SessionKey {
        device: Some("red".to_owned()),
        ..key(address(1))
    };
    let eth1 = SessionKey {
        zone: Some("eth1".to_owned()),
        ..key(address(1))
    };
    let local = SessionKey {
        local: Some(address(5)),
        ..key(address(1))
    };
    let far = SessionKey::new(address(1), Hops::Multi);
    let mut bfd = bfd([key(address(1)), red.clone(), eth1.clone(), local.clone(), far.clone()]);
    let cases = [
        (arrival(), key(address(1))),
        (
            Arrival {
                device: Some("red"),
                ..arrival()
            },
            red,
        ),
        (
            Arrival {
                interface: "eth1",
                ..arrival()
            },
            eth1,
        ),
        (
            Arrival {
                local: address(5),
                ..arrival()
            },
            local,
        ),
        (
            Arrival {
                hops: Hops::Multi,
                ttl: 3,
                ..arrival()
            },
            far,
        ),
    ];
    for (arrival, session) in cases {
        assert_eq!(outcome(&mut bfd, arrival, hello()), Ok(session.clone()));
        // Nor may another way be taken with the right discriminator.
        let known = Control {
            your_discriminator: discriminator(&bfd, &session),
            ..hello()
        };
        let elsewhere = Arrival {
            device: Some("blue"),
            ..arrival
        };
        assert_eq!(outcome(&mut bfd, elsewhere, known), Err(Refusal::Interface));
    }
}

// BGP-86
#[test]
fn ttls_are_checked() {
    let patient = SessionKey::new(address(1), Hops::Multi);
    let strict = SessionKey::new(address(2), Hops::Multi);
    let mut dice = Dice::new(1);
    let mut bfd = Bfd::new(move |buffer| dice.fill(buffer));
    let minimum = SessionConfig {
        minimum_ttl: Some(250),
        ..fast()
    };
    let sessions = [
        (key(address(1)), fast()),
        (patient.clone(), fast()),
        (strict.clone(), minimum),
    ];
    bfd.handle(super::some_time(), Event::Sessions(BTreeMap::from(sessions)));
    let mut at = |hops, peer, ttl| {
        let arrival = Arrival {
            hops,
            peer,
            ttl,
            ..arrival()
        };
        outcome(&mut bfd, arrival, hello())
    };
    assert_eq!(at(Hops::Single, address(1), 254), Err(Refusal::Ttl));
    assert_eq!(at(Hops::Single, address(1), 255), Ok(key(address(1))));
    assert_eq!(at(Hops::Multi, address(1), 1), Ok(patient));
    assert_eq!(at(Hops::Multi, address(2), 249), Err(Refusal::Ttl));
    assert_eq!(at(Hops::Multi, address(2), 250), Ok(strict));
}

#[test]
fn the_port_must_be_that_of_the_session() {
    let mut bfd = bfd([key(address(1))]);
    let known = Control {
        your_discriminator: discriminator(&bfd, &key(address(1))),
        ..hello()
    };
    let other = Arrival {
        hops: Hops::Multi,
        ..arrival()
    };
    assert_eq!(outcome(&mut bfd, other, known), Err(Refusal::Port));
}

#[test]
fn discriminators_are_unique_and_not_zero() {
    let keys = (0..2000_u32).map(|n| key(IpAddr::from(n.to_be_bytes())));
    // Few different numbers, and zero among them.
    let mut drawn = 0_u32;
    let mut bfd = Bfd::new(move |buffer| {
        drawn = drawn.wrapping_add(1);
        buffer.fill(0);
        buffer[..2].copy_from_slice(&((drawn / 3) as u16).to_ne_bytes());
    });
    bfd.handle(
        super::some_time(),
        Event::Sessions(keys.map(|key| (key, fast())).collect()),
    );
    let discriminators: BTreeSet<_> = bfd.sessions().map(|(_, status)| status.local_discriminator).collect();
    assert_eq!(discriminators.len(), 2000);
    assert!(!discriminators.contains(&0));
}

#[test]
fn a_session_that_ends_takes_nothing_in() {
    let mut lab = Lab::up(1, [fast(), fast()]);
    lab.nodes[1].stopped = true;
    lab.remove(0);
    let (ours, theirs) = (lab.status(0), lab.status(1));
    let packet = Control {
        state: State::Up,
        my_discriminator: theirs.local_discriminator,
        your_discriminator: ours.local_discriminator,
        ..hello()
    };
    lab.arrive(0, &packet.encode());
    assert_eq!(lab.nodes[0].log.last().unwrap().1, Entry::Refused(Refusal::AdminDown));
    assert_eq!(lab.status(0).state, State::AdminDown);
}

/// RFC 5881 §3 allows one session between two addresses on a link, so a second one is taken for a restart of the peer.
#[test]
fn a_second_session_from_one_address_is_a_restart_of_the_first() {
    let mut lab = Lab::up(1, [fast(), fast()]);
    let before = lab.status(0);
    lab.arrive(0, &hello().encode());
    let after = lab.status(0);
    assert_eq!(after.state, State::Down);
    assert_eq!(after.diagnostic, Diagnostic::NeighborDown);
    assert_eq!(after.remote_discriminator, hello().my_discriminator);
    assert_eq!(after.local_discriminator, before.local_discriminator);
    assert_eq!(lab.nodes[0].bfd.sessions().count(), 1);
}

#[test]
fn a_spoofed_source_is_no_peer_and_without_our_discriminator_no_session() {
    let mut bfd = bfd([key(address(1))]);
    let spoofed = Arrival {
        peer: "192.0.2.66".parse().unwrap(),
        ..arrival()
    };
    assert_eq!(outcome(&mut bfd, spoofed, hello()), Err(Refusal::Peer));
    let guessed = Control {
        state: State::Up,
        your_discriminator: discriminator(&bfd, &key(address(1))) ^ 1,
        ..hello()
    };
    for arrival in [spoofed, arrival()] {
        assert_eq!(outcome(&mut bfd, arrival, guessed), Err(Refusal::Discriminator));
    }
    let status = bfd.sessions().next().unwrap().1;
    assert_eq!((status.state, status.remote_discriminator), (State::Down, 0));
}

proptest! {
    /// Whatever comes in, to either port, is taken in by a session or counted, and never both.
    #[test]
    fn every_datagram_is_accepted_or_has_a_reason(
        mut bytes in prop::collection::vec(any::<u8>(), 0..64), ttl in prop_oneof![Just(255_u8), any::<u8>()],
        well_formed in any::<bool>(), your in prop_oneof![Just(0_u32), Just(0x0101_0101)], echo in any::<bool>(),
    ) {
        if well_formed && bytes.len() >= 24 {
            bytes[0] = 0x20;
            bytes[3] = 24;
            bytes[8..12].copy_from_slice(&your.to_be_bytes());
        }
        let mut bfd = Bfd::new(|buffer| buffer.fill(1));
        bfd.handle(super::some_time(), Event::Sessions(BTreeMap::from([(key(address(1)), fast())])));
        let event = if echo {
            Event::Echo { ttl, bytes: &bytes }
        } else {
            let arrival = Arrival { ttl, ..arrival() };
            Event::Control { arrival, bytes: &bytes }
        };
        let actions = bfd.handle(super::some_time(), event);
        let outcomes = actions.iter().filter(|action| {
            matches!(action, Action::Accepted(_) | Action::Echoed(_) | Action::Refused(_))
        });
        prop_assert_eq!(outcomes.count(), 1, "{:?}", actions);
    }
}
