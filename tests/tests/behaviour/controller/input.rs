//! What users write wrongly: each time an event, a condition and a log line with the exact clash, and nothing lost.

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::events::v1::Event;
use kube::api::{ListParams, Patch, PatchParams};
use kube::client::Body;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::{Cluster, create, wait_for};

/// What is wrong, what is said of it, and the reason in the condition.
struct Wrong {
    name: &'static str,
    annotations: Value,
    spec: Value,
    text: String,
    reason: &'static str,
}

fn wrong(name: &'static str, annotations: Value, text: &str, reason: &'static str) -> Wrong {
    Wrong {
        name,
        annotations,
        spec: json!({}),
        text: text.to_owned(),
        reason,
    }
}

/// Every kind of wrong request, for a Service with an IPv4 cluster address.
fn all() -> Vec<Wrong> {
    let ips = |value: &str| json!({ "metallb.io/loadBalancerIPs": value });
    let pool = |value: &str| json!({ "metallb.io/address-pool": value });
    let long = "x".repeat(10_000);
    let cut = format!("\"{}\" (and 9800 more bytes)", "x".repeat(200));
    let share = |key: &str, ip: &str| json!({ "metallb.io/allow-shared-ip": key, "metallb.io/loadBalancerIPs": ip });
    let used = "can't change sharing key for \"default/{}\", address also in use by default/holder";
    let used = |name: &str, why: &str| format!("{}: {why}", used.replace("{}", name));
    vec![
        wrong(
            "garbage",
            ips("no address"),
            "invalid metallb.io/loadBalancerIPs: \"no address\"",
            "InvalidRequest",
        ),
        wrong(
            "comma",
            ips("192.0.2.3,"),
            "invalid metallb.io/loadBalancerIPs: \"192.0.2.3,\"",
            "InvalidRequest",
        ),
        wrong(
            "zone",
            ips("fe80::1%eth0"),
            "invalid metallb.io/loadBalancerIPs: \"fe80::1%eth0\"",
            "InvalidRequest",
        ),
        wrong(
            "zeros",
            ips("192.0.2.03"),
            "invalid metallb.io/loadBalancerIPs: \"192.0.2.03\"",
            "InvalidRequest",
        ),
        wrong(
            "strange",
            ips("\u{202e}\u{0}é"),
            "invalid metallb.io/loadBalancerIPs: \"\\u{202e}\\0é\"",
            "InvalidRequest",
        ),
        wrong(
            "long",
            ips(&long),
            &format!("invalid metallb.io/loadBalancerIPs: {cut}"),
            "InvalidRequest",
        ),
        wrong(
            "two",
            ips("192.0.2.2,192.0.2.3"),
            "IPFamilyForAddresses: same address family [\"192.0.2.2\" \"192.0.2.3\"]",
            "InvalidRequest",
        ),
        wrong(
            "three",
            ips("192.0.2.2,192.0.2.3,fc00::1"),
            "IPFamilyForAddresses: invalid ips length 3 [\"192.0.2.2\" \"192.0.2.3\" \"fc00::1\"]",
            "InvalidRequest",
        ),
        wrong(
            "family",
            ips("fc00::1"),
            "requested loadBalancer IP(s) [\"fc00::1\"] does not match the ipFamily of the service",
            "FamilyMismatch",
        ),
        wrong(
            "outside",
            ips("203.0.113.9"),
            "[\"203.0.113.9\"] is not allowed in config: no pool gives 203.0.113.9",
            "AddressNotInPool",
        ),
        wrong("unknown", pool("nowhere"), "unknown pool \"nowhere\"", "UnknownPool"),
        wrong(
            "pools",
            pool("p,q"),
            "unknown pool \"p,q\": one pool can be named, not a list",
            "UnknownPool",
        ),
        wrong("longpool", pool(&long), &format!("unknown pool {cut}"), "UnknownPool"),
        wrong(
            "disagree",
            json!({ "metallb.io/loadBalancerIPs": "192.0.2.3", "metallb.io/address-pool": "q" }),
            "requested loadBalancer IP(s) [\"192.0.2.3\"] is not compatible with requested address pool q",
            "AddressNotInWantedPool",
        ),
        Wrong {
            spec: json!({ "loadBalancerIP": "192.0.2.3" }),
            ..wrong(
                "both",
                ips("192.0.2.3"),
                "service can not have both metallb.io/loadBalancerIPs and svc.Spec.LoadBalancerIP",
                "InvalidRequest",
            )
        },
        Wrong {
            spec: json!({ "loadBalancerIP": "here" }),
            ..wrong(
                "field",
                json!({}),
                "invalid spec.loadBalancerIP \"here\"",
                "InvalidRequest",
            )
        },
        wrong(
            "taken",
            ips("192.0.2.0"),
            &used("taken", "the service does not share 192.0.2.0"),
            "AddressInUse",
        ),
        wrong(
            "otherkey",
            share("other", "192.0.2.0"),
            &used("otherkey", "192.0.2.0 is shared under another key"),
            "AddressInUse",
        ),
        Wrong {
            spec: json!({ "externalTrafficPolicy": "Local" }),
            ..wrong(
                "local",
                share("key", "192.0.2.0"),
                &used("local", "the Pods behind 192.0.2.0 differ"),
                "AddressInUse",
            )
        },
        wrong(
            "port",
            share("key", "192.0.2.0"),
            "port TCP/80 is already in use on \"192.0.2.0\"",
            "PortInUse",
        ),
        wrong(
            "full",
            pool("q"),
            "no available IPs in pool q: all IPv4 addresses are in use",
            "NoAvailableAddresses",
        ),
        wrong(
            "six",
            pool("six"),
            "no available IPs in pool six: it has no IPv4 addresses",
            "NoAvailableAddresses",
        ),
    ]
}

impl Cluster {
    async fn with(&self, name: &str, annotations: &Value, spec: &Value) {
        let mut service = json!({
            "metadata": { "name": name, "annotations": annotations },
            "spec": { "type": "LoadBalancer", "ports": [{ "port": 80 }], "selector": { "app": name } },
        });
        for (key, value) in spec.as_object().unwrap() {
            service["spec"][key] = value.clone();
        }
        create(&self.services(), service).await;
    }

    /// The notes of all events with this reason about a Service.
    async fn notes(&self, name: &str, reason: &str) -> Vec<String> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), "default");
        let events = events.list(&ListParams::default()).await.unwrap().items;
        let about = |event: &Event| {
            let regarding = event.regarding.as_ref().and_then(|object| object.name.as_deref());
            regarding == Some(name) && event.reason.as_deref() == Some(reason)
        };
        events
            .into_iter()
            .filter(about)
            .filter_map(|event| event.note)
            .collect()
    }

    async fn told(&self, name: &str, reason: &str, text: &str) {
        let found = async || self.notes(name, reason).await.iter().any(|note| note.contains(text));
        let poll = async {
            while !found().await {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(std::time::Duration::from_secs(30), poll)
            .await
            .is_err()
        {
            panic!(
                "{name}: no {reason} with {text:?} in {:?}",
                self.notes(name, reason).await
            );
        }
    }

    pub(super) async fn condition_message(&self, name: &str) -> String {
        let status = self.services().get(name).await.unwrap().status.unwrap_or_default();
        let own = status.conditions.unwrap_or_default();
        let own = own
            .into_iter()
            .find(|condition| condition.type_ == "metallb.io/Allocated");
        own.map(|condition| condition.message).unwrap_or_default()
    }

    /// A cluster whose pool `q` is full and whose address 192.0.2.0 is shared under `key`.
    async fn crowded() -> Self {
        let cluster = Self::start().await;
        cluster.pool("p", "192.0.2.0/28").await;
        cluster.pool("q", "198.51.100.7/32").await;
        cluster.pool("six", "fc00:f::/120").await;
        cluster
    }

    async fn holders(&self) {
        let shared = json!({ "metallb.io/allow-shared-ip": "key", "metallb.io/loadBalancerIPs": "192.0.2.0" });
        self.with("holder", &shared, &json!({})).await;
        self.gets("holder", "192.0.2.0").await;
        self.with("last", &json!({ "metallb.io/address-pool": "q" }), &json!({}))
            .await;
        self.gets("last", "198.51.100.7").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_request_of_a_new_service_is_told_exactly_and_served_once_it_is_right() {
    // CTL-52 CTL-53 CTL-55 CTL-58 CTL-59 CTL-66 CTL-67 CTL-73 CTL-75 CTL-77 CTL-78 CTL-125
    let cluster = Cluster::crowded().await;
    let controller = cluster.controller("controller-1");
    cluster.holders().await;
    for case in all() {
        cluster.with(case.name, &case.annotations, &case.spec).await;
        cluster.told(case.name, "AllocationFailed", &case.text).await;
        wait_for(|| async { cluster.reason(case.name).await == case.reason }).await;
        let message = cluster.condition_message(case.name).await;
        assert!(message.contains(&case.text), "{}: {message}", case.name);
        assert_eq!(cluster.ip(case.name).await, "", "{}", case.name);
    }
    // Put right, it is served.
    let right = Patch::Merge(json!({ "metadata": { "annotations": { "metallb.io/loadBalancerIPs": null } } }));
    cluster
        .services()
        .patch("garbage", &PatchParams::default(), &right)
        .await
        .unwrap();
    wait_for(|| async { cluster.reason("garbage").await == "Allocated" }).await;
    assert_eq!(cluster.ip("holder").await, "192.0.2.0");
    controller.stop().await;
    cluster.api.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_request_takes_no_address_away() {
    // CTL-54
    let cluster = Cluster::crowded().await;
    let controller = cluster.controller("controller-1");
    cluster.holders().await;
    for case in all().into_iter().filter(|case| case.spec == json!({})) {
        let name = case.name;
        cluster.with(name, &json!({}), &json!({})).await;
        wait_for(|| async { !cluster.ip(name).await.is_empty() }).await;
        let before = cluster.ip(name).await;
        let edit = Patch::Merge(json!({ "metadata": { "annotations": case.annotations } }));
        cluster
            .services()
            .patch(name, &PatchParams::default(), &edit)
            .await
            .unwrap();
        wait_for(|| async { cluster.reason(name).await == "RequestRefused" }).await;
        let malformed = case.reason == "InvalidRequest";
        let reason = if malformed {
            "LoadBalancerFailed"
        } else {
            "AllocationFailed"
        };
        cluster.told(name, reason, &case.text).await;
        assert_eq!(cluster.ip(name).await, before, "{name}");
        // Room for the next.
        cluster
            .services()
            .delete(name, &kube::api::DeleteParams::default())
            .await
            .unwrap();
    }
    controller.stop().await;
    cluster.api.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_no_text_reach_nobody() {
    let cluster = Cluster::with_pool("192.0.2.0/28").await;
    let controller = cluster.controller("controller-1");
    let mut body = serde_json::to_vec(&json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": "bytes", "annotations": { "metallb.io/address-pool": "XX" } },
        "spec": { "type": "LoadBalancer", "ports": [{ "port": 80 }] },
    }))
    .unwrap();
    let at = body.windows(2).position(|two| two == b"XX").unwrap();
    body[at..at + 2].copy_from_slice(&[0xff, 0xfe]);
    let request = http::Request::post("/api/v1/namespaces/default/services")
        .header("content-type", "application/json")
        .body(Body::from(body))
        .unwrap();
    let answer = cluster.client.send(request).await.unwrap();
    let stored = cluster.services().get_opt("bytes").await.unwrap();
    // Go's API server puts U+FFFD in their place, ours refuses; either way what is stored is text.
    assert!(answer.status().is_client_error() || stored.is_some());
    if let Some(stored) = stored {
        assert!(stored.annotations()["metallb.io/address-pool"].contains('\u{fffd}'));
    }
    let replaced = json!({ "metallb.io/address-pool": "\u{fffd}\u{fffd}" });
    cluster.with("replaced", &replaced, &json!({})).await;
    cluster
        .told("replaced", "AllocationFailed", "unknown pool \"\u{fffd}\u{fffd}\"")
        .await;
    cluster.service("good").await;
    cluster.gets("good", "192.0.2.0").await;
    controller.stop().await;
    cluster.api.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_names_every_pool_and_why_not() {
    // CTL-125
    let cluster = Cluster::start().await;
    let pools = cluster.ours::<metallb_api::IPAddressPool>();
    let spec = [
        ("full", json!({ "addresses": ["198.51.100.7/32"] })),
        ("six", json!({ "addresses": ["fc00:f::/120"] })),
        (
            "asked",
            json!({ "addresses": ["198.51.101.0/28"], "autoAssign": false }),
        ),
        (
            "theirs",
            json!({ "addresses": ["198.51.102.0/28"], "serviceAllocation": { "namespaces": ["elsewhere"] } }),
        ),
    ];
    for (name, spec) in spec {
        create(&pools, json!({ "metadata": { "name": name }, "spec": spec })).await;
    }
    let controller = cluster.controller("controller-1");
    cluster.service("first").await;
    cluster.gets("first", "198.51.100.7").await;
    cluster.service("second").await;
    let text = "no available IPs: pool full: all IPv4 addresses are in use; pool six: it has no IPv4 addresses; \
                pool asked: autoAssign is off; pool theirs: its serviceAllocation does not match the service";
    cluster.told("second", "AllocationFailed", text).await;
    wait_for(|| async { cluster.condition_message("second").await == text }).await;
    let service: Service = cluster.services().get("second").await.unwrap();
    assert!(service.annotations().is_empty(), "{:?}", service.annotations());
    controller.stop().await;
    cluster.api.shutdown().await;
}
