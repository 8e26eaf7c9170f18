//! Memberships on a virtual clock.

mod chaos;
mod lab;
pub(crate) use lab::Dice;

use std::time::Duration;

use proptest::prelude::*;

use crate::{
    wire::message::{Accusation, Alive, Message, VERSIONS},
    *,
};
use lab::{LATENCY, Lab, SECOND, address, names};

fn down(name: &str, cause: Cause) -> Action {
    Action::Down(name.to_owned(), cause)
}

fn returned(name: &str) -> Action {
    Action::Returned(name.to_owned())
}

#[test]
fn nodes_know_each_other_after_an_exchange_with_one() {
    let mut lab = Lab::new(1);
    names(5).iter().for_each(|name| lab.boot(name));
    for name in names(5) {
        lab.introduce(&name, &["n0".to_owned()]);
    }
    let took = lab.until_all_agree(SECOND);
    assert!(took < Duration::from_millis(250), "{took:?}");
}

#[test]
fn a_node_alone_is_alive_and_settled_at_once() {
    let mut lab = Lab::new(1);
    lab.boot("n0");
    assert_eq!(lab.alive("n0"), ["n0"]);
    assert!(!lab.core("n0").settled());
    lab.introduce("n0", &names(1));
    assert!(lab.core("n0").settled());
    lab.run(100 * SECOND);
    assert_eq!(lab.log("n0"), []);
}

// L2-36
#[test]
fn a_fresh_node_that_hears_nobody_settles_after_three_seconds() {
    let mut lab = Lab::new(1);
    lab.boot("n0");
    lab.boot("n1");
    lab.stop("n1");
    lab.introduce("n0", &names(2));
    lab.run(SETTLE - LATENCY);
    assert!(!lab.core("n0").settled());
    lab.run(LATENCY);
    assert!(lab.core("n0").settled());
}

// L2-36
#[test]
fn a_fresh_node_settles_once_all_others_are_members() {
    let mut lab = Lab::of(2);
    let slow = ["n3", "n4", "n5"];
    for name in slow {
        lab.boot(name);
        lab.stop(name);
    }
    lab.boot("n2");
    lab.introduce("n2", &names(6));
    lab.run(SECOND);
    assert_eq!(lab.alive("n2"), ["n0", "n1", "n2"]);
    // Until most are heard, the fresh one would take over what others own.
    assert!(!lab.core("n2").settled());
    slow.iter().for_each(|name| lab.resume(name));
    lab.run(SECOND);
    assert!(lab.core("n2").settled());
}

// Found by tests/simulation, seed 505: the others count on a node as soon as it is a member.
#[test]
fn a_fresh_node_does_not_wait_for_one_that_is_down() {
    let mut lab = Lab::of(3);
    lab.stop("n2");
    lab.leave("n1");
    lab.run(10 * SECOND);
    lab.boot("n1");
    lab.introduce("n1", &names(3));
    lab.run(Duration::from_millis(300));
    assert_eq!(lab.alive("n0"), ["n0", "n1"]);
    assert!(lab.core("n1").settled());
}

// L2-71: not before the suspicion can be refuted, and within the time that upstream needs.
#[test]
fn a_silent_node_is_dead_after_its_suspicion() {
    for count in [2, 3, 5, 10] {
        let mut lab = Lab::of(count);
        lab.run(10 * SECOND);
        lab.stop("n1");
        lab.run(4 * SECOND);
        assert!(
            lab.alive("n0").contains(&"n1".to_owned()),
            "a suspect is still a candidate"
        );
        let took = 4 * SECOND + lab.until_all_agree(6 * SECOND);
        assert!(took < 9 * SECOND, "{count} nodes: {took:?}");
        assert!(lab.has("n0", &down("n1", Cause::Silent)));
    }
}

// L2-72
#[test]
fn a_leaving_node_is_gone_at_once_and_stays_gone() {
    let mut lab = Lab::of(4);
    lab.leave("n1");
    lab.run(LATENCY);
    assert!(lab.agree());
    assert!(lab.has("n0", &down("n1", Cause::Left)));
    lab.run(100 * SECOND);
    assert!(lab.agree());
}

// Found by tests/simulation, seed 593.
#[test]
fn a_refutation_that_was_lost_is_told_again() {
    let mut lab = Lab::new(1);
    let both = names(2);
    both.iter().for_each(|name| lab.boot_with(name, []));
    both.iter().for_each(|name| lab.introduce(name, &both));
    lab.run(5 * SECOND);
    lab.deafen(&both[..1], &both[1..]);
    let suspect = Message::Suspect(Accusation {
        incarnation: 1,
        node: "n0".to_owned(),
        from: "n1".to_owned(),
    });
    for name in &both {
        let (from, bytes) = (address("n1"), suspect.encode());
        lab.feed(name, Event::Datagram { from, bytes });
    }
    lab.run(2 * SECOND);
    lab.heal();
    lab.run(30 * SECOND);
    assert!(!lab.has("n1", &down("n0", Cause::Silent)));
}

#[test]
fn a_node_that_has_left_and_starts_again_was_not_cut_off() {
    let mut lab = Lab::of(3);
    lab.leave("n1");
    lab.run(2 * SECOND);
    lab.clear_logs();
    lab.boot("n1");
    lab.introduce("n1", &names(3));
    lab.until_all_agree(SECOND);
    assert!(!lab.has("n0", &returned("n1")));
    assert!(!lab.has("n1", &returned("n1")));
}

// Each came too late for the gossip about the other.
#[test]
fn nodes_that_start_at_the_same_time_find_each_other() {
    for seed in 0..200 {
        let mut lab = Lab::new(seed);
        lab.boot_all(6);
        lab.run(5 * SECOND);
        lab.leave("n1");
        lab.leave("n4");
        lab.run(SECOND);
        for name in ["n1", "n4"] {
            lab.boot(name);
            lab.introduce(name, &["n0".to_owned()]);
        }
        lab.until_all_agree(SECOND);
    }
}

#[test]
fn a_node_that_crashes_and_starts_again_at_once_was_never_gone() {
    let mut lab = Lab::of(3);
    lab.clear_logs();
    lab.stop("n1");
    lab.run(SECOND);
    lab.boot("n1");
    lab.introduce("n1", &names(3));
    lab.until_all_agree(SECOND);
    lab.run(60 * SECOND);
    assert!(lab.agree());
    assert_eq!(lab.log("n0"), []);
}

// A node that was cut off may have answered for addresses of others, and others for its own.
#[test]
fn after_a_partition_both_sides_know_that_the_other_was_cut_off() {
    // Shorter and longer than the dead are remembered after the last was noticed.
    for length in [60, 240] {
        let mut lab = Lab::of(6);
        let all = names(6);
        lab.part(&all[..2], &all[2..]);
        lab.run(length * SECOND);
        assert_eq!(lab.alive("n0"), ["n0", "n1"]);
        assert_eq!(lab.alive("n5"), ["n2", "n3", "n4", "n5"]);
        lab.heal();
        let took = lab.until_all_agree(7 * SECOND);
        assert!(lab.has("n0", &returned("n5")), "after {took:?}");
        assert!(lab.has("n5", &returned("n0")));
        lab.clear_logs();
        lab.run(60 * SECOND);
        assert_eq!(lab.log("n0"), [], "and that was all");
    }
}

// L2-73
#[test]
fn others_vouch_for_a_node_that_cannot_be_reached_directly() {
    let mut lab = Lab::of(4);
    lab.part(&["n0".into()], &["n1".into()]);
    lab.clear_logs();
    lab.run(60 * SECOND);
    assert!(lab.agree());
    assert_eq!((lab.log("n0"), lab.log("n1")), (vec![], vec![]));
}

// L2-73
#[test]
fn a_stream_keeps_a_node_alive_that_datagrams_do_not_reach() {
    let mut lab = Lab::of(2);
    lab.deafen(&["n0".into()], &["n1".into()]);
    lab.clear_logs();
    lab.run(60 * SECOND);
    assert!(lab.agree());
    assert_eq!(lab.log("n0"), []);
}

// Whoever hears nacks knows that the fault is not its own.
#[test]
fn nacks_keep_a_node_from_doubting_itself() {
    let mut lab = Lab::of(5);
    lab.stop("n1");
    for _ in 0..600 {
        lab.run(Duration::from_millis(10));
        assert!(lab.running().iter().all(|name| lab.core(name).awareness == 0));
    }
}

// The process was busy: that is no reason to accuse another.
#[test]
fn a_late_tick_leaves_others_their_time_to_vouch() {
    let mut lab = Lab::of(3);
    lab.part(&["n0".into()], &["n1".into()]);
    while lab.core("n0").probe.is_none() || !lab.core("n0").probes("n1") {
        lab.run(Duration::from_millis(10));
    }
    // Nothing is done for the rest of its second.
    let late = lab.core("n0").probe.as_ref().unwrap().next_deadline() + Duration::from_millis(800);
    lab.skip_to("n0", late);
    assert!(lab.core("n0").probes("n1"), "still undecided");
    lab.run(100 * LATENCY);
    assert!(!lab.core("n0").probes("n1"), "the third has vouched");
    assert!(lab.core("n0").nodes["n1"].suspicion.is_none());
}

// L2-35
#[test]
fn a_suspect_that_can_refute_stays() {
    let mut lab = Lab::of(5);
    lab.clear_logs();
    let all = names(5);
    for _ in 0..10 {
        lab.part(&all[..1], &all[1..]);
        lab.run(2 * SECOND);
        lab.heal();
        lab.run(10 * SECOND);
    }
    assert!(lab.agree());
    assert_eq!(lab.log("n1"), []);
}

#[test]
fn a_paused_node_does_not_take_the_others_for_dead_and_says_that_it_was_away() {
    let mut lab = Lab::of(4);
    lab.clear_logs();
    lab.stop("n1");
    lab.run(60 * SECOND);
    assert_eq!(lab.alive("n0"), ["n0", "n2", "n3"]);
    lab.resume("n1");
    lab.until_all_agree(7 * SECOND);
    lab.run(60 * SECOND);
    assert!(lab.agree());
    let deaths = lab
        .log("n1")
        .into_iter()
        .filter(|action| matches!(action, Action::Down(..)));
    assert_eq!(deaths.count(), 0);
    assert!(lab.has("n1", &returned("n1")));
}

#[test]
fn nodes_with_different_keys_do_not_hear_each_other() {
    let mut lab = Lab::new(1);
    lab.boot_with("n0", [[1; 32]]);
    lab.boot_with("n1", [[2; 32]]);
    lab.introduce("n0", &names(2));
    lab.introduce("n1", &names(2));
    lab.run(10 * SECOND);
    assert_eq!(lab.alive("n0"), ["n0"]);
    let refused = Action::Refused {
        from: address("n1"),
        reason: Refusal::Decryption,
    };
    assert!(lab.has("n0", &refused));
}

// Each step is taken by one member after another, with time for all others to notice.
#[test]
fn keys_are_changed_without_losing_anybody() {
    let mut lab = Lab::new(1);
    let (old, new) = ([1; 32], [2; 32]);
    names(4).iter().for_each(|name| lab.boot_with(name, [old]));
    for name in names(4) {
        lab.introduce(&name, &names(4));
    }
    lab.run(5 * SECOND);
    assert!(lab.agree());
    lab.clear_logs();
    for keys in [vec![old, new], vec![new, old], vec![new]] {
        for name in names(4) {
            lab.feed(&name, Event::Keyring(Keyring::of_keys(keys.clone())));
            lab.run(20 * SECOND);
        }
    }
    assert!(lab.agree());
    assert!(names(4).iter().all(|name| lab.log(name).is_empty()));
}

#[test]
fn another_node_with_a_living_ones_name_is_refused() {
    let mut lab = Lab::of(2);
    let double = Message::Alive(Alive {
        incarnation: 9,
        node: "n1".into(),
        address: address("n7"),
        meta: Vec::new(),
        versions: VERSIONS.to_vec(),
    });
    let bytes = Keyring::of_keys([[7; 32]]).seal([0; 12], double.encode(), b"");
    let from = address("n7");
    lab.feed("n0", Event::Datagram { from, bytes });
    let reason = Refusal::Conflict;
    assert!(lab.has("n0", &Action::Refused { from, reason }));
}

/// Those that say that they are of our kind.
fn capable(members: &Members) -> Vec<String> {
    let ours = members.nodes.iter();
    let ours = ours.filter(|(_, node)| node.is_present() && node.alive.meta.starts_with(CAPABILITY));
    ours.map(|(name, _)| name.clone()).collect()
}

#[test]
fn what_a_node_says_of_itself_reaches_all() {
    let mut lab = Lab::of(3);
    assert_eq!(capable(lab.core("n0")).len(), 3);
    lab.feed("n1", Event::Meta(Vec::new()));
    lab.run(SECOND);
    assert!(lab.has("n0", &Action::Updated("n1".into())));
    assert_eq!(capable(lab.core("n2")), ["n0", "n2"]);
    assert!(lab.agree());
}

#[test]
fn news_of_a_node_are_with_all_members_before_any_gossip() {
    let mut lab = Lab::of(20);
    let metadata = metadata::Metadata {
        boot: 7,
        ..metadata::Metadata::default()
    };
    lab.feed("n1", Event::Meta(metadata.encode(true)));
    lab.run(LATENCY);
    for name in names(20) {
        assert_eq!(lab.core(&name).metadata()["n1"], Some(metadata.clone()), "{name}");
    }
    assert!(lab.has("n1", &Action::Updated("n1".into())), "it is told itself, too");
}

#[test]
fn a_hundred_nodes_find_each_other_in_seconds() {
    let mut lab = Lab::new(1);
    lab.boot_all(100);
    let took = lab.until_all_agree(3 * SECOND);
    lab.leave("n7");
    let gone = lab.until_all_agree(SECOND);
    assert!(gone <= Duration::from_millis(20), "{took:?}, {gone:?}");
}

proptest! {
    #[test]
    fn any_bytes_are_taken_in_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        #[expect(clippy::disallowed_methods, reason = "an Instant cannot be made otherwise")]
        let start = std::time::Instant::now();
        fuzz::member(start, &bytes);
    }
}
