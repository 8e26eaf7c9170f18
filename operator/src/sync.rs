//! Brings the cluster to the plan: the only place that writes.

use std::{collections::HashMap, fmt::Debug};

use anyhow::Context;
use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment},
    core::v1::{ConfigMap, ServiceAccount},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    core::{ApiResource, NamespaceResourceScope},
    runtime::reflector::{ObjectRef, Store},
};
use metallb_api::names::{self, field_manager};
use metallb_manifests::{MANAGED_BY, Object};
use metallb_runtime::{apply, watch::Watched};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tracing::info;

use crate::{conditions::State, drift::covers, metrics::Metrics};

/// What we deploy, as it is in the cluster.
#[derive(Clone)]
pub(crate) struct Stores {
    pub(crate) config_maps: Store<ConfigMap>,
    pub(crate) daemon_sets: Store<DaemonSet>,
    pub(crate) deployments: Store<Deployment>,
    pub(crate) service_accounts: Store<ServiceAccount>,
}

/// The labels of what we deploy, as a selector.
pub(crate) fn selector() -> String {
    format!("{}={},{}={}", names::LABEL_APP, names::APP, MANAGED_BY.0, MANAGED_BY.1)
}

/// Applies and prunes in the operator's namespace.
pub(crate) struct Sync {
    client: Client,
    namespace: String,
    stores: Stores,
    metrics: Metrics,
    /// What was applied last, by `Kind/name`: a field that is no longer wanted shows only here.
    applied: HashMap<String, Value>,
}

/// A write that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The API server refused it or could not be asked.
    #[error(transparent)]
    Apply(#[from] apply::Error),
    /// A kind is in the manifests that this code cannot write; a bug.
    #[error("cannot apply {0}: the operator does not deploy this kind")]
    Kind(String),
    /// An object that cannot be written as JSON; a bug.
    #[error("cannot serialise {0}")]
    Json(String, #[source] serde_json::Error),
}

impl Error {
    /// Tells the state that the failure means for the resource; none for what passes by itself.
    pub(crate) fn state(&self) -> Option<State> {
        let Self::Apply(apply::Error::Api { source, .. }) = self else {
            return Some(State::degraded("ApplyFailed", self.to_string()));
        };
        let kube::Error::Api(status) = source.as_ref() else {
            return None;
        };
        let reason = match status.code {
            401 | 403 => "MissingPermissions",
            // Conflicts, throttling and failures of the server itself.
            409 | 429 | 500.. => return None,
            _ => "ApplyFailed",
        };
        Some(State::degraded(reason, format!("{self}: {}", status.message)))
    }
}

impl Sync {
    pub(crate) fn new(client: Client, namespace: &str, stores: Stores, metrics: Metrics) -> Self {
        Self {
            client,
            namespace: namespace.to_owned(),
            stores,
            metrics,
            applied: HashMap::new(),
        }
    }

    /// Waits until our view of the cluster is complete.
    pub(crate) async fn wait_until_ready(&self) -> anyhow::Result<()> {
        let ended = "a watch of deployed objects ended";
        self.stores.config_maps.wait_until_ready().await.context(ended)?;
        self.stores.daemon_sets.wait_until_ready().await.context(ended)?;
        self.stores.deployments.wait_until_ready().await.context(ended)?;
        self.stores.service_accounts.wait_until_ready().await.context(ended)
    }

    /// Makes the objects exist as wanted and removes all others of ours; returns them as they are in the cluster.
    pub(crate) async fn deploy(&mut self, wanted: &[Object]) -> Result<Vec<Object>, Error> {
        let mut live = Vec::with_capacity(wanted.len());
        for object in wanted {
            live.push(self.ensure(object).await?);
        }
        self.prune(wanted).await?;
        Ok(live)
    }

    /// Removes all objects of ours, the speakers first: they withdraw what they announce while all else still stands.
    pub(crate) async fn remove(&mut self) -> Result<(), Error> {
        self.applied.clear();
        self.prune(&[]).await
    }

    /// Writes the object if it is missing, differs, or differs from what was written last.
    async fn ensure(&mut self, object: &Object) -> Result<Object, Error> {
        let name = object.to_string();
        let wanted = serde_json::to_value(object).map_err(|error| Error::Json(name.clone(), error))?;
        if self.applied.get(&name) == Some(&wanted)
            && let Some(live) = self.live(object)
            && serde_json::to_value(&live).is_ok_and(|live| covers(&live, &wanted))
        {
            return Ok(live);
        }
        let (live, changed) = self.write(object).await?;
        if changed {
            self.metrics.wrote("apply", &object.api_resource().kind);
            info!(event = "applied", object = name);
        }
        self.applied.insert(name, wanted);
        Ok(live)
    }

    fn live(&self, object: &Object) -> Option<Object> {
        let (stores, namespace) = (&self.stores, self.namespace.as_str());
        fn find<K>(store: &Store<K>, name: &str, namespace: &str) -> Option<Object>
        where
            K: Resource<DynamicType = ()> + Clone + Into<Object> + 'static,
        {
            store
                .get(&ObjectRef::new(name).within(namespace))
                .map(|found| (*found).clone().into())
        }
        match object {
            Object::ConfigMap(_) => find(&stores.config_maps, object.name(), namespace),
            Object::DaemonSet(_) => find(&stores.daemon_sets, object.name(), namespace),
            Object::Deployment(_) => find(&stores.deployments, object.name(), namespace),
            Object::ServiceAccount(_) => find(&stores.service_accounts, object.name(), namespace),
            _ => None,
        }
    }

    async fn write(&self, object: &Object) -> Result<(Object, bool), Error> {
        match object {
            Object::ConfigMap(object) => self.apply(object.as_ref()).await,
            Object::DaemonSet(object) => self.apply(object.as_ref()).await,
            Object::Deployment(object) => self.apply(object.as_ref()).await,
            Object::ServiceAccount(object) => self.apply(object.as_ref()).await,
            other => Err(Error::Kind(other.to_string())),
        }
    }

    async fn apply<K>(&self, object: &K) -> Result<(Object, bool), Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Serialize,
        Object: From<K>,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), &self.namespace);
        let applied = apply::apply(&api, object, field_manager::OPERATOR).await?;
        Ok((applied.object.into(), applied.changed))
    }

    /// Deletes what carries our labels and is not wanted. Asks the API server only if our view shows such an object.
    async fn prune(&mut self, wanted: &[Object]) -> Result<(), Error> {
        let wanted: Vec<_> = wanted.iter().map(ToString::to_string).collect();
        if !self.present().iter().any(|name| !wanted.contains(name)) {
            return Ok(());
        }
        let kinds = [
            ApiResource::erase::<DaemonSet>(&()),
            ApiResource::erase::<Deployment>(&()),
            ApiResource::erase::<ConfigMap>(&()),
        ];
        let selector = selector();
        let deleted = apply::prune(&self.client, &kinds, Some(&self.namespace), &selector, |kind, meta| {
            wanted.contains(&format!("{}/{}", kind.kind, meta.name.as_deref().unwrap_or_default()))
        });
        for name in deleted.await? {
            self.metrics.wrote("prune", name.split('/').next().unwrap_or_default());
            info!(event = "pruned", object = name);
            self.applied.remove(&name);
        }
        Ok(())
    }

    /// Lists what of ours may be pruned; ServiceAccounts never are.
    fn present(&self) -> Vec<String> {
        fn names<K>(store: &Store<K>) -> impl Iterator<Item = String>
        where
            K: Resource<DynamicType = ()> + Clone + 'static,
        {
            store
                .state()
                .into_iter()
                .map(|object| format!("{}/{}", K::kind(&()), object.name_any()))
        }
        let stores = &self.stores;
        names(&stores.daemon_sets)
            .chain(names(&stores.deployments))
            .chain(names(&stores.config_maps))
            .collect()
    }
}

/// Splits the stores off their streams of changes.
pub(crate) fn stores(
    config_maps: &Watched<ConfigMap>,
    daemon_sets: &Watched<DaemonSet>,
    deployments: &Watched<Deployment>,
    service_accounts: &Watched<ServiceAccount>,
) -> Stores {
    Stores {
        config_maps: config_maps.store.clone(),
        daemon_sets: daemon_sets.store.clone(),
        deployments: deployments.store.clone(),
        service_accounts: service_accounts.store.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    fn refused(code: u16, message: &str) -> Error {
        let status = Status {
            code,
            message: message.to_owned(),
            ..Status::default()
        };
        Error::Apply(apply::Error::Api {
            verb: "apply",
            kind: "Deployment".into(),
            name: "controller".into(),
            source: Box::new(kube::Error::Api(Box::new(status))),
        })
    }

    // OP-41, OP-42
    #[test]
    fn a_refusal_becomes_a_state_with_the_servers_words() {
        for (code, wanted) in [(403, "MissingPermissions"), (422, "ApplyFailed")] {
            let Some(State::Degraded { reason, message }) = refused(code, "no such thing").state() else {
                panic!()
            };
            assert_eq!(
                (reason.as_str(), message.as_str()),
                (wanted, "cannot apply Deployment controller: no such thing")
            );
        }
    }

    #[test]
    fn what_passes_by_itself_is_no_state() {
        for code in [409, 429, 500, 503] {
            assert_eq!(refused(code, "later").state(), None, "{code}");
        }
    }
}
