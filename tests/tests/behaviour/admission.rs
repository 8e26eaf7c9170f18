//! Admission, conversion and certificates as an API server sees them: over TLS, with the injected CA.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{Secret, Service};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use metallb_api::bgp_peer::v1beta1;
use metallb_api::{BGPPeer, IPAddressPool, names};
use metallb_runtime::CancellationToken;
use metallb_webhooks::verdict::Kind;
use metallb_webhooks::{Certificates, Lists, Readiness, Rules, Webhooks};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub(crate) const NAMESPACE: &str = "metallb-system";

pub(crate) fn decode<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

/// An API server with our kinds, and webhooks that it finds through a Service.
pub(crate) struct Cluster {
    api: metallb_lab_api::ApiServer,
    pub(crate) client: Client,
    stop: CancellationToken,
    /// Where the Service leads.
    address: SocketAddr,
    pub(crate) replicas: Vec<SocketAddr>,
    _dir: tempfile::TempDir,
}

impl Cluster {
    async fn start() -> Self {
        let address = free_address();
        let mut cluster = Self::install_at(address).await;
        cluster.add_replica(address).await;
        cluster
    }

    /// Replicas behind an address that somebody else listens at.
    pub(crate) async fn start_at(address: SocketAddr, replicas: usize) -> Self {
        let mut cluster = Self::install_at(address).await;
        for _ in 0..replicas {
            cluster.add_replica(free_address()).await;
        }
        cluster
    }

    async fn add_replica(&mut self, address: SocketAddr) {
        self.replicas.push(address);
        let ready = self.serve(address);
        tokio::time::timeout(Duration::from_secs(20), ready.wait())
            .await
            .expect("webhooks become ready");
        assert!(
            tokio::net::TcpStream::connect(address).await.is_ok(),
            "ready means that the port is open"
        );
    }

    async fn install_at(address: SocketAddr) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = metallb_lab_api::Options {
            dir: dir.path().to_owned(),
            ..Default::default()
        };
        let api = metallb_lab_api::start(options).await.unwrap();
        let client = api.client();
        let cluster = Self {
            client,
            api,
            stop: CancellationToken::new(),
            address,
            replicas: Vec::new(),
            _dir: dir,
        };
        cluster.install().await;
        cluster
    }

    async fn create<K>(&self, api: &Api<K>, object: Value)
    where
        K: kube::Resource + Clone + DeserializeOwned + serde::Serialize + std::fmt::Debug,
    {
        api.create(&PostParams::default(), &decode(object)).await.unwrap();
    }

    async fn install(&self) {
        let client = &self.client;
        let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
        for crd in metallb_crdgen::crds() {
            crds.create(&PostParams::default(), &crd).await.unwrap();
        }
        let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client.clone());
        self.create(&namespaces, json!({ "metadata": { "name": NAMESPACE } }))
            .await;
        let secrets: Api<Secret> = Api::namespaced(client.clone(), NAMESPACE);
        self.create(&secrets, json!({ "metadata": { "name": names::WEBHOOK_SECRET } }))
            .await;
        let services: Api<Service> = Api::namespaced(client.clone(), NAMESPACE);
        let port = self.address.port();
        self.create(
            &services,
            json!({ "metadata": { "name": names::WEBHOOK_SERVICE }, "spec": { "ports": [{ "port": 443, "targetPort": port }] } }),
        )
        .await;
        let slices: Api<k8s_openapi::api::discovery::v1::EndpointSlice> = Api::namespaced(client.clone(), NAMESPACE);
        self.create(
            &slices,
            json!({ "metadata": { "name": "w", "labels": { "kubernetes.io/service-name": names::WEBHOOK_SERVICE } },
                "addressType": "IPv4", "endpoints": [{ "addresses": ["127.0.0.1"], "conditions": { "ready": true } }],
                "ports": [{ "name": "", "port": port }] }),
        )
        .await;
        let configurations: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
        let webhook = |kind: Kind, resource: &str, version: &str, operations: &[&str]| {
            json!({ "name": format!("{resource}.metallb.io"), "sideEffects": "None", "admissionReviewVersions": ["v1"],
                "clientConfig": { "service": { "name": names::WEBHOOK_SERVICE, "namespace": NAMESPACE, "path": kind.path() } },
                "rules": [{ "apiGroups": ["metallb.io"], "apiVersions": [version], "resources": [resource], "operations": operations }] })
        };
        self.create(
            &configurations,
            json!({ "metadata": { "name": names::WEBHOOK_CONFIGURATION }, "webhooks": [
                webhook(Kind::IpAddressPool, "ipaddresspools", "v1beta1", &["CREATE", "UPDATE"]),
                webhook(Kind::BgpPeer, "bgppeers", "v1beta2", &["CREATE", "UPDATE"]),
                webhook(Kind::BfdProfile, "bfdprofiles", "v1beta1", &["CREATE", "DELETE"]),
            ] }),
        )
        .await;
    }

    fn serve(&self, listen: SocketAddr) -> Readiness {
        let rules = Rules {
            namespace: NAMESPACE.to_owned(),
            ..Rules::default()
        };
        let webhooks = Webhooks {
            listen,
            certificates: Certificates::of_configuration(NAMESPACE),
            tls: Default::default(),
            rules: Webhooks::fixed(rules),
            reader: Arc::new(Lists::new(self.client.clone(), NAMESPACE)),
            first: Kind::IpAddressPool,
            metrics: None,
        };
        let ready = Readiness::default();
        tokio::spawn(metallb_webhooks::run(
            webhooks,
            self.client.clone(),
            ready.clone(),
            self.stop.clone(),
        ));
        ready
    }

    fn ours<K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    async fn try_create<K>(&self, name: &str, spec: Value) -> Result<K, kube::Error>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + serde::Serialize
            + std::fmt::Debug,
    {
        let object: K = decode(json!({ "metadata": { "name": name, "namespace": NAMESPACE }, "spec": spec }));
        self.ours().create(&PostParams::default(), &object).await
    }

    pub(crate) async fn shutdown(self) {
        self.stop.cancel();
        self.api.shutdown().await;
    }
}

pub(crate) fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

pub(crate) async fn wait_for<F: Future<Output = bool>>(mut condition: impl FnMut() -> F) {
    let poll = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), poll)
        .await
        .expect("happens in time");
}

#[track_caller]
fn denied<K>(result: Result<K, kube::Error>, words: &str) {
    let Err(kube::Error::Api(status)) = result else {
        panic!("was not denied")
    };
    assert!(status.message.contains(words), "{}", status.message);
}

fn peer(changes: &Value) -> Value {
    let mut spec = json!({ "myASN": 64500, "peerASN": 64501, "peerAddress": "10.0.0.1" });
    for (key, value) in changes.as_object().unwrap() {
        spec[key] = value.clone();
    }
    spec
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_objects_are_denied_by_name_and_good_ones_are_stored() {
    metallb_runtime::tls::install_crypto_provider();
    let cluster = Cluster::start().await;
    cluster
        .try_create::<IPAddressPool>("gold", json!({ "addresses": ["10.0.0.0/24"] }))
        .await
        .unwrap();
    denied(
        cluster
            .try_create::<IPAddressPool>("bad", json!({ "addresses": ["10.0.0.7/32"] }))
            .await,
        "overlaps with already defined CIDR \"10.0.0.0/24\" of IPAddressPool gold",
    );
    cluster
        .try_create::<BGPPeer>("good", peer(&json!({ "bfdProfile": "fast" })))
        .await
        .unwrap();
    denied(
        cluster
            .try_create::<BGPPeer>("bad", peer(&json!({ "myASN": 7, "keepaliveTime": "10s" })))
            .await,
        "spec.keepaliveTime: keepaliveTime needs holdTime",
    );
    denied(
        cluster.try_create::<BGPPeer>("twin", peer(&json!({}))).await,
        "already exists: BGPPeer good",
    );
    cluster
        .try_create::<metallb_api::BFDProfile>("fast", json!({}))
        .await
        .unwrap();
    let profiles: Api<metallb_api::BFDProfile> = cluster.ours();
    denied(
        profiles.delete("fast", &DeleteParams::default()).await,
        "failed to delete BFDProfile fast",
    );
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_old_version_of_a_peer_loses_nothing_on_a_round_trip() {
    metallb_runtime::tls::install_crypto_provider();
    let cluster = Cluster::start().await;
    let spec = peer(&json!({ "vrf": "red", "connectTime": "10s", "nodeSelectors": [
        { "matchExpressions": [{ "key": "a", "operator": "Exists" }] }] }));
    let stored = cluster.try_create::<BGPPeer>("p", spec).await.unwrap();
    let old: Api<v1beta1::BGPPeer> = cluster.ours();
    let mut seen = old.get("p").await.unwrap();
    seen.labels_mut().insert("touched".to_owned(), "yes".to_owned());
    old.replace("p", &PostParams::default(), &seen).await.unwrap();
    let again = cluster.ours::<BGPPeer>().get("p").await.unwrap();
    assert_eq!(again.spec, stored.spec);
    assert_eq!((again.annotations().len(), again.labels().len()), (0, 1));
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ca_bundle_comes_back_and_new_certificates_are_served() {
    metallb_runtime::tls::install_crypto_provider();
    let cluster = Cluster::start().await;
    let configurations: Api<ValidatingWebhookConfiguration> = Api::all(cluster.client.clone());
    let bundles = || async {
        let found = configurations.get(names::WEBHOOK_CONFIGURATION).await.unwrap();
        found
            .webhooks
            .unwrap()
            .into_iter()
            .map(|webhook| webhook.client_config.ca_bundle)
            .collect::<Vec<_>>()
    };
    let before = bundles().await;
    assert!(before.iter().all(Option::is_some));
    let strip = json!([{ "op": "remove", "path": "/webhooks/1/clientConfig/caBundle" }]);
    let strip = Patch::Json::<()>(serde_json::from_value(strip).unwrap());
    configurations
        .patch(names::WEBHOOK_CONFIGURATION, &PatchParams::default(), &strip)
        .await
        .unwrap();
    wait_for(|| async { bundles().await == before }).await;
    // Somebody empties the Secret: a new CA, injected and served without a restart.
    let secrets: Api<Secret> = cluster.ours();
    let empty = Patch::Merge(json!({ "data": null }));
    secrets
        .patch(names::WEBHOOK_SECRET, &PatchParams::default(), &empty)
        .await
        .unwrap();
    wait_for(|| async {
        bundles()
            .await
            .iter()
            .zip(&before)
            .all(|(new, old)| new.is_some() && new != old)
    })
    .await;
    wait_for(|| async {
        let created = cluster
            .try_create::<IPAddressPool>("gold", json!({ "addresses": ["10.0.0.0/24"] }))
            .await;
        created.is_ok() || matches!(created, Err(kube::Error::Api(status)) if status.reason == "AlreadyExists")
    })
    .await;
    cluster.shutdown().await;
}
