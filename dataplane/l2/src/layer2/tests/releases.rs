//! Addresses that another node takes over while this one goes on.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn release(bench: &mut Bench, ip: impl Into<IpAddr>) {
    bench.feed(Event::Release(vec![ip.into()]));
}

/// A bench that announces `vip(1)` and `vip(2)` and has told so.
fn bench() -> Bench {
    let mut bench = Bench::new(vec![link(1, 1), link(2, 2)]);
    bench.change(vip(1), Some(Interfaces::All));
    bench.change(vip(2), Some(Interfaces::All));
    bench.run(10 * SECOND);
    bench
}

#[test]
fn a_released_address_is_answered_until_its_new_owner_is_heard() {
    let mut bench = bench();
    release(&mut bench, vip(1));
    assert!(bench.ask(1, vip(1)).is_some());
    bench.hear_claim(vip(1), EthernetAddress([2, 0, 0, 0, 0, 1]));
    assert!(bench.ask(1, vip(1)).is_some(), "a frame of our own is no claim");
    bench.hear_claim(vip(1), SUCCESSOR);
    assert_eq!((bench.ask(1, vip(1)), bench.ask(2, vip(1))), (None, None));
    assert!(bench.ask(1, vip(2)).is_some(), "the other one stays");
    assert_eq!(bench.told, [], "no conflict");
}

#[test]
fn if_nobody_is_heard_the_answers_end_after_a_second() {
    let mut bench = bench();
    release(&mut bench, vip(1));
    bench.run(SECOND - Duration::from_millis(1));
    assert!(bench.ask(1, vip(1)).is_some());
    bench.run(Duration::from_millis(1));
    assert_eq!(bench.ask(1, vip(1)), None);
}

#[test]
fn a_released_address_is_not_told_any_more_whatever_happens() {
    let mut bench = Bench::new(vec![link(1, 1)]);
    bench.change(vip(1), Some(Interfaces::All));
    release(&mut bench, vip(1));
    bench.sent.clear();
    bench.feed(Event::Reannounce);
    bench.feed(Event::Links(selection(vec![link(1, 7)])));
    bench.run(SECOND / 2);
    assert_eq!(bench.sent, []);
    assert!(bench.ask(1, vip(1)).is_some());
}

#[test]
fn a_new_owner_that_was_heard_before_the_release_needs_no_waiting() {
    let mut bench = bench();
    bench.hear_claim(vip(1), SUCCESSOR);
    assert!(bench.ask(1, vip(1)).is_some(), "not known yet to be a move");
    bench.run(SECOND / 10);
    release(&mut bench, vip(1));
    assert_eq!(bench.ask(1, vip(1)), None);
    bench.hear_claim(vip(2), SUCCESSOR);
    bench.run(5 * SECOND);
    release(&mut bench, vip(2));
    assert!(bench.ask(1, vip(2)).is_some(), "that was too long ago");
}

#[test]
fn what_is_yielded_or_heard_nowhere_is_withdrawn_at_once() {
    let mut bench = bench();
    bench.feed(Event::Yield(vip(1).into()));
    release(&mut bench, vip(1));
    assert!(!bench.core.table.has(vip(1).into()));
    bench.change(vip(2), only(&["eth9"]));
    release(&mut bench, vip(2));
    assert!(!bench.core.table.has(vip(2).into()));
}

#[test]
fn an_address_that_comes_back_is_told_anew() {
    let mut bench = bench();
    release(&mut bench, vip(1));
    bench.run(SECOND / 2);
    bench.sent.clear();
    bench.change(vip(1), Some(Interfaces::All));
    bench.run(10 * SECOND);
    assert!(bench.ask(1, vip(1)).is_some());
    assert_eq!(bench.bursts(), 2 * 2 * 5, "five rounds on both interfaces");
}

#[test]
fn a_long_list_is_released_after_what_was_told_before_it() {
    let mut bench = Bench::new(vec![link(1, 1)]);
    let all = pools(1000);
    let addresses = all.iter().map(|(ip, _)| *ip).collect();
    bench.feed(Event::Changed(all));
    bench.feed(Event::Release(addresses));
    bench.change(vip(9), Some(Interfaces::All));
    bench.run(2 * SECOND);
    assert_eq!(bench.core.table.addresses().count(), 1);
}

#[test]
fn an_ipv6_address_stays_in_its_group_until_it_is_handed_over() {
    let mut bench = Bench::new(vec![speaking(1, 1)]);
    bench.change(vip6(0), Some(Interfaces::All));
    release(&mut bench, vip6(0));
    assert_eq!(bench.groups, [(1, GROUP)].into());
    assert!(bench.ask(1, vip6(0)).is_some());
    bench.run(SECOND);
    assert!(bench.groups.is_empty());
}
