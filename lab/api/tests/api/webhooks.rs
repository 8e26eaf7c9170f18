//! Validating and conversion webhooks over TLS, found through Service and EndpointSlice.

use std::net::SocketAddr;

use axum::Json;
use axum::routing::post;
use base64::Engine as _;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams, PostParams};
use serde_json::{Value, json};

use crate::{from, refusal, server, widget_definition};

/// Serves `/validate` (refuses names that start with "bad") and `/convert` (v1 counts ports one higher than v1beta1).
async fn webhook_server() -> (SocketAddr, String) {
    let key = rcgen::generate_simple_self_signed(vec!["hook.default.svc".to_owned()]).unwrap();
    let bundle = base64::engine::general_purpose::STANDARD.encode(key.cert.pem());
    let private = rustls::pki_types::PrivatePkcs8KeyDer::from(key.signing_key.serialize_der());
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![key.cert.der().clone()], private.into())
        .unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let router = axum::Router::new()
        .route("/validate", post(validate))
        .route("/convert", post(convert));
    let config = axum_server::tls_rustls::RustlsConfig::from_config(std::sync::Arc::new(config));
    tokio::spawn(
        axum_server::from_tcp_rustls(listener, config)
            .unwrap()
            .serve(router.into_make_service()),
    );
    (address, bundle)
}

async fn validate(Json(review): Json<Value>) -> Json<Value> {
    let request = &review["request"];
    let bad = request["name"].as_str().unwrap().starts_with("bad");
    let status = json!({"code": 403, "message": format!("{} {} is bad", request["operation"].as_str().unwrap(), request["kind"]["version"].as_str().unwrap())});
    Json(json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "response": {"uid": request["uid"], "allowed": !bad, "status": status, "warnings": ["think twice"]}}))
}

async fn convert(Json(review): Json<Value>) -> Json<Value> {
    let request = &review["request"];
    let wanted = request["desiredAPIVersion"].as_str().unwrap();
    let step = if wanted.ends_with("/v1") { 1 } else { -1 };
    let convert = |object: &Value| {
        let mut object = object.clone();
        object["apiVersion"] = wanted.into();
        object["spec"]["port"] = (object["spec"]["port"].as_i64().unwrap() + step).into();
        object
    };
    let objects: Vec<Value> = request["objects"].as_array().unwrap().iter().map(convert).collect();
    Json(json!({"apiVersion": review["apiVersion"], "kind": "ConversionReview",
        "response": {"uid": request["uid"], "convertedObjects": objects, "result": {"status": "Success"}}}))
}

async fn publish(client: &kube::Client, address: SocketAddr) {
    let service = json!({"metadata": {"name": "hook"}, "spec": {"ports": [{"port": 443, "targetPort": 9443}]}});
    Api::<Service>::default_namespaced(client.clone())
        .create(&PostParams::default(), &from(service))
        .await
        .unwrap();
    let slice = json!({"metadata": {"name": "hook-1", "labels": {"kubernetes.io/service-name": "hook"}}, "addressType": "IPv4",
        "ports": [{"port": address.port()}], "endpoints": [{"addresses": [address.ip()], "conditions": {"ready": true}}]});
    Api::<EndpointSlice>::default_namespaced(client.clone())
        .create(&PostParams::default(), &from(slice))
        .await
        .unwrap();
}

fn configuration(bundle: &str, rule: &Value, policy: &str) -> ValidatingWebhookConfiguration {
    from(json!({"metadata": {"name": "hook"}, "webhooks": [{
        "name": "hook.lab.test", "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": policy, "rules": [rule],
        "clientConfig": {"caBundle": bundle, "service": {"namespace": "default", "name": "hook", "path": "/validate"}}}]}))
}

fn config_map(name: &str) -> ConfigMap {
    from(json!({"metadata": {"name": name}}))
}

#[tokio::test]
async fn a_webhook_refuses_with_its_name_and_reason() {
    let (server, _dir) = server().await;
    let client = server.client();
    let (address, bundle) = webhook_server().await;
    let rule = json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]});
    let configurations = Api::<ValidatingWebhookConfiguration>::all(client.clone());
    configurations
        .create(&PostParams::default(), &configuration(&bundle, &rule, "Fail"))
        .await
        .unwrap();
    let maps = Api::<ConfigMap>::default_namespaced(client.clone());
    let (code, message) = refusal(maps.create(&PostParams::default(), &config_map("a")).await);
    assert_eq!(code, 500);
    assert!(
        message
            .contains("failed calling webhook \"hook.lab.test\": failed to call webhook: service \"hook\" not found"),
        "{message}"
    );
    publish(&client, address).await;
    maps.create(&PostParams::default(), &config_map("good")).await.unwrap();
    let (code, message) = refusal(maps.create(&PostParams::default(), &config_map("bad")).await);
    assert_eq!(
        (code, message.as_str()),
        (
            403,
            "admission webhook \"hook.lab.test\" denied the request: CREATE v1 is bad"
        )
    );
}

#[tokio::test]
async fn a_webhook_that_cannot_be_trusted_fails_or_is_ignored_by_policy() {
    let (server, _dir) = server().await;
    let client = server.client();
    let (address, _) = webhook_server().await;
    let (_, other_bundle) = webhook_server().await;
    publish(&client, address).await;
    let configurations = Api::<ValidatingWebhookConfiguration>::all(client.clone());
    let rule = json!({"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["configmaps"]});
    let maps = Api::<ConfigMap>::default_namespaced(client.clone());
    configurations
        .create(&PostParams::default(), &configuration(&other_bundle, &rule, "Fail"))
        .await
        .unwrap();
    let (code, message) = refusal(maps.create(&PostParams::default(), &config_map("a")).await);
    assert!(code == 500 && message.contains("tls:"), "{message}");
    configurations.delete("hook", &Default::default()).await.unwrap();
    configurations
        .create(&PostParams::default(), &configuration(&other_bundle, &rule, "Ignore"))
        .await
        .unwrap();
    maps.create(&PostParams::default(), &config_map("a")).await.unwrap();
}

#[tokio::test]
async fn versions_are_converted_by_their_webhook_for_readers_writers_and_other_webhooks() {
    let (server, _dir) = server().await;
    let client = server.client();
    let (address, bundle) = webhook_server().await;
    publish(&client, address).await;
    let mut crd = widget_definition();
    crd["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1beta2", "v1beta1"],
        "clientConfig": {"caBundle": bundle, "service": {"namespace": "default", "name": "hook", "path": "/convert"}}}});
    let crd: CustomResourceDefinition = from(crd);
    Api::<CustomResourceDefinition>::all(client.clone())
        .create(&PostParams::default(), &crd)
        .await
        .unwrap();
    let rule =
        json!({"apiGroups": ["lab.test"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["widgets"]});
    let configurations = Api::<ValidatingWebhookConfiguration>::all(client.clone());
    configurations
        .create(&PostParams::default(), &configuration(&bundle, &rule, "Fail"))
        .await
        .unwrap();
    let api = |version: &str| -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("lab.test", version, "Widget"));
        Api::namespaced_with(client.clone(), "default", &resource)
    };
    let old = |name: &str| {
        from(
            json!({"apiVersion": "lab.test/v1beta1", "kind": "Widget", "metadata": {"name": name}, "spec": {"addresses": ["x"], "port": 5}}),
        )
    };
    let made = api("v1beta1").create(&PostParams::default(), &old("a")).await.unwrap();
    assert_eq!(made.data["spec"]["port"], 5);
    assert_eq!(api("v1").get("a").await.unwrap().data["spec"]["port"], 6);
    assert_eq!(
        api("v1beta1").list(&ListParams::default()).await.unwrap().items[0].data["spec"]["port"],
        5
    );
    let (_, message) = refusal(api("v1beta1").create(&PostParams::default(), &old("bad")).await);
    assert!(message.ends_with("denied the request: CREATE v1 is bad"), "{message}");
}
