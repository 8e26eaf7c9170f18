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
use crate::selector::label_selector_matches;
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
    let endpoint = endpoint(server, config).await?;
    let url = format!(
        "https://{}:{}{}?timeout={}s",
        endpoint.name,
        endpoint.port,
        endpoint.path,
        timeout.as_secs()
    );
    let call = exchange(&endpoint, config, body);
    let result = tokio::time::timeout(timeout, call)
        .await
        .unwrap_or_else(|_| Err("context deadline exceeded".into()));
    result.map_err(|why| format!("Post {url:?}: {why}"))
}

async fn endpoint(server: &Server, config: &Value) -> Result<Endpoint, String> {
    if let Some(url) = config.get("url").and_then(Value::as_str) {
        let uri: http::Uri = url.parse().map_err(|_| format!("invalid URL {url:?}"))?;
        let name = uri.host().unwrap_or("").trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(443);
        let found = tokio::net::lookup_host((name.as_str(), port))
            .await
            .map_err(|error| error.to_string())?;
        let addresses = found.collect();
        return Ok(Endpoint {
            name,
            port,
            path: uri.path().to_owned(),
            addresses,
        });
    }
    let reference = &config["service"];
    let (namespace, service) = (meta::text(reference, "/namespace"), meta::text(reference, "/name"));
    let port = reference["port"]
        .as_u64()
        .and_then(|p| u16::try_from(p).ok())
        .unwrap_or(443);
    let path = format!("/{}", meta::text(reference, "/path").trim_start_matches('/'));
    let addresses = service_addresses(server, namespace, service, port)?;
    Ok(Endpoint {
        name: format!("{service}.{namespace}.svc"),
        port,
        path,
        addresses,
    })
}

/// Ready pods behind a port of a Service: from its EndpointSlices, or from the pods themselves.
fn service_addresses(server: &Server, namespace: &str, name: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let store = server.store();
    let Some(service) = store.get("services", &Key::new(namespace, name)) else {
        return Err(format!("service {name:?} not found"));
    };
    let ports = meta::array(&service["spec"]["ports"]);
    let Some(port) = ports.iter().find(|p| p["port"] == port) else {
        return Err(format!("no service port {port} found for service {name:?}"));
    };
    let number = |value: &Value| value.as_u64().and_then(|p| u16::try_from(p).ok());
    let address = |ip: &str, port: u16| Some(SocketAddr::new(ip.parse::<IpAddr>().ok()?, port));
    let mut addresses = Vec::new();
    for slice in store.list("endpointslices.discovery.k8s.io", Some(namespace), None) {
        if slice["metadata"]["labels"]["kubernetes.io/service-name"] != name {
            continue;
        }
        let wanted = meta::text(port, "/name");
        let Some(target) = meta::array(&slice["ports"])
            .iter()
            .find(|p| meta::text(p, "/name") == wanted)
            .and_then(|p| number(&p["port"]))
        else {
            continue;
        };
        for endpoint in meta::array(&slice["endpoints"])
            .iter()
            .filter(|e| e["conditions"]["ready"] != false)
        {
            addresses.extend(
                meta::strings(&endpoint["addresses"])
                    .into_iter()
                    .filter_map(|ip| address(ip, target)),
            );
        }
    }
    if addresses.is_empty() && service["spec"]["selector"].is_object() {
        let selector = serde_json::json!({"matchLabels": service["spec"]["selector"]});
        for pod in store.list("pods", Some(namespace), None) {
            if label_selector_matches(&selector, &pod["metadata"]["labels"])
                && ready(&pod)
                && let Some(target) =
                    number(&port["targetPort"]).or_else(|| named_port(&pod, meta::text(port, "/targetPort")))
            {
                addresses.extend(address(meta::text(&pod, "/status/podIP"), target));
            }
        }
    }
    if addresses.is_empty() {
        Err(format!("no endpoints available for service {name:?}"))
    } else {
        Ok(addresses)
    }
}

fn ready(pod: &Value) -> bool {
    let conditions = meta::array(&pod["status"]["conditions"]);
    !meta::is_deleting(pod) && conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True")
}

fn named_port(pod: &Value, name: &str) -> Option<u16> {
    let containers = meta::array(&pod["spec"]["containers"]);
    let port = containers
        .iter()
        .flat_map(|c| meta::array(&c["ports"]))
        .find(|p| p["name"] == name)?;
    port["containerPort"].as_u64().and_then(|p| u16::try_from(p).ok())
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
