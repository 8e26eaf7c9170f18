use metallb_announce::{Endpoints, Names, NodeView, ServiceView};
use rstest::rstest;
use serde_json::{Value, json};

use super::*;

fn read<W: serde::de::DeserializeOwned>(value: Value) -> W {
    serde_json::from_value(value).unwrap()
}

#[test]
fn what_decides_about_a_service_is_read() {
    let facts = service(read(json!({
        "metadata": {
            "name": "x", "namespace": "ns", "uid": "u", "labels": {"a": "b"},
            "annotations": {"metallb.io/allow-shared-ip": "k", "long": "text"},
        },
        "spec": {"type": "LoadBalancer", "loadBalancerClass": "c", "externalTrafficPolicy": "Local", "clusterIP": "10.0.0.1"},
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1", "ipMode": "VIP"}]}},
    })));
    let view = ServiceView {
        load_balancer: true,
        class: Some("c".into()),
        labels: [("a", "b")].into_iter().collect(),
        ingress: vec![Some([192, 0, 2, 1].into())],
        local: true,
        shared: true,
    };
    let uid = Some("u".into());
    assert_eq!(facts, Some(ServiceFacts { view, uid }));
    let other = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"type": "ClusterIP"}});
    assert_eq!(service(read(other)), Some(ServiceFacts::default()));
    assert_eq!(
        service(read(json!({"spec": 1, "status": []}))),
        Some(ServiceFacts::default())
    );
}

#[test]
fn what_is_no_address_keeps_its_place() {
    let ingress = json!([{"hostname": "x.example"}, {"ip": 7}, {"ip": "::ffff:10.0.0.1"}]);
    let facts = service(read(json!({"status": {"loadBalancer": {"ingress": ingress}}}))).unwrap();
    assert_eq!(facts.view.ingress, [None, None, Some([10, 0, 0, 1].into())]);
}

fn endpoints(endpoint: &Value) -> Endpoints {
    let labels = json!({"kubernetes.io/service-name": "s", "other": "l"});
    let slice = slice(read(json!({"metadata": {"labels": labels}, "endpoints": [endpoint]}))).unwrap();
    assert_eq!(slice.service, "s");
    slice.endpoints
}

// BGP-3, BGP-4, BGP-5, L2-21
#[rstest]
#[case(json!(null), json!(null), 1, true)]
#[case(json!(true), json!(false), 1, true)]
#[case(json!(false), json!(true), 1, true)]
#[case(json!(false), json!(null), 1, false)]
#[case(json!(false), json!(false), 1, false)]
#[case(json!(true), json!(true), 0, false)]
fn an_endpoint_counts_if_it_can_serve(
    #[case] ready: Value,
    #[case] serving: Value,
    #[case] addresses: usize,
    #[case] expected: bool,
) {
    let addresses = vec!["10.1.0.1"; addresses];
    let conditions = json!({"ready": ready, "serving": serving});
    let got = endpoints(&json!({"addresses": addresses, "conditions": conditions, "nodeName": "node-a", "zone": "z"}));
    assert_eq!((got.any, got.nodes.contains("node-a")), (expected, expected));
}

// BGP-2
#[test]
fn an_endpoint_without_node_name_is_local_nowhere() {
    let got = endpoints(&json!({"addresses": ["10.1.0.1"]}));
    assert_eq!((got.any, got.nodes), (true, Names::default()));
}

// L2-96
#[rstest]
#[case(json!({"metadata": {"name": "x"}, "endpoints": []}), None)]
#[case(json!({"metadata": {"labels": {"kubernetes.io/service-name": ""}}}), None)]
#[case(json!({"metadata": {"labels": {"kubernetes.io/service-name": "s"}}, "endpoints": null, "ports": null}), Some((false, 0)))]
#[case(json!({"metadata": {"labels": {"kubernetes.io/service-name": "s"}}, "endpoints": [null, 7]}), Some((false, 0)))]
#[case(
    json!({
        "metadata": {"labels": {"kubernetes.io/service-name": "s"}}, "addressType": "FQDN",
        "endpoints": [{"addresses": ["a.example"], "conditions": null, "nodeName": null}],
    }),
    Some((true, 0))
)]
fn whatever_a_slice_lacks_is_no_fault(#[case] object: Value, #[case] expected: Option<(bool, usize)>) {
    let seen = slice(read(object)).map(|slice| (slice.endpoints.any, slice.endpoints.nodes.iter().count()));
    assert_eq!(seen, expected);
}

#[test]
fn a_cordon_and_a_taint_of_shutdown_take_a_node_out_of_service() {
    let out = |spec: Value| {
        let ready = json!({"conditions": [{"type": "Ready", "status": "True"}]});
        let seen = node(
            read(json!({"metadata": {"name": "n"}, "spec": spec, "status": ready})),
            "n",
        );
        seen.unwrap().standing.unwrap()
    };
    let other = json!({"unschedulable": false, "taints": [{"key": "a", "effect": "NoSchedule"}]});
    assert_eq!([out(json!({})), out(other)], [Standing::SERVING; 2]);
    assert!(out(json!({"unschedulable": true})).cordoned);
    let shutdown = json!({"key": "node.cloudprovider.kubernetes.io/shutdown", "effect": "NoSchedule"});
    assert!(out(json!({"taints": [shutdown]})).shutting_down);
}

// L2-26
#[test]
fn another_node_may_be_cordoned_and_tainted_without_a_change() {
    let seen = |spec: Value| {
        let ready = json!({"conditions": [{"type": "Ready", "status": "False"}]});
        node(
            read(json!({"metadata": {"name": "n"}, "spec": spec, "status": ready})),
            "own",
        )
        .unwrap()
    };
    let taint = json!({"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"});
    assert_eq!(seen(json!({"unschedulable": true, "taints": [taint]})), seen(json!({})));
}

#[test]
fn a_heartbeat_leaves_the_view_of_a_node_as_it_is() {
    let seen = |labels: Value, unavailable: &str, heartbeat: &str| {
        let conditions = json!([
            {"type": "NetworkUnavailable", "status": unavailable, "lastHeartbeatTime": heartbeat},
            {"type": "Ready", "status": "True", "lastHeartbeatTime": heartbeat},
        ]);
        let object = json!({"metadata": {"name": "n", "labels": labels}, "status": {"conditions": conditions}});
        node(read(object), "n").unwrap()
    };
    let first = seen(json!({"a": "1"}), "False", "10:00");
    assert_eq!(first, seen(json!({"a": "1"}), "False", "10:05"));
    assert_eq!(first.view, NodeView::default());
    assert!(seen(json!({"a": "1"}), "True", "10:05").view.network_unavailable);
    let excluded = seen(
        json!({"node.kubernetes.io/exclude-from-external-load-balancers": ""}),
        "False",
        "10:00",
    );
    assert!(excluded.view.excluded);
    assert_eq!(excluded.object("n").metadata.labels, Some(excluded.labels));
}

#[test]
fn speakers_are_found_by_the_address_of_their_pod() {
    let found = |ip: Option<&str>, phase: &str| {
        let pod = json!({"spec": {"nodeName": "a", "containers": []}, "status": {"phase": phase, "podIP": ip}});
        speaker(read(pod)).map(|speaker| speaker.ip.to_string())
    };
    assert_eq!(found(Some("192.0.2.1"), "Running").as_deref(), Some("192.0.2.1"));
    assert_eq!(found(Some("2001:db8::1"), "Pending").as_deref(), Some("2001:db8::1"));
    assert_eq!(found(None, "Pending"), None);
    assert_eq!(found(Some("192.0.2.1"), "Failed"), None);
}

// L2-33
#[test]
fn a_candidate_has_a_pod_of_our_controller_that_does_not_end() {
    let seen = |ready: &str, phase: &str, owner: &str, deleted: Option<&str>| {
        let pod = json!({
            "metadata": {"deletionTimestamp": deleted, "ownerReferences": [{"uid": owner, "controller": true}]},
            "spec": {"nodeName": "a"},
            "status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]},
        });
        candidate(read(pod), "ours").map(|candidate| (candidate.node, candidate.ready))
    };
    assert_eq!(seen("True", "Running", "ours", None), Some(("a".into(), true)));
    assert_eq!(seen("Unknown", "Running", "ours", None), Some(("a".into(), false)));
    assert_eq!(seen("True", "Running", "theirs", None), None);
    assert_eq!(seen("False", "Failed", "ours", None), None);
    assert_eq!(seen("True", "Running", "ours", Some("2026-01-01T00:00:00Z")), None);
}

#[test] // B-10: or else the wrong type would look like no Secret at all
fn a_secret_of_another_type_is_seen_without_what_it_holds() {
    let seen = |type_: &str| {
        let data = json!({"password": "aHVudGVyMg==", "other": "eA=="});
        let secret: SecretWire = read(json!({"metadata": {"name": "s"}, "type": type_, "data": data}));
        let dump = format!("{secret:?}");
        let password = password(secret).unwrap();
        for dump in [dump, format!("{password:?}")] {
            // Neither as it is sent, nor as it is, nor byte by byte.
            assert!(
                !["aHVudGVyMg", "hunter2", "104, 117"]
                    .iter()
                    .any(|secret| dump.contains(secret)),
                "{dump}"
            );
        }
        password.object(&Key {
            namespace: "ns".into(),
            name: "s".into(),
        })
    };
    let opaque = seen("Opaque");
    assert_eq!((opaque.type_.as_deref(), opaque.data), (Some("Opaque"), None));
    let right = seen(names::BASIC_AUTH).data.unwrap();
    assert_eq!(
        right.into_iter().collect::<Vec<_>>(),
        [("password".to_owned(), ByteString(b"hunter2".to_vec()))]
    );
}
