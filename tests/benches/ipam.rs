//! What an address costs to find, beside upstream 0.16.1 measured on two cores (`upstream` below): CTL-109, CTL-110.
//!
//! `cargo bench -p metallb-ipam --bench ipam`; each figure is the mean over whole rounds, so growth is part of it.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::net::IpAddr;
// The crate has no clock; measuring it needs one.
#[allow(clippy::disallowed_types, clippy::disallowed_methods)]
use std::time::{Duration, Instant};

use criterion::Criterion;
use metallb_config::{AddressRange, Pool};
use metallb_ipam::{Allocator, Backend, Key, Port, Protocol, Request, Sharing};

const SLASH_16: usize = 65_536;
const SERVICES: usize = 20_000;

/// Upstream's time for one of each, in nanoseconds.
mod upstream {
    pub(super) const ALLOCATE_20_000: f64 = 413e9 / 20_000.0;
    pub(super) const REFUSE_ON_FULL_SLASH_16: f64 = 84e6;
    pub(super) const CLAIM_AGAIN: f64 = 6e3;
    pub(super) const SHARE: f64 = 3.2e3;
}

fn pool(name: &str, range: &str) -> (String, Pool) {
    let pool = Pool {
        name: name.to_owned(),
        entries: AddressRange::parse(range).into_iter().collect(),
        auto_assign: true,
        ..Pool::default()
    };
    (name.to_owned(), pool)
}

fn allocator(pools: impl IntoIterator<Item = (String, Pool)>) -> Allocator {
    let mut allocator = Allocator::default();
    allocator.set_pools(&pools.into_iter().collect::<BTreeMap<_, _>>());
    allocator
}

fn slash_16() -> Allocator {
    allocator([pool("p", "10.0.0.0/16")])
}

/// Pools of 65 536 addresses in all.
fn pools(count: usize) -> Allocator {
    let each = SLASH_16 / count;
    allocator((0..count).map(|n| {
        let first = std::net::Ipv4Addr::from_bits(0x0a00_0000 + u32::try_from(n * each).unwrap_or_default());
        let last = std::net::Ipv4Addr::from_bits(0x0a00_0000 + u32::try_from((n + 1) * each - 1).unwrap_or_default());
        pool(&format!("p{n:04}"), &format!("{first}-{last}"))
    }))
}

fn keys(name: &str, count: usize) -> Vec<Key> {
    (0..count)
        .map(|n| Key::new("default", &format!("{name}-{n}")))
        .collect()
}

fn request(port: usize) -> Request {
    Request {
        namespace: "default".into(),
        ports: vec![Port {
            protocol: Protocol::Tcp,
            number: u16::try_from(port).unwrap_or(u16::MAX),
        }],
        ..Request::default()
    }
}

fn allocate(allocator: &mut Allocator, keys: &[Key], request: &Request) {
    for key in keys {
        assert!(black_box(allocator.allocate(key, request)).is_ok());
    }
}

/// Runs `round` on fresh states that `prepare` makes outside of the measured time, and prints the mean of one step.
#[allow(clippy::disallowed_methods)]
fn bench<S>(
    criterion: &mut Criterion,
    name: &str,
    (steps, upstream): (usize, Option<f64>),
    mut prepare: impl FnMut() -> S,
    mut round: impl FnMut(&mut S),
) {
    let (mut rounds, mut total) = (0_u32, Duration::ZERO);
    criterion.bench_function(name, |bencher| {
        bencher.iter_custom(|iterations| {
            let mut spent = Duration::ZERO;
            for _ in 0..iterations {
                let mut state = prepare();
                let start = Instant::now();
                round(&mut state);
                spent += start.elapsed();
            }
            rounds += u32::try_from(iterations).unwrap_or(u32::MAX);
            total += spent;
            spent
        });
    });
    if rounds == 0 {
        // Filtered out.
        return;
    }
    let round = total / rounds;
    #[allow(clippy::cast_precision_loss)]
    let step = round.as_nanos() as f64 / steps as f64;
    let ratio = upstream.map_or_else(
        || "upstream was not measured".to_owned(),
        |upstream| format!("upstream {upstream:.0} ns, ratio {:.0}", upstream / step),
    );
    println!("{name}: {steps} in {round:.2?}, {step:.0} ns each; {ratio}\n");
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    let c = &mut criterion;
    let all = keys("service", SLASH_16);
    let late = keys("late", 1_000);
    let plain = request(80);

    let some = &all[..SERVICES];
    bench(
        c,
        "20 000 addresses of a /16",
        (SERVICES, Some(upstream::ALLOCATE_20_000)),
        slash_16,
        |a| allocate(a, some, &plain),
    );
    bench(c, "all addresses of a /16", (SLASH_16, None), slash_16, |a| {
        allocate(a, &all, &plain);
    });
    for count in [10, 1_000] {
        bench(
            c,
            &format!("20 000 addresses of {count} pools"),
            (SERVICES, None),
            || pools(count),
            |a| allocate(a, some, &plain),
        );
    }

    let held = || {
        let mut a = slash_16();
        allocate(&mut a, some, &plain);
        let ips: Vec<Vec<IpAddr>> = some
            .iter()
            .filter_map(|key| a.held(key).map(|held| held.ips.clone()))
            .collect();
        (a, ips)
    };
    bench(
        c,
        "20 000 claimed again",
        (SERVICES, Some(upstream::CLAIM_AGAIN)),
        held,
        |(a, ips)| {
            for (key, ips) in some.iter().zip(ips) {
                assert!(black_box(a.claim(key, &plain, ips)).is_ok());
            }
        },
    );

    let full = || {
        let mut a = slash_16();
        allocate(&mut a, &all, &plain);
        a
    };
    bench(
        c,
        "1 000 refused by a full /16",
        (late.len(), Some(upstream::REFUSE_ON_FULL_SLASH_16)),
        full,
        |a| {
            for key in &late {
                assert!(black_box(a.allocate(key, &plain)).is_err());
            }
        },
    );
    let waited = || {
        let mut a = full();
        for key in &late {
            a.wait(key, &plain);
        }
        a
    };
    bench(
        c,
        "1 000 released, each serving one who waits",
        (late.len(), None),
        waited,
        |a| {
            for key in &all[..late.len()] {
                a.release(key);
                for woken in a.take_woken() {
                    assert!(black_box(a.allocate(&woken, &plain)).is_ok());
                }
            }
        },
    );

    let shared: Vec<_> = (0..10_000)
        .map(|port| Request {
            sharing: Some(Sharing {
                key: "k".into(),
                backend: Backend::Cluster,
            }),
            ..request(port)
        })
        .collect();
    bench(
        c,
        "10 000 Services on one address",
        (shared.len(), Some(upstream::SHARE)),
        slash_16,
        |a| {
            for (key, request) in all.iter().zip(&shared) {
                assert!(black_box(a.allocate(key, request)).is_ok());
            }
        },
    );
    criterion.final_summary();
}
