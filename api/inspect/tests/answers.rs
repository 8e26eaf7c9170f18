//! The answers as they have always been: a field that is renamed, re-typed or gone fails here.

use metallb_inspect::bfd::{Intervals, Path};
use metallb_inspect::bgp::{Counters, Lacking, LastError, Negotiated, Route, Session};
use metallb_inspect::config::Config;
use metallb_inspect::layer2::{Address, Conflict, Drops, Layer2};
use metallb_inspect::members::{Member, Members};
use metallb_inspect::services::{Announced, Service};
use metallb_inspect::{Answer, Head, Index, SCHEMA};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Writes as the text says, and reads it again, with a field that a later release may add.
fn is<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T, mut text: Value) {
    assert_eq!(serde_json::to_value(value).expect("it can be written"), text);
    text["addedLater"] = json!(1);
    assert_eq!(&serde_json::from_value::<T>(text).expect("it can be read"), value);
}

fn path() -> Path {
    Path {
        peer: "fe80::1%eth0".into(),
        device: Some("red".into()),
        multihop: false,
        state: "up".into(),
        since: "2026-01-01T00:00:00Z".into(),
        diag: "no diagnostic".into(),
        remote_state: "up".into(),
        remote_diag: "no diagnostic".into(),
        local_disc: 1,
        remote_disc: 2,
        intervals: Intervals {
            transmit_ms: 300,
            echo_ms: Some(50),
        },
        detect_ms: Some(900),
        failures: 3,
        error: Some("no route".into()),
        guards: vec!["tor".into()],
    }
}

fn path_text() -> Value {
    json!({
        "peer": "fe80::1%eth0", "device": "red", "multihop": false, "state": "up", "since": "2026-01-01T00:00:00Z",
        "diag": "no diagnostic", "remoteState": "up", "remoteDiag": "no diagnostic", "localDisc": 1, "remoteDisc": 2,
        "intervals": { "transmitMs": 300, "echoMs": 50 }, "detectMs": 900, "failures": 3, "error": "no route",
        "guards": ["tor"],
    })
}

// CLI-56
#[test]
fn bfd_sessions() {
    is(&path(), path_text());
}

// CLI-56
#[test]
fn bgp_sessions() {
    let session = Session {
        peer: "tor".into(),
        node: "node-a".into(),
        remote: "192.0.2.1:179".into(),
        local: Some("192.0.2.2".into()),
        device: Some("red".into()),
        state: "Established".into(),
        since: "2026-01-01T00:00:00Z".into(),
        reason: Some("connection closed".into()),
        drained: false,
        last_error: Some(LastError {
            direction: Some("received".into()),
            code: Some(6),
            subcode: Some(2),
            text: "night".into(),
            since: "2025-12-31T00:00:00Z".into(),
            at: "2025-12-31T00:00:09Z".into(),
            count: 2,
        }),
        negotiated: Some(Negotiated {
            families: vec!["ipv4".into()],
            lacking: vec![Lacking {
                family: "ipv6".into(),
                why: "not offered".into(),
            }],
            hold_seconds: Some(90),
            keepalive_seconds: Some(30),
            capabilities: vec!["fourOctetAs".into()],
            local_router_id: "192.0.2.2".into(),
            router_id: "192.0.2.1".into(),
            local_as: 64500,
            asn: 64501,
        }),
        counters: Counters {
            opens_sent: 1,
            opens_received: 2,
            updates_sent: 3,
            updates_received: 4,
            notifications_sent: 5,
            notifications_received: 6,
            keepalives_sent: 7,
            keepalives_received: 8,
            refreshes_received: 9,
        },
        bfd: Some(path()),
        desired: 12,
        advertised: 11,
        unsendable: 1,
    };
    let text = json!({
        "peer": "tor", "node": "node-a", "remote": "192.0.2.1:179", "local": "192.0.2.2", "device": "red",
        "state": "Established", "since": "2026-01-01T00:00:00Z",
        "reason": "connection closed", "drained": false,
        "lastError": {
            "direction": "received", "code": 6, "subcode": 2, "text": "night", "since": "2025-12-31T00:00:00Z",
            "at": "2025-12-31T00:00:09Z", "count": 2,
        },
        "negotiated": {
            "families": ["ipv4"], "lacking": [{ "family": "ipv6", "why": "not offered" }], "holdSeconds": 90,
            "keepaliveSeconds": 30, "capabilities": ["fourOctetAs"], "localRouterId": "192.0.2.2",
            "routerId": "192.0.2.1", "localAs": 64500, "as": 64501,
        },
        "counters": {
            "opensSent": 1, "opensReceived": 2, "updatesSent": 3, "updatesReceived": 4, "notificationsSent": 5,
            "notificationsReceived": 6, "keepalivesSent": 7, "keepalivesReceived": 8, "refreshesReceived": 9,
        },
        "bfd": path_text(), "desired": 12, "advertised": 11, "unsendable": 1,
    });
    is(&session, text);
}

// CLI-56
#[test]
fn bgp_routes() {
    let route = Route {
        peer: "tor".into(),
        prefix: "2001:db8::1/128".into(),
        next_hop: Some("2001:db8::2".into()),
        next_hop_link_local: Some("fe80::2".into()),
        as_path: vec![64500],
        origin: "igp".into(),
        local_pref: Some(100),
        communities: vec!["64500:1".into()],
        large_communities: vec!["64500:1:2".into()],
        state: "unsendable".into(),
        why: Some("its attributes fit no message".into()),
    };
    let text = json!({
        "peer": "tor", "prefix": "2001:db8::1/128", "nextHop": "2001:db8::2", "nextHopLinkLocal": "fe80::2",
        "asPath": [64500], "origin": "igp", "localPref": 100, "communities": ["64500:1"],
        "largeCommunities": ["64500:1:2"], "state": "unsendable", "why": "its attributes fit no message",
    });
    is(&route, text);
}

// CLI-56
#[test]
fn layer_2() {
    let layer2 = Layer2 {
        addresses: vec![Address {
            address: "192.0.2.1".into(),
            services: vec!["shop/web".into()],
            interfaces: vec!["eth0".into()],
            since: "2026-01-01T00:00:00Z".into(),
            yielded: true,
            requests: 1,
            answers: 2,
            gratuitous: 3,
            conflicts: vec![Conflict {
                mac: "00:00:5e:00:53:01".into(),
                interface: "eth0".into(),
                first: "2026-01-01T00:00:00Z".into(),
                last: "2026-01-01T00:00:01Z".into(),
                count: 2,
            }],
        }],
        drops: vec![Drops {
            reason: "truncated".into(),
            interface: "eth0".into(),
            count: 4,
        }],
    };
    let text = json!({
        "addresses": [{
            "address": "192.0.2.1", "services": ["shop/web"], "interfaces": ["eth0"], "since": "2026-01-01T00:00:00Z",
            "yielded": true, "requests": 1, "answers": 2, "gratuitous": 3,
            "conflicts": [{
                "mac": "00:00:5e:00:53:01", "interface": "eth0", "first": "2026-01-01T00:00:00Z",
                "last": "2026-01-01T00:00:01Z", "count": 2,
            }],
        }],
        "drops": [{ "reason": "truncated", "interface": "eth0", "count": 4 }],
    });
    is(&layer2, text);
}

// CLI-56
#[test]
fn members_services_and_configuration() {
    let members = Members {
        enabled: true,
        members: vec![Member {
            name: "node-a".into(),
            ours: true,
            suspected: false,
            interfaces: [("eth0".into(), "00:00:5e:00:53:01".into())].into(),
        }],
        refused: [("decryption".into(), 1)].into(),
    };
    let member = json!({
        "name": "node-a", "ours": true, "suspected": false, "interfaces": { "eth0": "00:00:5e:00:53:01" },
    });
    is(
        &members,
        json!({ "enabled": true, "members": [member], "refused": { "decryption": 1 } }),
    );
    let service = Service {
        service: "shop/web".into(),
        layer2: Announced {
            what: vec![],
            reason: Some("notOwner".into()),
        },
        bgp: Announced {
            what: vec!["192.0.2.1/32".into()],
            reason: None,
        },
    };
    let text = json!({
        "service": "shop/web", "layer2": { "what": [], "reason": "notOwner" }, "bgp": { "what": ["192.0.2.1/32"] },
    });
    is(&service, text);
    let config = Config {
        flags: [("lb-class".into(), "a".into())].into(),
        loaded: true,
        errors: vec!["b".into()],
        doubts: vec!["c".into()],
    };
    is(
        &config,
        json!({ "flags": { "lb-class": "a" }, "loaded": true, "errors": ["b"], "doubts": ["c"] }),
    );
}

// CLI-56
#[test]
fn the_envelope() {
    let index = Index {
        paths: [("/inspect/v1/bfd".to_owned(), "BFD".to_owned())].into(),
        backend: "native".into(),
    };
    let answer = Answer {
        head: Head {
            schema: SCHEMA.into(),
            component: "speaker".into(),
            version: "0.1.0".into(),
            node: "node-a".into(),
            pod: "speaker-x".into(),
            time: "2026-01-01T00:00:00Z".into(),
        },
        data: index,
        more: None,
    };
    let text = json!({
        "schema": "metallb.io/inspect/v1", "component": "speaker", "version": "0.1.0", "node": "node-a",
        "pod": "speaker-x", "time": "2026-01-01T00:00:00Z", "continue": null,
        "data": { "paths": { "/inspect/v1/bfd": "BFD" }, "backend": "native" },
    });
    is(&answer, text);
}
