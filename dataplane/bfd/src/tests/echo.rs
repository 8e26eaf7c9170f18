//! The echo function.

use super::{
    MS, SECOND,
    lab::{Lab, fast},
};
use crate::{Diagnostic, Event, Hops, Refusal, SessionConfig, State, tests::lab::Entry};

fn echoing() -> SessionConfig {
    SessionConfig {
        echo_transmit: Some(20 * MS),
        echo_receive: Some(50 * MS),
        transmit_interval: 300 * MS,
        receive_interval: 300 * MS,
        ..SessionConfig::default()
    }
}

/// Returns echoes, and sends none.
fn returning() -> SessionConfig {
    SessionConfig {
        echo_transmit: None,
        ..echoing()
    }
}

// BGP-92
#[test]
fn echoes_are_as_fast_as_the_peer_can_return_them_and_control_packets_are_slow() {
    let mut lab = Lab::up(1, [echoing(), returning()]);
    lab.run(10 * SECOND);
    let echoes = lab.echoes(0);
    assert!((200..=270).contains(&echoes.len()), "{}", echoes.len());
    assert_eq!(lab.status(0).echo_interval, Some(50 * MS));
    assert!(lab.echoes(1).is_empty());
    // RFC 5880 §6.8.3: the echoes watch the path, so the peer need not send as often.
    assert_eq!(lab.sent(0)[0].1.required_min_rx, 1_000_000);
    assert_eq!(lab.status(1).transmit_interval, SECOND);
    assert!(lab.changes(0).is_empty() && lab.changes(1).is_empty());
}

#[test]
fn echoes_that_do_not_come_back_are_a_failure_long_before_the_detection_time() {
    let mut lab = Lab::up(1, [echoing(), returning()]);
    lab.nodes[1].forwards = false;
    let begun = lab.elapsed();
    lab.run(10 * MS + 150 * MS);
    let (at, status) = lab.changes(0)[0].clone();
    assert_eq!((status.state, status.diagnostic), (State::Down, Diagnostic::EchoFailed));
    assert!(at - begun <= 160 * MS);
    assert!(
        lab.sent(0)
            .iter()
            .any(|(_, packet)| packet.diagnostic == Diagnostic::EchoFailed)
    );
    assert!(lab.changes(1)[0].1.state == State::Down);
    lab.nodes[1].forwards = true;
    lab.run(10 * SECOND);
    lab.assert_up();
    assert_eq!(lab.status(0).echo_interval, Some(50 * MS));
}

#[test]
fn a_peer_that_promises_echoes_and_never_returns_one_is_not_down() {
    let mut lab = Lab::new(1, [echoing(), returning()]);
    lab.nodes[1].forwards = false;
    lab.run(5 * SECOND);
    lab.assert_up();
    lab.clear();
    lab.run(60 * SECOND);
    assert!(lab.changes(0).is_empty() && !lab.echoes(0).is_empty());
    assert_eq!(
        lab.status(0).detection_time,
        Some(900 * MS),
        "control packets do it alone"
    );
    assert_eq!(lab.status(0).echo_interval, None);
    lab.nodes[1].forwards = true;
    lab.run(5 * SECOND);
    assert_eq!(lab.status(0).echo_interval, Some(50 * MS));
    assert_eq!(lab.sent(0).last().unwrap().1.required_min_rx, 1_000_000);
    assert!(lab.changes(0).is_empty());
}

#[test]
fn a_peer_that_returns_none_gets_none() {
    let mut lab = Lab::up(1, [echoing(), fast()]);
    lab.run(SECOND);
    assert!(lab.echoes(0).is_empty());
    assert_eq!(lab.status(0).detection_time, Some(900 * MS));
    // It may begin to, and cease.
    lab.configure(1, returning());
    lab.run(2 * SECOND);
    assert!(!lab.echoes(0).is_empty());
    lab.configure(1, fast());
    lab.run(2 * SECOND);
    lab.clear();
    lab.run(2 * SECOND);
    assert!(lab.echoes(0).is_empty() && lab.changes(0).is_empty());
    lab.assert_up();
}

// BGP-87
#[test]
fn echoes_are_switched_on_and_off_without_loss_of_the_session() {
    for seed in 0..50 {
        let mut lab = Lab::up(seed, [fast(), returning()]);
        for _ in 0..10 {
            lab.configure(0, echoing());
            let wait = lab.dice.below(4000) as u32 * MS;
            lab.run(wait);
            lab.configure(0, fast());
            let wait = lab.dice.below(4000) as u32 * MS;
            lab.run(wait);
        }
        assert!(lab.changes(0).is_empty() && lab.changes(1).is_empty(), "seed {seed}");
    }
}

#[test]
fn over_several_hops_there_are_no_echoes() {
    let mut lab = Lab::empty(1);
    lab.hops = Hops::Multi;
    lab.configure(0, echoing());
    lab.configure(1, echoing());
    lab.run(10 * SECOND);
    lab.assert_up();
    assert!(lab.echoes(0).is_empty());
    assert!(lab.sent(0).iter().all(|(_, packet)| packet.required_min_echo_rx == 0));
}

#[test]
fn what_is_no_echo_of_ours_is_refused() {
    let mut lab = Lab::up(1, [echoing(), returning()]);
    let mut forged = [0; 20];
    forged[..4].copy_from_slice(b"mlbe");
    forged[4..8].copy_from_slice(&lab.status(0).local_discriminator.to_be_bytes());
    lab.feed(
        0,
        Event::Echo {
            ttl: 254,
            bytes: &forged,
        },
    );
    assert_eq!(lab.nodes[0].log.pop().unwrap().1, Entry::Refused(Refusal::Echo));
    lab.feed(
        0,
        Event::Echo {
            ttl: 253,
            bytes: &forged,
        },
    );
    assert_eq!(lab.nodes[0].log.pop().unwrap().1, Entry::Refused(Refusal::Ttl));
    lab.feed(
        0,
        Event::Echo {
            ttl: 254,
            bytes: b"mlb",
        },
    );
    assert_eq!(lab.nodes[0].log.pop().unwrap().1, Entry::Refused(Refusal::Echo));
}
