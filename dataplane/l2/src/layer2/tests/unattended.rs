//! Nobody decides any more: the rest of the process is stuck.

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const BEAT: Duration = Duration::from_millis(500);
const STRANGER: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 99]);

/// A bench that announces `vip(1)` and `vip(2)`, knows another speaker, and was attended until now.
fn bench() -> Bench {
    let mut bench = Bench::new(vec![link(1, 1)]);
    bench.change(vip(1), Some(Interfaces::All));
    bench.change(vip(2), Some(Interfaces::All));
    bench.feed(Event::Peers([SUCCESSOR].into()));
    attend(&mut bench, 10 * SECOND);
    bench
}

/// Lets time pass with signs of life.
fn attend(bench: &mut Bench, time: Duration) {
    let end = bench.now + time;
    while bench.now < end {
        bench.feed(Event::Attended);
        bench.run(BEAT);
    }
    bench.feed(Event::Attended);
}

#[test]
fn what_another_speaker_announces_is_left_to_it_when_nobody_decides() {
    let mut bench = bench();
    bench.run(2 * SECOND);
    assert!(bench.ask(1, vip(1)).is_some(), "nobody else does");
    bench.hear_claim(vip(1), SUCCESSOR);
    assert_eq!(bench.ask(1, vip(1)), None);
    assert!(bench.ask(1, vip(2)).is_some(), "for which nobody stands in");
    bench.hear_claim(vip(2), STRANGER);
    assert!(bench.ask(1, vip(2)).is_some(), "that is no speaker");
}

// They may notice a little sooner.
#[test]
fn what_another_has_announced_before_is_left_to_it_when_it_is_noticed_that_nobody_decides() {
    let mut bench = bench();
    bench.run(SECOND);
    bench.hear_claim(vip(1), SUCCESSOR);
    bench.run(SECOND - Duration::from_millis(1));
    assert!(bench.ask(1, vip(1)).is_some(), "whoever decides may still do so");
    bench.run(Duration::from_millis(1));
    assert_eq!(bench.ask(1, vip(1)), None);
}

// All of the process was stopped: what has come in meanwhile is heard before a deadline.
#[test]
fn after_a_pause_the_first_claim_counts() {
    let mut bench = bench();
    bench.now += 5 * SECOND;
    bench.hear_claim(vip(1), SUCCESSOR);
    assert_eq!(bench.ask(1, vip(1)), None);
}

#[test]
fn a_claim_is_for_whoever_decides_to_judge_while_it_is_there() {
    let mut bench = bench();
    bench.hear_claim(vip(1), SUCCESSOR);
    attend(&mut bench, SECOND);
    assert!(bench.ask(1, vip(1)).is_some());
    let mut never = Bench::new(vec![link(1, 1)]);
    never.change(vip(1), Some(Interfaces::All));
    never.feed(Event::Peers([SUCCESSOR].into()));
    never.run(60 * SECOND);
    never.hear_claim(vip(1), SUCCESSOR);
    assert!(never.ask(1, vip(1)).is_some(), "it was never told that somebody does");
}

#[test]
fn what_was_left_is_answered_again_when_whoever_decides_says_so() {
    for event in [Event::Defend(vip(1).into()), Event::Resume(vip(1).into())] {
        let mut bench = bench();
        bench.run(2 * SECOND);
        bench.hear_claim(vip(1), SUCCESSOR);
        bench.feed(Event::Attended);
        assert_eq!(bench.ask(1, vip(1)), None, "it may have to be withdrawn");
        bench.feed(event);
        assert!(bench.ask(1, vip(1)).is_some());
    }
    let mut bench = bench();
    bench.run(2 * SECOND);
    bench.hear_claim(vip(1), SUCCESSOR);
    bench.change(vip(1), None);
    bench.change(vip(1), Some(Interfaces::All));
    assert!(bench.ask(1, vip(1)).is_some(), "elected anew");
}

#[test]
fn what_was_left_is_answered_again_when_the_other_is_silent() {
    let mut bench = bench();
    bench.run(2 * SECOND);
    bench.hear_claim(vip(1), SUCCESSOR);
    bench.run(Duration::from_millis(699));
    assert_eq!(bench.ask(1, vip(1)), None);
    bench.sent.clear();
    bench.run(Duration::from_millis(1));
    assert!(bench.ask(1, vip(1)).is_some());
    assert!(bench.bursts() > 0, "and told");
}

#[test]
fn what_is_yielded_by_decision_stays_so_until_another() {
    let mut bench = bench();
    bench.run(2 * SECOND);
    bench.hear_claim(vip(1), SUCCESSOR);
    bench.feed(Event::Yield(vip(1).into()));
    bench.run(60 * SECOND);
    assert_eq!(bench.ask(1, vip(1)), None);
}
