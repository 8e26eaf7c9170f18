use metallb_ipam::FamilyPolicy::RequireDualStack;
use rstest::rstest;

use crate::world::{Svc, World, pool, svc, tcp, udp};

fn one() -> World {
    World::new(&[pool("one", &["1.2.3.4/32"])])
}

#[rstest]
// CTL-74
#[case::other_port(svc("a").share("k"), svc("b").share("k").ports(&[tcp(443)]), true)]
// CTL-75
#[case::same_port(svc("a").share("k"), svc("b").share("k"), false)]
// CTL-76
#[case::protocol(svc("a").share("k").ports(&[tcp(53)]), svc("b").share("k").ports(&[udp(53)]), true)]
// CTL-77
#[case::other_key(svc("a").share("k"), svc("b").share("l").ports(&[tcp(443)]), false)]
#[case::no_key(svc("a").share("k"), svc("b").ports(&[tcp(443)]), false)]
// CTL-78
#[case::policy(svc("a").share("k"), svc("b").share("k").ports(&[tcp(443)]).local("x"), false)]
// CTL-79
#[case::local(svc("a").share("k").local("x"), svc("b").share("k").ports(&[tcp(443)]).local("x"), true)]
#[case::other_pods(svc("a").share("k").local("x"), svc("b").share("k").ports(&[tcp(443)]).local("y"), false)]
// CTL-80
#[case::other_namespace(svc("a").share("k").local("x"), svc("ns/b").share("k").ports(&[tcp(443)]).local("x"), false)]
#[case::cluster_other_namespace(svc("a").share("k"), svc("ns/b").share("k").ports(&[tcp(443)]), true)]
fn an_address_is_shared_when_all_agree(#[case] a: Svc, #[case] b: Svc, #[case] shared: bool) {
    let mut world = one();
    let name = b.0.key.to_string();
    world.put(a);
    world.put(b);
    assert_eq!(world.has("a"), "1.2.3.4");
    assert_eq!(world.has(&name) == "1.2.3.4", shared, "{:?}", world.events);
}

#[test]
fn local_without_selector_is_shared_with_nobody() {
    let mut world = one();
    world.put(svc("a").share("k"));
    let mut b = svc("b").share("k").ports(&[tcp(443)]);
    b.0.local = true;
    world.put(b);
    assert_eq!(world.has("b"), "");
}

#[test]
fn a_member_that_stops_fitting_leaves_and_comes_back() {
    // CTL-81 CTL-82
    let mut world = one();
    world.put(svc("a").share("k"));
    world.put(svc("b").share("k").ports(&[tcp(443)]));
    world.put(svc("a").share("k").local("x"));
    assert_eq!((world.has("a"), world.has("b")), (String::new(), "1.2.3.4".into()));
    world.told("ClearAssignment");
    world.put(svc("b").share("k").ports(&[tcp(443)]).local("x"));
    assert_eq!((world.has("a"), world.has("b")), ("1.2.3.4".into(), "1.2.3.4".into()));
    world.put(svc("b").share("k").ports(&[tcp(443)]).local("y"));
    assert_eq!((world.has("a"), world.has("b")), ("1.2.3.4".into(), String::new()));
    world.put(svc("a").share("k").local("y"));
    assert_eq!((world.has("a"), world.has("b")), ("1.2.3.4".into(), "1.2.3.4".into()));
}

#[test]
fn a_sole_user_changes_its_terms_in_place() {
    // CTL-83
    let mut world = one();
    world.put(svc("a"));
    for next in [
        svc("a").share("k"),
        svc("a").share("l").local("x"),
        svc("a").ports(&[tcp(81)]),
    ] {
        world.quiet().put(next);
        assert_eq!(world.has("a"), "1.2.3.4");
        assert!(world.writes.is_empty());
    }
}

#[test]
fn a_member_may_change_to_a_free_port_only() {
    // CTL-84
    let mut world = one();
    world.put(svc("a").share("k"));
    world.put(svc("b").share("k").ports(&[tcp(443)]));
    world.put(svc("b").share("k").ports(&[tcp(444)]));
    assert_eq!(world.has("b"), "1.2.3.4");
    world.put(svc("b").share("k").ports(&[tcp(80)]));
    assert_eq!(world.has("b"), "");
    world.told("no available IPs");
}

#[test]
fn a_dropped_port_serves_who_waits_for_it() {
    // CTL-85
    let mut world = one();
    world.put(svc("a").share("k").ports(&[tcp(80), tcp(443)]));
    world.put(svc("b").share("k").ports(&[tcp(443)]));
    assert_eq!(world.has("b"), "");
    world.put(svc("a").share("k").ports(&[tcp(80)]));
    assert_eq!(world.has("b"), "1.2.3.4");
}

#[test]
fn a_key_given_later_serves_who_waits_for_it() {
    let mut world = one();
    world.put(svc("a"));
    world.put(svc("b").share("k").ports(&[tcp(443)]));
    assert_eq!(world.has("b"), "");
    world.put(svc("a").share("k"));
    assert_eq!(world.has("b"), "1.2.3.4");
}

#[test]
fn a_group_stays_together() {
    // CTL-86
    let mut world = World::new(&[pool("p", &["1.2.3.0/30"])]);
    world.put(svc("x"));
    world.put(svc("a").share("k"));
    world.delete("x");
    world.put(svc("b").share("k").ports(&[tcp(443)]));
    assert_eq!(world.has("b"), "1.2.3.1");
    world.put(svc("c").share("k"));
    assert_eq!(world.has("c"), "1.2.3.0");
}

#[test]
fn the_last_member_frees_the_address_for_any_key() {
    // CTL-87 CTL-88
    let mut world = one();
    world.put(svc("a").share("k"));
    world.put(svc("b").share("k").ports(&[tcp(443)]));
    let used = |world: &World| world.assigner.allocator().counters("one").unwrap();
    assert_eq!((used(&world).in_use(), used(&world).services), (1, 2));
    world.delete("a");
    assert_eq!(used(&world).in_use(), 1);
    world.put(svc("c").share("l"));
    assert_eq!(world.has("c"), "");
    world.delete("b");
    assert_eq!(world.has("c"), "1.2.3.4");
}

#[test]
fn each_family_is_shared_on_its_own() {
    let mut world = World::new(&[pool("p", &["1.2.3.4/32", "fc00::4/128"])]);
    world.put(svc("a").share("k"));
    world.put(svc("b").share("k").dual(RequireDualStack).ports(&[tcp(443)]));
    assert_eq!(world.has("b"), "1.2.3.4,fc00::4");
    world.put(svc("c").share("k").v6().ports(&[tcp(443)]));
    assert_eq!(world.has("c"), "");
    world.put(svc("c").share("k").v6().ports(&[tcp(444)]));
    assert_eq!(world.has("c"), "fc00::4");
}
