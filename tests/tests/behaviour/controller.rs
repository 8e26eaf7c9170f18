//! The controller as a whole, against an API server: what is written, when, and that nothing else is.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret, Service};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use metallb_api::{ConfigurationResult, ConfigurationState, IPAddressPool, IPAddressPoolStatus, names};
use metallb_controller::Args;
use metallb_runtime::CancellationToken;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

mod announceable;
mod announced;
mod faults;
mod input;
mod leadership;
mod legacy;
mod line;
mod panics;
mod planned;
mod start;

const NAMESPACE: &str = "metallb-system";

/// The command line of a controller that serves nothing beside its work.
fn args(pod: &str, more: &[&str]) -> Args {
    let pod = format!("--pod-name={pod}");
    let flags = [
        "controller",
        "--namespace=metallb-system",
        "--ml-secret-name=metallb-memberlist",
        "--deployment=controller",
        "--webhook-mode=disabled",
        "--port=0",
        "--health-probe-port=0",
        "--ignore-exclude-lb=false",
        &pod,
    ];
    let flags = flags.iter().chain(more).map(ToString::to_string);
    Args::parse_go(flags).unwrap()
}

fn decode<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

/// An API server with our kinds and the objects that a controller expects around itself.
struct Cluster {
    api: metallb_lab_api::ApiServer,
    client: Client,
    _dir: tempfile::TempDir,
}

/// A controller in this process.
struct Controller {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Controller {
    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

impl Cluster {
    async fn start() -> Self {
        metallb_runtime::tls::install_crypto_provider();
        let dir = tempfile::tempdir().unwrap();
        let options = metallb_lab_api::Options {
            listeners: vec![std::net::TcpListener::bind("127.0.0.1:0").unwrap()],
            dir: dir.path().to_owned(),
            ..Default::default()
        };
        let api = metallb_lab_api::start(options).await.unwrap();
        let client = api.client();
        let cluster = Self { api, client, _dir: dir };
        cluster.install().await;
        cluster
    }

    /// A cluster with one pool, `p`.
    async fn with_pool(range: &str) -> Self {
        let cluster = Self::start().await;
        cluster.pool("p", range).await;
        cluster
    }

    async fn install(&self) {
        let crds: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        for crd in metallb_crdgen::crds() {
            crds.create(&PostParams::default(), &crd).await.unwrap();
        }
        self.namespace(NAMESPACE).await;
        let pod = |name: &str| json!({ "metadata": { "name": name }, "spec": { "containers": [{ "name": "controller", "image": "controller" }] } });
        create(&self.ours::<Pod>(), pod("controller-1")).await;
        create(&self.ours::<Pod>(), pod("controller-2")).await;
        let template = json!({ "metadata": { "labels": { "app": "metallb" } },
            "spec": { "containers": [{ "name": "controller", "image": "controller" }] } });
        let deployment = json!({ "metadata": { "name": "controller" },
            "spec": { "selector": { "matchLabels": { "app": "metallb" } }, "template": template } });
        create(&self.ours::<Deployment>(), deployment).await;
    }

    fn controller(&self, pod: &str) -> Controller {
        let kubeconfig = format!("--kubeconfig={}", self.api.kubeconfig_path().display());
        let stop = CancellationToken::new();
        let task = tokio::spawn(metallb_controller::run(args(pod, &[&kubeconfig]), stop.clone()));
        Controller { stop, task }
    }

    fn ours<K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    fn services(&self) -> Api<Service> {
        Api::namespaced(self.client.clone(), "default")
    }

    async fn pool(&self, name: &str, range: &str) {
        create(
            &self.ours::<IPAddressPool>(),
            json!({ "metadata": { "name": name }, "spec": { "addresses": [range] } }),
        )
        .await;
    }

    async fn namespace(&self, name: &str) {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        create(&namespaces, json!({ "metadata": { "name": name } })).await;
    }

    async fn service(&self, name: &str) {
        let spec = json!({ "type": "LoadBalancer", "ports": [{ "port": 80 }], "selector": { "app": name } });
        create(&self.services(), json!({ "metadata": { "name": name }, "spec": spec })).await;
    }

    async fn services_named(&self, names: &[&str]) {
        for name in names {
            self.service(name).await;
        }
    }

    async fn ip(&self, name: &str) -> String {
        addresses(self.services().get(name).await.unwrap()).join(",")
    }

    /// How many addresses all Services have.
    async fn assigned(&self) -> usize {
        let all = self.services().list(&ListParams::default()).await.unwrap();
        all.items.into_iter().map(|service| addresses(service).len()).sum()
    }

    /// The reason of our condition.
    async fn reason(&self, name: &str) -> String {
        let status = self.services().get(name).await.unwrap().status.unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        let own = conditions.into_iter().find(|c| c.type_ == names::CONDITION_ALLOCATED);
        own.map(|condition| condition.reason).unwrap_or_default()
    }

    async fn gets(&self, name: &str, ip: &str) {
        wait_for(|| async { self.ip(name).await == ip }).await;
    }

    /// The version of every Service, which a write would change.
    async fn versions(&self) -> BTreeMap<String, String> {
        let all = self.services().list(&ListParams::default()).await.unwrap();
        all.items
            .into_iter()
            .map(|s| (s.name_any(), s.resource_version().unwrap_or_default()))
            .collect()
    }
}

async fn create<K>(api: &Api<K>, object: Value)
where
    K: kube::Resource + Clone + DeserializeOwned + serde::Serialize + std::fmt::Debug,
{
    api.create(&PostParams::default(), &decode(object)).await.unwrap();
}

async fn wait_for<F: Future<Output = bool>>(mut condition: impl FnMut() -> F) {
    let poll = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), poll)
        .await
        .expect("happens in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_gets_an_address_and_everybody_can_see_why() {
    // CTL-2 CTL-9 CTL-124 CTL-126 CTL-127 CTL-129 CTL-131 CTL-132 CTL-141
    let cluster = Cluster::with_pool("192.0.2.0/30").await;
    let controller = cluster.controller("controller-1");
    cluster.service("first").await;
    cluster.gets("first", "192.0.2.0").await;
    let begin = Instant::now();
    cluster.service("second").await;
    cluster.gets("second", "192.0.2.1").await;
    println!("created → address in the status: {:?}", begin.elapsed());

    let service = cluster.services().get("second").await.unwrap();
    assert_eq!(service.annotations()[names::ANNOTATION_IP_ALLOCATED_FROM_POOL], "p");
    let events: Api<Event> = Api::namespaced(cluster.client.clone(), "default");
    let told = || async {
        let events = events.list(&ListParams::default()).await.unwrap().items;
        let of = |event: &Event| event.regarding.as_ref().and_then(|object| object.name.clone());
        let text = Some("Assigned IP [\"192.0.2.1\"]");
        events
            .iter()
            .any(|event| of(event).as_deref() == Some("second") && event.note.as_deref() == text)
    };
    wait_for(told).await;

    let pools = cluster.ours::<IPAddressPool>();
    let expected = IPAddressPoolStatus {
        assigned_ipv4: 2,
        available_ipv4: 2,
        ..Default::default()
    };
    let counted = || async { pools.get("p").await.unwrap().status == Some(expected) };
    wait_for(counted).await;
    let wrong = Patch::Merge(json!({ "status": { "assignedIPv4": 77 } }));
    pools.patch_status("p", &PatchParams::default(), &wrong).await.unwrap();
    wait_for(counted).await;

    let states = cluster.ours::<ConfigurationState>();
    let valid = || async {
        let state = states.get_opt("controller").await.unwrap();
        state.and_then(|state| state.status).and_then(|status| status.result) == Some(ConfigurationResult::Valid)
    };
    wait_for(valid).await;
    assert_eq!(
        states.get("controller").await.unwrap().owner_references()[0].name,
        "controller-1"
    );
    // What is wrong with a peer is none of the controller's business.
    let peer = json!({ "metadata": { "name": "wrong" }, "spec": { "myASN": 1, "peerASN": 2, "peerAddress": "10.0.0.1", "bfdProfile": "missing" } });
    create(&cluster.ours::<metallb_api::BGPPeer>(), peer).await;
    states.delete("controller", &DeleteParams::default()).await.unwrap();
    wait_for(valid).await;

    let secret = cluster.ours::<Secret>().get("metallb-memberlist").await.unwrap();
    assert!(secret.data.unwrap().contains_key("secretkey"));
    controller.stop().await;
    cluster.api.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_writes_nothing_and_moves_nobody() {
    // CTL-27
    let cluster = Cluster::with_pool("192.0.2.0/31").await;
    let controller = cluster.controller("controller-1");
    for (name, ip) in [("z", "192.0.2.0"), ("y", "192.0.2.1")] {
        cluster.service(name).await;
        cluster.gets(name, ip).await;
    }
    cluster.service("late").await;
    wait_for(|| async { cluster.reason("late").await == "NoAvailableAddresses" }).await;
    controller.stop().await;
    let before = cluster.versions().await;
    for round in 0..3 {
        let controller = cluster.controller("controller-1");
        // One that came after the start has been answered: so have all that were there before it.
        let mark = format!("mark-{round}");
        cluster.service(&mark).await;
        wait_for(|| async { cluster.reason(&mark).await == "NoAvailableAddresses" }).await;
        controller.stop().await;
        cluster
            .services()
            .delete(&mark, &DeleteParams::default())
            .await
            .unwrap();
    }
    assert_eq!(cluster.versions().await, before);
    let controller = cluster.controller("controller-1");
    cluster.services().delete("z", &DeleteParams::default()).await.unwrap();
    cluster.gets("late", "192.0.2.0").await;
    controller.stop().await;
    cluster.api.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_replicas_writes_and_the_other_takes_over() {
    // CTL-33
    let cluster = Cluster::with_pool("192.0.2.0/30").await;
    let first = cluster.controller("controller-1");
    cluster.service("a").await;
    cluster.gets("a", "192.0.2.0").await;
    let second = cluster.controller("controller-2");
    cluster.service("b").await;
    cluster.gets("b", "192.0.2.1").await;
    let before = cluster.versions().await;
    first.stop().await;
    cluster.service("c").await;
    cluster.gets("c", "192.0.2.2").await;
    let mut after = cluster.versions().await;
    after.remove("c");
    assert_eq!(after, before);
    second.stop().await;
    cluster.api.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_pool_stops_nobody_and_is_reported() {
    // CTL-47 CTL-50
    let cluster = Cluster::start().await;
    cluster.pool("good", "192.0.2.0/30").await;
    cluster.pool("bad", "junk").await;
    let controller = cluster.controller("controller-1");
    cluster.service("a").await;
    cluster.gets("a", "192.0.2.0").await;
    let states = cluster.ours::<ConfigurationState>();
    let summary = || async {
        let state = states.get_opt("controller").await.unwrap();
        state.and_then(|state| state.status).unwrap_or_default().error_summary
    };
    wait_for(|| async { summary().await.contains("bad") }).await;
    let pools = cluster.ours::<IPAddressPool>();
    let junk = Patch::Merge(json!({ "spec": { "addresses": ["rubbish"] } }));
    pools.patch("good", &PatchParams::default(), &junk).await.unwrap();
    wait_for(|| async { summary().await.contains("rubbish") }).await;
    cluster.service("b").await;
    cluster.gets("b", "192.0.2.1").await;
    assert_eq!(cluster.ip("a").await, "192.0.2.0");
    controller.stop().await;
    cluster.api.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_services_at_once_get_one_address_and_one_write_each() {
    use futures::StreamExt;

    const COUNT: usize = 300;
    let cluster = Cluster::with_pool("10.1.0.0/16").await;
    let controller = cluster.controller("controller-1");
    cluster.service("first").await;
    cluster.gets("first", "10.1.0.0").await;
    let config = kube::runtime::watcher::Config::default();
    let watch = kube::runtime::watcher(cluster.services(), config).boxed();
    let seen = tokio::spawn(assigned(watch));
    let begin = Instant::now();
    let names = futures::stream::iter((0..COUNT).map(|n| format!("s{n}")));
    let cluster_ref = &cluster;
    names
        .for_each_concurrent(8, |name| async move { cluster_ref.service(&name).await })
        .await;
    let created = begin.elapsed();
    // What the controller has seen of its own writes by then can make it write again no more.
    wait_for(|| async { cluster.assigned().await == COUNT + 1 }).await;
    cluster.service(LAST).await;
    let (versions, ips) = seen.await.unwrap();
    println!(
        "{COUNT} created in {created:?}, all assigned after {:?}",
        begin.elapsed()
    );
    assert_eq!(ips.len(), COUNT + 2);
    // The creation and one write: nobody was written twice.
    assert!(versions.values().all(|versions| *versions <= 2), "{versions:?}");
    controller.stop().await;
    cluster.api.shutdown().await;
}

/// The Service that is created after all others.
const LAST: &str = "last";

/// Follows Services until the last has an address: how many versions of each were seen, and the distinct addresses. That
/// nobody announces them is said later, on a slow machine before the end.
async fn assigned(
    mut watch: futures::stream::BoxStream<
        'static,
        kube::runtime::watcher::Result<kube::runtime::watcher::Event<Service>>,
    >,
) -> (BTreeMap<String, usize>, std::collections::BTreeSet<String>) {
    use futures::StreamExt;
    use kube::runtime::watcher::Event;

    let mut versions = BTreeMap::new();
    let mut ips = std::collections::BTreeSet::new();
    loop {
        let Some(Ok(Event::Apply(service) | Event::InitApply(service))) = watch.next().await else {
            continue;
        };
        let name = service.name_any();
        let conditions = service.status.as_ref().and_then(|status| status.conditions.as_ref());
        if conditions.is_some_and(|all| all.iter().any(|own| own.type_ == names::CONDITION_ANNOUNCED)) {
            continue;
        }
        let found = addresses(service);
        let ended = name == LAST && !found.is_empty();
        *versions.entry(name).or_default() += 1;
        ips.extend(found);
        if ended {
            return (versions, ips);
        }
    }
}

fn addresses(service: Service) -> Vec<String> {
    let status = service.status.unwrap_or_default().load_balancer.unwrap_or_default();
    let ingress = status.ingress.unwrap_or_default();
    ingress.into_iter().filter_map(|entry| entry.ip).collect()
}
