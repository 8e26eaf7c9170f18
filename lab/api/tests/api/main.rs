//! The server as its clients see it: `kube::Client` in-process, and the real `kubectl` over a loopback listener.
#![allow(clippy::unwrap_used)]

mod custom;
mod kubectl;
mod objects;
mod watches;
mod webhooks;

use metallb_lab_api::{ApiServer, Options};
use serde_json::{Value, json};

/// A server with a loopback listener, and the folder with its kubeconfig.
async fn server() -> (ApiServer, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let options = Options {
        listeners: vec![listener],
        dir: dir.path().to_owned(),
        ..Options::default()
    };
    (metallb_lab_api::start(options).await.unwrap(), dir)
}

fn from<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// The code and message of a refused request.
fn refusal<T: std::fmt::Debug>(result: Result<T, kube::Error>) -> (u16, String) {
    match result.unwrap_err() {
        kube::Error::Api(status) => (status.code, status.message),
        other => panic!("no refusal by the server: {other}"),
    }
}

fn load_balancer(name: &str) -> k8s_openapi::api::core::v1::Service {
    from(json!({
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80, "targetPort": 8080}], "selector": {"app": "web"}},
    }))
}

/// A definition with everything that the tests need: two versions, status, columns, defaults, rules.
fn widget_definition() -> Value {
    let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {
        "spec": {
            "type": "object", "required": ["addresses"],
            "properties": {
                "addresses": {"type": "array", "items": {"type": "string"}, "minItems": 1},
                "port": {"type": "integer", "minimum": 1, "maximum": 65535, "default": 179},
                "hold": {"type": "integer"}, "keep": {"type": "integer"},
            },
            "x-kubernetes-validations": [{"rule": "!has(self.hold) || !has(self.keep) || self.keep < self.hold", "message": "keep must be less than hold"}],
        },
        "status": {"type": "object", "properties": {"ready": {"type": "boolean"}, "conditions": {
            "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"],
            "items": {"type": "object", "required": ["type"], "properties": {"type": {"type": "string"}, "status": {"type": "string"}}}}}},
    }}});
    let version = |name: &str, storage: bool| {
        json!({"name": name, "served": true, "storage": storage, "schema": schema, "subresources": {"status": {}},
            "additionalPrinterColumns": [{"name": "Port", "type": "integer", "jsonPath": ".spec.port"}]})
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "widgets.lab.test"},
        "spec": {"group": "lab.test", "scope": "Namespaced", "names": {"kind": "Widget", "plural": "widgets", "shortNames": ["wd"]},
            "versions": [version("v1", true), version("v1beta1", false)]},
    })
}
