//! What webhooks answer over a TLS connection to whom: no API server in between.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube::client::Body;
use metallb_config::Resources;
use metallb_runtime::CancellationToken;
use metallb_runtime::tls::{Options, self_signed};
use metallb_webhooks::server::{BODY_LIMIT, CONVERSION_BODY_LIMIT};
use metallb_webhooks::verdict::Kind;
use metallb_webhooks::{Certificates, Readiness, Rules, TlsSettings, Webhooks};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::admission::{NAMESPACE, free_address};
use crate::rotation::tls::connect;

/// Webhooks with a certificate in files, and nothing that exists.
struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    _dir: tempfile::TempDir,
}

impl Server {
    async fn start(tls: TlsSettings) -> Self {
        metallb_runtime::tls::install_crypto_provider();
        let dir = tempfile::tempdir().unwrap();
        let pair = self_signed().unwrap();
        std::fs::write(dir.path().join("tls.crt"), &pair.certificate).unwrap();
        std::fs::write(dir.path().join("tls.key"), &pair.key).unwrap();
        let (address, stop, ready) = (free_address(), CancellationToken::new(), Readiness::default());
        let webhooks = Webhooks {
            listen: address,
            certificates: Certificates::Files(dir.path().to_owned()),
            tls,
            rules: Webhooks::fixed(Rules {
                namespace: NAMESPACE.to_owned(),
                ..Rules::default()
            }),
            reader: Arc::new(Arc::<Resources>::default),
            first: Kind::IpAddressPool,
            metrics: None,
        };
        let nobody = tower::service_fn(|_: http::Request<Body>| async {
            Err::<http::Response<Body>, _>(std::io::Error::other("there is no API server"))
        });
        let client = Client::new(nobody, NAMESPACE);
        tokio::spawn(metallb_webhooks::run(webhooks, client, ready.clone(), stop.clone()));
        tokio::time::timeout(Duration::from_secs(20), ready.wait())
            .await
            .expect("ready without an API server");
        Self {
            address,
            stop,
            _dir: dir,
        }
    }

    /// Posts a body and returns status line and body of the answer.
    async fn post(&self, path: &str, media: &str, body: &[u8]) -> (u16, Value) {
        let mut stream = connect(self.address).await.unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {media}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // Who is refused early need not be heard to the end.
        let _ = stream.write_all(body).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let text = String::from_utf8_lossy(&answer);
        let status = text.split(' ').nth(1).and_then(|code| code.parse().ok());
        let body = text.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
        let status = status.unwrap_or_else(|| panic!("no HTTP answer: {text:?}"));
        (status, serde_json::from_str(body).unwrap_or_default())
    }
}

fn review(version: &str) -> Value {
    let object =
        json!({ "metadata": { "name": "gold", "namespace": NAMESPACE }, "spec": { "addresses": ["10.0.0.0/24"] } });
    json!({ "apiVersion": format!("admission.k8s.io/{version}"), "kind": "AdmissionReview",
        "request": { "uid": "u", "operation": "CREATE", "namespace": NAMESPACE, "object": object } })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_bad_request_gets_its_http_error_and_the_server_serves_on() {
    let server = Server::start(TlsSettings::default()).await;
    let (path, media) = (Kind::IpAddressPool.path(), "application/json");
    let good = review("v1").to_string().into_bytes();
    let padded = [good.clone(), vec![b' '; BODY_LIMIT + 1 - good.len()]].concat();
    assert_eq!(server.post(path, media, &padded).await.0, 413);
    let fitting = &padded[..BODY_LIMIT];
    assert_eq!(server.post(path, media, fitting).await.0, 200);
    for (media, body, status) in [
        ("text/yaml", &good[..], 415),
        ("application/vnd.kubernetes.protobuf", &good[..], 415),
        (media, &good[..good.len() - 1], 400),
        (media, b"", 400),
        (media, review("v2").to_string().as_bytes(), 400),
    ] {
        assert_eq!(server.post(path, media, body).await.0, status, "{media} {body:?}");
    }
    assert_eq!(server.post("/validate-nothing", media, &good).await.0, 404);
    assert_eq!(server.post("/convert", media, &good).await.0, 400);
    let mut unreadable = review("v1");
    unreadable["request"]["object"]["spec"]["addresses"] = 7.into();
    let (status, answer) = server.post(path, media, unreadable.to_string().as_bytes()).await;
    assert_eq!((status, &answer["response"]["status"]["code"]), (200, &json!(400)));
    for version in ["v1", "v1beta1"] {
        let (status, answer) = server.post(path, media, review(version).to_string().as_bytes()).await;
        assert_eq!(
            (status, &answer["response"]),
            (200, &json!({ "uid": "u", "allowed": true }))
        );
        assert_eq!(answer["apiVersion"], format!("admission.k8s.io/{version}"));
    }
    server.stop.cancel();
}

/// Begins a request over TLS and never ends it.
async fn linger(address: SocketAddr, begun: &str) -> impl AsyncReadExt {
    let mut stream = connect(address).await.unwrap();
    stream.write_all(begun.as_bytes()).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_of_slow_clients_keeps_no_review_waiting() {
    let server = Server::start(TlsSettings::default()).await;
    let post = |path: &str, length: usize| {
        format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n")
    };
    let (review, path) = (review("v1").to_string().into_bytes(), Kind::IpAddressPool.path());
    let begun = [
        "POST".to_owned(),
        post(path, BODY_LIMIT),
        post("/convert", CONVERSION_BODY_LIMIT),
    ];
    let mut crowd = Vec::new();
    let mut silent = Vec::new();
    for _ in 0..60 {
        silent.push(tokio::net::TcpStream::connect(server.address).await.unwrap());
        for begun in &begun {
            crowd.push(linger(server.address, begun).await);
        }
    }
    // As long as an API server waits, less than anybody slow may take.
    let answer = tokio::time::timeout(Duration::from_secs(5), server.post(path, "application/json", &review));
    assert_eq!(answer.await.expect("a good request is answered").0, 200);
    let mut closed = Vec::new();
    let first = crowd[0].read_to_end(&mut closed);
    // Pushed out by the others, or late: it ends.
    let _ = tokio::time::timeout(Duration::from_secs(5), first)
        .await
        .expect("the oldest is closed");
    server.stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conversion_has_its_own_limit() {
    let server = Server::start(TlsSettings::default()).await;
    let convert = async |size: usize| {
        let request = json!({ "uid": "u", "desiredAPIVersion": "metallb.io/v1beta2", "objects": [] });
        let review = json!({ "apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "request": request });
        let mut body = review.to_string().into_bytes();
        body.resize(size, b' ');
        // On a busy machine so much may be late.
        for _ in 0..10 {
            let (status, _) = server.post("/convert", "application/json", &body).await;
            if status != 408 {
                return status;
            }
        }
        408
    };
    assert_eq!(convert(CONVERSION_BODY_LIMIT).await, 200);
    assert_eq!(convert(CONVERSION_BODY_LIMIT + 1).await, 413);
    server.stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_oldest_tls_version_spoken_is_a_setting() {
    use crate::rotation::tls::{handshakes_with, versions};
    let newest = Server::start(TlsSettings::default()).await;
    assert!(handshakes_with(newest.address, &versions::TLS13).await);
    assert!(!handshakes_with(newest.address, &versions::TLS12).await);
    let options = Options {
        min_version: "VersionTLS12".to_owned(),
        ..Options::default()
    };
    let older = Server::start(TlsSettings {
        options,
        ..TlsSettings::default()
    })
    .await;
    assert!(handshakes_with(older.address, &versions::TLS12).await);
    newest.stop.cancel();
    older.stop.cancel();
}

// OP-53, OP-58
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_settings_change_while_the_server_runs() {
    use crate::rotation::tls::{handshakes_with, versions};
    let (sender, receiver) = tokio::sync::watch::channel(Options::default());
    let server = Server::start(TlsSettings {
        changes: Some(receiver),
        ..TlsSettings::default()
    })
    .await;
    assert!(!handshakes_with(server.address, &versions::TLS12).await);
    let older = Options {
        min_version: "VersionTLS12".to_owned(),
        ..Options::default()
    };
    sender.send(older).unwrap();
    let spoken = async {
        while !handshakes_with(server.address, &versions::TLS12).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), spoken)
        .await
        .expect("the setting counts from the next connection on");
    assert!(handshakes_with(server.address, &versions::TLS13).await);
    server.stop.cancel();
}
