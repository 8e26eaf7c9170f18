//! Random histories against a naive reference that knows nothing of indexes, waiters or wake-ups.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::IpAddr;

use metallb_config::Pool;
use metallb_ipam::{Counters, Explanation, Families, Family, FamilyPolicy, Service};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::world::{Svc, World, key, pinned, pool, svc, tcp};

const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "other/f", "other/g", "other/h"];

#[derive(Clone, Debug)]
enum Step {
    Put(usize, Shape),
    Delete(usize),
    Pools(Vec<usize>),
    Wipe(usize),
    Recreate(usize),
    Restart,
}

#[derive(Clone, Debug)]
struct Shape {
    families: u8,
    share: Option<bool>,
    port: u16,
    local: bool,
    wanted: Option<u8>,
    pool: Option<u8>,
    load_balancer: bool,
}

/// Pools of which a history picks some; those picked together never overlap.
fn catalog() -> Vec<Pool> {
    let buggy = Pool {
        avoid_buggy_ips: true,
        ..pool("a", &["1.0.0.254-1.0.1.1"])
    };
    vec![
        pool("p", &["2.0.0.0/31", "fc00::/127"]),
        pool("renamed", &["2.0.0.0/31", "fc00::/127"]),
        pool("p", &["2.0.0.0/32"]),
        pool("p", &["2.0.0.1/32", "2.0.0.0/32", "fc00::1/128"]),
        buggy,
        pool("a", &["1.0.0.254-1.0.1.1"]),
        pinned(pool("pinned", &["3.0.0.0/31", "fc01::/128"]), 1, &["other"]),
        pinned(pool("pinned", &["3.0.0.0/31"]), 2, &[]),
        Pool {
            auto_assign: false,
            ..pool("asked", &["4.0.0.0/32", "fc02::/127"])
        },
    ]
}

fn disjoint(picks: &[usize]) -> Vec<Pool> {
    let catalog = catalog();
    let mut pools: Vec<Pool> = Vec::new();
    for pick in picks {
        let next = &catalog[*pick];
        let clash = pools.iter().any(|pool| {
            pool.name == next.name || pool.entries.iter().any(|a| next.entries.iter().any(|b| a.overlaps(b)))
        });
        if !clash {
            pools.push(next.clone());
        }
    }
    pools
}

fn shape() -> impl Strategy<Value = Shape> {
    let share = prop_oneof![3 => Just(None), 4 => any::<bool>().prop_map(Some)];
    let wanted = prop_oneof![5 => Just(None), 2 => (0..6_u8).prop_map(Some)];
    let pool = prop_oneof![6 => Just(None), 1 => (0..3_u8).prop_map(Some)];
    let load_balancer = prop_oneof![6 => Just(true), 1 => Just(false)];
    (0..5_u8, share, 80..83_u16, any::<bool>(), wanted, pool, load_balancer).prop_map(
        |(families, share, port, local, wanted, pool, load_balancer)| Shape {
            families,
            share,
            port,
            local,
            wanted,
            pool,
            load_balancer,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let name = 0..NAMES.len();
    prop_oneof![
        8 => (name.clone(), shape()).prop_map(|(name, shape)| Step::Put(name, shape)),
        3 => name.clone().prop_map(Step::Delete),
        2 => prop::collection::vec(0..9_usize, 0..6).prop_map(Step::Pools),
        1 => name.clone().prop_map(Step::Wipe),
        1 => name.prop_map(Step::Recreate),
        1 => Just(Step::Restart),
    ]
}

fn build(name: &str, shape: &Shape) -> Svc {
    let mut svc = svc(name).ports(&[tcp(shape.port)]);
    svc = match shape.families {
        0 => svc,
        1 => svc.v6(),
        2 => svc.dual(FamilyPolicy::RequireDualStack),
        3 => svc.dual(FamilyPolicy::PreferDualStack),
        _ => svc.policy(FamilyPolicy::PreferDualStack),
    };
    if let Some(first) = shape.share {
        svc = svc.share(if first { "k" } else { "l" });
    }
    if shape.local {
        svc = svc.local("x");
    }
    if let Some(wanted) = shape.wanted {
        let all = ["2.0.0.0", "2.0.0.1", "3.0.0.1", "fc00::1", "2.0.0.0,fc00::", "junk"];
        svc = svc.ips(all[usize::from(wanted)]);
    }
    if let Some(pool) = shape.pool {
        svc = svc.of_pool(["p", "asked", "nowhere"][usize::from(pool)]);
    }
    if shape.load_balancer {
        svc
    } else {
        svc.no_load_balancer()
    }
}

fn play(world: &mut World, step: &Step) {
    match step {
        Step::Put(name, shape) => world.put(build(NAMES[*name], shape)),
        Step::Delete(name) => world.delete(NAMES[*name]),
        Step::Pools(picks) => world.pools(&disjoint(picks)),
        Step::Wipe(name) => {
            if let Some(service) = world.services.get_mut(&key(NAMES[*name])) {
                service.ingress.clear();
                world.again(NAMES[*name]);
            }
        }
        Step::Recreate(name) => {
            if let Some(service) = world.services.get_mut(&key(NAMES[*name])) {
                service.uid.push('x');
                service.ingress.clear();
                world.again(NAMES[*name]);
            }
        }
        Step::Restart => world.restart(),
    }
}

fn ips(service: &Service) -> Vec<IpAddr> {
    service.ingress_ips().unwrap()
}

fn group(service: &Service) -> (Option<&String>, bool, &str) {
    let namespace = if service.local { service.key.namespace() } else { "" };
    (
        service.annotations.get("metallb.io/allow-shared-ip"),
        service.local,
        namespace,
    )
}

fn may_share(a: &Service, b: &Service) -> bool {
    group(a).0.is_some() && group(a) == group(b) && a.ports.iter().all(|port| !b.ports.contains(port))
}

fn usable(pool: &Pool, ip: IpAddr) -> bool {
    let buggy = matches!(ip, IpAddr::V4(v4) if matches!(v4.octets()[3], 0 | 255));
    pool.contains(ip) && !(pool.avoid_buggy_ips && buggy)
}

fn admits(pool: &Pool, service: &Service) -> bool {
    pool.allocation
        .as_ref()
        .is_none_or(|a| a.allows(service.key.namespace(), &service.labels))
}

/// The naive allocator: tries every address of every pool.
struct Reference<'a>(&'a World);

impl Reference<'_> {
    fn open(&self, ip: IpAddr, service: &Service) -> bool {
        let others = self
            .0
            .services
            .values()
            .filter(|other| other.key != service.key && ips(other).contains(&ip));
        others.into_iter().all(|other| may_share(other, service))
    }

    fn any(&self, pool: &Pool, family: Family, service: &Service) -> bool {
        let mut all = pool.entries.iter().flat_map(metallb_config::AddressRange::addresses);
        all.any(|ip| Family::of(ip) == family && usable(pool, ip) && self.open(ip, service))
    }

    /// Whether a Service without addresses could be given some.
    fn could_serve(&self, service: &Service) -> bool {
        let (Some(families), Ok(wanted)) = (service.families(), service.wanted()) else {
            return false;
        };
        let named = service.wanted_pool();
        let pools = self.0.pools.values().filter(|pool| admits(pool, service));
        let mut pools = pools.filter(|pool| named.is_none_or(|name| name == pool.name));
        if !wanted.is_empty() {
            let partial = service.policy == FamilyPolicy::PreferDualStack && families == Families::Dual;
            let fits = Families::of(&wanted) == Some(families) || (partial && wanted.len() == 1);
            return fits && pools.any(|pool| wanted.iter().all(|ip| usable(pool, *ip) && self.open(*ip, service)));
        }
        pools.filter(|pool| named.is_some() || pool.auto_assign).any(|pool| {
            let v4 = self.any(pool, Family::V4, service);
            let v6 = self.any(pool, Family::V6, service);
            match families {
                Families::Single(Family::V4) => v4,
                Families::Single(Family::V6) => v6,
                Families::Dual if service.policy == FamilyPolicy::RequireDualStack => v4 && v6,
                Families::Dual => v4 || v6,
            }
        })
    }
}

/// No address twice unless sharing allows it, none from nowhere, and all that could be served is.
fn check_services(world: &World) {
    let all: Vec<_> = world.services.values().collect();
    for (index, a) in all.iter().enumerate() {
        for b in &all[index + 1..] {
            let common = ips(a).iter().any(|ip| ips(b).contains(ip));
            assert!(!common || may_share(a, b), "{} and {} have one address", a.key, b.key);
        }
        let own = ips(a);
        let held = world.assigner.allocator().held(&a.key).map(|held| held.ips.clone());
        assert_eq!(held.unwrap_or_default(), own, "memory and status of {}", a.key);
        if own.is_empty() {
            assert_eq!(a.marked_pool(), None);
            assert!(
                !a.load_balancer || !Reference(world).could_serve(a),
                "{} waits in vain",
                a.key
            );
            continue;
        }
        assert!(a.load_balancer);
        let pool = &world.pools[a.marked_pool().unwrap()];
        assert!(
            own.iter().all(|ip| usable(pool, *ip)) && admits(pool, a),
            "{} left its pool",
            a.key
        );
        let has = Families::of(&own).unwrap();
        let prefers = a.policy == FamilyPolicy::PreferDualStack && a.families() == Some(Families::Dual);
        assert!(Some(has) == a.families() || prefers, "{} has the wrong families", a.key);
    }
}

/// No leak: free and used add up, and what nobody has is free.
fn check_numbers(world: &World) {
    for (name, pool) in &world.pools {
        let in_pool = |v4: bool| {
            let used = world.services.values().flat_map(ips);
            let used: BTreeSet<_> = used.filter(|ip| ip.is_ipv4() == v4 && pool.contains(*ip)).collect();
            let all = pool.entries.iter().flat_map(metallb_config::AddressRange::addresses);
            (
                used.len() as u128,
                all.filter(|ip| ip.is_ipv4() == v4 && usable(pool, *ip)).count() as u128,
            )
        };
        let ((in_use_v4, capacity_v4), (in_use_v6, capacity_v6)) = (in_pool(true), in_pool(false));
        let services = world
            .services
            .values()
            .filter(|service| service.marked_pool() == Some(name))
            .count() as u64;
        let expected = Counters {
            capacity_v4,
            capacity_v6,
            in_use_v4,
            in_use_v6,
            services,
        };
        assert_eq!(
            world.assigner.allocator().counters(name),
            Some(expected),
            "numbers of {name}"
        );
    }
}

/// A Service that keeps its terms keeps its addresses, unless they are not legal any more.
fn check_moved(before: &BTreeMap<String, Vec<IpAddr>>, world: &World, step: &Step) {
    let changed = match step {
        Step::Put(name, _) | Step::Delete(name) | Step::Recreate(name) => Some(key(NAMES[*name])),
        Step::Pools(_) | Step::Wipe(_) | Step::Restart => None,
    };
    for service in world
        .services
        .values()
        .filter(|service| Some(&service.key) != changed.as_ref())
    {
        let old = before.get(&service.key.to_string()).cloned().unwrap_or_default();
        // A wait can end by moving to the wanted address, or by a second family.
        let asked = service.wanted().is_ok_and(|wanted| !wanted.is_empty()) || service.wanted_pool().is_some();
        let kept = old.iter().all(|ip| ips(service).contains(ip));
        let holds = |pool: &Pool| admits(pool, service) && old.iter().all(|ip| usable(pool, *ip));
        let legal = world.pools.values().any(holds);
        assert!(kept || asked || !legal, "{} was moved by {step:?}", service.key);
    }
}

/// 256 histories, or as many as PROPTEST_CASES says.
#[test]
fn random_histories_agree_with_the_reference() {
    let mut runner = TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let histories = Cell::new(0);
    let result = runner.run(&prop::collection::vec(step(), 1..40), |steps| {
        live(&steps);
        histories.set(histories.get() + 1);
        Ok(())
    });
    // Past the test harness, which keeps to itself what a test prints that passes.
    let _ = writeln!(
        std::io::stderr(),
        "{} random histories of the allocator",
        histories.get()
    );
    if let Err(error) = result {
        panic!("{error}");
    }
}

fn live(steps: &[Step]) {
    let mut world = World::new(&disjoint(&[0, 4, 6]));
    for step in steps {
        let services = world.services.values();
        let before: BTreeMap<_, _> = services
            .map(|service| (service.key.to_string(), ips(service)))
            .collect();
        play(&mut world, step);
        check_services(&world);
        check_numbers(&world);
        check_moved(&before, &world, step);
        world.quiet();
    }
    // A second start writes nothing at all.
    world.restart();
    assert!(world.writes.is_empty(), "a restart writes {:?}", world.writes);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    // CLI-15
    #[test]
    fn what_is_explained_is_what_happens(steps in prop::collection::vec(step(), 1..20), shape in shape()) {
        let mut world = World::new(&disjoint(&[0, 4, 6, 8]));
        for step in &steps {
            play(&mut world, step);
        }
        let new = build("new", &shape);
        let explained = world.assigner.explain(&new.0);
        let known = !world.pools.is_empty() && new.0.load_balancer;
        let required = shape.families == 2;
        world.put(new);
        let held = world.assigner.allocator().held(&key("new")).cloned();
        match explained {
            Some(Ok(explained)) if known => {
                prop_assert_eq!(explained.outcome.as_ref().ok(), held.as_ref());
                if explained.request.wanted.is_empty() {
                    check_trials(&explained, required);
                }
            }
            Some(_) => prop_assert_eq!(held, None),
            None => prop_assert!(false, "all have cluster addresses"),
        }
    }
}

/// The outcome is the answer of a pool that is asked, and no pool before it had as much.
fn check_trials(explained: &Explanation, required: bool) {
    let asked = explained.trials.iter().filter(|trial| trial.asked);
    let Ok(outcome) = &explained.outcome else {
        assert!(asked.into_iter().all(|trial| trial.answer.is_err()), "{explained:?}");
        return;
    };
    let mut before = asked.clone().take_while(|trial| trial.pool != outcome.pool);
    let less = |answer: &Result<Vec<IpAddr>, String>| answer.as_ref().map_or(0, Vec::len) <= outcome.ips.len();
    assert!(
        before.all(|trial| less(&trial.answer) && (!required || trial.answer.is_err())),
        "{explained:?}"
    );
    let own = asked.into_iter().find(|trial| trial.pool == outcome.pool);
    assert_eq!(
        own.map(|own| &own.answer),
        Some(&Ok(outcome.ips.clone())),
        "{explained:?}"
    );
    // Nobody is asked once one has all.
    let complete = explained.request.families != Families::Dual || outcome.ips.len() == 2;
    let last = explained.trials.iter().rfind(|trial| trial.asked);
    assert!(
        !complete || last.is_some_and(|last| last.pool == outcome.pool),
        "{explained:?}"
    );
}
