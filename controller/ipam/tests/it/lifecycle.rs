use metallb_ipam::Service;

use crate::world::{World, key, pool, svc};

fn p4() -> World {
    World::new(&[pool("P4", &["1.2.3.0/31"])])
}

fn one_address() -> World {
    World::new(&[pool("one", &["1.2.3.4/32"])])
}

#[test]
fn a_new_service_gets_the_first_address_and_the_name_of_its_pool() {
    // CTL-2 CTL-124
    let mut world = p4();
    world.put(svc("a"));
    assert_eq!(world.has("a"), "1.2.3.0");
    assert_eq!(world.mark("a"), Some("P4"));
    assert_eq!(world.events, ["IPAllocated: Assigned IP [\"1.2.3.0\"]"]);
}

#[test]
fn a_cluster_ip_service_is_never_written() {
    // CTL-3
    let mut world = p4();
    world.put(svc("a").no_load_balancer());
    world.put(svc("b").no_load_balancer().ingress(&["9.9.9.9"]));
    assert!(world.writes.is_empty());
}

#[test]
fn leaving_the_type_load_balancer_frees_the_address() {
    // CTL-4 CTL-5
    let mut world = one_address();
    world.put(svc("a"));
    world.put(svc("b"));
    assert_eq!((world.has("a"), world.has("b")), ("1.2.3.4".into(), String::new()));
    world.put(svc("a").no_load_balancer());
    assert_eq!((world.has("a"), world.has("b")), (String::new(), "1.2.3.4".into()));
    assert_eq!(world.mark("a"), None);
}

#[test]
fn deleting_the_holder_serves_the_one_who_waits() {
    // CTL-6 CTL-105
    let mut world = one_address();
    world.put(svc("a"));
    world.put(svc("b"));
    world.told("AllocationFailed: Failed to allocate IP for \"default/b\": no available IPs");
    world.delete("a");
    assert_eq!(world.has("b"), "1.2.3.4");
}

#[test]
fn deleting_an_unknown_service_touches_nobody() {
    // CTL-7
    let mut world = one_address();
    world.put(svc("a"));
    world.put(svc("b"));
    world.quiet().delete("nobody");
    assert_eq!(world.looks, 1);
}

#[test]
fn without_cluster_ips_the_state_is_cleared_silently() {
    // CTL-8
    let mut world = p4();
    world.put(svc("a"));
    let mut bare = svc("a");
    bare.0.cluster_ips.clear();
    world.quiet().put(bare);
    assert_eq!(world.has("a"), "");
    assert!(world.events.is_empty());
    assert!(world.users("1.2.3.0").is_empty());
}

#[test]
fn a_second_look_does_nothing() {
    // CTL-9
    let mut world = p4();
    world.put(svc("a"));
    world.quiet().again("a");
    assert!(world.writes.is_empty() && world.events.is_empty());
}

#[test]
fn a_failure_is_told_once() {
    // CTL-125
    let mut world = one_address();
    world.put(svc("a"));
    world.put(svc("b"));
    world.quiet().again("b");
    assert!(world.events.is_empty());
    world.put(svc("b").of_pool("nowhere"));
    world.told("unknown pool \"nowhere\"");
}

#[test]
fn three_addresses_in_the_status_become_one() {
    // CTL-13
    let mut world = p4();
    world.put(svc("a").ingress(&["1.2.3.0", "1.2.3.1", "1.2.3.2"]));
    world.told("nolbIPsIPFamily");
    assert_eq!(world.has("a"), "1.2.3.0");
}

#[test]
fn a_foreign_status_is_replaced() {
    // CTL-14 CTL-15 CTL-18
    let mut world = p4();
    let mut foreign = svc("a").ingress(&["", "9.9.9.9"]);
    foreign.0.ingress[0].hostname = "lb.example.com".into();
    world.put(foreign);
    world.told("ClearAssignment: current IP for \"default/a\" not allowed by config");
    assert_eq!(world.has("a"), "1.2.3.0");
    world.put(svc("b").ingress(&["fd00::7"]));
    assert_eq!(world.has("b"), "1.2.3.1");
}

#[test]
fn a_wiped_status_is_restored_with_the_same_address() {
    // CTL-16 CTL-17
    let mut world = p4();
    world.put(svc("a"));
    world.put(svc("b"));
    world.delete("a");
    world.services.get_mut(&key("b")).unwrap().ingress.clear();
    world.quiet().again("b");
    assert_eq!(world.has("b"), "1.2.3.1");
}

#[test]
fn a_service_made_again_under_its_name_is_a_new_one() {
    // CTL-20
    let mut world = p4();
    world.put(svc("a"));
    world.put(svc("b"));
    world.put(svc("c"));
    let mut again = svc("a").0;
    again.uid = "another".into();
    again.cluster_ips = vec!["fd00::9".into()];
    world.services.insert(key("a"), again);
    world.again("a");
    assert_eq!(world.has("a"), "");
    assert_eq!(world.has("c"), "1.2.3.0");
}

#[test]
fn unparsable_cluster_ips_keep_what_there_is() {
    let mut world = p4();
    world.put(svc("a"));
    let mut none = svc("a");
    none.0.cluster_ips = vec!["None".into()];
    world.put(none);
    world.told("noclusterIPsIPFamily");
    assert_eq!(world.has("a"), "1.2.3.0");
}

#[test]
fn deprecated_annotations_work_and_are_told_once_a_change() {
    // CTL-68 CTL-69
    let mut world = p4();
    world.put(svc("a").note("metallb.universe.tf/loadBalancerIPs", "1.2.3.1"));
    assert_eq!(world.has("a"), "1.2.3.1");
    world.told("deprecatedAnnotation: Service uses deprecated annotation metallb.universe.tf/loadBalancerIPs");
    world.quiet().again("a");
    assert!(world.events.is_empty());
    world.put(svc("b").note("metallb.universe.tf/loadBalancerIPs", "1.2.3.1").ips(""));
    assert_eq!(world.has("b"), "1.2.3.0");
}

#[test]
fn the_first_who_waited_is_served_first_and_nobody_else_is_looked_at() {
    let mut world = one_address();
    for name in ["a", "z", "m", "b"] {
        world.put(svc(name));
    }
    world.quiet().delete("a");
    assert_eq!(world.has("z"), "1.2.3.4");
    assert_eq!(world.looks, 2);
}

#[test]
fn a_woken_service_that_is_gone_passes_the_address_on() {
    let mut world = one_address();
    for name in ["a", "b", "c"] {
        world.put(svc(name));
    }
    world.services.remove(&key("b"));
    world.delete("a");
    assert_eq!(world.has("c"), "1.2.3.4");
}

#[test]
fn a_woken_service_that_changed_its_mind_passes_the_address_on() {
    let mut world = one_address();
    for name in ["a", "b", "c"] {
        world.put(svc(name));
    }
    let changed: Service = svc("b").of_pool("elsewhere").0;
    world.services.insert(key("b"), changed);
    world.delete("a");
    assert_eq!(world.has("c"), "1.2.3.4");
}

#[test]
fn a_loss_is_told_once_although_its_own_write_brings_another_look() {
    // CTL-37
    let mut world = p4();
    world.put(svc("a"));
    world.quiet().pools(&[pool("other", &["fc00::/120"])]);
    world.again("a");
    world.again("a");
    let told = |reason: &str| world.events.iter().filter(|event| event.starts_with(reason)).count();
    assert_eq!(
        (told("ClearAssignment"), told("AllocationFailed")),
        (1, 1),
        "{:#?}",
        world.events
    );
    // Another loss is told again.
    world.pools(&[pool("P4", &["1.2.3.0/31"])]);
    world.quiet().pools(&[pool("other", &["fc00::/120"])]);
    world.told("ClearAssignment");
    world.told("AllocationFailed");
}
