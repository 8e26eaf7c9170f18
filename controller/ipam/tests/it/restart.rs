use metallb_ipam::FamilyPolicy::PreferDualStack;

use crate::world::{World, key, pool, svc};

#[test]
fn restarts_move_nobody() {
    // CTL-27 CTL-34
    let mut world = World::new(&[pool("p", &["1.2.3.0/31"])]);
    for name in ["z", "y", "a", "b"] {
        world.put(svc(name));
    }
    let before = world.assigner.allocator().all_counters();
    for _ in 0..5 {
        world.quiet().restart();
        assert!(world.writes.is_empty());
    }
    assert_eq!(
        (world.has("z"), world.has("y"), world.has("a")),
        ("1.2.3.0".into(), "1.2.3.1".into(), String::new())
    );
    assert_eq!(world.assigner.allocator().all_counters(), before);
}

#[test]
fn a_top_up_does_not_take_what_another_holds() {
    // CTL-28
    let mut world = World::new(&[pool("p", &["1.2.3.0/31", "fc00::1/128"])]);
    world.put(svc("s").v6());
    world.put(svc("a").dual(PreferDualStack));
    world.restart();
    assert_eq!((world.has("s"), world.has("a")), ("fc00::1".into(), "1.2.3.0".into()));
}

#[test]
fn who_has_to_move_does_not_push_others_away() {
    // CTL-29
    let mut world = World::new(&[pool("old", &["9.0.0.0/32"]), pool("p", &["1.2.3.0/31"])]);
    world.put(svc("a").of_pool("old"));
    world.put(svc("b").of_pool("p"));
    world.pools.remove("old");
    let a = world.services.get_mut(&key("a")).unwrap();
    a.annotations.remove("metallb.io/address-pool");
    world.restart();
    assert_eq!((world.has("a"), world.has("b")), ("1.2.3.1".into(), "1.2.3.0".into()));
}

#[test]
fn two_with_the_same_address_end_with_two_addresses() {
    let mut world = World::new(&[pool("p", &["1.2.3.0/31"])]);
    world.put(svc("a").ingress(&["1.2.3.1"]));
    world.put(svc("b").ingress(&["1.2.3.1"]));
    assert_eq!((world.has("a"), world.has("b")), ("1.2.3.1".into(), "1.2.3.0".into()));
}
