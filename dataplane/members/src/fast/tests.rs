mod lab;

use std::time::Duration;

use lab::{Lab, MS, SECOND, State, names};

use super::*;

/// Three intervals, the second opinion, and what a virtual machine comes late.
const DETECTED: Duration = Duration::from_millis(350);

// L2-74
#[test]
fn a_crash_is_known_within_a_third_of_a_second_by_all() {
    for seed in 0..20 {
        let count = [3, 5, 16, 40][seed as usize % 4];
        let mut lab = Lab::of(count, seed);
        let after = Duration::from_micros(lab.dice.below(200_000));
        lab.run(after);
        let at = lab.now;
        lab.set("n000", State::Crashed);
        lab.run(SECOND);
        for name in names(1..count) {
            let (known, suspects) = &lab.log(&name)[0];
            assert_eq!(suspects.iter().collect::<Vec<_>>(), ["n000"], "seed {seed}");
            assert!(
                *known - at < DETECTED,
                "{name} knew it after {:?}, seed {seed}",
                *known - at
            );
        }
        assert!(
            lab.nobody < DETECTED && lab.several < 5 * MS,
            "{:?} {:?}",
            lab.nobody,
            lab.several
        );
        assert_eq!(lab.owners(), ["n001"]);
    }
}

// Found by tests/simulation, seed 102.
#[test]
fn a_flood_of_an_unknown_run_is_not_answered_by_a_flood() {
    let mut lab = Lab::of(2, 1);
    let keys = Keys::default();
    let packet = |boot, sequence| {
        let (sender, accused) = ("n001".to_owned(), BTreeMap::new());
        let (stamp, kind) = (packet::Stamp { boot, sequence }, packet::Kind::News);
        let packet = packet::Packet {
            stamp,
            sender,
            kind,
            accused,
        };
        Event::Datagram(packet.encode(&keys))
    };
    let before = lab.on_their_way();
    (1..=100).for_each(|sequence| lab.feed("n000", packet(7, sequence)));
    assert!(
        lab.on_their_way() <= before + 1,
        "{} pings",
        lab.on_their_way() - before
    );
}

#[test]
fn nobody_is_accused_in_an_hour_in_which_a_tenth_is_lost() {
    let mut lab = Lab::of(3, 1);
    lab.loss = 10;
    // The segment cannot help either.
    lab.off_segment = names(0..3).into_iter().collect();
    lab.run(3600 * SECOND);
    assert_eq!(lab.accusations(), 0);
}

#[test]
fn a_crash_is_known_in_spite_of_loss() {
    for seed in 0..100 {
        let mut lab = Lab::of(5, seed);
        lab.loss = 10;
        lab.run(SECOND);
        let at = lab.now;
        lab.set("n000", State::Crashed);
        lab.run(SECOND);
        assert_eq!(lab.owners(), ["n001"], "seed {seed}");
        let known = lab.log("n001").last().unwrap().0;
        assert!(known - at < 2 * DETECTED, "{:?}, seed {seed}", known - at);
    }
}

// As by SIGSTOP, or when a virtual machine is moved.
#[test]
fn a_paused_member_is_replaced_and_gives_way_when_it_goes_on() {
    for seed in 0..50 {
        let mut lab = Lab::of(3, seed);
        lab.set("n000", State::Paused);
        lab.run(5 * SECOND);
        assert_eq!(lab.owners(), ["n001"]);
        lab.set("n000", State::Running);
        lab.run(9 * SECOND);
        assert_eq!(lab.owners(), ["n001"], "seed {seed}");
        assert!(lab.several < 5 * MS, "two owners for {:?}, seed {seed}", lab.several);
        assert!(
            lab.log("n000").iter().all(|(_, suspects)| suspects.len() < 2),
            "it accuses nobody"
        );
        lab.run(2 * SECOND);
        assert_eq!(lab.owners(), ["n000"], "it has proven itself, seed {seed}");
        assert!(
            lab.nobody < DETECTED && lab.several < 5 * MS,
            "{:?} {:?}",
            lab.nobody,
            lab.several
        );
    }
}

// The accusers announce once more: clients may have heard the other last.
#[test]
fn each_accuser_tells_once_and_at_once_that_a_member_is_back() {
    let mut lab = Lab::of(3, 1);
    lab.set("n000", State::Paused);
    lab.run(5 * SECOND);
    assert!(lab.returned.is_empty());
    let back = lab.now;
    lab.set("n000", State::Running);
    lab.run(5 * SECOND);
    let tellers: BTreeSet<&str> = lab.returned.iter().map(|(_, teller, _)| teller.as_str()).collect();
    assert_eq!((tellers.len(), lab.returned.len()), (2, 2), "{:?}", lab.returned);
    assert!(
        lab.returned
            .iter()
            .all(|(at, _, other)| other == "n000" && *at - back < 150 * MS),
        "{:?}",
        lab.returned
    );
}

// As where many processes share few cores.
#[test]
fn who_is_a_little_late_while_it_doubts_takes_over_a_little_later() {
    for seed in 0..20 {
        let mut lab = Lab::of(3, seed);
        lab.set("n000", State::Crashed);
        lab.run(200 * MS);
        for _ in 0..2 {
            names(1..3).iter().for_each(|name| lab.set(name, State::Paused));
            lab.run(70 * MS);
            names(1..3).iter().for_each(|name| lab.set(name, State::Running));
            lab.run(10 * MS);
        }
        lab.run(SECOND);
        assert_eq!(lab.owners(), ["n001"]);
        assert!(lab.nobody < DETECTED + 160 * MS, "{:?}, seed {seed}", lab.nobody);
    }
}

#[test]
fn who_was_paused_accuses_nobody() {
    for seed in 0..200 {
        let mut lab = Lab::of(3, seed);
        let pause = Duration::from_micros(lab.dice.below(300_000));
        lab.set("n002", State::Paused);
        lab.run(pause);
        lab.set("n002", State::Running);
        lab.run(5 * SECOND);
        for (_, suspects) in lab.log("n002") {
            assert!(!suspects.contains("n000") && !suspects.contains("n001"), "seed {seed}");
        }
    }
}

// L2-75
#[test]
fn who_still_answers_on_the_segment_is_not_accused() {
    let mut lab = Lab::of(3, 1);
    lab.part(&names(0..1), &names(1..3));
    lab.run(60 * SECOND);
    assert_eq!(lab.accusations(), 0);
    assert_eq!(lab.owners(), ["n000"]);
    lab.set("n000", State::Crashed);
    lab.run(DETECTED);
    assert_eq!(lab.owners(), ["n001"], "it is watched in spite of that");
}

#[test]
fn who_answers_others_is_not_accused() {
    let mut lab = Lab::of(3, 1);
    lab.off_segment = names(0..3).into_iter().collect();
    lab.part(&names(0..1), &names(1..2));
    lab.run(60 * SECOND);
    assert_eq!(lab.accusations(), 0);
}

// L2-76
#[test]
fn who_hears_nobody_accuses_nobody() {
    for seed in 0..20 {
        let mut lab = Lab::of(4, seed);
        lab.off_segment = names(3..4).into_iter().collect();
        let wait = Duration::from_micros(lab.dice.below(200_000));
        lab.run(wait);
        lab.part(&names(3..4), &names(0..3));
        lab.run(5 * SECOND);
        assert!(lab.log("n003").is_empty(), "seed {seed}");
        assert_eq!(lab.suspects("n000"), ["n003"]);
        assert_eq!(lab.owners(), ["n000"]);
        lab.heal();
        lab.run(5 * SECOND);
        let accusers = lab.log("n003").iter().flat_map(|(_, suspects)| suspects);
        assert!(accusers.clone().all(|name| name == "n003"), "seed {seed}");
    }
}

#[test]
fn an_owner_that_is_cut_off_from_all_goes_on_and_gives_way_when_they_meet() {
    for seed in 0..20 {
        let mut lab = Lab::of(5, seed);
        lab.off_segment = names(0..1).into_iter().collect();
        lab.part(&names(0..1), &names(1..5));
        lab.run(5 * SECOND);
        assert_eq!(lab.owners(), ["n000", "n001"], "each on its side");
        lab.heal();
        lab.several = Duration::ZERO;
        lab.run(5 * SECOND);
        assert_eq!(lab.owners(), ["n001"], "seed {seed}");
        assert!(lab.several < 250 * MS, "{:?}, seed {seed}", lab.several);
        lab.run(10 * SECOND);
        assert_eq!(lab.owners(), ["n000"], "seed {seed}");
    }
}

#[test]
fn of_two_members_the_survivor_needs_a_witness() {
    for gateway in [true, false] {
        let mut lab = Lab::of(2, 1);
        lab.gateway = gateway;
        lab.set("n000", State::Crashed);
        lab.run(SECOND);
        assert_eq!(lab.owners().len(), usize::from(gateway));
    }
}

#[test]
fn with_one_member_of_another_kind_nobody_is_watched() {
    let mut lab = Lab::of(3, 1);
    let members = names(0..4);
    names(0..3).iter().for_each(|name| lab.introduce(name, &members, false));
    lab.set("n000", State::Crashed);
    lab.run(10 * SECOND);
    assert_eq!(lab.accusations(), 0);
}

#[test]
fn accusations_end_when_a_member_of_another_kind_joins() {
    let mut lab = Lab::of(3, 1);
    lab.set("n000", State::Crashed);
    lab.run(SECOND);
    assert_eq!(lab.suspects("n001"), ["n000"]);
    let members = names(0..4);
    names(1..3).iter().for_each(|name| lab.introduce(name, &members, false));
    assert!(lab.suspects("n001").is_empty() && lab.suspects("n002").is_empty());
}

#[test]
fn who_is_back_before_memberlist_noticed_is_on_probation() {
    let mut lab = Lab::of(3, 1);
    lab.set("n000", State::Crashed);
    lab.run(2 * SECOND);
    lab.boot("n000");
    lab.introduce("n000", &names(0..3), true);
    lab.run(9 * SECOND);
    assert_eq!(lab.owners(), ["n001"], "the new run of it knows, too");
    lab.run(3 * SECOND);
    assert_eq!(lab.owners(), ["n000"]);
}

#[test]
fn one_after_the_other_may_crash() {
    let mut lab = Lab::of(6, 1);
    for (gone, next) in [("n000", "n001"), ("n001", "n002"), ("n002", "n003")] {
        lab.set(gone, State::Crashed);
        lab.run(SECOND);
        assert_eq!(lab.owners(), [next]);
    }
}

#[test]
fn half_of_a_cluster_may_crash_at_once_and_more_before_a_witness() {
    for (count, lost, gateway, owner) in [
        (5, 2, false, true),
        (5, 3, false, false),
        (5, 3, true, true),
        (5, 4, true, true),
        (3, 1, false, true),
        (3, 2, false, false),
        (3, 2, true, true),
    ] {
        let mut lab = Lab::of(count, 1);
        lab.gateway = gateway;
        names(0..lost).iter().for_each(|name| lab.set(name, State::Crashed));
        lab.run(SECOND);
        assert_eq!(
            lab.owners().len(),
            usize::from(owner),
            "{lost} of {count}, gateway {gateway}"
        );
        assert!(
            !owner || lab.nobody < DETECTED + 100 * MS,
            "{:?}, {lost} of {count}, gateway {gateway}",
            lab.nobody
        );
    }
}

#[test]
fn whose_members_network_fails_takes_over_nothing_that_is_answered_for_on_the_segment() {
    let mut lab = Lab::of(5, 1);
    let all = names(0..5);
    lab.part(&all, &all);
    lab.run(10 * SECOND);
    assert_eq!(lab.owners(), ["n000"]);
    assert!(
        lab.nobody == Duration::ZERO && lab.several == Duration::ZERO,
        "{:?} {:?}",
        lab.nobody,
        lab.several
    );
}

#[test]
fn each_further_silence_costs_twice_the_time_whoever_accuses() {
    let mut lab = Lab::of(5, 1);
    for (seconds, gone) in [(10, "n004"), (20, "n003"), (40, "n002")] {
        lab.set("n000", State::Paused);
        lab.run(SECOND);
        lab.set("n000", State::Running);
        lab.run((seconds - 1) * SECOND);
        assert_eq!(lab.owners(), ["n001"], "before {seconds} s");
        lab.run(2 * SECOND);
        assert_eq!(lab.owners(), ["n000"], "after {seconds} s");
        // By fewer each time.
        lab.set(gone, State::Crashed);
    }
}

#[test]
fn whatever_happens_there_is_one_owner_afterwards() {
    for seed in 0..8 {
        let count = 3 + seed as usize % 3;
        let mut lab = Lab::of(count, seed);
        lab.loss = lab.dice.below(15);
        for _ in 0..3 {
            let name = format!("n{:03}", lab.dice.below(count as u64));
            let others: Vec<String> = names(0..count).into_iter().filter(|other| *other != name).collect();
            match lab.dice.below(4) {
                0 => lab.set(&name, State::Paused),
                1 => lab.part(std::slice::from_ref(&name), &others),
                2 => drop(lab.off_segment.insert(name.clone())),
                _ => {}
            }
            let time = lab.dice.below(3000);
            lab.run(time as u32 * MS);
            if lab.dice.below(2) == 0 {
                lab.heal();
            }
            lab.set(&name, State::Running);
        }
        lab.heal();
        lab.off_segment.clear();
        names(0..count).iter().for_each(|name| lab.set(name, State::Running));
        lab.loss = 0;
        lab.run(SECOND);
        (lab.nobody, lab.several) = (Duration::ZERO, Duration::ZERO);
        lab.run_until_calm(1300 * SECOND);
        lab.run(10 * SECOND);
        assert_eq!(lab.owners(), ["n000"], "seed {seed}");
        assert!(
            lab.nobody < 100 * MS && lab.several < 100 * MS,
            "{:?} {:?} seed {seed}",
            lab.nobody,
            lab.several
        );
    }
}

#[test]
fn in_a_large_cluster_each_watches_few() {
    let mut lab = Lab::of(100, 1);
    let everybody = names(0..100);
    let watchers = |lab: &Lab, whom: &String| {
        let watches = |name: &&String| lab.watched(name).contains(whom);
        everybody.iter().filter(watches).count()
    };
    assert!(everybody.iter().all(|name| lab.watched(name).len() == 8));
    assert!(
        everybody.iter().all(|name| watchers(&lab, name) == 8),
        "each by as many"
    );
    let partners: BTreeSet<String> = everybody.iter().cloned().collect();
    everybody
        .iter()
        .for_each(|name| lab.feed(name, Event::Partners(partners.clone())));
    assert!(everybody.iter().all(|name| lab.watched(name).len() == 12));
    assert!(
        everybody.iter().all(|name| watchers(&lab, name) == 12),
        "with many Services, too"
    );
}

// As in a cluster with very many Services, in which each may have to stand in for each.
#[test]
fn in_a_large_cluster_a_crash_of_any_is_known_to_all() {
    for crashed in ["n000", "n050", "n099"] {
        let mut lab = Lab::of(100, 1);
        let everybody = names(0..100);
        let partners: BTreeSet<String> = everybody.iter().cloned().collect();
        everybody
            .iter()
            .for_each(|name| lab.feed(name, Event::Partners(partners.clone())));
        lab.run(SECOND);
        lab.set(crashed, State::Crashed);
        lab.run(DETECTED);
        for name in everybody.iter().filter(|name| *name != crashed) {
            assert_eq!(lab.suspects(name), [crashed], "{name}");
        }
    }
}

#[test]
fn in_a_calm_cluster_little_is_sent() {
    for (count, most) in [(3, 50), (16, 350), (100, 300)] {
        let mut lab = Lab::of(count, 1);
        let partners: BTreeSet<String> = names(0..count).into_iter().collect();
        names(0..count)
            .iter()
            .for_each(|name| lab.feed(name, Event::Partners(partners.clone())));
        lab.run(2 * SECOND);
        let before = lab.sent();
        lab.run(10 * SECOND);
        let each = (lab.sent() - before) / 10 / count as u64;
        println!("{each} packets a second from each of {count}");
        assert!(each <= most, "{each} packets a second from each of {count}");
    }
}

// Found by hand: of three, one that was accused and answers did not count, so that the next crash took the membership.
#[test]
fn who_is_on_probation_counts_when_it_answers() {
    for seed in 0..20 {
        let mut lab = Lab::of(3, seed);
        lab.gateway = false;
        lab.set("n002", State::Paused);
        lab.run(SECOND);
        lab.set("n002", State::Running);
        lab.run(SECOND);
        assert_eq!(lab.suspects("n001"), ["n002"], "it is on probation");
        lab.set("n000", State::Crashed);
        lab.run(DETECTED + 60 * MS);
        assert_eq!(lab.suspects("n001"), ["n000", "n002"], "seed {seed}");
        assert_eq!(lab.owners(), ["n001"], "seed {seed}");
    }
}

#[test]
fn who_is_accused_and_answers_nothing_does_not_count() {
    let mut lab = Lab::of(4, 1);
    lab.gateway = false;
    lab.set("n003", State::Crashed);
    lab.run(SECOND);
    lab.set("n000", State::Crashed);
    lab.run(SECOND);
    assert_eq!(lab.owners(), ["n001"], "half of the others answer");
}

// Of the gateway's answers one may be lost.
#[test]
fn the_witness_is_asked_until_it_answers() {
    for (count, lost) in [(2, 2), (5, 1)] {
        let mut lab = Lab::of(count, 1);
        lab.lost_witnesses = lost;
        names(0..count - 1)
            .iter()
            .for_each(|name| lab.set(name, State::Crashed));
        lab.run(SECOND);
        assert_eq!(lab.owners().len(), 1, "{count} members, {lost} lost");
    }
}

// Two that are parted from each other cannot tell each other; the segment can.
#[test]
fn who_was_accused_is_unaware_until_it_answers() {
    let mut lab = Lab::of(3, 1);
    lab.off_segment = names(0..1).into_iter().collect();
    lab.part(&names(0..1), &names(1..3));
    lab.run(SECOND);
    assert_eq!(
        (lab.suspects("n001"), lab.unaware("n001")),
        (vec!["n000"], vec!["n000"])
    );
    lab.heal();
    lab.run(200 * MS);
    assert_eq!(lab.suspects("n001"), ["n000"], "on probation");
    assert!(lab.unaware("n001").is_empty() && lab.unaware("n000").is_empty());
    lab.part(&names(0..1), &names(1..3));
    lab.run(SECOND);
    assert_eq!(lab.unaware("n001"), ["n000"]);
}

// The accuser cannot reach it; who can takes over and would be one of two.
#[test]
fn who_is_accused_learns_it_from_those_that_it_hears() {
    let mut lab = Lab::of(4, 1);
    lab.off_segment = names(0..1).into_iter().collect();
    // Nobody can ask n000 for n003, and the others still hear it.
    lab.part(&names(0..1), &names(3..4));
    lab.deaf_to_vouches = Some("n003".to_owned());
    lab.run(SECOND);
    assert_eq!(lab.suspects("n003"), ["n000"]);
    assert_eq!(lab.suspects("n001"), ["n000"], "it believes the accuser");
    assert_eq!(lab.suspects("n000"), ["n000"], "it was told");
    assert_eq!(lab.owners(), ["n001"]);
    assert!(lab.several < 20 * MS, "{:?}", lab.several);
}

// The member that relays an accusation leaves just before the accuser lifts it.
#[test]
fn the_accused_does_not_inherit_what_was_only_passed_on_to_it() {
    let mut lab = Lab::of(4, 1);
    lab.off_segment = names(0..1).into_iter().collect();
    lab.part(&names(0..1), &names(3..4));
    lab.deaf_to_vouches = Some("n003".to_owned());
    lab.run(SECOND);
    assert_eq!(lab.suspects("n000"), ["n000"], "it was told");
    lab.heal();
    lab.off_segment.clear();
    lab.run(19 * SECOND / 2);
    assert_eq!(lab.owners(), ["n001"], "n003 has not lifted it");
    lab.set("n001", State::Crashed);
    let left = ["n000", "n002", "n003"].map(str::to_owned);
    left.iter().for_each(|name| lab.introduce(name, &left, true));
    lab.run(2 * SECOND);
    assert_eq!(lab.owners(), ["n000"], "n003 has lifted it");
}

// L2-79
#[test]
fn who_cannot_announce_says_so_at_once_and_is_on_probation_when_it_can() {
    let mut lab = Lab::of(5, 1);
    lab.feed("n000", Event::Fit(false));
    lab.run(5 * MS);
    assert_eq!(lab.owners(), ["n001"]);
    lab.run(20 * SECOND);
    assert_eq!(lab.owners(), ["n001"], "it has not said that it can");
    lab.feed("n000", Event::Fit(true));
    lab.run(9 * SECOND);
    assert_eq!(lab.owners(), ["n001"]);
    lab.run(2 * SECOND);
    assert_eq!(lab.owners(), ["n000"]);
    assert!(
        lab.nobody < 5 * MS && lab.several < 5 * MS,
        "{:?} {:?}",
        lab.nobody,
        lab.several
    );
}

#[test]
fn a_carrier_that_comes_and_goes_moves_the_address_once() {
    let mut lab = Lab::of(4, 1);
    lab.part(&names(0..1), &names(1..4));
    lab.off_segment = names(0..1).into_iter().collect();
    lab.feed("n000", Event::Fit(false));
    lab.run(100 * MS);
    assert!(lab.owners().is_empty(), "nobody could hear it");
    lab.heal();
    lab.off_segment.clear();
    lab.feed("n000", Event::Fit(true));
    lab.run(5 * MS);
    assert_eq!(lab.owners(), ["n001"]);
    lab.run(5 * SECOND);
    assert_eq!(lab.owners(), ["n001"]);
}
