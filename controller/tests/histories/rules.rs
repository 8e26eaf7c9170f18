//! What must hold, judged from the stored objects alone.

use std::collections::BTreeSet;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;
use metallb_config::{AddressRange, Pool};

use crate::cluster::{Cluster, FOREIGN, ips};

fn note<'a>(service: &'a Service, key: &str) -> Option<&'a str> {
    service
        .annotations()
        .get(&format!("metallb.io/{key}"))
        .map(String::as_str)
}

fn is_load_balancer(service: &Service) -> bool {
    service.spec.as_ref().unwrap().type_.as_deref() == Some("LoadBalancer")
}

fn terms(service: &Service) -> (Option<&str>, Option<&str>) {
    let spec = service.spec.as_ref().unwrap();
    (
        note(service, "allow-shared-ip"),
        spec.external_traffic_policy.as_deref(),
    )
}

fn port(service: &Service) -> i32 {
    service.spec.as_ref().unwrap().ports.as_ref().unwrap()[0].port
}

fn may_share(a: &Service, b: &Service) -> bool {
    terms(a).0.is_some() && terms(a) == terms(b) && port(a) != port(b)
}

fn usable(pool: &Pool, ip: IpAddr) -> bool {
    let buggy = matches!(ip, IpAddr::V4(v4) if matches!(v4.octets()[3], 0 | 255));
    pool.contains(ip) && !(pool.avoid_buggy_ips && buggy)
}

fn admits(pool: &Pool, service: &Service) -> bool {
    let allocation = pool.allocation.as_ref();
    allocation.is_none_or(|allocation| allocation.allows("default", service.labels()))
}

fn is_legal(cluster: &Cluster, service: &Service, own: &[IpAddr]) -> bool {
    let holds = |pool: &Pool| admits(pool, service) && own.iter().all(|ip| usable(pool, *ip));
    cluster.pools.values().any(holds)
}

/// At no time: one address on two Services that do not share it.
pub(crate) fn check_always(cluster: &Cluster) {
    let all: Vec<_> = cluster.services.values().collect();
    for (index, a) in all.iter().enumerate() {
        for b in &all[index + 1..] {
            let common = ips(a).iter().any(|ip| *ip != FOREIGN && ips(b).contains(ip));
            assert!(
                !common || may_share(a, b) || ceased_to_share(cluster, a, b),
                "{} and {} have one address",
                a.name_any(),
                b.name_any()
            );
        }
        if !cluster.touched.contains(&a.name_any()) {
            check_moved(cluster, a);
        }
    }
}

/// Their users have shared the address among them, and one of them has changed its mind a moment ago.
fn ceased_to_share(cluster: &Cluster, a: &Service, b: &Service) -> bool {
    let is_in = |set: &BTreeSet<String>, service: &Service| set.contains(&service.name_any());
    let shared = is_in(&cluster.sharers, a) && is_in(&cluster.sharers, b);
    shared && (is_in(&cluster.touched, a) || is_in(&cluster.touched, b))
}

/// Nor may an address move that was legal all the time. What a Service has waited for may come in its stead.
fn check_moved(cluster: &Cluster, service: &Service) {
    let name = service.name_any();
    let Some(before) = cluster.settled.get(&name) else {
        return;
    };
    let waited = note(service, "loadBalancerIPs").is_some() || note(service, "address-pool").is_some();
    let now = ips(service);
    if cluster.overwritten.contains(&name) {
        return;
    }
    let kept = before.iter().all(|ip| now.contains(ip));
    // One edit brought a second address, the next took it away: then a new pair is found, if there is one.
    let paired = cluster.pool_edits > 1 && now.len() == 2;
    assert!(
        kept || paired || waited || cluster.outlawed.contains(&name),
        "{name} moved from {before:?} to {now:?}"
    );
}

/// After an edit of pools: remembers whose addresses are not legal, be it for a moment.
pub(crate) fn judge_edit(cluster: &mut Cluster) {
    let is_outlawed = |(name, ips): &(&String, &Vec<IpAddr>)| {
        let service = cluster.services.get(*name);
        service.is_some_and(|service| !is_legal(cluster, service, ips))
    };
    let outlawed = cluster.settled.iter().filter(is_outlawed).map(|(name, _)| name.clone());
    let outlawed: Vec<_> = outlawed.collect();
    cluster.outlawed.extend(outlawed);
}

/// When all is settled: everybody who can be served is, the numbers are right, and nothing is lost.
pub(crate) fn check_settled(cluster: &mut Cluster) {
    let all: Vec<_> = cluster.services.values().collect();
    for (index, a) in all.iter().enumerate() {
        for b in &all[index + 1..] {
            let common = ips(a).iter().any(|ip| *ip != FOREIGN && ips(b).contains(ip));
            assert!(
                !common || may_share(a, b) || (!cluster.denied.is_empty() && ceased_to_share(cluster, a, b)),
                "{} and {} have one address",
                a.name_any(),
                b.name_any()
            );
        }
        let own = ips(a);
        // What somebody else writes to a Service that is no load balancer is none of ours.
        let theirs = own == [FOREIGN] && !is_load_balancer(a);
        if theirs || cluster.denied.contains(&a.name_any()) {
            continue;
        }
        if own.is_empty() {
            // What a Service has whose writes are denied cannot be seen.
            assert!(
                !is_load_balancer(a) || !cluster.denied.is_empty() || !could_serve(cluster, a),
                "{} waits in vain",
                a.name_any()
            );
        } else {
            assert!(
                is_load_balancer(a) && is_legal(cluster, a, &own),
                "{} has {own:?}",
                a.name_any()
            );
        }
        check_condition(a);
    }
    if cluster.denied.is_empty() {
        for pool in cluster.pools.values() {
            check_numbers(cluster, pool);
        }
    }
    check_turns(cluster);
    note_waiting(cluster);
    // Of one whose writes are denied nobody can tell what it will have.
    let settled = cluster.services.values();
    let settled = settled.filter(|service| !cluster.denied.contains(&service.name_any()));
    let settled = settled.map(|service| (service.name_any(), ips(service)));
    cluster.settled = settled.collect();
    // What its user did to a Service whose writes are denied has no end yet.
    let is_open = |name: &String| cluster.denied.contains(name);
    cluster.touched.retain(is_open);
    cluster.outlawed.clear();
    cluster.edits.clear();
    cluster.pool_edits = 0;
    let shares = |service: &&Service| note(service, "allow-shared-ip").is_some();
    let sharers = cluster.services.values().filter(shares).map(ResourceExt::name_any);
    let before = cluster.sharers.iter().filter(|_| !cluster.denied.is_empty());
    cluster.sharers = sharers.chain(before.cloned()).collect();
}

/// What a Service asks for, if others could ask for the same.
fn asks_for(service: &Service) -> Option<String> {
    let spec = service.spec.as_ref().unwrap();
    let plain = is_load_balancer(service) && note(service, "allow-shared-ip").is_none();
    plain.then(|| {
        let wanted = (note(service, "loadBalancerIPs"), note(service, "address-pool"));
        format!("{wanted:?} {:?}", spec.cluster_ips)
    })
}

/// Whoever waited is not served after somebody who came later and asks for the same.
fn check_turns(cluster: &Cluster) {
    // Whoever was served by one edit, and lost that by the next before it was written, is behind those who wait.
    if cluster.pool_edits > 1 {
        return;
    }
    let is_left_alone = |name: &String| !cluster.touched.contains(name) && !cluster.denied.contains(name);
    for (name, (asked, since)) in &cluster.waiting {
        let Some(service) = cluster.services.get(name).filter(|_| is_left_alone(name)) else {
            continue;
        };
        if !ips(service).is_empty() {
            continue;
        }
        for (other, found) in &cluster.services {
            let later = cluster.waiting.get(other).is_none_or(|(_, own)| own > since);
            // It has asked for one thing all the time that it had no address.
            let edits = cluster.edits.get(other).copied().unwrap_or_default();
            let steady = match cluster.settled.get(other) {
                None => edits == 1,
                Some(had) => edits == 0 && had.is_empty(),
            };
            let given = ips(found).iter().any(|ip| *ip != FOREIGN);
            let served = given && asks_for(found).as_ref() == Some(asked);
            assert!(
                !(later && steady && served),
                "{other} came after {name}, and was served before"
            );
        }
    }
}

fn note_waiting(cluster: &mut Cluster) {
    cluster.settlements += 1;
    let now = cluster.settlements;
    let waits = |service: &&Service| ips(service).is_empty();
    let waiting = cluster.services.values().filter(waits).filter_map(|service| {
        let (name, asked) = (service.name_any(), asks_for(service)?);
        if cluster.denied.contains(&name) {
            return None;
        }
        let before = cluster.waiting.get(&name).filter(|_| !cluster.touched.contains(&name));
        let since = before
            .filter(|(before, _)| *before == asked)
            .map_or(now, |(_, since)| *since);
        Some((name, (asked, since)))
    });
    cluster.waiting = waiting.collect();
}

fn check_condition(service: &Service) {
    let status = service.status.as_ref();
    let conditions = status
        .and_then(|status| status.conditions.as_ref())
        .into_iter()
        .flatten();
    let own: Vec<_> = conditions
        .filter(|condition| condition.type_ == "metallb.io/Allocated")
        .collect();
    let said: Vec<_> = own.iter().map(|condition| condition.status == "True").collect();
    let expected = if is_load_balancer(service) {
        vec![!ips(service).is_empty()]
    } else {
        vec![]
    };
    assert_eq!(said, expected, "{}", service.name_any());
}

fn check_numbers(cluster: &Cluster, pool: &Pool) {
    let used: BTreeSet<_> = cluster.services.values().flat_map(ips).collect();
    let used = |v4: bool| {
        used.iter()
            .filter(|ip| ip.is_ipv4() == v4 && pool.contains(**ip))
            .count() as u128
    };
    let holds = |service: &&Service| ips(service).first().is_some_and(|ip| pool.contains(*ip));
    let services = cluster.services.values().filter(holds).count() as u64;
    let counters = cluster.numbers(&pool.name).unwrap();
    let found = (counters.in_use_v4, counters.in_use_v6, counters.services);
    assert_eq!(found, (used(true), used(false), services), "numbers of {}", pool.name);
}

/// The naive allocator: tries every address of every pool.
fn could_serve(cluster: &Cluster, service: &Service) -> bool {
    let open = |ip: IpAddr| {
        let others = cluster
            .services
            .values()
            .filter(|other| other.name_any() != service.name_any());
        others
            .filter(|other| ips(other).contains(&ip))
            .all(|other| may_share(other, service))
    };
    let wanted = note(service, "loadBalancerIPs").map(str::parse::<IpAddr>);
    if matches!(wanted, Some(Err(_))) {
        return false;
    }
    let wanted = wanted.and_then(Result::ok);
    let dual = service.spec.as_ref().unwrap().cluster_ips.as_ref().unwrap().len() == 2;
    let named = note(service, "address-pool");
    cluster.pools.values().any(|pool| {
        let asked = named.is_some() || wanted.is_some();
        let chosen = admits(pool, service) && named.is_none_or(|name| name == pool.name) && (asked || pool.auto_assign);
        let mut all = pool.entries.iter().flat_map(AddressRange::addresses);
        chosen
            && all.any(|ip| {
                let fits = wanted.map_or_else(|| dual || ip.is_ipv4(), |wanted| wanted == ip);
                fits && usable(pool, ip) && open(ip)
            })
    })
}
