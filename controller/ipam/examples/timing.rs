//! Prints how long allocations take, beside upstream 0.16.1 measured on the same kind of machine (two cores).
//!
//! `cargo run --release -p metallb-ipam --example timing`

use std::collections::BTreeMap;
use std::hint::black_box;
// The crate has no clock; measuring it needs one.
#[allow(clippy::disallowed_types, clippy::disallowed_methods)]
use std::time::Instant;

use metallb_config::{AddressRange, Pool};
use metallb_ipam::{Allocator, Key, Port, Protocol, Request, Sharing};

fn pool(name: &str, range: &str) -> (String, Pool) {
    let entries = AddressRange::parse(range).into_iter().collect();
    let pool = Pool {
        name: name.to_owned(),
        entries,
        auto_assign: true,
        ..Pool::default()
    };
    (name.to_owned(), pool)
}

fn allocator(pools: &[(String, Pool)]) -> Allocator {
    let mut allocator = Allocator::default();
    allocator.set_pools(&pools.iter().cloned().collect::<BTreeMap<_, _>>());
    allocator
}

fn keys(count: usize) -> Vec<Key> {
    (0..count)
        .map(|n| Key::new("default", &format!("service-{n}")))
        .collect()
}

fn request() -> Request {
    Request {
        namespace: "default".into(),
        ports: vec![port(80)],
        ..Request::default()
    }
}

fn port(number: u16) -> Port {
    Port {
        protocol: Protocol::Tcp,
        number,
    }
}

/// Runs `each` for all keys and prints total and average; `upstream` is the total in milliseconds, if known.
#[allow(clippy::disallowed_methods)]
fn measure(what: &str, upstream: Option<f64>, keys: &[Key], mut each: impl FnMut(usize, &Key)) {
    let start = Instant::now();
    for (n, key) in keys.iter().enumerate() {
        each(n, key);
    }
    let total = start.elapsed().as_secs_f64() * 1e3;
    let one = total * 1e6 / keys.len() as f64;
    let ratio = upstream.map_or_else(String::new, |ms| {
        format!("   upstream {ms} ms, {:.0} times", ms / total)
    });
    println!("{what:<45} {total:>10.2} ms {one:>9.0} ns each{ratio}");
}

fn main() {
    let mut full = allocator(&[pool("p", "10.0.0.0/16")]);
    let all = keys(65_536);
    measure(
        "20 000 addresses of a /16",
        Some(413_000.0),
        &all[..20_000],
        |_, key| {
            black_box(full.allocate(key, &request()).is_ok());
        },
    );
    measure(
        "claim the same 20 000 again",
        Some(20_000.0 * 0.006),
        &all[..20_000],
        |_, key| {
            let ips = full.held(key).map(|held| held.ips.clone()).unwrap_or_default();
            black_box(full.claim(key, &request(), &ips).is_ok());
        },
    );
    measure("the rest of the /16", None, &all[20_000..], |_, key| {
        black_box(full.allocate(key, &request()).is_ok());
    });
    let late = (0..1_000)
        .map(|n| Key::new("default", &format!("late-{n}")))
        .collect::<Vec<_>>();
    measure("1 000 refused by the full /16", Some(84_000.0), &late, |_, key| {
        black_box(full.allocate(key, &request()).is_err());
    });
    measure(
        "1 000 released, each serving one who waits",
        None,
        &all[..1_000],
        |_, key| {
            full.release(key);
            for woken in full.take_woken() {
                black_box(full.allocate(&woken, &request()).is_ok());
            }
        },
    );
    let mut shared = allocator(&[pool("p", "10.0.0.0/16")]);
    measure(
        "10 000 Services on one address",
        Some(32.0),
        &all[..10_000],
        |n, key| {
            let request = Request {
                sharing: Some(Sharing {
                    key: "k".into(),
                    backend: metallb_ipam::Backend::Cluster,
                }),
                ports: vec![port(u16::try_from(n).unwrap_or_default())],
                ..request()
            };
            black_box(shared.allocate(key, &request).is_ok());
        },
    );
    let many: Vec<_> = (0..1_000)
        .map(|n| pool(&format!("p{n:04}"), &format!("10.{}.{}.0/24", n / 256, n % 256)))
        .collect();
    let mut many = allocator(&many);
    measure("20 000 addresses of 1 000 pools", None, &all[..20_000], |_, key| {
        black_box(many.allocate(key, &request()).is_ok());
    });
}
