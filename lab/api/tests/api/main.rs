//! The server as its clients see it: `kube::Client` in-process, and over a loopback listener. What the product does with it
//! is tested in `tests/tests/behaviour`.
#![allow(clippy::unwrap_used)]

mod objects;

use metallb_lab_api::{ApiServer, Options};
use serde_json::Value;

/// A server with a loopback listener, and the folder with its kubeconfig.
async fn server() -> (ApiServer, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        listeners: vec![std::net::TcpListener::bind("127.0.0.1:0").unwrap()],
        dir: dir.path().to_owned(),
        ..Options::default()
    };
    (metallb_lab_api::start(options).await.unwrap(), dir)
}

/// A client over the loopback listener, with that token.
async fn over_the_network(server: &ApiServer, token: &str) -> kube::Client {
    let text = server.kubeconfig(&format!("https://{}", server.addresses()[0]));
    let config = kube::config::Kubeconfig::from_yaml(&text.replace(server.token(), token)).unwrap();
    let config = kube::Config::from_custom_kubeconfig(config, &Default::default()).await;
    kube::Client::try_from(config.unwrap()).unwrap()
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
