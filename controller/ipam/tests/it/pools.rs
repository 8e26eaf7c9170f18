use metallb_config::{Namespaces, Pool};
use metallb_ipam::Counters;

use crate::world::{World, key, pinned, pool, selecting, svc};

fn closed(pool: Pool) -> Pool {
    Pool {
        auto_assign: false,
        ..pool
    }
}

fn avoiding(pool: Pool) -> Pool {
    Pool {
        avoid_buggy_ips: true,
        ..pool
    }
}

#[test]
fn another_pool_changes_nothing() {
    // CTL-35 CTL-49
    let mut world = World::new(&[pool("X", &["1.0.0.0/30"])]);
    world.put(svc("a"));
    world
        .quiet()
        .pools(&[pool("A", &["0.0.0.0/30"]), pool("X", &["1.0.0.0/30"])]);
    assert_eq!((world.has("a").as_str(), world.looks), ("1.0.0.0", 0));
    let mut same = pool("X", &["1.0.0.0/30"]);
    same.l2.push(metallb_config::L2Advertisement::default());
    world.pools(&[pool("A", &["0.0.0.0/30"]), same]);
    assert_eq!(world.looks, 0);
}

#[test]
fn a_deleted_pool_sends_its_services_elsewhere() {
    // CTL-36 CTL-37 CTL-38
    let mut world = World::new(&[pool("X", &["1.0.0.0/30"]), pool("Y", &["2.0.0.0/32"])]);
    world.put(svc("a"));
    world.put(svc("b"));
    world.pools(&[pool("Y", &["2.0.0.0/32"])]);
    assert_eq!((world.has("a"), world.has("b")), ("2.0.0.0".into(), String::new()));
    world.told("ClearAssignment");
    world.told("AllocationFailed: Failed to allocate IP for \"default/b\": no available IPs: pool Y: all IPv4 addresses are in use");
    world.quiet().pools(&[]);
    assert_eq!((world.has("a"), world.mark("a")), (String::new(), None));
    world.told("ClearAssignment");
    // b has waited longer.
    world.pools(&[pool("Z", &["3.0.0.0/30"])]);
    assert_eq!((world.has("b"), world.has("a")), ("3.0.0.0".into(), "3.0.0.1".into()));
}

#[test]
fn renamed_and_split_pools_keep_all_addresses() {
    // CTL-39 CTL-40 CTL-41
    let mut world = World::new(&[pool("X", &["1.0.0.0/30"])]);
    for name in ["a", "b", "c"] {
        world.put(svc(name));
    }
    let before = ["a", "b", "c"].map(|name| world.has(name));
    world.pools(&[pool("Z", &["1.0.0.0/30"])]);
    assert_eq!(
        (["a", "b", "c"].map(|name| world.has(name)), world.mark("a")),
        (before.clone(), Some("Z"))
    );
    world.pools(&[pool("X1", &["1.0.0.0/31"]), pool("X2", &["1.0.0.2/31"])]);
    assert_eq!(["a", "b", "c"].map(|name| world.has(name)), before);
    assert_eq!((world.mark("b"), world.mark("c")), (Some("X1"), Some("X2")));
    world
        .quiet()
        .pools(&[pool("X1", &["1.0.0.0/31"]), pool("X2", &["1.0.0.2-1.0.0.9"])]);
    assert_eq!(["a", "b", "c"].map(|name| world.has(name)), before);
    assert!(world.writes.is_empty());
}

#[test]
fn a_shrunk_pool_moves_only_who_must() {
    // CTL-42
    let mut world = World::new(&[pool("X", &["1.0.0.0/30"])]);
    for name in ["a", "b", "c"] {
        world.put(svc(name));
    }
    world.quiet().pools(&[pool("X", &["1.0.0.1-1.0.0.3"])]);
    assert_eq!(
        ["a", "b", "c"].map(|name| world.has(name)),
        ["1.0.0.3", "1.0.0.1", "1.0.0.2"]
    );
    assert_eq!(world.writes, ["a"]);
}

#[test]
fn buggy_addresses_are_left_when_told_so() {
    // CTL-43 CTL-103
    let mut world = World::new(&[pool("X", &["1.2.4.254/31"])]);
    world.put(svc("a"));
    world.put(svc("b"));
    assert_eq!(world.has("b"), "1.2.4.255");
    world.pools(&[avoiding(pool("X", &["1.2.4.254/31", "7.0.0.0/31"]))]);
    assert_eq!((world.has("a"), world.has("b")), ("1.2.4.254".into(), "7.0.0.1".into()));
    world.put(svc("c"));
    assert_eq!(world.has("c"), "");
}

#[test]
fn a_closed_pool_keeps_its_services_and_takes_no_new_ones() {
    // CTL-44 CTL-97
    let mut world = World::new(&[pool("X", &["1.0.0.0/30"])]);
    world.put(svc("a"));
    world.pools(&[closed(pool("X", &["1.0.0.0/30"]))]);
    world.put(svc("b"));
    assert_eq!((world.has("a"), world.has("b")), ("1.0.0.0".into(), String::new()));
    world.told("no available IPs: pool X: autoAssign is off");
}

#[test]
fn a_namespace_that_stops_matching_leaves_the_pool() {
    // CTL-45 CTL-46 CTL-92
    let ours = |names: &[&str]| pinned(pool("ours", &["1.0.0.0/30"]), 5, names);
    let all = || pool("all", &["2.0.0.0/30"]);
    let mut world = World::new(&[ours(&["one"]), all()]);
    world.put(svc("one/a"));
    world.put(svc("two/b"));
    assert_eq!(
        (world.has("one/a"), world.has("two/b")),
        ("1.0.0.0".into(), "2.0.0.0".into())
    );
    world.pools(&[ours(&["two"]), all()]);
    assert_eq!(
        (world.has("one/a"), world.has("two/b")),
        ("2.0.0.1".into(), "2.0.0.0".into())
    );
    world.put(svc("two/c"));
    assert_eq!(world.has("two/c"), "1.0.0.0");
}

#[test]
fn pinned_pools_fill_by_priority_then_the_generic_ones() {
    // CTL-89 CTL-91
    let mut world = World::new(&[
        pinned(pool("a0", &["1.0.0.0/32"]), 0, &["default"]),
        pinned(pool("b20", &["2.0.0.0/32"]), 20, &["default"]),
        pinned(pool("c10", &["3.0.0.0/32"]), 10, &["default"]),
        pool("d", &["4.0.0.0/32"]),
    ]);
    let got = ["a", "b", "c", "d"].map(|name| {
        world.put(svc(name));
        world.has(name)
    });
    assert_eq!(got, ["3.0.0.0", "2.0.0.0", "1.0.0.0", "4.0.0.0"]);
}

#[test]
fn generic_pools_are_used_by_name() {
    // CTL-90
    let mut world = World::new(&[pool("b", &["1.0.0.0/32"]), pool("a", &["2.0.0.0/32"])]);
    world.put(svc("x"));
    assert_eq!(world.has("x"), "2.0.0.0");
}

#[test]
fn namespaces_and_selectors_must_both_match() {
    // CTL-93 CTL-94 CTL-96
    let only = selecting(
        pinned(pool("p", &["1.0.0.0/30"]), 0, &["one"]),
        &[("app", "x"), ("tier", "web")],
    );
    let mut world = World::new(&[only]);
    world.put(svc("one/a"));
    world.put(svc("two/b").label("app", "x"));
    world.put(svc("one/c").label("app", "x"));
    world.put(svc("one/d").label("tier", "web"));
    let got = ["one/a", "two/b", "one/c", "one/d"].map(|name| world.has(name));
    assert_eq!(got, ["", "", "1.0.0.0", "1.0.0.1"]);
    world.told("pool p: its serviceAllocation does not match the service");
    let anywhere = pinned(pool("z", &["9.0.0.0/29"]), 7, &[]);
    world.pools(&[pool("generic", &["8.0.0.0/30"]), anywhere]);
    world.put(svc("three/e"));
    assert_eq!(world.has("three/e"), "9.0.0.4");
}

#[test]
fn namespace_selectors_without_a_match_open_the_pool_to_nobody() {
    // CTL-98
    let mut nobody = pinned(pool("p", &["1.0.0.0/30"]), 0, &[]);
    nobody.allocation.as_mut().unwrap().namespaces = Namespaces::Only([].into());
    let mut world = World::new(&[nobody]);
    world.put(svc("a"));
    world.put(svc("b").of_pool("p"));
    assert_eq!((world.has("a"), world.has("b")), (String::new(), String::new()));
}

#[test]
fn addresses_are_given_in_order_and_entries_as_listed() {
    // CTL-102 CTL-104
    let mut world = World::new(&[pool("p", &["10.0.0.0/30", "9.0.0.0/32"])]);
    let got = ["a", "b", "c", "d", "e", "f"].map(|name| {
        world.put(svc(name));
        world.has(name)
    });
    assert_eq!(got, ["10.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.0.3", "9.0.0.0", ""]);
}

fn counters(world: &World, pool: &str) -> Counters {
    world.assigner.allocator().counters(pool).unwrap()
}

#[test]
fn capacities_are_exact_and_saturate() {
    // CTL-106 CTL-107 CTL-108
    let mut world = World::new(&[pool("p", &["fc00::/64", "1.0.0.0/24", "fd00::/120"])]);
    world.put(svc("a").v6());
    assert_eq!(world.has("a"), "fc00::");
    let numbers = counters(&world, "p");
    assert_eq!(Counters::export(numbers.capacity_v6), i64::MAX);
    assert_eq!(Counters::export(numbers.available_v6()), i64::MAX);
    assert_eq!(Counters::export(numbers.capacity()), i64::MAX);
    assert_eq!((numbers.capacity_v4, numbers.in_use_v6), (256, 1));
    world.pools(&[avoiding(pool("p", &["1.0.0.0/32"]))]);
    assert_eq!(counters(&world, "p").capacity(), 0);
    world.pools(&[pool("p", &["::/0"])]);
    assert_eq!(counters(&world, "p").capacity(), u128::MAX);
}

#[test]
fn the_numbers_follow_services_and_pools() {
    // CTL-126 CTL-128
    let mut world = World::new(&[pool("p", &["1.0.0.0/30", "fc00::/126"])]);
    let numbers = |world: &World| {
        let c = counters(world, "p");
        (c.in_use_v4, c.in_use_v6, c.available_v4(), c.available_v6())
    };
    assert_eq!(numbers(&world), (0, 0, 4, 4));
    world.put(svc("a").dual(metallb_ipam::FamilyPolicy::RequireDualStack));
    assert_eq!(numbers(&world), (1, 1, 3, 3));
    world.pools(&[pool("p", &["1.0.0.0/29", "fc00::/125"])]);
    assert_eq!(numbers(&world), (1, 1, 7, 7));
    world.delete("a");
    assert_eq!(numbers(&world), (0, 0, 8, 8));
    world.assigner.take_touched();
    world.pools(&[pool("q", &["1.0.0.0/29"])]);
    let touched = world.assigner.take_touched();
    assert!(touched.contains("p") && touched.contains("q"));
    assert!(world.assigner.allocator().counters("p").is_none());
}

#[test]
fn nothing_is_done_before_pools_are_known_but_waiting() {
    // CTL-1
    let mut world = World::default();
    world.put(svc("a"));
    assert!(world.writes.is_empty() && world.events.is_empty());
    world.pools(&[pool("p", &["1.0.0.0/30"])]);
    assert_eq!(world.has("a"), "1.0.0.0");
    assert!(world.assigner.owns(&key("a")));
}
