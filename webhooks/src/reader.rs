//! Where the objects come from that a new one is judged against.

use std::fmt::Debug;

use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Node;
use kube::api::ListParams;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::{Api, Client, Resource};
use metallb_config::Resources;
use serde::de::DeserializeOwned;
use tracing::warn;

/// Reads the objects that exist.
pub trait Reader: Send + Sync + 'static {
    /// Returns all objects that a verdict can depend on; Secrets and Namespaces are none of them.
    fn current(&self) -> BoxFuture<'_, Result<Resources, ReadError>>;
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
impl<F: Fn() -> Resources + Send + Sync + 'static> Reader for F {
    fn current(&self) -> BoxFuture<'_, Result<Resources, ReadError>> {
        std::future::ready(Ok(self())).boxed()
    }
}

/// Lists from the API server at every request, so that an object created a moment ago counts.
#[derive(Clone)]
pub struct Lists {
    client: Client,
    namespace: String,
}

impl Lists {
    /// Reads the given namespace.
    #[must_use]
    pub fn new(client: Client, namespace: &str) -> Self {
        Self {
            client,
            namespace: namespace.to_owned(),
        }
    }

    /// Lists a kind; an object that is not legible is skipped, as the components do.
    async fn list<K>(&self) -> Result<Vec<K>, ReadError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let api: Api<DeserializeGuard<K>> = Api::namespaced(self.client.clone(), &self.namespace);
        let kind = K::kind(&());
        let list = api.list(&ListParams::default()).await.map_err(|source| ReadError {
            kind: kind.to_string(),
            source,
        })?;
        let legible = |guard: DeserializeGuard<K>| match guard.0 {
            Ok(object) => Some(object),
            Err(error) => {
                warn!(%kind, object = %error.metadata.name.unwrap_or_default(), error = %error.error, "object is not legible");
                None
            }
        };
        Ok(list.items.into_iter().filter_map(legible).collect())
    }

    /// Of Nodes the labels are enough.
    async fn nodes(&self) -> Result<Vec<Node>, ReadError> {
        let api: Api<Node> = Api::all(self.client.clone());
        let list = api
            .list_metadata(&ListParams::default())
            .await
            .map_err(|source| ReadError {
                kind: "Node".to_owned(),
                source,
            })?;
        let node = |meta: PartialObjectMeta<Node>| Node {
            metadata: meta.metadata,
            ..Node::default()
        };
        Ok(list.items.into_iter().map(node).collect())
    }
}

impl Reader for Lists {
    fn current(&self) -> BoxFuture<'_, Result<Resources, ReadError>> {
        async {
            let (pools, address_pools, l2, bgp, peers, profiles, communities, nodes) = futures::try_join!(
                self.list(),
                self.list(),
                self.list(),
                self.list(),
                self.list(),
                self.list(),
                self.list(),
                self.nodes(),
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
                ..Resources::default()
            })
        }
        .boxed()
    }
}
