//! What one admission decision costs among many pools. `cargo bench -p metallb-webhooks --bench admission`
//!
//! 10 000 pools with four CIDRs each, every second one with an advertisement of its own kind of selection. Baseline: the
//! check as upstream writes it, each CIDR of the incoming list against all that came before, O(C²) (here without its
//! re-parsing of the texts, which is in its favour).

use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;
use metallb_config::{Options, Resources, View, parse};
use metallb_webhooks::server::{Judge, router};
use metallb_webhooks::verdict::{Kind, Operation, Request, Rules, judge};
use metallb_webhooks::{Lists, Reader};
use serde_json::{Value, json};
use tower::ServiceExt;

const POOLS: u32 = 10_000;
const CIDRS: u32 = 4;
const NAMESPACE: &str = "metallb-system";

fn pool(name: &str, first: u32) -> Value {
    // Every other /28, so that nothing merges or overlaps.
    let cidr = |place: u32| {
        format!(
            "{}/28",
            std::net::Ipv4Addr::from_bits(0x0a00_0000 + (first + place) * 32)
        )
    };
    json!({ "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
        "metadata": { "name": name, "namespace": NAMESPACE, "uid": "6a2f1c0e-0000-4000-8000-000000000000", "labels": { "tier": "gold" },
            "creationTimestamp": "2026-01-01T00:00:00Z", "resourceVersion": "1000" },
        "spec": { "addresses": (0..CIDRS).map(cidr).collect::<Vec<_>>(), "autoAssign": true } })
}

fn resources() -> Resources {
    let read = |index: u32| serde_json::from_value(pool(&format!("pool-{index}"), index * CIDRS)).expect("a pool");
    let named = |kind: &str, spec: Value| json!({ "metadata": { "name": kind, "namespace": NAMESPACE }, "spec": spec });
    Resources {
        namespace: NAMESPACE.to_owned(),
        pools: (0..POOLS).map(read).collect(),
        l2_advertisements: vec![serde_json::from_value(named("all", json!({}))).expect("an advertisement")],
        bgp_advertisements: vec![
            serde_json::from_value(named("all", json!({ "aggregationLength": 32 }))).expect("an advertisement"),
        ],
        ..Resources::default()
    }
}

fn request(object: Value) -> Request {
    Request {
        kind: Kind::IpAddressPool,
        operation: Operation::Create,
        namespace: Some(NAMESPACE.to_owned()),
        object,
        old: Value::Null,
    }
}

/// What a piece of work takes.
#[derive(Clone, Copy)]
struct Cost {
    /// The median.
    wall: Duration,
    /// The mean of the time on a processor: what it takes on a machine that has nothing else to do.
    cpu: Duration,
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        write!(f, "{:.2} ms of CPU ({:.2} ms elapsed)", ms(self.cpu), ms(self.wall))
    }
}

/// How long this thread was on a processor so far.
fn on_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split_whitespace().next().and_then(|number| number.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or(0))
}

fn measure(runs: u32, mut work: impl FnMut()) -> Cost {
    let before = on_cpu();
    let mut times: Vec<Duration> = (0..runs)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed()
        })
        .collect();
    times.sort();
    Cost {
        wall: times[times.len() / 2],
        // Some kernels count in ticks of milliseconds, so that only the sum of many runs is right.
        cpu: on_cpu().saturating_sub(before) / runs,
    }
}

/// Upstream's check: every CIDR against every one before it, until one overlaps.
fn pairwise(nets: &[Ipv4Net]) -> bool {
    nets.iter().enumerate().any(|(place, net)| {
        nets[..place]
            .iter()
            .any(|other| net.contains(other) || other.contains(net))
    })
}

/// Resident memory of this process.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: u64 = line
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0);
    kib * 1024
}

/// Highest resident memory so far.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: u64 = line
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0);
    kib * 1024
}

/// A client whose API server knows the pools, and answers at once with what one would send.
fn api_server(current: &Resources) -> kube::Client {
    let managed = json!([{ "manager": "kubectl-client-side-apply", "operation": "Update", "apiVersion": "metallb.io/v1beta1",
        "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1",
        "fieldsV1": { "f:metadata": { "f:labels": { ".": {}, "f:tier": {} } }, "f:spec": { ".": {}, "f:addresses": {}, "f:autoAssign": {} } } }]);
    let item = |index: usize| {
        let mut pool = pool(&format!("pool-{index}"), index as u32 * CIDRS);
        pool["metadata"]["managedFields"] = managed.clone();
        pool.to_string()
    };
    // As text, so that what this side needs does not count as memory of the webhooks.
    let list = |count: usize| {
        let mut text = r#"{"kind":"List","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":["#.to_owned();
        for index in 0..count {
            let comma = if index > 0 { "," } else { "" };
            text.push_str(comma);
            text.push_str(&item(index));
        }
        axum::body::Bytes::from(text + "]}")
    };
    let (pools, nothing) = (list(current.pools.len()), list(0));
    let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
        let full = request.uri().path().ends_with("/ipaddresspools");
        let body = if full { pools.clone() } else { nothing.clone() };
        std::future::ready(Ok::<_, std::convert::Infallible>(http::Response::new(
            kube::client::Body::from(body),
        )))
    });
    kube::Client::new(service, NAMESPACE)
}

/// So many reviews at once, through the routes: all of them, and the slowest.
async fn burst(count: usize, reader: Arc<dyn Reader>, rules: Rules) -> (Duration, Duration) {
    let routes = router(Judge::new(reader, tokio::sync::watch::channel(rules).1));
    let object = pool("new", POOLS * CIDRS);
    let review = json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": { "uid": "u", "operation": "CREATE", "namespace": NAMESPACE, "object": object } })
    .to_string();
    let start = Instant::now();
    let ask = |_| {
        let request = axum::http::Request::post(Kind::IpAddressPool.path())
            .header("content-type", "application/json")
            .body(axum::body::Body::from(review.clone()));
        let (routes, request) = (routes.clone(), request.expect("a request"));
        tokio::spawn(async move {
            let answer = routes.oneshot(request).await.expect("an answer");
            assert!(answer.status().is_success());
            start.elapsed()
        })
    };
    let tasks: Vec<_> = (0..count).map(ask).collect();
    let mut slowest = Duration::ZERO;
    for task in tasks {
        slowest = slowest.max(task.await.expect("no panic"));
    }
    (start.elapsed(), slowest)
}

fn main() {
    let mib = |bytes: u64| bytes / (1024 * 1024);
    let empty = resident();
    let current = Arc::new(resources());
    let loaded = resident();
    let rules = Rules {
        namespace: NAMESPACE.to_owned(),
        ..Rules::default()
    };
    println!("{POOLS} pools, {CIDRS} CIDRs each");
    let good = request(pool("new", POOLS * CIDRS));
    let bad = request(pool("new", 7));
    assert!(judge(&good, &*current, &rules).allowed() && !judge(&bad, &*current, &rules).allowed());
    let accepted = measure(100, || drop(judge(&good, &*current, &rules)));
    let refused = measure(100, || drop(judge(&bad, &*current, &rules)));
    let nets: Vec<Ipv4Net> = current
        .pools
        .iter()
        .flat_map(|pool| &pool.spec.addresses)
        .map(|text| text.parse().expect("a CIDR"))
        .collect();
    let baseline = measure(3, || assert!(!pairwise(&nets)));
    let ratio = |cost: Cost| baseline.cpu.as_secs_f64() / cost.cpu.as_secs_f64();
    println!(
        "one decision, accepted: {accepted}, {:.0} times as fast as the pairwise check ({baseline})",
        ratio(accepted)
    );
    println!(
        "one decision, refused:  {refused}, {:.0} times as fast as the pairwise check",
        ratio(refused)
    );
    let whole = Options {
        view: View::Admission,
        ..Options::default()
    };
    let full = measure(20, || drop(parse(&current, &whole)));
    println!("a parse of everything, which a component does once: {full}");
    let naming = |choice: Value| Request {
        kind: Kind::BgpAdvertisement,
        object: json!({ "metadata": { "name": "new", "namespace": NAMESPACE }, "spec": choice }),
        ..good.clone()
    };
    let one = naming(json!({ "ipAddressPools": ["pool-7"] }));
    let one = measure(100, || drop(judge(&one, &*current, &rules)));
    let every = measure(100, || drop(judge(&naming(json!({})), &*current, &rules)));
    println!("one decision about an advertisement of one pool: {one}, of all pools: {every}");
    let peer = Request {
        kind: Kind::BgpPeer,
        object: json!({ "metadata": { "name": "p", "namespace": NAMESPACE }, "spec": { "myASN": 1, "peerASN": 2, "peerAddress": "10.0.0.1" } }),
        ..good.clone()
    };
    let other = measure(100, || drop(judge(&peer, &*current, &rules)));
    println!("one decision about a peer: {other}");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let snapshot = current.clone();
    let snapshot: Arc<dyn Reader> = Arc::new(move || snapshot.clone());
    let (all, slowest) = runtime.block_on(burst(50, snapshot, rules.clone()));
    println!("50 reviews at once: {all:?}, the slowest {slowest:?}");
    let entered = runtime.enter();
    let lists: Arc<dyn Reader> = Arc::new(Lists::new(api_server(&current), NAMESPACE));
    drop(entered);
    let (one, _) = runtime.block_on(burst(1, lists.clone(), rules.clone()));
    let (all, slowest) = runtime.block_on(burst(50, lists, rules));
    println!(
        "with the reading of all objects from an API server: one {one:?}, 50 at once {all:?}, the slowest {slowest:?}"
    );
    println!(
        "memory: {} MiB for the objects, {} MiB at most",
        mib(loaded - empty),
        mib(peak())
    );
}
