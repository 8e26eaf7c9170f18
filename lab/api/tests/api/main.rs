//! The server as its clients see it: `kube::Client` in-process, and over a loopback listener.
#![allow(clippy::unwrap_used)]

mod custom;
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
    serde_json::from_str(include_str!("../widget.json")).unwrap()
}
