use metallb_ipam::Family;
use metallb_ipam::FamilyPolicy::{PreferDualStack, RequireDualStack, SingleStack};

use crate::world::{World, pinned, pool, svc};

fn p4() -> metallb_config::Pool {
    pool("P4", &["1.0.0.0/30"])
}
fn p6() -> metallb_config::Pool {
    pool("P6", &["fc01::/126"])
}
fn pd() -> metallb_config::Pool {
    pool("PD", &["2.0.0.0/30", "fc02::/126"])
}

#[test]
fn required_pairs_come_from_one_pool() {
    // CTL-111 CTL-112
    let mut world = World::new(&[p4(), p6()]);
    world.put(svc("a").dual(RequireDualStack));
    assert_eq!(world.has("a"), "");
    world.told("no available IPs: pool P4: it has no IPv6 addresses; pool P6: it has no IPv4 addresses");
    world.pools(&[p4(), p6(), pd()]);
    assert_eq!(world.has("a"), "2.0.0.0,fc02::");
}

#[test]
fn one_cluster_ip_cannot_be_dual() {
    // CTL-113
    let mut world = World::new(&[pd()]);
    world.put(svc("a").policy(RequireDualStack));
    world.told("not enough clusterips: Service requires dual stack but not enough clusterips");
    assert_eq!(world.has("a"), "");
}

#[test]
fn preferred_pairs_win_over_singles() {
    // CTL-114 CTL-115
    let mut world = World::new(&[p4(), p6(), pd()]);
    world.put(svc("a").dual(PreferDualStack));
    assert_eq!(world.has("a"), "2.0.0.0,fc02::");
    let mut world = World::new(&[p4(), p6()]);
    world.put(svc("a").dual(PreferDualStack));
    assert_eq!(world.has("a"), "1.0.0.0");
    world.put(svc("b").dual(PreferDualStack).primary(Family::V6));
    assert_eq!(world.has("b"), "fc01::");
}

#[test]
fn one_cluster_ip_gets_one_address_for_ever() {
    // CTL-116
    let mut world = World::new(&[pd()]);
    world.put(svc("a").policy(PreferDualStack));
    for _ in 0..3 {
        assert_eq!(world.has("a"), "2.0.0.0");
        world.again("a");
    }
    assert_eq!(world.writes.len(), 1);
}

#[test]
fn the_second_family_is_added_when_the_pool_gets_it() {
    // CTL-117 CTL-118
    let mut world = World::new(&[p4()]);
    world.put(svc("a").dual(PreferDualStack));
    world.pools(&[p4(), pd()]);
    assert_eq!(world.has("a"), "1.0.0.0");
    world.pools(&[pool("P4", &["1.0.0.0/30", "fc01::/126"])]);
    assert_eq!(world.has("a"), "1.0.0.0,fc01::");
    world.told("IPAllocated: Assigned additional IP \"fc01::\"");
}

#[test]
fn the_second_family_is_added_when_an_address_is_freed() {
    let mut world = World::new(&[pool("p", &["1.0.0.0/30", "fc01::1/128"])]);
    world.put(svc("x").v6());
    world.put(svc("a").dual(PreferDualStack));
    assert_eq!(world.has("a"), "1.0.0.0");
    world.told("IPAllocated");
    world.told("AdditionalAssignFailed: cannot assign additional IP in PreferDualStack: all IPv6 addresses are in use");
    world.quiet().again("a");
    assert!(world.events.is_empty());
    world.delete("x");
    assert_eq!(world.has("a"), "1.0.0.0,fc01::1");
}

#[test]
fn a_pair_that_loses_a_family_moves_or_shrinks() {
    // CTL-119
    let mut world = World::new(&[pd()]);
    world.put(svc("a").dual(RequireDualStack));
    world.put(svc("b").dual(PreferDualStack));
    let other = pool("other", &["3.0.0.0/32", "fc03::/128"]);
    world.pools(&[pool("PD", &["fc02::/126"]), other]);
    assert_eq!(world.has("a"), "3.0.0.0,fc03::");
    assert_eq!(world.has("b"), "fc02::1");
}

#[test]
fn prefer_to_require_and_back() {
    // CTL-120
    let mut world = World::new(&[p4()]);
    world.put(svc("a").dual(PreferDualStack));
    world.put(svc("a").dual(RequireDualStack));
    assert_eq!(world.has("a"), "");
    world.put(svc("a").dual(PreferDualStack));
    assert_eq!(world.has("a"), "1.0.0.0");
}

#[test]
fn the_remaining_family_keeps_its_address() {
    // CTL-121 CTL-122
    let mut world = World::new(&[pd()]);
    world.put(svc("x"));
    world.put(svc("a").dual(RequireDualStack));
    assert_eq!(world.has("a"), "2.0.0.1,fc02::");
    world.delete("x");
    world.put(svc("a").policy(SingleStack));
    assert_eq!(world.has("a"), "2.0.0.1");
    world.put(svc("y").v6());
    world.put(svc("a").dual(RequireDualStack));
    assert_eq!(world.has("a"), "2.0.0.1,fc02::1");
}

#[test]
fn the_order_of_a_requested_pair_never_changes() {
    // CTL-123
    let mut world = World::new(&[pd()]);
    world.put(svc("a").dual(RequireDualStack).ips("fc02::3,2.0.0.3"));
    assert_eq!(world.has("a"), "fc02::3,2.0.0.3");
    world.again("a");
    world.restart();
    assert_eq!((world.has("a"), world.writes.len()), ("fc02::3,2.0.0.3".into(), 1));
}

/// `p` is open to all, and `mine` comes before it for this namespace.
fn before_mine(ranges: &[&str]) -> Vec<metallb_config::Pool> {
    let mine = pinned(pool("mine", &["3.0.0.0/31", "fc03::/127"]), 1, &["default"]);
    vec![pool("p", ranges), mine]
}

#[test]
fn what_is_left_of_a_pair_stays_although_another_pool_comes_first() {
    // CTL-119
    let mut world = World::new(&[pool("p", &["2.0.0.0/31", "fc00::/127"])]);
    world.put(svc("a").dual(PreferDualStack));
    assert_eq!(world.has("a"), "2.0.0.0,fc00::");
    let mine = pinned(pool("mine", &["3.0.0.0/31"]), 1, &["default"]);
    world.pools(&[pool("p", &["2.0.0.0/31"]), mine]);
    assert_eq!(world.has("a"), "2.0.0.0");
}

#[test]
fn who_changes_between_one_family_and_two_stays_although_another_pool_comes_first() {
    // CTL-121 CTL-122
    let both = ["2.0.0.0/31", "fc00::/127"];
    let mut world = World::new(&[pool("p", &both)]);
    world.put(svc("a").dual(RequireDualStack));
    world.pools(&before_mine(&both));
    world.put(svc("a"));
    assert_eq!(world.has("a"), "2.0.0.0");
    world.put(svc("a").dual(RequireDualStack));
    assert_eq!(world.has("a"), "2.0.0.0,fc00::");
}
