//! Who came first is served first.

use metallb_ipam::FamilyPolicy;

use crate::world::{World, key, pool, svc};

fn one_address() -> World {
    World::new(&[pool("one", &["1.2.3.4/32"])])
}

#[test]
fn a_waiter_that_is_looked_at_again_keeps_its_turn() {
    // CTL-5 CTL-6
    let mut world = one_address();
    for name in ["a", "z", "m"] {
        world.put(svc(name));
    }
    world.again("z");
    world.put(svc("z").label("edited", "by-its-user"));
    world.delete("a");
    assert_eq!((world.has("z"), world.has("m")), ("1.2.3.4".into(), String::new()));
}

#[test]
fn who_keeps_an_address_while_it_waits_for_another_keeps_its_turn() {
    // CTL-57
    let mut world = World::new(&[pool("p", &["1.2.3.0/29"])]);
    world.put(svc("a").ips("1.2.3.7"));
    for name in ["z", "m"] {
        world.put(svc(name));
        world.put(svc(name).ips("1.2.3.7"));
    }
    world.again("z");
    world.delete("a");
    assert_eq!((world.has("z"), world.has("m")), ("1.2.3.7".into(), "1.2.3.1".into()));
}

#[test]
fn who_waits_for_a_second_family_keeps_its_turn() {
    // CTL-117
    let mut world = World::new(&[pool("p", &["1.2.3.0/29", "fc00::/128"])]);
    world.put(svc("a").v6());
    for name in ["z", "m"] {
        world.put(svc(name).dual(FamilyPolicy::PreferDualStack));
    }
    world.again("z");
    world.delete("a");
    assert_eq!(
        (world.has("z"), world.has("m")),
        ("1.2.3.0,fc00::".into(), "1.2.3.1".into())
    );
}

#[test]
fn turns_outlast_a_time_without_pools() {
    // CTL-38
    let mut world = one_address();
    for name in ["z", "m"] {
        world.put(svc(name));
    }
    assert_eq!((world.has("z"), world.has("m")), ("1.2.3.4".into(), String::new()));
    world.put(svc("b"));
    world.pools(&[]);
    world.delete("z");
    world.pools(&[pool("one", &["1.2.3.4/32"])]);
    assert_eq!((world.has("m"), world.has("b")), ("1.2.3.4".into(), String::new()));
}

#[test]
fn an_address_that_a_new_pool_brings_goes_to_who_came_first() {
    // CTL-36
    let mut world = one_address();
    for name in ["a", "z", "m"] {
        world.put(svc(name));
    }
    world.pools(&[pool("one", &["1.2.3.4/32"]), pool("two", &["1.2.3.5/32"])]);
    assert_eq!((world.has("z"), world.has("m")), ("1.2.3.5".into(), String::new()));
}

#[test]
fn nobody_comes_between_an_address_that_is_freed_and_who_waits_for_it() {
    // CTL-5 CTL-6
    let mut world = one_address();
    for name in ["a", "z"] {
        world.put(svc(name));
    }
    world.services.remove(&key("a"));
    world.assigner.forget(&key("a"));
    // It was in the queue before z, which is woken only now.
    world.services.insert(key("new"), svc("new").0);
    world.look("new");
    world.look("z");
    assert_eq!((world.has("z"), world.has("new")), ("1.2.3.4".into(), String::new()));
}

#[test]
fn nobody_takes_by_chance_what_another_has_asked_for_by_name() {
    // CTL-57
    let mut world = World::new(&[pool("p", &["1.2.3.0/31"])]);
    world.put(svc("a").ips("1.2.3.0"));
    world.put(svc("z").ips("1.2.3.0"));
    world.services.remove(&key("a"));
    world.assigner.forget(&key("a"));
    world.services.insert(key("new"), svc("new").0);
    world.look("new");
    world.look("z");
    assert_eq!((world.has("z"), world.has("new")), ("1.2.3.0".into(), "1.2.3.1".into()));
}

#[test]
fn who_is_promised_an_address_and_does_not_take_it_leaves_it_to_the_next() {
    // CTL-57
    let mut world = World::new(&[pool("p", &["1.2.3.0/32"])]);
    world.put(svc("a"));
    for name in ["z", "m", "n"] {
        world.put(svc(name).ips("1.2.3.0"));
    }
    world.services.insert(key("z"), svc("z").of_pool("elsewhere").0);
    world.delete("a");
    assert_eq!(
        (world.has("z"), world.has("m"), world.has("n")),
        (String::new(), "1.2.3.0".into(), String::new())
    );
}

#[test]
fn after_a_restart_the_older_service_is_served_first() {
    // CTL-27: an address became free while nobody was there.
    let mut world = one_address();
    for name in ["a", "z", "m"] {
        world.put(svc(name));
    }
    world.services.remove(&key("a"));
    world.restart_in_order(&["z", "m"]);
    assert_eq!((world.has("z"), world.has("m")), ("1.2.3.4".into(), String::new()));
}
