//! What the lab's stand-ins know of the cluster: one watched copy of each kind, and one signal for "look again".

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Watched copies, shared by the node agents, the workload controllers and the service proxies.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub client: Client,
    pub pods: Store<Pod>,
    pub nodes: Store<Node>,
    pub services: Store<Service>,
    pub slices: Store<EndpointSlice>,
    pub deployments: Store<Deployment>,
    pub daemon_sets: Store<DaemonSet>,
    pub secrets: Store<Secret>,
    pub config_maps: Store<ConfigMap>,
    changed: Arc<watch::Sender<()>>,
}

impl Cluster {
    /// Starts the watches; they end with `stop`.
    pub(crate) fn watch(client: &Client, tasks: &TaskTracker, stop: &CancellationToken) -> Self {
        let follower = Follower {
            client,
            tasks,
            stop,
            changed: Arc::new(watch::channel(()).0),
        };
        Self {
            client: client.clone(),
            pods: follower.follow(),
            nodes: follower.follow(),
            services: follower.follow(),
            slices: follower.follow(),
            deployments: follower.follow(),
            daemon_sets: follower.follow(),
            secrets: follower.follow(),
            config_maps: follower.follow(),
            changed: follower.changed,
        }
    }

    /// Waits until every copy has been filled once.
    pub(crate) async fn ready(&self) {
        // Fails only when the writer is gone, which is at the end of the lab.
        let _ = tokio::join!(
            self.pods.wait_until_ready(),
            self.nodes.wait_until_ready(),
            self.services.wait_until_ready(),
            self.slices.wait_until_ready(),
            self.deployments.wait_until_ready(),
            self.daemon_sets.wait_until_ready(),
            self.secrets.wait_until_ready(),
            self.config_maps.wait_until_ready(),
        );
    }

    /// A receiver that wakes at any change of anything: the stand-ins compare the whole state each time,
    /// which a handful of objects allows and which cannot miss a transition.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Makes everybody look again.
    pub(crate) fn nudge(&self) {
        self.changed.send_replace(());
    }

    /// The pod of that identity, if it is still there.
    pub(crate) fn pod(&self, namespace: &str, name: &str, uid: &str) -> Option<Arc<Pod>> {
        let pod = self.pods.get(&ObjectRef::new(name).within(namespace));
        pod.filter(|pod| pod.metadata.uid.as_deref() == Some(uid))
    }
}

struct Follower<'a> {
    client: &'a Client,
    tasks: &'a TaskTracker,
    stop: &'a CancellationToken,
    changed: Arc<watch::Sender<()>>,
}

impl Follower<'_> {
    fn follow<K>(&self) -> Store<K>
    where
        K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
        K::DynamicType: Default + Eq + Hash + Clone + Send + Sync,
    {
        let (store, writer) = reflector::store();
        let events = watcher(Api::<K>::all(self.client.clone()), watcher::Config::default());
        let stream = events.default_backoff().reflect(writer);
        self.tasks
            .spawn(follow(stream, self.changed.clone(), self.stop.clone()));
        store
    }
}

async fn follow<K>(
    stream: impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send,
    changed: Arc<watch::Sender<()>>,
    stop: CancellationToken,
) {
    let mut stream = std::pin::pin!(stream);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            event = stream.next() => match event {
                Some(Ok(_)) => { changed.send_replace(()); }
                Some(Err(error)) => tracing::debug!(%error, "a watch was interrupted"),
                None => return,
            }
        }
    }
}

/// This moment, as Kubernetes writes it.
pub(crate) fn now() -> Time {
    Time(Timestamp::now())
}
