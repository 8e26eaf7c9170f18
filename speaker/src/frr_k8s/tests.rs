//! Against an API server in memory, which has defaults and versions as a real one.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, Request};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::client::Body;
use kube::{Api, Client, ResourceExt};
use metallb_announce::Path;
use metallb_api::{FRRConfiguration, FRRNodeState, FRRNodeStateStatus};
use metallb_config::SecretRef;
use metallb_engine::{ConfigReport, Peers, RouteChange};
use metallb_runtime::CancellationToken;
use metallb_runtime::tasks::Tasks;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use super::desired::desired;
use super::{FrrK8s, Secrets, Settings};
use crate::backend::Change;
use crate::bfd::tests::peers;
use crate::frr::model::Model;

const NAMESPACE: &str = "frr-k8s-system";
const NAME: &str = "metallb-n";
/// Longer than changes are gathered, and than a write takes.
const QUIET: Duration = Duration::from_millis(400);

fn settings(secrets: Secrets) -> Settings {
    Settings {
        node: "n".to_owned(),
        namespace: NAMESPACE.to_owned(),
        secrets,
        window: Some(Duration::from_millis(20)),
        router_id: None,
    }
}

/// A cluster with frr-k8s' kinds and the node, and what was written to it.
struct Cluster {
    api: metallb_lab_api::ApiServer,
    client: Client,
    writes: Arc<Mutex<Vec<String>>>,
    _folder: TempDir,
}

impl Cluster {
    async fn new(crds: Vec<CustomResourceDefinition>) -> Self {
        let folder = TempDir::new().unwrap();
        let options = metallb_lab_api::Options {
            dir: folder.path().to_owned(),
            ..Default::default()
        };
        let api = metallb_lab_api::start(options).await.unwrap();
        let writes = Arc::<Mutex<Vec<String>>>::default();
        let (inner, seen) = (api.client(), Arc::clone(&writes));
        let counted = tower::service_fn(move |request: Request<Body>| {
            if request.method() != Method::GET {
                let line = format!("{} {}", request.method(), request.uri().path());
                seen.lock().unwrap().push(line);
            }
            let inner = inner.clone();
            async move { inner.send(request).await }
        });
        let cluster = Self {
            client: Client::new(counted, NAMESPACE),
            api,
            writes,
            _folder: folder,
        };
        let kinds: Api<CustomResourceDefinition> = Api::all(cluster.api.client());
        for crd in crds {
            kinds.create(&PostParams::default(), &crd).await.unwrap();
        }
        let namespace = json!({ "metadata": { "name": NAMESPACE } });
        let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(cluster.api.client());
        let made = serde_json::from_value(namespace).unwrap();
        namespaces.create(&PostParams::default(), &made).await.unwrap();
        let node = json!({ "metadata": { "name": "n", "labels": { "kubernetes.io/hostname": "host-n" } } });
        let nodes: Api<Node> = Api::all(cluster.api.client());
        nodes
            .create(&PostParams::default(), &serde_json::from_value(node).unwrap())
            .await
            .unwrap();
        cluster
    }

    async fn usual() -> Self {
        Self::new(metallb_crdgen::frr_k8s_crds()).await
    }

    /// What people do, which is not counted.
    fn objects(&self) -> Api<FRRConfiguration> {
        Api::namespaced(self.api.client(), NAMESPACE)
    }

    async fn stored(&self) -> Option<Value> {
        let object = self.objects().get_opt(NAME).await.unwrap()?;
        Some(serde_json::to_value(object).unwrap())
    }

    /// What was written since the last time this was asked.
    fn written(&self) -> Vec<String> {
        std::mem::take(&mut self.writes.lock().unwrap())
    }
}

/// A speaker's back-end at work.
struct Running {
    frr_k8s: FrrK8s,
    tasks: Tasks,
    stop: CancellationToken,
}

impl Running {
    fn start(cluster: &Cluster) -> Self {
        let stop = CancellationToken::new();
        let mut tasks = Tasks::new(stop.clone());
        let frr_k8s = FrrK8s::new(CancellationToken::new());
        let spawner = tasks.spawner();
        let work = frr_k8s
            .clone()
            .work(cluster.client.clone(), settings(Secrets::Named), spawner);
        tasks.spawn("work", async {
            work.await;
            Ok(())
        });
        Self { frr_k8s, tasks, stop }
    }

    /// The same with a peer and a route, all of which is known.
    fn announcing(cluster: &Cluster) -> Self {
        let running = Self::start(cluster);
        running.peers(&[("tor", json!({ "peerAddress": "192.0.2.1" }))]);
        running.route("198.51.100.1/32", true);
        running.known();
        running
    }

    fn peers(&self, specs: &[(&str, Value)]) {
        self.frr_k8s
            .model()
            .apply(Change::Peers(peers(specs, &[("fast", json!({}))])));
    }

    fn route(&self, prefix: &str, announced: bool) {
        self.frr_k8s
            .model()
            .apply(Change::Routes(vec![route(prefix, announced)]));
    }

    fn known(&self) {
        self.frr_k8s.model().apply(Change::Known);
        self.frr_k8s.model().set_extras(None);
    }

    async fn reports(&self, wanted: impl Fn(&ConfigReport) -> bool) -> ConfigReport {
        let mut problems = self.frr_k8s.problems();
        let reported = timeout(Duration::from_secs(30), problems.wait_for(|report| wanted(report))).await;
        reported.unwrap().unwrap().clone()
    }

    async fn end(self) {
        self.stop.cancel();
        self.tasks.join(Duration::from_secs(5)).await.unwrap();
    }
}

fn route(prefix: &str, announced: bool) -> RouteChange {
    let path = Path {
        local_pref: 100,
        communities: Default::default(),
        peers: Default::default(),
    };
    RouteChange {
        prefix: prefix.parse::<IpNet>().unwrap(),
        paths: announced.then(|| Arc::new(path)).into_iter().collect(),
    }
}

/// Waits until the stored object is as wanted.
async fn eventually(cluster: &Cluster, what: &str, wanted: impl Fn(Option<&Value>) -> bool) {
    for _ in 0..1500 {
        if wanted(cluster.stored().await.as_ref()) {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("never {what}: {:?}", cluster.stored().await);
}

fn tells(object: Option<&Value>, prefix: &str) -> bool {
    object.is_some_and(|object| object["spec"].to_string().contains(prefix))
}

// FRR-48, FRR-49, FRR-56, FRR-57
#[tokio::test]
async fn an_object_is_written_once_and_by_no_other_speaker_again() {
    let cluster = Cluster::usual().await;
    let first = Running::announcing(&cluster);
    eventually(&cluster, "written", |object| tells(object, "198.51.100.1/32")).await;
    let object = cluster.stored().await.unwrap();
    let selector = &object["spec"]["nodeSelector"]["matchLabels"];
    assert_eq!(*selector, json!({ "kubernetes.io/hostname": "host-n" }));
    let owner = &object["metadata"]["ownerReferences"][0];
    assert_eq!((&owner["kind"], &owner["name"]), (&json!("Node"), &json!("n")));
    sleep(QUIET).await;
    assert_eq!(cluster.written().len(), 1);
    // What changes nothing writes nothing.
    first.route("198.51.100.1/32", true);
    first.peers(&[("tor", json!({ "peerAddress": "192.0.2.1" }))]);
    sleep(QUIET).await;
    first.end().await;
    // Nor does a speaker that does not know everything yet, or knows the same.
    let second = Running::start(&cluster);
    sleep(QUIET).await;
    second.peers(&[("tor", json!({ "peerAddress": "192.0.2.1" }))]);
    sleep(QUIET).await;
    second.route("198.51.100.1/32", true);
    second.known();
    sleep(QUIET).await;
    assert_eq!(cluster.written(), [""; 0]);
    second.route("198.51.100.2/32", true);
    eventually(&cluster, "written", |object| tells(object, "198.51.100.2/32")).await;
    second.end().await;
    assert!(cluster.stored().await.is_some(), "frr-k8s goes on with it");
}

// FRR-50
#[tokio::test]
async fn edits_are_undone_deletion_is_repaired_and_others_objects_are_left_alone() {
    let cluster = Cluster::usual().await;
    let other = json!({ "apiVersion": "frrk8s.metallb.io/v1beta1", "kind": "FRRConfiguration",
        "metadata": { "name": "metallb-other" }, "spec": { "raw": { "rawConfig": "hello" } } });
    let other = serde_json::from_value(other).unwrap();
    cluster.objects().create(&PostParams::default(), &other).await.unwrap();
    let running = Running::announcing(&cluster);
    eventually(&cluster, "written", |object| object.is_some()).await;
    for edit in [
        json!({ "spec": { "raw": { "rawConfig": "hello" } } }),
        json!({ "spec": { "bgp": null } }),
        json!({ "spec": { "nodeSelector": null } }),
    ] {
        cluster
            .objects()
            .patch(NAME, &PatchParams::default(), &Patch::Merge(&edit))
            .await
            .unwrap();
        let whole = |object: Option<&Value>| {
            tells(object, "198.51.100.1/32") && tells(object, "host-n") && !tells(object, "hello")
        };
        eventually(&cluster, "undone", whole).await;
    }
    cluster.objects().delete(NAME, &DeleteParams::default()).await.unwrap();
    eventually(&cluster, "repaired", |object| tells(object, "198.51.100.1/32")).await;
    running.peers(&[]);
    eventually(&cluster, "deleted", |object| object.is_none()).await;
    sleep(QUIET).await;
    assert!(
        cluster
            .written()
            .iter()
            .all(|line| line.ends_with(NAME) || line.starts_with("POST"))
    );
    assert!(cluster.objects().get("metallb-other").await.is_ok());
    running.end().await;
}

// FRR-55, FRR-60: the definition of an older frr-k8s.
#[tokio::test]
async fn a_field_that_the_cluster_does_not_know_is_named_and_written_once() {
    let mut crds = metallb_crdgen::frr_k8s_crds();
    for crd in crds
        .iter_mut()
        .filter(|crd| crd.name_any().starts_with("frrconfigurations"))
    {
        let mut value = serde_json::to_value(&*crd).unwrap();
        close(&mut value);
        *crd = serde_json::from_value(value).unwrap();
    }
    let cluster = Cluster::new(crds).await;
    let running = Running::announcing(&cluster);
    running.peers(&[("tor", json!({ "peerAddress": "192.0.2.1", "localASN": 64999 }))]);
    let report = running.reports(|report| !report.errors.is_empty()).await;
    let wanted = "frr-k8s does not know spec.bgp.routers[0].neighbors[0].localASN: the definition of FRRConfiguration leaves it out";
    assert_eq!(report.errors, [wanted]);
    sleep(QUIET).await;
    cluster.written();
    // Somebody changes what is none of our business.
    let label = json!({ "metadata": { "labels": { "x": "y" } } });
    cluster
        .objects()
        .patch(NAME, &PatchParams::default(), &Patch::Merge(&label))
        .await
        .unwrap();
    sleep(QUIET).await;
    assert_eq!(cluster.written(), [""; 0]);
    assert_eq!(running.frr_k8s.problems().borrow().errors, [wanted]);
    running.end().await;
}

/// Makes a definition forget `localASN`, and everything that it does not name.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.remove("localASN");
            fields.remove("x-kubernetes-preserve-unknown-fields");
            fields.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

// FRR-65
#[tokio::test]
async fn what_frr_k8s_says_of_the_node_is_told_until_it_is_over() {
    let cluster = Cluster::usual().await;
    let running = Running::announcing(&cluster);
    let states: Api<FRRNodeState> = Api::all(cluster.api.client());
    let state =
        json!({ "apiVersion": "frrk8s.metallb.io/v1beta1", "kind": "FRRNodeState", "metadata": { "name": "n" } });
    states
        .create(&PostParams::default(), &serde_json::from_value(state).unwrap())
        .await
        .unwrap();
    let say = async |conversion: &str, reload: &str| {
        let status = FRRNodeStateStatus {
            last_conversion_result: conversion.to_owned(),
            last_reload_result: reload.to_owned(),
            ..FRRNodeStateStatus::default()
        };
        let patch = json!({ "status": status });
        states
            .patch_status("n", &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap();
    };
    say("failed: two ports", "line 3: % Unknown command").await;
    let report = running.reports(|report| report.errors.len() == 2).await;
    assert_eq!(
        report.errors,
        [
            "frr-k8s does not take the FRRConfigurations of this node: failed: two ports",
            "frr-k8s cannot bring FRR to its configuration: line 3: % Unknown command",
        ]
    );
    say("success", "success").await;
    running.reports(|report| report.errors.is_empty()).await;
    running.end().await;
}

#[tokio::test]
async fn without_frr_k8s_it_is_said_what_is_missing() {
    let cluster = Cluster::new(vec![]).await;
    let running = Running::announcing(&cluster);
    let report = running.reports(|report| !report.errors.is_empty()).await;
    assert!(
        report.errors[0].contains("there is no FRRConfiguration in this cluster"),
        "{report:?}"
    );
    let kinds: Api<CustomResourceDefinition> = Api::all(cluster.api.client());
    for crd in metallb_crdgen::frr_k8s_crds() {
        kinds.create(&PostParams::default(), &crd).await.unwrap();
    }
    eventually(&cluster, "written", |object| object.is_some()).await;
    running.reports(|report| report.errors.is_empty()).await;
    running.end().await;
}

fn model(peers: Peers, extras: Option<&str>) -> Model {
    let mut model = Model::default();
    model.apply(Change::Peers(peers));
    model.set_extras(extras);
    model
}

// FRR-51, FRR-69
#[test]
fn a_secret_is_passed_on_by_name_or_told_or_there_is_no_session() {
    let with_secret = |password: Option<&str>| {
        let mut peers = peers(
            &[("tor", json!({ "peerAddress": "192.0.2.1" }))],
            &[("fast", json!({}))],
        );
        peers.peers[0].password = password.map(|password| password.to_owned().into());
        peers.peers[0].password_secret = Some(SecretRef {
            name: "bgp".to_owned(),
            namespace: String::new(),
        });
        model(peers, None)
    };
    let named = desired(&with_secret(Some("s3cret")), &settings(Secrets::Named)).0;
    assert_eq!(named.sessions[0].secret.as_ref().unwrap().name.as_deref(), Some("bgp"));
    assert_eq!(named.sessions[0].session.neighbour.password, None);
    let told = desired(&with_secret(Some("s3cret")), &settings(Secrets::Told)).0;
    assert_eq!(told.sessions[0].secret, None);
    assert_eq!(
        told.sessions[0].session.neighbour.password.as_ref().unwrap().expose(),
        "s3cret"
    );
    let (unknown, problems) = desired(&with_secret(None), &settings(Secrets::Told));
    assert!(
        unknown.sessions.is_empty() && problems[0].contains("the password must be known"),
        "{problems:?}"
    );
}

// FRR-58
#[test]
fn lines_of_frrs_own_are_not_used_and_that_is_said() {
    let extras = |lines| desired(&model(Peers::default(), lines), &settings(Secrets::Named)).1;
    assert_eq!(extras(None), [""; 0]);
    assert_eq!(extras(Some("")), [""; 0]);
    assert!(extras(Some("hello"))[0].starts_with("ConfigMap bgpextras: with frr-k8s"));
}
