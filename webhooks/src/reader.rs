//! Where the objects come from that a new one is judged against.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Node, NodeSpec, NodeStatus, Secret, Service};
use kube::api::ListParams;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::{Api, Client, Resource, ResourceExt};
use metallb_api::ServiceBGPStatus;
use metallb_config::Resources;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tracing::{debug, warn};

/// How long a round of lists may take before it is begun anew, on other connections: those that died without a word
/// would hold up every request for more than the ten seconds that an API server waits for a verdict.
const ROUND: Duration = Duration::from_secs(3);

/// Reads the objects that exist.
pub trait Reader: Send + Sync + 'static {
    /// Returns all objects that a verdict can depend on, as they are when it is asked or later.
    ///
    /// Namespaces are none of them. Of Secrets the names are enough, and none at all means that they are not known.
    fn current(&self) -> BoxFuture<'_, Result<Arc<Resources>, ReadError>>;

    /// Returns the Services of all namespaces.
    fn services(&self) -> BoxFuture<'_, Result<Vec<Service>, ReadError>> {
        std::future::ready(Ok(Vec::new())).boxed()
    }

    /// Returns which node announces which Service to which peers.
    fn announced(&self) -> BoxFuture<'_, Result<Vec<ServiceBGPStatus>, ReadError>> {
        std::future::ready(Ok(Vec::new())).boxed()
    }
}

/// Why the objects cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot list {kind}")]
pub struct ReadError {
    /// Kind of the objects.
    pub kind: String,
    /// What happened.
    #[source]
    pub source: kube::Error,
}

/// Any cheap snapshot, of reflector stores for instance.
impl<F: Fn() -> Arc<Resources> + Send + Sync + 'static> Reader for F {
    fn current(&self) -> BoxFuture<'_, Result<Arc<Resources>, ReadError>> {
        std::future::ready(Ok(self())).boxed()
    }
}

/// Lists from the API server, so that an object created a moment ago counts.
///
/// Requests that wait at the same time share one round of lists: it began after each of them had come, so none of them
/// sees less than its own lists would have shown, and a burst costs two rounds however large it is.
#[derive(Clone)]
pub struct Lists {
    client: Client,
    namespace: String,
    /// How many requests have come.
    asked: Arc<AtomicU64>,
    last: Arc<Mutex<Option<Round>>>,
}

/// One round of lists.
struct Round {
    /// The last request that had come when it began.
    covers: u64,
    found: Arc<Resources>,
}

impl Lists {
    /// Reads the given namespace.
    #[must_use]
    pub fn new(client: Client, namespace: &str) -> Self {
        Self {
            client,
            namespace: namespace.to_owned(),
            asked: Arc::default(),
            last: Arc::default(),
        }
    }

    async fn shared(&self) -> Result<Arc<Resources>, ReadError> {
        let ticket = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut last = self.last.lock().await;
        if let Some(round) = last.as_ref().filter(|round| round.covers >= ticket) {
            return Ok(round.found.clone());
        }
        let covers = self.asked.load(Ordering::SeqCst);
        // Two rounds need not be in memory at once.
        *last = None;
        let found = match timeout(ROUND, self.all()).await {
            Ok(found) => found,
            Err(_) => self.all().await,
        };
        let found = Arc::new(found?);
        *last = Some(Round {
            covers,
            found: found.clone(),
        });
        Ok(found)
    }

    async fn all(&self) -> Result<Resources, ReadError> {
        let (pools, address_pools, l2, bgp, peers, profiles, communities, nodes, secrets) = futures::try_join!(
            self.list(),
            self.list(),
            self.list(),
            self.list(),
            self.list(),
            self.list(),
            self.list(),
            self.nodes(),
            self.secrets().map(Ok),
        )?;
        Ok(Resources {
            namespace: self.namespace.clone(),
            pools,
            address_pools,
            l2_advertisements: l2,
            bgp_advertisements: bgp,
            peers,
            bfd_profiles: profiles,
            communities,
            nodes,
            secrets,
            ..Resources::default()
        })
    }

    /// Lists a kind; one that is not installed has no objects.
    async fn list<K>(&self) -> Result<Vec<K>, ReadError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), &self.namespace);
        let mut objects = match api.list(&ListParams::default()).await {
            Ok(list) => list.items,
            Err(kube::Error::SerdeError(_)) => self.legible().await?,
            Err(kube::Error::Api(status)) if status.code == 404 => Vec::new(),
            Err(error) => return Err(failed(&K::kind(&()))(error)),
        };
        for object in &mut objects {
            object.meta_mut().managed_fields = None;
        }
        Ok(objects)
    }

    /// Lists a kind of which some object is not legible: that one is skipped, as the components do.
    ///
    /// This takes several times as long, so it is not the first choice.
    async fn legible<K>(&self) -> Result<Vec<K>, ReadError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let api: Api<DeserializeGuard<K>> = Api::namespaced(self.client.clone(), &self.namespace);
        let kind = K::kind(&());
        let list = api.list(&ListParams::default()).await.map_err(failed(&kind))?;
        let legible = |guard: DeserializeGuard<K>| match guard.0 {
            Ok(object) => Some(object),
            Err(error) => {
                warn!(%kind, object = %error.metadata.name.unwrap_or_default(), error = %error.error, "object is not legible");
                None
            }
        };
        Ok(list.items.into_iter().filter_map(legible).collect())
    }

    /// Of Nodes labels, addresses and those of their Pods are enough.
    async fn nodes(&self) -> Result<Vec<Node>, ReadError> {
        let api: Api<Node> = Api::all(self.client.clone());
        let list = api.list(&ListParams::default()).await.map_err(failed("Node"))?;
        let trimmed = |mut node: Node| {
            node.managed_fields_mut().clear();
            node.annotations_mut().clear();
            Node {
                metadata: node.metadata,
                spec: node.spec.map(|spec| NodeSpec {
                    pod_cidrs: spec.pod_cidrs,
                    ..NodeSpec::default()
                }),
                status: node.status.map(|status| NodeStatus {
                    addresses: status.addresses,
                    ..NodeStatus::default()
                }),
            }
        };
        Ok(list.items.into_iter().map(trimmed).collect())
    }

    /// Of Secrets the names are enough. Who may not see them goes without the warning that hangs on them.
    async fn secrets(&self) -> Vec<Secret> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let named = |meta: PartialObjectMeta<Secret>| {
            let mut secret = Secret::default();
            secret.metadata.name = meta.metadata.name;
            secret
        };
        match api.list_metadata(&ListParams::default()).await {
            Ok(list) => list.items.into_iter().map(named).collect(),
            Err(error) => {
                debug!(%error, "cannot list the names of Secrets");
                Vec::new()
            }
        }
    }
}

fn failed(kind: &str) -> impl FnOnce(kube::Error) -> ReadError {
    let kind = kind.to_owned();
    move |source| ReadError { kind, source }
}

impl Reader for Lists {
    fn current(&self) -> BoxFuture<'_, Result<Arc<Resources>, ReadError>> {
        self.shared().boxed()
    }

    fn services(&self) -> BoxFuture<'_, Result<Vec<Service>, ReadError>> {
        async {
            let api: Api<Service> = Api::all(self.client.clone());
            let list = api.list(&ListParams::default()).await.map_err(failed("Service"))?;
            Ok(list.items)
        }
        .boxed()
    }

    fn announced(&self) -> BoxFuture<'_, Result<Vec<ServiceBGPStatus>, ReadError>> {
        self.list().boxed()
    }
}

#[cfg(test)]
mod tests;
