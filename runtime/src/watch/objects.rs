//! Whole objects, kept in a store.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Debug;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::DynamicResourceScope;
use kube::runtime::reflector::{ObjectRef, Store, store::Writer};
use kube::runtime::watcher::Event;
use kube::{Api, Resource, ResourceExt};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tracing::warn;

use super::{Change, Keep};

/// Makes the API yield undecodable objects as values instead of failing the whole answer.
pub(super) fn guarded<K: Resource<DynamicType = ()>>(api: Api<K>) -> Api<Guarded<K>> {
    match api.namespace().map(ToOwned::to_owned) {
        Some(namespace) => Api::namespaced_with(api.into_client(), &namespace, &()),
        None => Api::all(api.into_client()),
    }
}

/// An object, or what is left of one that cannot be decoded. The scope is known at run time only, so that one watch
/// serves both.
///
/// Unlike kube's `DeserializeGuard` it copies nothing for the case of an error, and drops `managedFields`, often half
/// of an object, before they are decoded.
#[derive(Clone, Debug)]
pub(super) struct Guarded<K>(Result<K, Broken>);

#[derive(Clone, Debug)]
pub(super) struct Broken {
    metadata: Box<ObjectMeta>,
    error: String,
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Guarded<K> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut value = serde_json::Value::deserialize(deserializer)?;
        if let Some(metadata) = value.get_mut("metadata").and_then(serde_json::Value::as_object_mut) {
            metadata.remove("managedFields");
        }
        K::deserialize(&value).map(|object| Self(Ok(object))).or_else(|error| {
            let metadata = value.get("metadata").map(ObjectMeta::deserialize);
            let metadata = metadata.unwrap_or_else(|| Ok(ObjectMeta::default()));
            let broken = Broken {
                metadata: Box::new(metadata.map_err(serde::de::Error::custom)?),
                error: error.to_string(),
            };
            Ok(Self(Err(broken)))
        })
    }
}

impl<K: Resource> Resource for Guarded<K> {
    type DynamicType = K::DynamicType;
    type Scope = DynamicResourceScope;

    fn kind(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(dt)
    }
    fn group(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::group(dt)
    }
    fn version(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::version(dt)
    }
    fn plural(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(dt)
    }
    fn meta(&self) -> &ObjectMeta {
        self.0.as_ref().map_or_else(|broken| &*broken.metadata, K::meta)
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.as_mut().map_or_else(|broken| &mut *broken.metadata, K::meta_mut)
    }
}

/// Keeps whole objects and tells what changed.
pub(super) struct Objects<K: Resource<DynamicType = ()> + Clone + 'static, P> {
    pub(super) store: Store<K>,
    pub(super) writer: Writer<K>,
    pub(super) changes: mpsc::UnboundedSender<Change<K>>,
    pub(super) prune: P,
}

impl<K, P> Keep for Objects<K, P>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    P: Fn(&mut K) + Send + 'static,
{
    type Wire = Guarded<K>;

    fn begin(&mut self) {
        self.writer.apply_watcher_event(&Event::Init);
    }

    fn list(&mut self, object: Guarded<K>) {
        if let Some(object) = self.accept(object) {
            self.writer.apply_watcher_event(&Event::InitApply(object));
        }
    }

    fn finish(&mut self) -> usize {
        let mut before: HashMap<_, _> = self
            .store
            .state()
            .into_iter()
            .map(|object| (ObjectRef::from_obj(&*object), object))
            .collect();
        self.writer.apply_watcher_event(&Event::InitDone);
        for object in self.store.state() {
            let known = before.remove(&ObjectRef::from_obj(&*object));
            if known.is_none_or(|known| known.resource_version() != object.resource_version()) {
                self.tell(Change::Applied(object));
            }
        }
        for object in before.into_values() {
            self.tell(Change::Deleted(object));
        }
        self.store.len()
    }

    fn apply(&mut self, object: Guarded<K>) {
        let Some(object) = self.accept(object) else { return };
        let key = ObjectRef::from_obj(&object);
        self.writer.apply_watcher_event(&Event::Apply(object));
        if let Some(object) = self.store.get(&key) {
            self.tell(Change::Applied(object));
        }
    }

    fn delete(&mut self, object: Guarded<K>) {
        let key = key_of(object.meta());
        let Some(last) = self.store.get(&key) else { return };
        self.writer.apply_watcher_event(&Event::Delete((*last).clone()));
        self.tell(Change::Deleted(last));
    }

    fn ready(&mut self) {
        self.tell(Change::Ready);
    }
}

impl<K, P> Objects<K, P>
where
    K: Resource<DynamicType = ()> + Clone + Debug + 'static,
    P: Fn(&mut K),
{
    /// Returns the pruned object, or its last legible version.
    fn accept(&self, object: Guarded<K>) -> Option<K> {
        match object.0 {
            Ok(mut object) => {
                object.meta_mut().managed_fields = None;
                (self.prune)(&mut object);
                Some(object)
            }
            Err(broken) => {
                let (name, namespace) = (broken.metadata.name.as_deref(), broken.metadata.namespace.as_deref());
                warn!(event = "illegibleObject", kind = %K::kind(&()), namespace, name, error = broken.error);
                self.store.get(&key_of(&broken.metadata)).map(|last| (*last).clone())
            }
        }
    }

    /// A receiver that was dropped means that only the store is of interest.
    fn tell(&self, change: Change<K>) {
        let _ = self.changes.send(change);
    }
}

fn key_of<K: Resource<DynamicType = ()>>(meta: &ObjectMeta) -> ObjectRef<K> {
    let key = ObjectRef::new(meta.name.as_deref().unwrap_or_default());
    match &meta.namespace {
        Some(namespace) => key.within(namespace),
        None => key,
    }
}
