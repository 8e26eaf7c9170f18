//! Certificates change while requests are answered: by two replicas that share one Secret, and by one that is given files.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use metallb_api::{IPAddressPool, names};
use metallb_runtime::CancellationToken;
use metallb_webhooks::verdict::Kind;
use metallb_webhooks::{Certificates, Lists, Readiness, Rules, Webhooks};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

use crate::admission::{Cluster, NAMESPACE, decode, wait_for};

/// Sends every second connection to the other replica, as a Service would.
async fn balance(listener: TcpListener, replicas: [SocketAddr; 2]) {
    for turn in 0.. {
        let Ok((mut client, _)) = listener.accept().await else {
            return;
        };
        let replica = replicas[turn % 2];
        tokio::spawn(async move {
            if let Ok(mut server) = TcpStream::connect(replica).await {
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            }
        });
    }
}

/// Creates pools without end; every failure but a refusal counts.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    tasks: Vec<tokio::task::JoinHandle<Result<(), kube::Error>>>,
}

impl Load {
    fn start(client: &Client) -> Self {
        let (stop, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let task = |number: usize| {
            let (client, stop, answered) = (client.clone(), stop.clone(), answered.clone());
            tokio::spawn(async move {
                let pools: Api<IPAddressPool> = Api::namespaced(client, NAMESPACE);
                let params = PostParams {
                    dry_run: true,
                    ..PostParams::default()
                };
                let spec = json!({ "addresses": [format!("10.{number}.0.0/24")] });
                let object = decode(json!({ "metadata": { "name": format!("p{number}") }, "spec": spec }));
                while !stop.load(Ordering::Relaxed) {
                    pools.create(&params, &object).await?;
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            })
        };
        Self {
            tasks: (0..4).map(task).collect(),
            stop,
            answered,
        }
    }

    /// Waits until so many more requests have been answered.
    async fn more(&self, count: usize) {
        let target = self.answered.load(Ordering::Relaxed) + count;
        wait_for(|| async {
            self.answered.load(Ordering::Relaxed) >= target
                || self.tasks.iter().any(tokio::task::JoinHandle::is_finished)
        })
        .await;
    }

    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap().expect("no request fails");
        }
    }
}

async fn secret(client: &Client) -> Secret {
    Api::<Secret>::namespaced(client.clone(), NAMESPACE)
        .get(names::WEBHOOK_SECRET)
        .await
        .unwrap()
}

fn value(secret: &Secret, key: &str) -> Vec<u8> {
    secret
        .data
        .as_ref()
        .and_then(|data| data.get(key))
        .map(|bytes| bytes.0.clone())
        .unwrap_or_default()
}

async fn bundle(client: &Client) -> Vec<u8> {
    let api: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    let found = api.get(names::WEBHOOK_CONFIGURATION).await.unwrap();
    found.webhooks.unwrap()[0]
        .client_config
        .ca_bundle
        .clone()
        .map(|bytes| bytes.0)
        .unwrap_or_default()
}

/// The serving certificate that somebody who connects is shown.
async fn served(address: SocketAddr) -> Vec<u8> {
    tls::peer_certificate(address).await.unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_two_replicas_change_certificate_and_ca() {
    // OP-54
    metallb_runtime::tls::install_crypto_provider();
    let front = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let cluster = Cluster::start_at(front.local_addr().unwrap(), 2).await;
    let replicas = [cluster.replicas[0], cluster.replicas[1]];
    tokio::spawn(balance(front, replicas));
    let client = &cluster.client;
    let load = Load::start(client);
    load.more(20).await;
    let before = secret(client).await;
    // A serving certificate that does not fit its key: a new one of the same CA.
    let api: Api<Secret> = Api::namespaced(client.clone(), NAMESPACE);
    let foreign = metallb_runtime::tls::self_signed().unwrap();
    let spoil = Patch::Merge(json!({ "data": { "tls.key": ByteString(foreign.key) } }));
    api.patch(names::WEBHOOK_SECRET, &PatchParams::default(), &spoil)
        .await
        .unwrap();
    let shown = [served(replicas[0]).await, served(replicas[1]).await];
    wait_for(|| async { served(replicas[0]).await != shown[0] && served(replicas[1]).await != shown[1] }).await;
    let renewed = secret(client).await;
    assert_eq!(value(&renewed, "ca.crt"), value(&before, "ca.crt"));
    assert_eq!(
        served(replicas[0]).await,
        served(replicas[1]).await,
        "both serve what the Secret holds"
    );
    load.more(20).await;
    // Everything is gone: a new CA, while the old one is trusted for the replica that has not noticed yet.
    let empty = Patch::Merge(json!({ "data": null }));
    api.patch(names::WEBHOOK_SECRET, &PatchParams::default(), &empty)
        .await
        .unwrap();
    let shown = served(replicas[0]).await;
    wait_for(|| async { served(replicas[0]).await != shown && served(replicas[1]).await != shown }).await;
    let new = secret(client).await;
    assert!(value(&new, "ca.key") != value(&before, "ca.key") && bundle(client).await == value(&new, "ca.crt"));
    assert!(
        value(&new, "ca.crt").ends_with(&value(&before, "ca.crt")),
        "the CA before is trusted still"
    );
    load.more(20).await;
    load.end().await;
    cluster.shutdown().await;
}

fn write(dir: &Path, pair: &metallb_runtime::tls::KeyPair) {
    std::fs::write(dir.join("tls.crt"), &pair.certificate).unwrap();
    std::fs::write(dir.join("tls.key"), &pair.key).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_in_files_is_served_as_soon_as_it_is_there_and_so_is_each_that_follows() {
    metallb_runtime::tls::install_crypto_provider();
    let dir = tempfile::tempdir().unwrap();
    let api = metallb_lab_api::start(metallb_lab_api::Options {
        dir: dir.path().to_owned(),
        ..Default::default()
    });
    let api = api.await.unwrap();
    let folder = dir.path().join("certs");
    std::fs::create_dir(&folder).unwrap();
    let listen = SocketAddr::new(IpAddr::from([127, 0, 0, 1]), crate::admission::free_address().port());
    let webhooks = Webhooks {
        listen,
        certificates: Certificates::Files(folder.clone()),
        tls: Default::default(),
        rules: Webhooks::fixed(Rules::default()),
        reader: Arc::new(Lists::new(api.client(), NAMESPACE)),
        first: Kind::IpAddressPool,
        metrics: None,
    };
    let (ready, stop) = (Readiness::default(), CancellationToken::new());
    let running = tokio::spawn(metallb_webhooks::run(
        webhooks,
        api.client(),
        ready.clone(),
        stop.clone(),
    ));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(
        ready
            .missing()
            .is_some_and(|missing| missing.contains("no serving certificate"))
    );
    let pair = metallb_runtime::tls::self_signed().unwrap();
    // Half written: a certificate with the key of another one.
    write(&folder, &metallb_runtime::tls::self_signed().unwrap());
    std::fs::write(folder.join("tls.crt"), &pair.certificate).unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(!running.is_finished(), "it waits for the rest");
    write(&folder, &pair);
    tokio::time::timeout(Duration::from_secs(10), ready.wait())
        .await
        .unwrap();
    wait_for(|| async { !served(listen).await.is_empty() }).await;
    assert_eq!(served(listen).await, tls::der(&pair.certificate));
    // Renewed: first a certificate that does not fit the key yet, which nobody must be shown.
    let renewed = metallb_runtime::tls::self_signed().unwrap();
    std::fs::write(folder.join("tls.crt"), &renewed.certificate).unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(served(listen).await, tls::der(&pair.certificate));
    write(&folder, &renewed);
    wait_for(|| async { served(listen).await == tls::der(&renewed.certificate) }).await;
    // Gone: the last one serves on.
    std::fs::remove_file(folder.join("tls.crt")).unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(served(listen).await, tls::der(&renewed.certificate));
    stop.cancel();
    running.await.unwrap().unwrap();
    api.shutdown().await;
}

pub(crate) mod tls {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    pub(crate) use metallb_tests::tls::connect;

    use super::*;

    pub(super) fn der(pem: &[u8]) -> Vec<u8> {
        CertificateDer::from_pem_slice(pem).unwrap().to_vec()
    }

    pub(crate) mod versions {
        pub(crate) use rustls::version::{TLS12, TLS13};
    }

    /// Tells whether a client that speaks this version alone gets a connection.
    pub(crate) async fn handshakes_with(
        address: SocketAddr,
        version: &'static rustls::SupportedProtocolVersion,
    ) -> bool {
        metallb_tests::tls::connect_with(address, &[version]).await.is_some()
    }

    pub(super) async fn peer_certificate(address: SocketAddr) -> Option<Vec<u8>> {
        let stream = connect(address).await?;
        let (_, connection) = stream.get_ref();
        connection
            .peer_certificates()?
            .first()
            .map(|certificate| certificate.to_vec())
    }
}
