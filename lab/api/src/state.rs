//! The state that all requests share, and the writes that no client asked for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::auth::Tokens;
use crate::crd;
use crate::defaults;
use crate::meta;
use crate::resource::{Registry, Resource};
use crate::service::{self, Nets};
use crate::store::{Key, Object, Store};

/// One server. Locks are held for moments only, never across an await.
pub(crate) struct Server {
    registry: RwLock<Registry>,
    store: Mutex<Store>,
    tokens: Mutex<Tokens>,
    nets: Mutex<Nets>,
    pub(crate) ca_pem: String,
    pub(crate) stop: CancellationToken,
}

impl Server {
    pub(crate) fn new(ca_pem: String, stop: CancellationToken) -> Self {
        let server = Self {
            registry: RwLock::new(Registry::builtin()),
            store: Mutex::default(),
            tokens: Mutex::default(),
            nets: Mutex::default(),
            ca_pem,
            stop,
        };
        server.bootstrap();
        server
    }

    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn tokens(&self) -> MutexGuard<'_, Tokens> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn nets(&self) -> MutexGuard<'_, Nets> {
        self.nets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the registry.
    pub(crate) fn registry<T>(&self, read: impl FnOnce(&Registry) -> T) -> T {
        read(&self.registry.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the registry.
    pub(crate) fn register<T>(&self, write: impl FnOnce(&mut Registry) -> T) -> T {
        write(&mut self.registry.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Stores an object if what is there still is `old`, and does what follows from it.
    pub(crate) fn commit(&self, resource: &Resource, key: &Key, old: Option<&Object>, new: Value) -> Option<Object> {
        let stored = self.store().put(&resource.bucket(), key, old, new)?;
        if resource.is("apiextensions.k8s.io", "customresourcedefinitions")
            && let Some(resource) = crd::resource(&stored)
        {
            self.register(|registry| registry.insert(resource));
        }
        if resource.is("", "namespaces") && old.is_none() {
            self.publish_authority(&key.name);
        }
        Some(stored)
    }

    /// Removes an object if it still is `expected`, and does what follows from it.
    pub(crate) fn remove(&self, resource: &Resource, key: &Key, expected: &Object) -> Option<Object> {
        let last = self.store().remove(&resource.bucket(), key, expected)?;
        if resource.is("", "services") {
            self.nets().release(&last);
        }
        if resource.is("apiextensions.k8s.io", "customresourcedefinitions") {
            let spec = &last["spec"];
            self.register(|registry| registry.remove(meta::text(spec, "/group"), meta::text(spec, "/names/plural")));
            // Its objects go with it, whatever holds them.
            let name = key.name.clone();
            let objects = self.store().list(&name, None);
            for object in objects {
                let key = Key::new(meta::namespace(&object), meta::name(&object));
                self.store().remove(&name, &key, &object);
            }
        }
        Some(last)
    }

    /// Changes a stored object in place, as an internal controller does; an object that is gone is left alone.
    pub(crate) fn change(&self, resource: &Resource, key: &Key, change: impl Fn(&mut Value)) {
        loop {
            let Some(current) = self.store().get(&resource.bucket(), key) else {
                return;
            };
            let mut object = Value::clone(&current);
            change(&mut object);
            let done = if object == *current {
                true
            } else if meta::is_deleting(&object) && meta::finalizers(&object).is_empty() && !lingers(resource, &object)
            {
                self.remove(resource, key, &current).is_some()
            } else {
                self.commit(resource, key, Some(&current), object).is_some()
            };
            if done {
                return;
            }
        }
    }

    /// Creates an object without admission; one that exists stays.
    pub(crate) fn create(&self, group: &str, plural: &str, mut object: Value) {
        let Some(resource) = self.registry(|r| r.get(group, plural)) else {
            return;
        };
        let key = Key::new(meta::namespace(&object), meta::name(&object));
        initialise(&resource, &mut object);
        object["apiVersion"] = resource.api_version(&resource.storage).into();
        object["kind"] = resource.kind.as_str().into();
        defaults::fill(&resource, &mut object);
        if resource.is("", "services") && service::complete(&resource, &mut object, None, &mut self.nets()).is_err() {
            return;
        }
        self.commit(&resource, &key, None, object);
    }

    /// What every cluster has from its first moment.
    fn bootstrap(&self) {
        for name in ["default", "kube-system"] {
            self.create("", "namespaces", json!({"metadata": {"name": name}}));
        }
        let ip = self.nets().first_address();
        let metadata = json!({"name": "kubernetes", "namespace": "default"});
        let spec = json!({"clusterIP": ip, "ports": [{"name": "https", "port": 443, "targetPort": 6443}]});
        self.create("", "services", json!({"metadata": metadata, "spec": spec}));
    }

    /// The ConfigMap from which pods take the authority of this server.
    fn publish_authority(&self, namespace: &str) {
        let metadata = json!({"name": "kube-root-ca.crt", "namespace": namespace});
        let object = json!({"metadata": metadata, "data": {"ca.crt": self.ca_pem}});
        self.create("", "configmaps", object);
    }
}

/// Whether a deleted object waits for somebody although it has no finalizer: pods for their node, namespaces for their contents.
pub(crate) fn lingers(resource: &Resource, object: &Value) -> bool {
    (resource.is("", "pods") && object["metadata"]["deletionGracePeriodSeconds"].as_u64().unwrap_or(0) > 0)
        || (resource.is("", "namespaces") && !meta::array(&object["spec"]["finalizers"]).is_empty())
}

/// Fills the metadata of a new object.
pub(crate) fn initialise(resource: &Resource, object: &mut Value) {
    let metadata = meta::metadata(object);
    for name in ["deletionTimestamp", "deletionGracePeriodSeconds", "generation"] {
        metadata.remove(name);
    }
    metadata.insert("uid".into(), meta::new_uid().into());
    metadata.insert("creationTimestamp".into(), meta::now().into());
    if resource.generation {
        metadata.insert("generation".into(), 1.into());
    }
}

pub(crate) type Shared = Arc<Server>;
