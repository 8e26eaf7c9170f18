//! Intervals, their change, and when nothing is sent.

use std::time::Duration;

use super::{
    MS, SECOND,
    lab::{Lab, fast},
};
use crate::{Control, SessionConfig, State};

fn config(transmit: Duration, receive: Duration, multiplier: u8) -> SessionConfig {
    SessionConfig {
        transmit_interval: transmit,
        receive_interval: receive,
        multiplier,
        ..SessionConfig::default()
    }
}

fn gaps(sent: &[(Duration, Control)]) -> Vec<Duration> {
    sent.windows(2).map(|pair| pair[1].0 - pair[0].0).collect()
}

// BGP-84
#[test]
fn every_setting_is_in_the_packet() {
    let echoing = SessionConfig {
        echo_receive: Some(50 * MS),
        ..config(70 * MS, 60 * MS, 5)
    };
    let mut lab = Lab::up(1, [echoing, SessionConfig::default()]);
    lab.run(SECOND);
    let (_, packet) = lab.sent(0)[0];
    assert_eq!(
        (
            packet.desired_min_tx,
            packet.required_min_rx,
            packet.required_min_echo_rx,
            packet.multiplier
        ),
        (70_000, 60_000, 50_000, 5)
    );
    let (_, packet) = lab.sent(1)[0];
    assert_eq!(
        (
            packet.desired_min_tx,
            packet.required_min_rx,
            packet.required_min_echo_rx,
            packet.multiplier
        ),
        (300_000, 300_000, 0, 3)
    );
    assert!(!packet.independent && !packet.demand);
}

// BGP-84
#[test]
fn each_direction_has_its_own_rate_and_detection_time() {
    let lab = Lab::up(1, [config(100 * MS, 200 * MS, 5), config(400 * MS, 50 * MS, 2)]);
    let (first, second) = (lab.status(0), lab.status(1));
    assert_eq!(
        (first.transmit_interval, first.detection_time),
        (100 * MS, Some(800 * MS))
    );
    assert_eq!(
        (second.transmit_interval, second.detection_time),
        (400 * MS, Some(500 * MS))
    );
}

#[test]
fn packets_are_spread_over_a_quarter_of_the_interval() {
    for (multiplier, least, most) in [(3, 75, 100), (1, 75, 90)] {
        let mut lab = Lab::up(
            1,
            [config(100 * MS, 100 * MS, multiplier), config(100 * MS, 100 * MS, 3)],
        );
        lab.run(60 * SECOND);
        let gaps = gaps(&lab.sent(0));
        assert!(gaps.iter().all(|gap| (least * MS..=most * MS).contains(gap)));
        let (shortest, longest) = (gaps.iter().min().unwrap(), gaps.iter().max().unwrap());
        assert!(
            *shortest < (least + 2) * MS && *longest > (most - 2) * MS,
            "{shortest:?} {longest:?}"
        );
    }
}

// BGP-87
#[test]
fn rates_change_without_a_loss_of_the_session_whatever_the_link_does() {
    for seed in 0..100 {
        let mut lab = Lab::up(seed, [fast(), fast()]);
        lab.delay = 0..10_000;
        for _ in 0..20 {
            let node = lab.dice.below(2) as usize;
            let mut draw = || Duration::from_millis(50 + lab.dice.below(2000));
            let (transmit, receive) = (draw(), draw());
            let multiplier = 2 + lab.dice.below(5) as u8;
            lab.configure(node, config(transmit, receive, multiplier));
            let wait = lab.dice.below(6000) as u32 * MS;
            lab.run(wait);
        }
        assert!(lab.changes(0).is_empty() && lab.changes(1).is_empty(), "seed {seed}");
        lab.run(10 * SECOND);
        assert!(!lab.status(0).polling && !lab.status(1).polling);
        assert_eq!(
            lab.status(0).transmit_interval,
            lab.status(1).detection_time.unwrap() / u32::from(lab.sent(0).last().unwrap().1.multiplier)
        );
    }
}

// RFC 5880 §6.8.3
#[test]
fn a_slower_rate_waits_for_the_peer_to_confirm() {
    let mut lab = Lab::new(1, [fast(), fast()]);
    lab.delay = 400_000..400_001;
    lab.run(10 * SECOND);
    lab.clear();
    lab.configure(0, config(1000 * MS, 1000 * MS, 3));
    let asked = lab.elapsed();
    lab.run(4 * SECOND);
    assert!(lab.changes(0).is_empty() && lab.changes(1).is_empty());
    let confirmed = lab.sent(1).iter().find(|(_, packet)| packet.final_).unwrap().0 + 400 * MS;
    let sent = lab.sent(0);
    assert!(
        sent.iter()
            .filter(|(at, _)| *at < confirmed && *at > asked)
            .all(|(_, packet)| packet.poll)
    );
    let before: Vec<_> = sent.iter().copied().filter(|(at, _)| *at < confirmed).collect();
    assert!(gaps(&before).iter().all(|gap| *gap <= 50 * MS));
    assert!(lab.status(0).transmit_interval == 1000 * MS && !lab.status(0).polling);
    lab.assert_up();
}

#[test]
fn a_changed_multiplier_needs_no_poll() {
    let mut lab = Lab::up(1, [fast(), fast()]);
    lab.configure(0, config(50 * MS, 50 * MS, 7));
    lab.run(10 * MS);
    assert!(
        lab.sent(0)
            .iter()
            .all(|(_, packet)| packet.multiplier == 7 && !packet.poll)
    );
    assert_eq!(lab.status(1).detection_time, Some(350 * MS));
}

#[test]
fn an_unchanged_configuration_sends_nothing() {
    let mut lab = Lab::up(1, [fast(), fast()]);
    for _ in 0..200 {
        lab.configure(0, fast());
    }
    assert!(lab.sent(0).is_empty() && lab.changes(0).is_empty());
}

/// What the peer of node 0 says, as node 1 would, but for this.
fn peer_says(lab: &mut Lab, change: impl FnOnce(&mut Control)) {
    let (ours, theirs) = (lab.status(0), lab.status(1));
    let mut packet = Control {
        diagnostic: theirs.diagnostic,
        state: theirs.state,
        poll: false,
        final_: false,
        independent: false,
        demand: false,
        multiplier: 3,
        my_discriminator: theirs.local_discriminator,
        your_discriminator: ours.local_discriminator,
        desired_min_tx: 1_000_000,
        required_min_rx: 50_000,
        required_min_echo_rx: 0,
    };
    change(&mut packet);
    lab.arrive(0, &packet.encode());
}

// RFC 5880 §6.8.7
#[test]
fn a_peer_in_demand_mode_gets_nothing_but_answers_and_is_still_watched() {
    let mut lab = Lab::up(1, [fast(), fast()]);
    lab.nodes[1].stopped = true;
    peer_says(&mut lab, |packet| packet.demand = true);
    lab.clear();
    lab.run(SECOND);
    assert!(lab.sent(0).is_empty());
    peer_says(&mut lab, |packet| (packet.demand, packet.poll) = (true, true));
    let answers = lab.sent(0);
    assert!(answers.len() == 1 && answers[0].1.final_ && !answers[0].1.poll);
    // A change of ours is asked about all the same.
    lab.configure(0, config(70 * MS, 50 * MS, 3));
    lab.run(SECOND);
    assert!(lab.sent(0).len() > 10 && lab.sent(0)[1..].iter().all(|(_, packet)| packet.poll));
    lab.run(2 * SECOND);
    assert_eq!(lab.changes(0)[0].1.state, State::Down, "the peer itself is silent");
}

// RFC 5880 §6.8.7
#[test]
fn a_peer_that_wants_no_packets_gets_none_until_it_does() {
    let mut lab = Lab::up(1, [fast(), fast()]);
    lab.nodes[1].stopped = true;
    peer_says(&mut lab, |packet| packet.required_min_rx = 0);
    lab.clear();
    lab.run(SECOND);
    assert!(lab.sent(0).is_empty());
    peer_says(&mut lab, |packet| packet.required_min_rx = 20_000);
    lab.run(100 * MS);
    assert!(lab.sent(0).len() >= 2);
    peer_says(&mut lab, |packet| packet.required_min_rx = 0);
    lab.remove(0);
    assert!(lab.nodes[0].bfd.is_idle(), "who must not be told is not waited for");
}

// RFC 5880 §6.8.3
#[test]
fn a_peer_that_can_receive_faster_gets_it_at_once() {
    let mut lab = Lab::up(1, [fast(), fast()]);
    lab.nodes[1].stopped = true;
    peer_says(&mut lab, |packet| packet.required_min_rx = 2_000_000);
    lab.run(200 * MS);
    lab.clear();
    peer_says(&mut lab, |packet| packet.required_min_rx = 50_000);
    lab.run(51 * MS);
    assert!(!lab.sent(0).is_empty());
}
