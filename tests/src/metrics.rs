//! The metrics of a component, read as Prometheus does.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::api::PostParams;
use kube::{Api, Client};
use metallb_test_support::wait_for;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::tls;

const NAME: &str = "metrics-reader";
const PORT: u16 = 9120;
/// How long rights may take to be known to the API server.
const PATIENCE: Duration = Duration::from_secs(60);

/// Somebody who may read metrics.
pub struct Reader {
    token: String,
}

impl Reader {
    /// Makes an account with the right that is documented.
    pub async fn new(client: &Client) -> Result<Self> {
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
        let account = serde_json::from_value(json!({ "metadata": { "name": NAME } }))?;
        accounts.create(&PostParams::default(), &account).await?;
        let rule = json!([{ "nonResourceURLs": ["/metrics"], "verbs": ["get"] }]);
        let role: ClusterRole = serde_json::from_value(json!({ "metadata": { "name": NAME }, "rules": rule }))?;
        let binding: ClusterRoleBinding = serde_json::from_value(json!({
            "metadata": { "name": NAME },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": NAME },
            "subjects": [{ "kind": "ServiceAccount", "name": NAME, "namespace": "default" }],
        }))?;
        Api::all(client.clone()).create(&PostParams::default(), &role).await?;
        Api::all(client.clone())
            .create(&PostParams::default(), &binding)
            .await?;
        let request: TokenRequest = serde_json::from_value(json!({ "spec": { "audiences": [] } }))?;
        let made = accounts
            .create_token_request(NAME, &PostParams::default(), &request)
            .await?;
        let token = made.status.context("no token was made")?.token;
        Ok(Self { token })
    }

    /// What this account shows of itself.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// What the component on a node tells.
    pub async fn read(&self, node: std::net::Ipv4Addr) -> Result<String> {
        self.read_from(SocketAddr::new(node.into(), PORT)).await
    }

    /// What is told there.
    pub async fn read_from(&self, address: SocketAddr) -> Result<String> {
        wait_for("the metrics to be given", PATIENCE, async || {
            let text = ask(address, Some(&self.token)).await?;
            Ok(text.starts_with("HTTP/1.1 200 ").then_some(text))
        })
        .await
    }

    /// What somebody without a token is told.
    pub async fn refusal(node: std::net::Ipv4Addr) -> Result<String> {
        ask(SocketAddr::new(node.into(), PORT), None).await
    }
}

/// The whole answer to a request for the metrics, as it comes over the wire.
///
/// # Errors
/// When there is no answer.
pub async fn ask(address: SocketAddr, token: Option<&str>) -> Result<String> {
    let mut stream = tls::connect(address)
        .await
        .with_context(|| format!("no TLS with {address}"))?;
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
    let request = format!(
        "GET /metrics HTTP/1.1\r\nHost: metrics\r\nConnection: close\r\n{}\r\n",
        authorization.unwrap_or_default()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    // Whoever does not say goodbye has said all the same.
    let _ = stream.read_to_end(&mut answer).await;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The value of a series, with its labels as they are written.
#[must_use]
pub fn value(text: &str, series: &str) -> Option<f64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line?.trim().parse().ok()
}
