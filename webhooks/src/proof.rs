//! Proves that the webhooks can be called, before anybody is sent to them.
//!
//! A Service leads to Pods that are ready, so a Pod that waited for an answer through the Service would wait for ever.
//! What the Service adds to a connection is its address alone. All the rest is proven by a request to the own port under
//! the name of the Service: that the port is open, that the certificate carries the name and fits the CA that API servers
//! were told of, and that a review is answered, for which all objects must be readable.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use kube::{Client, Config};
use metallb_runtime::CancellationToken;
use metallb_runtime::cause::explain;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use tracing::{debug, info};

use crate::readiness::{Readiness, Trust};
use crate::verdict::Kind;

/// Pause after an attempt that failed.
const PAUSE: Duration = Duration::from_millis(500);
/// As long as an API server would wait.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a review asks that every webhook allows, once it has read what a real answer would need.
const OPERATION: &str = "CONNECT";

/// Calls until one call is answered or `stop`.
pub(crate) async fn follow(address: SocketAddr, kind: Kind, ready: Readiness, stop: CancellationToken) {
    loop {
        let trust = tokio::select! {
            trust = ready.callable() => trust,
            () = stop.cancelled() => return,
        };
        let called = tokio::time::timeout(PATIENCE, call(address, kind, &trust));
        match called.await.unwrap_or_else(|_| Err("no answer in time".to_owned())) {
            Ok(()) => {
                info!(%address, "a webhook request under the name of the Service was answered");
                ready.answered(None);
                return;
            }
            Err(problem) => {
                debug!(%address, %problem, "webhooks do not answer yet");
                ready.answered(Some(&problem));
            }
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Asks for one review and checks the answer.
async fn call(address: SocketAddr, kind: Kind, trust: &Trust) -> Result<(), String> {
    let mut last = String::new();
    for address in reachable(address) {
        match ask(address, kind, trust).await {
            Ok(()) => return Ok(()),
            Err(problem) => last = problem,
        }
    }
    Err(last)
}

/// Where somebody who listens everywhere is found.
fn reachable(address: SocketAddr) -> Vec<SocketAddr> {
    let (four, six) = (IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST));
    let ips = match address.ip() {
        ip if !ip.is_unspecified() => vec![ip],
        IpAddr::V4(_) => vec![four],
        // Such a socket usually takes both families.
        IpAddr::V6(_) => vec![four, six],
    };
    ips.into_iter().map(|ip| (ip, address.port()).into()).collect()
}

async fn ask(address: SocketAddr, kind: Kind, trust: &Trust) -> Result<(), String> {
    let client = client(address, trust)?;
    let uid = format!("ready-{address}");
    let request = json!({ "uid": uid, "operation": OPERATION, "kind": { "kind": kind.as_str() } });
    let review = json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request });
    let request = http::Request::post(kind.path())
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(review.to_string().into_bytes())
        .map_err(|error| error.to_string())?;
    let answer: Value = client.request(request).await.map_err(|error| explain(&error))?;
    let response = &answer["response"];
    match (response["uid"] == uid, response["allowed"].as_bool()) {
        (true, Some(true)) => Ok(()),
        (true, _) => Err(response["status"]["message"].as_str().unwrap_or("refused").to_owned()),
        (false, _) => Err("the answer belongs to another question".to_owned()),
    }
}

/// The client that an API server would be.
fn client(address: SocketAddr, trust: &Trust) -> Result<Client, String> {
    let url = format!("https://{address}");
    let mut config = Config::new(url.parse().map_err(|error| format!("{url}: {error}"))?);
    config.proxy_url = None;
    match trust {
        Trust::Authority { ca, name } => {
            let ders = CertificateDer::pem_slice_iter(ca).map(|der| der.map(|der| der.to_vec()));
            let ders = ders.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
            config.root_cert = Some(ders);
            config.tls_server_name = Some(name.clone());
        }
        // Whoever wrote the certificate has told the API server whom to trust, and has not told us.
        Trust::Unknown => {
            config.accept_invalid_certs = true;
            // Or else the system's authorities would be read, and an image without any would never be ready.
            config.root_cert = Some(Vec::new());
        }
    }
    Client::try_from(config).map_err(|error| explain(&error))
}

#[cfg(test)]
mod tests;
