//! What addresses cost in processor time of this thread, which does not depend on what else the machine does.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use metallb_ipam::{Allocator, Key, Request};
use nix::time::{ClockId, clock_gettime};

use crate::world::pool;

/// A build without optimisation needs several times what the goal for a release allows.
const DEBUG: u32 = if cfg!(debug_assertions) { 10 } else { 1 };

fn cost(work: impl FnOnce()) -> Duration {
    let now = || Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap());
    let begin = now();
    work();
    now() - begin
}

fn slash_16() -> Allocator {
    let mut allocator = Allocator::default();
    allocator.set_pools(&BTreeMap::from([("p".to_owned(), pool("p", &["10.0.0.0/16"]))]));
    allocator
}

fn key(n: u32) -> Key {
    Key::new("default", &format!("s{n}"))
}

fn fill(allocator: &mut Allocator, services: std::ops::Range<u32>) {
    for n in services {
        let found = allocator.allocate(&key(n), &Request::default()).unwrap();
        assert_eq!(found.ips, [Ipv4Addr::from_bits(0x0a00_0000 + n)]);
    }
}

#[test]
fn an_address_costs_the_same_however_many_are_in_use() {
    // CTL-109
    let mut allocator = slash_16();
    let early = cost(|| fill(&mut allocator, 0..2_000));
    let middle = cost(|| fill(&mut allocator, 2_000..18_000));
    let late = cost(|| fill(&mut allocator, 18_000..20_000));
    let all = early + middle + late;
    assert!(all < Duration::from_secs(1) * DEBUG, "{all:?}");
    assert!(late < early * 5, "{early:?} for the first 2 000, {late:?} for the last");
}

#[test]
fn a_refusal_on_a_full_pool_costs_little() {
    // CTL-110
    let mut allocator = slash_16();
    fill(&mut allocator, 0..65_536);
    let refused = cost(|| {
        for n in 70_000..70_100 {
            allocator.allocate(&key(n), &Request::default()).unwrap_err();
        }
    });
    assert!(
        refused < Duration::from_millis(100) * DEBUG,
        "{refused:?} for a hundred"
    );
}
