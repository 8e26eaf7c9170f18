//! The controller's decisions without an API server: from a Service to the object to be written, a restart, a pass
//! that finds nothing to do, and what 100 000 assigned Services weigh. Prints figures, asserts none.
//!
//! `cargo bench -p metallb-controller --bench controller`
//!
//! Beside each figure stands what upstream 0.16.1 needs for the same, as measured on two cores.

#![allow(clippy::unwrap_used, reason = "a bench")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::jiff::Timestamp;
use metallb_assign::{Accepted, Action, Engine, Event};
use metallb_config::{AddressRange, Pool};
use metallb_ipam::Key;
use serde_json::json;

/// How many Services upstream was measured with.
const MANY: usize = 20_000;
/// The number of Services of the memory figure.
const HEAVY: usize = 100_000;

/// Resident memory of upstream's process with 5 000 assigned Services, a Service; its cache of objects is part of it.
const UPSTREAM_BYTES: f64 = 125e6 / 5_000.0;

fn main() {
    // First: what is freed later stays with the process.
    weight();
    speed();
}

/// What assigned Services weigh.
fn weight() {
    let before = resident();
    let mut engine = started(Vec::new());
    for number in 0..HEAVY {
        assign(&mut engine, &service(number));
    }
    let grown = resident().saturating_sub(before);
    let ratio = UPSTREAM_BYTES * HEAVY as f64 / grown.max(1) as f64;
    println!(
        "{HEAVY} assigned Services in the engine: {} MB (goal 100 MB; upstream's process, a Service: {ratio:.0} times as much)",
        grown / (1 << 20)
    );
    drop(engine);
}

/// How long decisions take.
fn speed() {
    let mut engine = started(Vec::new());
    let services: Vec<_> = (0..MANY).map(service).collect();
    let begin = Instant::now();
    let assigned: Vec<_> = services.iter().map(|service| assign(&mut engine, service)).collect();
    report(
        "20 000 Services from a /16, status and condition made",
        begin.elapsed(),
        413.0,
    );

    let begin = Instant::now();
    let idle = assigned
        .iter()
        .filter(|service| look(&mut engine, service).is_empty())
        .count();
    assert_eq!(idle, MANY, "a pass that finds nothing to do does nothing");
    report(
        "a pass over them that finds nothing to do",
        begin.elapsed(),
        20_000.0 * 6e-6,
    );

    let begin = Instant::now();
    let mut restarted = started(assigned.clone());
    let idle = assigned
        .iter()
        .filter(|service| look(&mut restarted, service).is_empty())
        .count();
    assert_eq!(idle, MANY, "a restart writes nothing");
    report("a restart with all of them, nothing written", begin.elapsed(), 413.0);
}

fn started(services: Vec<Arc<Service>>) -> Engine {
    let mut engine = Engine::new("", true);
    let pools = pools();
    engine.handle(now(), Event::Start { pools, services });
    engine
}

fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH
}

fn pools() -> Arc<Accepted> {
    let pool = Pool {
        name: "bench".into(),
        entries: vec![AddressRange::parse("10.0.0.0/15").unwrap()],
        auto_assign: true,
        ..Pool::default()
    };
    Arc::new(Accepted {
        pools: [("bench".to_owned(), pool)].into(),
        ..Accepted::default()
    })
}

fn service(number: usize) -> Arc<Service> {
    let service = json!({
        "metadata": { "name": format!("service-{number}"), "namespace": "default", "uid": format!("{number:036}"),
            "resourceVersion": "1" },
        "spec": { "type": "LoadBalancer", "clusterIPs": ["10.96.0.1"], "selector": { "app": "web" },
            "ports": [{ "port": 80, "protocol": "TCP" }], "ipFamilyPolicy": "SingleStack" },
    });
    Arc::new(serde_json::from_value(service).unwrap())
}

fn look(engine: &mut Engine, service: &Arc<Service>) -> Vec<Action> {
    let metadata = &service.metadata;
    let key = Key::new(
        metadata.namespace.as_deref().unwrap(),
        metadata.name.as_deref().unwrap(),
    );
    engine.handle(now(), Event::Look(key, Some(Arc::clone(service)), None))
}

/// The Service as the API server has it after the write.
fn assign(engine: &mut Engine, service: &Arc<Service>) -> Arc<Service> {
    let written = look(engine, service).into_iter().find_map(|action| match action {
        Action::Write(service) => Some(service),
        _ => None,
    });
    let mut written = written.unwrap();
    written.metadata.resource_version = Some("2".into());
    Arc::new(*written)
}

fn report(what: &str, took: Duration, upstream: f64) {
    let ratio = upstream / took.as_secs_f64();
    println!("{what}: {took:?} (upstream {upstream} s, {ratio:.0} times as long)");
}

/// Resident memory of this process in bytes.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: usize = text
        .split_whitespace()
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .unwrap_or(0);
    pages * 4096
}
