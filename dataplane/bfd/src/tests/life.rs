//! How sessions come up, fail and end.

use super::{
    MS, SECOND,
    lab::{Entry, Lab, fast},
};
use crate::{Diagnostic, Hops, SessionConfig, State};

// BGP-87
#[test]
fn a_session_comes_up_slowly_and_then_is_as_fast_as_agreed() {
    let mut lab = Lab::new(1, [fast(), fast()]);
    lab.run(5 * SECOND);
    lab.assert_up();
    let states: Vec<_> = lab.changes(0).iter().map(|(_, status)| status.state).collect();
    assert!(
        states == [State::Init, State::Up] || states == [State::Up],
        "{states:?}"
    );
    for (_, packet) in lab.sent(0).iter().filter(|(_, packet)| packet.state < State::Up) {
        assert_eq!(packet.desired_min_tx, 1_000_000);
    }
    let status = lab.status(0);
    assert_eq!(
        (status.transmit_interval, status.detection_time),
        (50 * MS, Some(150 * MS))
    );
    assert!(!status.polling && lab.sent(1).iter().any(|(_, packet)| packet.final_));
}

#[test]
fn while_the_peer_is_silent_packets_are_at_least_750_ms_apart() {
    let mut lab = Lab::new(1, [fast(), fast()]);
    lab.nodes[1].stopped = true;
    lab.run(60 * SECOND);
    let sent = lab.sent(0);
    assert!((60..=80).contains(&sent.len()), "{}", sent.len());
    assert!(sent.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 750 * MS));
    assert!(
        sent.iter()
            .all(|(_, packet)| packet.state == State::Down && packet.your_discriminator == 0)
    );
}

// BGP-88
#[test]
fn a_silent_peer_is_down_after_the_detection_time_and_comes_back() {
    for seed in 0..50 {
        let mut lab = Lab::up(seed, [fast(), fast()]);
        let wait = lab.dice.below(200) as u32 * MS;
        lab.run(wait);
        let stopped = lab.elapsed();
        lab.nodes[1].stopped = true;
        lab.run(SECOND);
        let (at, status) = lab.changes(0)[0].clone();
        assert_eq!(
            (status.state, status.diagnostic),
            (State::Down, Diagnostic::TimeExpired)
        );
        assert!(status.has_failed());
        let took = at - stopped;
        assert!(took > 99 * MS && took <= 152 * MS, "{took:?}, seed {seed}");
        assert_eq!(lab.status(0).remote_discriminator, 0);
        lab.nodes[1].stopped = false;
        lab.run(5 * SECOND);
        lab.assert_up();
    }
}

#[test]
fn one_direction_that_fails_is_known_on_both_sides() {
    let mut lab = Lab::up(1, [fast(), fast()]);
    let key = lab.key(1);
    // Node 1 takes whatever comes as from nobody.
    lab.ttl = 254;
    lab.run(SECOND);
    assert!(lab.states().iter().all(|state| *state < State::Up));
    assert_eq!(lab.nodes[1].bfd.sessions().next().unwrap().0, &key);
    lab.ttl = 255;
    lab.run(5 * SECOND);
    lab.assert_up();
}

// BGP-89
#[test]
fn a_session_that_is_removed_is_no_failure_to_the_peer_even_if_packets_are_lost() {
    let mut failures = 0;
    for seed in 0..100 {
        let mut lab = Lab::up(seed, [fast(), fast()]);
        lab.loss = 30;
        lab.remove(0);
        lab.run(SECOND);
        assert!(lab.nodes[0].bfd.is_idle() && lab.has(0, &Entry::Closed));
        let (_, status) = lab.changes(1)[0].clone();
        if status.has_failed() {
            failures += 1;
        } else {
            assert_eq!(status.diagnostic, Diagnostic::NeighborDown);
        }
        assert_eq!(lab.sent(0)[0].1.state, State::AdminDown);
        assert_eq!(lab.sent(0)[0].1.diagnostic, Diagnostic::AdminDown);
    }
    // With a single packet it would be thirty.
    assert!(failures < 10, "{failures} of 100");
}

#[test]
fn the_goodbye_ends_when_it_is_heard() {
    let mut lab = Lab::up(1, [fast(), fast()]);
    lab.remove(0);
    lab.run(10 * MS);
    assert!(lab.nodes[0].bfd.is_idle());
    assert_eq!(lab.status(1).state, State::Down);
    assert!(!lab.status(1).has_failed());
    // And later the peer has forgotten whom it talked to, but not that this was no failure.
    lab.run(10 * SECOND);
    assert_eq!(lab.status(1).remote_discriminator, 0);
    assert!(!lab.status(1).has_failed());
}

#[test]
fn a_session_that_nobody_hears_ends_all_the_same() {
    let mut lab = Lab::up(1, [fast(), fast()]);
    lab.nodes[1].stopped = true;
    lab.remove(0);
    lab.run(SECOND);
    assert!(lab.nodes[0].bfd.is_idle());
    assert_eq!(lab.sent(0).len(), 4, "one at once, and as many as the peer may lose");
    assert_eq!(lab.nodes[0].bfd.next_deadline(), None);
}

// BGP-113
#[test]
fn a_session_that_is_wanted_again_comes_up_again_with_its_discriminator() {
    for wait in [0, 1, 30, 3000] {
        let mut lab = Lab::up(1, [fast(), fast()]);
        lab.remove(0);
        lab.run(wait * MS);
        lab.configure(0, fast());
        lab.run(5 * SECOND);
        lab.assert_up();
        assert!(!lab.status(1).has_failed());
    }
}

// BGP-90
#[test]
fn a_passive_session_sends_nothing_before_the_peer_does_and_two_stay_down() {
    let passive = SessionConfig {
        passive: true,
        ..fast()
    };
    let mut lab = Lab::new(1, [passive.clone(), passive.clone()]);
    lab.run(60 * SECOND);
    assert_eq!(lab.states(), [State::Down; 2]);
    assert!(lab.sent(0).is_empty() && lab.sent(1).is_empty());
    lab.configure(1, fast());
    lab.run(5 * SECOND);
    lab.assert_up();
    // Silent again when the peer is.
    lab.nodes[1].stopped = true;
    lab.run(SECOND);
    lab.clear();
    lab.run(10 * SECOND);
    assert!(lab.sent(0).is_empty());
}

#[test]
fn over_several_hops_it_works_as_over_one() {
    let mut lab = Lab::empty(1);
    lab.hops = Hops::Multi;
    (lab.ttl, lab.delay) = (60, 20_000..30_000);
    lab.configure(0, fast());
    lab.configure(1, fast());
    lab.run(5 * SECOND);
    lab.assert_up();
}

#[test]
fn a_restarted_peer_is_down_at_once_and_up_again() {
    let mut lab = Lab::up(1, [fast(), fast()]);
    let other = Lab::new(9, [fast(), fast()]);
    let [_, fresh] = other.nodes;
    lab.nodes[1] = fresh;
    lab.run(5 * SECOND);
    lab.assert_up();
    let changes = lab.changes(0);
    assert_eq!(changes[0].1.state, State::Down);
}

#[test]
fn loss_delay_and_doubles_do_no_harm() {
    for seed in 0..30 {
        let mut lab = Lab::up(seed, [fast(), fast()]);
        (lab.doubled, lab.delay) = (20, 0..20_000);
        // Three in a row are lost now and then, ten never.
        lab.loss = 5;
        let patient = SessionConfig {
            multiplier: 10,
            ..fast()
        };
        lab.configure(0, patient.clone());
        lab.configure(1, patient);
        lab.run(SECOND);
        lab.clear();
        lab.run(600 * SECOND);
        assert!(lab.changes(0).is_empty() && lab.changes(1).is_empty(), "seed {seed}");
    }
}

#[test]
fn whatever_the_link_does_the_session_comes_back() {
    for seed in 0..30 {
        let mut lab = Lab::new(seed, [fast(), fast()]);
        for _ in 0..20 {
            lab.loss = lab.dice.below(101);
            lab.doubled = lab.dice.below(50);
            let node = lab.dice.below(2) as usize;
            lab.nodes[node].stopped = lab.dice.below(3) == 0;
            if lab.dice.below(4) == 0 {
                lab.remove(node);
            }
            let time = lab.dice.below(2000) as u32;
            lab.run(time * MS);
            lab.configure(node, fast());
            lab.nodes[node].stopped = false;
        }
        (lab.loss, lab.doubled) = (0, 0);
        lab.run(10 * SECOND);
        lab.assert_up();
        lab.clear();
        lab.run(60 * SECOND);
        assert!(lab.changes(0).is_empty() && lab.changes(1).is_empty(), "seed {seed}");
    }
}
