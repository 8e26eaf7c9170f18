use serde_json::{Value, json};

use super::*;

fn decode<K: serde::de::DeserializeOwned>(value: &Value) -> K {
    serde_json::from_value(value.clone()).unwrap()
}

fn pod(node: &str, ip: Option<&str>, phase: &str) -> Pod {
    decode(&json!({"spec": {"nodeName": node, "containers": []}, "status": {"phase": phase, "podIP": ip}}))
}

#[test]
fn pruning_keeps_what_decides_about_a_service() {
    let mut service: Service = decode(&json!({
        "metadata": {"name": "x", "labels": {"a": "b"}, "annotations": {"metallb.io/allow-shared-ip": "k", "long": "text"}},
        "spec": {"type": "LoadBalancer", "loadBalancerClass": "c", "externalTrafficPolicy": "Local", "clusterIP": "10.0.0.1"},
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}},
    }));
    let before = ServiceView::from(&service);
    prune_service(&mut service);
    assert_eq!(ServiceView::from(&service), before);
    assert_eq!(service.annotations().len(), 1);
    assert_eq!(service.spec.unwrap().cluster_ip, None);
}

#[test]
fn pruning_keeps_what_decides_about_a_slice() {
    let mut slice: EndpointSlice = decode(&json!({
        "metadata": {"name": "x", "labels": {"kubernetes.io/service-name": "s", "other": "l"}},
        "addressType": "IPv4",
        "endpoints": [
            {"addresses": ["10.0.0.1", "10.0.0.2"], "nodeName": "a", "conditions": {"ready": true}},
            {"addresses": [], "nodeName": "b"},
        ],
    }));
    let before = Endpoints::from_slices([&slice]);
    prune_slice(&mut slice);
    assert_eq!(Endpoints::from_slices([&slice]), before);
    assert_eq!(slice.labels().len(), 1);
}

#[test]
fn pruning_keeps_what_decides_about_a_node() {
    let mut node: Node = decode(&json!({
        "metadata": {"name": "n", "labels": {"node.kubernetes.io/exclude-from-external-load-balancers": ""}},
        "status": {"conditions": [
            {"type": "NetworkUnavailable", "status": "True"}, {"type": "Ready", "status": "True"},
        ]},
    }));
    let before = NodeView::from(&node);
    prune_node(&mut node);
    assert_eq!(NodeView::from(&node), before);
    assert_eq!(node.status.unwrap().conditions.unwrap().len(), 1);
}

#[test]
fn a_heartbeat_of_a_node_is_no_change_of_configuration() {
    let mut convert = node_events();
    let mut seen = |labels: Value, status: &str| {
        let node = json!({
            "metadata": {"name": "n", "labels": labels},
            "status": {"conditions": [{"type": "NetworkUnavailable", "status": status}]},
        });
        let inputs = convert(&Object::There(Arc::new(decode(&node))));
        inputs.iter().any(|input| matches!(input, Input::Configuration))
    };
    assert!(seen(json!({"a": "1"}), "False"));
    assert!(!seen(json!({"a": "1"}), "True"));
    assert!(seen(json!({"a": "2"}), "True"));
}

#[test]
fn a_slice_without_label_belongs_to_no_service() {
    let slice = json!({"metadata": {"name": "x", "namespace": "ns"}, "addressType": "IPv4", "endpoints": []});
    let inputs = slice_event(&Object::There(Arc::new(decode(&slice))));
    assert!(matches!(&inputs[..], [Input::Event(Event::Slice(_, None))]));
}

#[test]
fn speakers_are_found_by_the_address_of_their_pod() {
    assert_eq!(
        address(&pod("a", Some("192.0.2.1"), "Running"), 7946),
        Some("192.0.2.1:7946".parse().unwrap())
    );
    assert_eq!(
        address(&pod("a", Some("2001:db8::1"), "Pending"), 7946),
        Some("[2001:db8::1]:7946".parse().unwrap())
    );
    assert_eq!(address(&pod("a", None, "Pending"), 7946), None);
    assert_eq!(address(&pod("a", Some("192.0.2.1"), "Failed"), 7946), None);
}

/// A client of an API server that has a Secret of the wrong type and one of the right type, and heeds field selectors.
fn two_secrets() -> Client {
    use kube::client::Body;
    let secret = |name: &str, type_: &str| {
        json!({
            "metadata": {"name": name, "namespace": "ns", "resourceVersion": "1", "uid": name, "annotations": {"a": "b"}},
            "type": type_, "data": {"password": "aHVudGVyMg=="},
        })
    };
    let all = [secret("opaque", "Opaque"), secret("tor", "kubernetes.io/basic-auth")];
    let answer = move |request: http::Request<Body>| {
        let query = request.uri().query().unwrap_or_default().to_owned();
        let items: Vec<_> = all
            .iter()
            .filter(|secret| !query.contains("fieldSelector") || secret["type"] != "Opaque")
            .cloned()
            .collect();
        let list =
            json!({"apiVersion": "v1", "kind": "SecretList", "metadata": {"resourceVersion": "1"}, "items": items});
        async move {
            if query.contains("watch=true") {
                std::future::pending::<()>().await;
            }
            Ok::<_, std::io::Error>(http::Response::new(Body::from(list.to_string().into_bytes())))
        }
    };
    Client::new(tower::service_fn(answer), "ns")
}

#[tokio::test] // B-10: or else the wrong type would look like no Secret at all
async fn a_secret_of_another_type_is_seen_without_what_it_holds() {
    let (client, stop) = (two_secrets(), CancellationToken::new());
    let own = Own {
        client: &client,
        namespace: "ns",
        stop: &stop,
    };
    let mut news = SelectAll::new();
    let secrets = own.passwords(&mut news);
    secrets.wait_until_ready().await.unwrap();
    let mut seen: Vec<_> = secrets
        .state()
        .iter()
        .map(|secret| {
            (
                secret.type_.clone().unwrap(),
                secret.data.is_some(),
                secret.annotations().len(),
            )
        })
        .collect();
    seen.sort();
    let expected = [
        ("Opaque".to_owned(), false, 0),
        ("kubernetes.io/basic-auth".to_owned(), true, 0),
    ];
    assert_eq!(seen, expected);
}
