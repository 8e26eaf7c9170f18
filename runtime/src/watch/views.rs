//! Views: of each object only what its reader needs is ever decoded, and only that is kept.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::{self, Debug};
use std::marker::PhantomData;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::DynamicResourceScope;
use kube::{Api, Resource};
use serde::{Deserialize, Deserializer};
use tokio::sync::mpsc;

use super::wire::{Lenient, Metadata, Wire};
use super::{Config, Follower, Keep, follow};
use crate::tasks::Spawner;

/// Names an object of a kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Empty if the object has no namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What happened to the collection.
#[derive(Debug, PartialEq, Eq)]
pub enum ViewChange<V> {
    /// The view of an object is another one.
    Changed {
        /// Which object.
        key: Key,
        /// The view before; `None` if there was none.
        before: Option<Arc<V>>,
        /// The view now; `None` if the object is gone, or has none any more.
        now: Option<Arc<V>>,
    },
    /// All objects were told. Sent once, after the first list.
    Ready,
}

/// A collection watched as views.
#[derive(Debug)]
pub struct Views<V> {
    /// Changes in order. Unbounded: it holds two pointers and a key per change, and consumers take them at once.
    /// Ends only after the stop signal.
    pub changes: mpsc::UnboundedReceiver<ViewChange<V>>,
}

/// Watches the objects of `api` that match `config` until the stop signal of `tasks`, which own the watch, and makes
/// views of them.
///
/// `view` tells what matters of an object, `None` that nothing does. A change that leaves the view as it was is not told:
/// the heartbeat of a Node, say. Nothing of an object without view is kept.
pub fn watch_view<K, W, V>(
    api: Api<K>,
    config: Config,
    view: impl FnMut(W) -> Option<V> + Send + 'static,
    tasks: &Spawner,
) -> Views<V>
where
    K: Resource<DynamicType = ()> + 'static,
    W: Wire,
    V: PartialEq + Send + Sync + 'static,
{
    let (sender, changes) = mpsc::unbounded_channel();
    let api: Api<Read<K, W>> = match api.namespace().map(ToOwned::to_owned) {
        Some(namespace) => Api::namespaced_with(api.into_client(), &namespace, &()),
        None => Api::all(api.into_client()),
    };
    let kept = Viewed::new(view, sender);
    follow(api, config, Follower::new(kept, false), tasks);
    Views { changes }
}

/// An object of kind `K`, read as `W`. The scope is known at run time only, so that one watch serves both.
pub(super) struct Read<K, W> {
    /// No more of it than kube's watcher asks for.
    meta: ObjectMeta,
    wire: W,
    kind: PhantomData<fn() -> K>,
}

impl<K, W: Clone> Clone for Read<K, W> {
    fn clone(&self) -> Self {
        Self {
            meta: self.meta.clone(),
            wire: self.wire.clone(),
            kind: PhantomData,
        }
    }
}

impl<K, W: Debug> Debug for Read<K, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.wire.fmt(f)
    }
}

impl<'de, K, W: Wire> Deserialize<'de> for Read<K, W> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Lenient(wire) = Lenient::<W>::deserialize(deserializer)?;
        let meta = ObjectMeta {
            resource_version: Some(wire.metadata().resource_version.clone()).filter(|version| !version.is_empty()),
            ..ObjectMeta::default()
        };
        Ok(Self {
            meta,
            wire,
            kind: PhantomData,
        })
    }
}

impl<K: Resource<DynamicType = ()>, W> Resource for Read<K, W> {
    type DynamicType = ();
    type Scope = DynamicResourceScope;

    fn kind(dt: &()) -> Cow<'_, str> {
        K::kind(dt)
    }
    fn group(dt: &()) -> Cow<'_, str> {
        K::group(dt)
    }
    fn version(dt: &()) -> Cow<'_, str> {
        K::version(dt)
    }
    fn plural(dt: &()) -> Cow<'_, str> {
        K::plural(dt)
    }
    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

/// Keeps the views.
pub(super) struct Viewed<K, W, V, F> {
    kept: HashMap<Name, Kept<V>>,
    /// The number of the list that is under way or was the last; objects carry that of the one that had them.
    list: u32,
    view: F,
    changes: mpsc::UnboundedSender<ViewChange<V>>,
    kind: PhantomData<fn() -> (K, W)>,
}

/// What is kept of an object.
struct Kept<V> {
    version: Version,
    view: Arc<V>,
    list: u32,
}

/// A [`Key`] in one piece of memory: namespace and name with a slash between, which neither may hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Name(Box<str>);

impl Name {
    fn of(metadata: &Metadata) -> Self {
        Self([&*metadata.namespace, "/", &*metadata.name].concat().into())
    }

    fn key(&self) -> Key {
        let (namespace, name) = self.0.split_once('/').unwrap_or_default();
        Key {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

/// A `resourceVersion`. It may be any text, and is a number everywhere.
#[derive(Debug, PartialEq, Eq)]
enum Version {
    Number(u64),
    Text(Box<str>),
}

impl Version {
    fn of(text: &str) -> Self {
        let number = text.parse().ok().filter(|number: &u64| number.to_string() == text);
        number.map_or_else(|| Self::Text(text.into()), Self::Number)
    }
}

impl<K, W: Wire, V: PartialEq, F: FnMut(W) -> Option<V>> Viewed<K, W, V, F> {
    pub(super) fn new(view: F, changes: mpsc::UnboundedSender<ViewChange<V>>) -> Self {
        Self {
            kept: HashMap::new(),
            list: 0,
            view,
            changes,
            kind: PhantomData,
        }
    }

    fn put(&mut self, wire: W) {
        let key = Name::of(wire.metadata());
        let version = Version::of(&wire.metadata().resource_version);
        let known = self.kept.get_mut(&key);
        if let Some(known) = known {
            known.list = self.list;
            if known.version == version && version != Version::Text(Box::default()) {
                return;
            }
            known.version = version;
            let Some(now) = (self.view)(wire) else {
                return self.remove(&key);
            };
            if *known.view != now {
                let now = Arc::new(now);
                let before = std::mem::replace(&mut known.view, Arc::clone(&now));
                self.tell(&key, Some(before), Some(now));
            }
            return;
        }
        if let Some(view) = (self.view)(wire) {
            let view = Arc::new(view);
            let kept = Kept {
                version,
                view: Arc::clone(&view),
                list: self.list,
            };
            self.tell(&key, None, Some(view));
            self.kept.insert(key, kept);
        }
    }

    fn remove(&mut self, key: &Name) {
        if let Some(gone) = self.kept.remove(key) {
            self.tell(key, Some(gone.view), None);
        }
    }

    /// A receiver that was dropped is at its end.
    fn tell(&self, key: &Name, before: Option<Arc<V>>, now: Option<Arc<V>>) {
        let key = key.key();
        let _ = self.changes.send(ViewChange::Changed { key, before, now });
    }
}

impl<K, W, V, F> Keep for Viewed<K, W, V, F>
where
    K: Resource<DynamicType = ()> + 'static,
    W: Wire,
    V: PartialEq + Send + Sync + 'static,
    F: FnMut(W) -> Option<V> + Send + 'static,
{
    type Wire = Read<K, W>;

    fn begin(&mut self) {
        self.list += 1;
    }

    fn list(&mut self, object: Self::Wire) {
        self.put(object.wire);
    }

    fn finish(&mut self) -> usize {
        let list = self.list;
        let gone: Vec<Name> = self
            .kept
            .iter()
            .filter(|(_, kept)| kept.list != list)
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            self.remove(&key);
        }
        self.kept.shrink_to_fit();
        self.kept.len()
    }

    fn apply(&mut self, object: Self::Wire) {
        self.put(object.wire);
    }

    fn delete(&mut self, object: Self::Wire) {
        self.remove(&Name::of(object.wire.metadata()));
    }

    fn ready(&mut self) {
        let _ = self.changes.send(ViewChange::Ready);
    }
}

#[cfg(test)]
mod tests;
