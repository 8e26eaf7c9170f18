//! Calling a webhook: finding it through its Service, and TLS with the bundle of its configuration.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::net::TcpStream;

use crate::meta;
use crate::state::Server;
use crate::store::Key;
use crate::tls;

/// Where a webhook listens.
struct Endpoint {
    /// The name in its certificate.
    name: String,
    port: u16,
    path: String,
    addresses: Vec<SocketAddr>,
}

/// Posts a review and returns the answer. The error is the text after `failed to call webhook:`.
pub(crate) async fn post(server: &Server, config: &Value, body: &Value, timeout: Duration) -> Result<Value, String> {
    let endpoint = endpoint(server, config)?;
    let Endpoint { name, port, path, .. } = &endpoint;
    let url = format!("https://{name}:{port}{path}?timeout={}s", timeout.as_secs());
    let result = tokio::time::timeout(timeout, exchange(&endpoint, config, body)).await;
    let result = result.unwrap_or_else(|_| Err("context deadline exceeded".into()));
    result.map_err(|why| format!("Post {url:?}: {why}"))
}

fn endpoint(server: &Server, config: &Value) -> Result<Endpoint, String> {
    let reference = &config["service"];
    let (namespace, service) = (meta::text(reference, "/namespace"), meta::text(reference, "/name"));
    let port = port_number(&reference["port"]).unwrap_or(443);
    Ok(Endpoint {
        addresses: service_addresses(server, namespace, service, port)?,
        name: format!("{service}.{namespace}.svc"),
        port,
        path: format!("/{}", meta::text(reference, "/path").trim_start_matches('/')),
    })
}

fn port_number(value: &Value) -> Option<u16> {
    u16::try_from(value.as_u64()?).ok()
}

/// Ready endpoints behind a port of a Service.
fn service_addresses(server: &Server, namespace: &str, name: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let store = server.store();
    let Some(service) = store.get("services", &Key::new(namespace, name)) else {
        return Err(format!("service {name:?} not found"));
    };
    let ports = meta::array(&service["spec"]["ports"]);
    let Some(port) = ports.iter().find(|p| p["port"] == port) else {
        return Err(format!("no service port {port} found for service {name:?}"));
    };
    let wanted = meta::text(port, "/name");
    let mut addresses = Vec::new();
    for slice in store.list("endpointslices.discovery.k8s.io", Some(namespace)) {
        if slice["metadata"]["labels"]["kubernetes.io/service-name"] != name {
            continue;
        }
        let mut ports = meta::array(&slice["ports"]).iter();
        let target = ports.find(|p| meta::text(p, "/name") == wanted);
        let Some(target) = target.and_then(|p| port_number(&p["port"])) else {
            continue;
        };
        let endpoints = meta::array(&slice["endpoints"]).iter();
        let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] != false);
        let ips = ready.flat_map(|endpoint| meta::strings(&endpoint["addresses"]));
        addresses.extend(ips.filter_map(|ip| Some(SocketAddr::new(ip.parse::<IpAddr>().ok()?, target))));
    }
    if addresses.is_empty() {
        return Err(format!("no endpoints available for service {name:?}"));
    }
    Ok(addresses)
}

async fn exchange(endpoint: &Endpoint, config: &Value, body: &Value) -> Result<Value, String> {
    let tls = client_config(meta::text(config, "/caBundle"))?;
    let stream = connect(&endpoint.addresses).await?;
    let name = ServerName::try_from(endpoint.name.clone()).map_err(|error| error.to_string())?;
    let stream = tokio_rustls::TlsConnector::from(tls)
        .connect(name, stream)
        .await
        .map_err(|error| format!("tls: {error}"))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    // The connection ends with the exchange: the task is dropped with this future's set.
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move { drop(connection.await) });
    let request = http::Request::post(&endpoint.path)
        .header(http::header::HOST, format!("{}:{}", endpoint.name, endpoint.port))
        .header(http::header::CONTENT_TYPE, "application/json")
        .header(http::header::ACCEPT, "application/json")
        .body(Full::new(bytes::Bytes::from(body.to_string())))
        .map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let status = response.status();
    let bytes = response
        .into_body()
        .collect()
        .await
        .map_err(|error| error.to_string())?
        .to_bytes();
    if !status.is_success() {
        return Err(format!(
            "the server answered {status}: {}",
            String::from_utf8_lossy(&bytes).trim()
        ));
    }
    serde_json::from_slice(&bytes).map_err(|error| format!("the answer is no review: {error}"))
}

async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, String> {
    let mut last = "no address".to_owned();
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = format!("dial tcp {address}: {error}"),
        }
    }
    Err(last)
}

fn client_config(bundle: &str) -> Result<Arc<rustls::ClientConfig>, String> {
    let unknown = || "tls: failed to verify certificate: x509: certificate signed by unknown authority".to_owned();
    let pem = BASE64.decode(bundle).map_err(|error| format!("caBundle: {error}"))?;
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| format!("caBundle: {error}"))?;
        roots.add(certificate).map_err(|error| format!("caBundle: {error}"))?;
    }
    if roots.is_empty() {
        return Err(unknown());
    }
    let config = rustls::ClientConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
