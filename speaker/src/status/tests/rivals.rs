//! Writers that disagree about who announces a Service, on an API server that tells each of the other's deeds.

use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

use super::*;

/// An API server, and how often something was created there.
pub(super) struct Cluster {
    pub(super) api: metallb_lab_api::ApiServer,
    created: Arc<Mutex<usize>>,
    _dir: tempfile::TempDir,
}

impl Cluster {
    pub(super) async fn start() -> Self {
        metallb_runtime::tls::install_crypto_provider();
        let dir = tempfile::tempdir().unwrap();
        let options = metallb_lab_api::Options {
            listeners: vec![std::net::TcpListener::bind("127.0.0.1:0").unwrap()],
            dir: dir.path().to_owned(),
            ..Default::default()
        };
        let api = metallb_lab_api::start(options).await.unwrap();
        let crds: Api<CustomResourceDefinition> = Api::all(api.client());
        for crd in metallb_crdgen::crds() {
            crds.create(&PostParams::default(), &crd).await.unwrap();
        }
        let namespaces: Api<Namespace> = Api::all(api.client());
        let namespace = json!({ "metadata": { "name": "metallb-system" } });
        let namespace = serde_json::from_value(namespace).unwrap();
        namespaces.create(&PostParams::default(), &namespace).await.unwrap();
        Self {
            api,
            created: Arc::default(),
            _dir: dir,
        }
    }

    fn client(&self) -> Client {
        let (inner, created) = (self.api.client(), Arc::clone(&self.created));
        let service = tower::service_fn(move |request: Request<Body>| {
            if request.method() == http::Method::POST {
                *created.lock().unwrap() += 1;
            }
            let inner = inner.clone();
            async move { Ok::<_, tower::BoxError>(inner.send(request).await?) }
        });
        Client::new(service, "default")
    }

    pub(super) fn created(&self) -> usize {
        *self.created.lock().unwrap()
    }

    /// A speaker of a node, and what it is to say.
    async fn speaker(&self, node: &str, tasks: &mut Tasks) -> Desired {
        self.speaker_of::<ServiceL2Status>(node, tasks).await
    }

    /// The same, and the objects are of kind `K`.
    pub(super) async fn speaker_of<K: StatusKind>(&self, node: &str, tasks: &mut Tasks) -> Desired {
        let pods: Api<Pod> = Api::namespaced(self.api.client(), "metallb-system");
        // Whose node has a long name has a Pod with a short one all the same.
        let name = format!("speaker-{}", &node[..node.len().min(8)]);
        let container = json!({ "name": "speaker", "image": "speaker" });
        let pod = json!({ "metadata": { "name": name }, "spec": { "containers": [container] } });
        let pod = serde_json::from_value(pod).unwrap();
        // Without its owner the garbage collector takes an object away.
        let pod = pods.create(&PostParams::default(), &pod).await.unwrap();
        let owner = Owner {
            namespace: "metallb-system".into(),
            node: node.into(),
            pod: OwnerReference {
                api_version: "v1".into(),
                kind: "Pod".into(),
                uid: pod.metadata.uid.unwrap(),
                name,
                ..OwnerReference::default()
            },
        };
        let desired = Desired::default();
        let writer = write::<K>(self.client(), owner, desired.clone(), tasks.spawner());
        tasks.spawn("writer", async {
            writer.await;
            Ok(())
        });
        desired.open();
        desired
    }

    /// The nodes that the objects name.
    async fn nodes(&self) -> Vec<String> {
        let api: Api<ServiceL2Status> = Api::namespaced(self.api.client(), "metallb-system");
        let objects = api.list(&ListParams::default()).await.unwrap().items;
        let statuses = objects.into_iter().filter_map(|object| object.status);
        statuses.map(|status| status.node).collect()
    }

    async fn names(&self, node: &str) {
        for _ in 0..10_000 {
            if self.nodes().await == [node] {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{:?} instead of {node}", self.nodes().await);
    }
}

// L2-82: metallb/metallb issues 2930 and 3063.
#[tokio::test(start_paused = true)]
async fn two_speakers_that_both_claim_a_service_do_not_create_and_delete_without_end() {
    let cluster = Cluster::start().await;
    let stop = CancellationToken::new();
    let mut tasks = Tasks::new(stop.clone());
    let (a, b) = (
        cluster.speaker("a", &mut tasks).await,
        cluster.speaker("b", &mut tasks).await,
    );
    a.set(key(), all_interfaces());
    cluster.names("a").await;
    b.set(key(), all_interfaces());
    tokio::time::sleep(Duration::from_secs(1200)).await;
    let created = cluster.created();
    assert!((3..=60).contains(&created), "{created} objects in 20 minutes");

    // When one gives way the other is told of, sooner or later, and then it is quiet.
    a.set(key(), None);
    cluster.names("b").await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    let created = cluster.created();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(
        (cluster.nodes().await, cluster.created()),
        (vec!["b".to_owned()], created)
    );
    stop.cancel();
    tasks.join(Duration::from_secs(1)).await.unwrap();
}

// L2-84
#[tokio::test(start_paused = true)]
async fn an_object_that_is_deleted_by_hand_is_made_again() {
    let cluster = Cluster::start().await;
    let stop = CancellationToken::new();
    let mut tasks = Tasks::new(stop.clone());
    let desired = cluster.speaker("a", &mut tasks).await;
    desired.set(key(), all_interfaces());
    let api: Api<ServiceL2Status> = Api::namespaced(cluster.api.client(), "metallb-system");
    for times in 1..=3 {
        cluster.names("a").await;
        assert_eq!(cluster.created(), times);
        for object in api.list(&ListParams::default()).await.unwrap() {
            let name = object.metadata.name.unwrap();
            api.delete(&name, &kube::api::DeleteParams::default()).await.unwrap();
        }
    }
    cluster.names("a").await;
    stop.cancel();
    tasks.join(Duration::from_secs(1)).await.unwrap();
}
