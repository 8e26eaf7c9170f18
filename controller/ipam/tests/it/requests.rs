use metallb_ipam::FamilyPolicy::{PreferDualStack, RequireDualStack};
use rstest::rstest;

use crate::world::{Svc, World, pinned, pool, svc, tcp};

fn world() -> World {
    let buggy = metallb_config::Pool {
        avoid_buggy_ips: true,
        ..pool("buggy", &["5.0.0.0/24"])
    };
    let closed = metallb_config::Pool {
        auto_assign: false,
        ..pool("closed", &["4.0.0.0/30"])
    };
    World::new(&[
        pool("PD", &["1.2.3.0/30", "fc00::/126"]),
        pool("six", &["fc01::/126"]),
        pinned(pool("theirs", &["6.0.0.0/30"]), 0, &["them"]),
        buggy,
        closed,
    ])
}

#[rstest]
// CTL-51
#[case::annotation(svc("a").ips("1.2.3.1"), "1.2.3.1")]
#[case::spaces(svc("a").ips(" 1.2.3.1 "), "1.2.3.1")]
// CTL-60 CTL-123
#[case::pair(svc("a").dual(RequireDualStack).ips("fc00::2, 1.2.3.2"), "fc00::2,1.2.3.2")]
// CTL-64
#[case::closed_pool_by_name(svc("a").of_pool("closed"), "4.0.0.0")]
#[case::closed_pool_by_address(svc("a").ips("4.0.0.3"), "4.0.0.3")]
#[case::pool_and_address(svc("a").ips("4.0.0.3").of_pool("closed"), "4.0.0.3")]
#[case::partial(svc("a").dual(PreferDualStack).ips("fc00::2"), "1.2.3.0,fc00::2")]
fn a_request_is_met(#[case] svc: Svc, #[case] expected: &str) {
    let mut world = world();
    world.put(svc);
    assert_eq!(world.has("a"), expected, "{:?}", world.events);
    world.quiet().again("a");
    assert!(world.writes.is_empty());
}

#[rstest]
// CTL-53 CTL-58
#[case::garbage(svc("a").ips("garbage"), "invalid metallb.io/loadBalancerIPs: \"garbage\"")]
#[case::comma(svc("a").ips("1.2.3.1,"), "invalid metallb.io/loadBalancerIPs: \"1.2.3.1,\"")]
#[case::two_v4(svc("a").ips("1.2.3.1,1.2.3.2"), "IPFamilyForAddresses: same address family [\"1.2.3.1\" \"1.2.3.2\"]")]
#[case::three(svc("a").ips("1.2.3.1,fc00::1,1.2.3.2"), "IPFamilyForAddresses: invalid ips length 3")]
// CTL-55
#[case::outside(svc("a").ips("9.9.9.9"), "[\"9.9.9.9\"] is not allowed in config")]
// CTL-59 CTL-62 CTL-63
#[case::v6_for_v4(svc("a").ips("fc00::1"), "requested loadBalancer IP(s) [\"fc00::1\"] does not match the ipFamily of the service")]
#[case::v4_for_v6(svc("a").v6().ips("1.2.3.1"), "does not match the ipFamily")]
#[case::one_for_two(svc("a").dual(RequireDualStack).ips("1.2.3.1"), "does not match the ipFamily")]
#[case::two_for_one(svc("a").ips("1.2.3.1,fc00::1"), "does not match the ipFamily")]
// CTL-61
#[case::two_pools(svc("a").dual(RequireDualStack).ips("1.2.3.1,fc01::1"), "[\"1.2.3.1\" \"fc01::1\"] is not allowed in config")]
// CTL-66 CTL-67
#[case::unknown_pool(svc("a").of_pool("x"), "unknown pool \"x\"")]
#[case::disagree(svc("a").of_pool("six").ips("1.2.3.1"), "is not compatible with requested address pool six")]
// CTL-71
#[case::buggy(svc("a").ips("5.0.0.0"), "[\"5.0.0.0\"] is not allowed in config")]
// CTL-72
#[case::pinned(svc("a").ips("6.0.0.1"), "pool theirs not compatible for ip assignment")]
#[case::pinned_by_name(svc("a").of_pool("theirs"), "pool theirs not compatible for ip assignment")]
// CTL-73
#[case::no_family(svc("a").of_pool("six"), "no available IPs in pool six: it has no IPv4 addresses")]
#[case::no_pair(svc("a").dual(RequireDualStack).of_pool("six"), "no available IPs in pool six for dual IPFamily: it has no IPv4 addresses")]
// The way out.
#[case::buggy_says_why(svc("a").ips("5.0.0.0"), "pool buggy has 5.0.0.0, which its avoidBuggyIPs excludes")]
#[case::families(svc("a").ips("fc00::1"), "it asks for IPv6, and the service has IPv4")]
#[case::families_of_two(svc("a").ips("1.2.3.1,fc00::1"), "it asks for IPv4 and IPv6, and the service has IPv4")]
#[case::families_of_one(svc("a").dual(RequireDualStack).ips("1.2.3.1"), "it asks for IPv4, and the service has IPv4 and IPv6")]
#[case::blank(svc("a").ips("1.2.3.1 fc00::1"), "\"1.2.3.1 fc00::1\": write \"1.2.3.1,fc00::1\"")]
#[case::semicolon(svc("a").ips("1.2.3.1; fc00::1"), ": write \"1.2.3.1,fc00::1\"")]
#[case::brackets(svc("a").ips("[\"1.2.3.1\"]"), ": write \"1.2.3.1\"")]
#[case::prefix(svc("a").ips("1.2.3.1/32"), "\"1.2.3.1/32\": write \"1.2.3.1\"")]
#[case::zeros(svc("a").ips("1.2.3.01"), ": write \"1.2.3.1\"")]
#[case::last_comma(svc("a").ips("1.2.3.1,"), "\"1.2.3.1,\": write \"1.2.3.1\"")]
#[case::range(svc("a").ips("1.2.3.1-1.2.3.9"), ": an address is asked for, not a range")]
#[case::pinned_says_why(svc("a").ips("6.0.0.1"), "for ip assignment: its serviceAllocation does not match the service")]
fn a_request_is_refused(#[case] svc: Svc, #[case] text: &str) {
    let mut world = world();
    world.put(svc);
    world.told("AllocationFailed: Failed to allocate IP for \"default/a\": ");
    world.told(text);
    world.not_told("deprecated");
    assert_eq!((world.has("a"), world.mark("a")), (String::new(), None));
    assert_eq!(world.assigner.allocator().len().0, 0);
}

#[test]
fn the_field_of_the_spec_asks_for_an_address_too() {
    // CTL-51 CTL-52 CTL-53
    let mut world = world();
    let field = |name: &str, ip: &str| {
        let mut svc = svc(name);
        svc.0.load_balancer_ip = ip.into();
        svc
    };
    world.put(field("a", "1.2.3.1"));
    assert_eq!(world.has("a"), "1.2.3.1");
    world.put(field("b", "1.2.3.2").ips("1.2.3.2"));
    world.told("service can not have both metallb.io/loadBalancerIPs and svc.Spec.LoadBalancerIP");
    world.put(field("c", "junk"));
    world.told("invalid spec.loadBalancerIP \"junk\"");
    world.put(field("c", "1.2.3.2,fc00::1"));
    world.told(
        "invalid spec.loadBalancerIP \"1.2.3.2,fc00::1\": write \"1.2.3.2,fc00::1\" in metallb.io/loadBalancerIPs",
    );
}

#[test]
fn an_absurd_value_is_cut_in_the_event() {
    let mut world = world();
    world.put(svc("a").ips(&"ü".repeat(10_000)));
    assert!(world.events[0].len() < 1000, "{}", world.events[0].len());
}

#[test]
fn a_garbled_request_keeps_the_address() {
    // CTL-54
    let mut world = world();
    world.put(svc("a"));
    world.put(svc("a").ips("garbage"));
    assert_eq!(world.has("a"), "1.2.3.0");
    world.told("LoadBalancerFailed: invalid requested loadbalancer IPs: invalid metallb.io/loadBalancerIPs");
}

#[test]
fn a_request_that_cannot_be_met_keeps_the_address_until_it_can() {
    let mut world = world();
    world.put(svc("a"));
    world.put(svc("b"));
    world.put(svc("b").ips("1.2.3.0"));
    assert_eq!(world.has("b"), "1.2.3.1");
    world.told("keeping [\"1.2.3.1\"]");
    world.put(svc("b").of_pool("nowhere"));
    assert_eq!(world.has("b"), "1.2.3.1");
    world.put(svc("b").ips("1.2.3.0"));
    world.delete("a");
    assert_eq!(world.has("b"), "1.2.3.0");
}

#[test]
fn a_changed_request_moves_the_service_and_serves_who_waited() {
    // CTL-56 CTL-57
    let mut world = world();
    world.put(svc("a").ips("1.2.3.1"));
    world.put(svc("w").ips("1.2.3.1"));
    world.told("can't change sharing key for \"default/w\", address also in use by default/a");
    world.put(svc("a").ips("1.2.3.2"));
    assert_eq!((world.has("a"), world.has("w")), ("1.2.3.2".into(), "1.2.3.1".into()));
}

#[test]
fn a_changed_pool_moves_the_service() {
    // CTL-65
    let mut world = world();
    world.put(svc("a"));
    world.put(svc("a").of_pool("closed"));
    assert_eq!((world.has("a"), world.mark("a")), ("4.0.0.0".into(), Some("closed")));
}

#[test]
fn a_request_taken_back_changes_nothing() {
    // CTL-70
    let mut world = world();
    world.put(svc("a").ips("1.2.3.3"));
    world.quiet().put(svc("a"));
    assert_eq!(world.has("a"), "1.2.3.3");
    assert!(world.writes.is_empty());
}

#[test]
fn who_waits_for_an_address_is_told_who_has_it_now() {
    let mut world = world();
    world.put(svc("a").ips("1.2.3.1").share("k"));
    world.put(svc("b").ips("1.2.3.1").share("k").ports(&[tcp(443)]));
    world.put(svc("w").ips("1.2.3.1"));
    world.told("address also in use by default/a,default/b");
    world.quiet().delete("a");
    world.told("address also in use by default/b");
    assert_eq!((world.has("b"), world.has("w")), ("1.2.3.1".into(), String::new()));
}

#[test]
fn who_is_refused_an_address_is_told_who_has_come_to_it() {
    // CTL-125
    let mut world = World::new(&[pool("p", &["1.2.3.0/32"])]);
    world.put(svc("b").share("k").ports(&[tcp(80)]));
    world.put(svc("waits").ips("1.2.3.0"));
    world.told("address also in use by default/b:");
    world.quiet().put(svc("a").share("k").ports(&[tcp(81)]));
    world.told("address also in use by default/a,default/b:");
    world.quiet().again("waits");
    assert!(world.events.is_empty(), "{:?}", world.events);
}
