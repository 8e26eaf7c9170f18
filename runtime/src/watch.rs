//! A watched collection: a store to read from, and a stream of what changed.
//!
//! One task per kind owns the watch. It goes list → watch → (on trouble, with backoff) watch or list again, feeds the
//! store, and reports every object that really changed; a re-list that finds nothing new reports nothing.
//!
//! An object that cannot be decoded is a warning. Its last legible version, if any, stays in the store: one broken
//! object neither ends the watch nor takes away what worked.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use backon::ExponentialBuilder;
use futures::{StreamExt, pin_mut};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::DynamicResourceScope;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::{self, ObjectRef, Store, store::Writer};
use kube::runtime::utils::{Backoff, ResetTimerBackoff};
use kube::runtime::watcher::{self, Event, ExponentialBackoff};
use kube::{Api, Resource, ResourceExt};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::cause::explain;

pub use kube::runtime::watcher::Config;

/// How long one watch call lasts, in seconds; a silently dropped connection is noticed five seconds later.
///
/// Upstream pings over HTTP/2 and notices after 45 s.
const WATCH_TIMEOUT: u32 = 60;

/// First and longest wait before the API server is asked again, each up to twice as long by chance.
///
/// client-go's longest is 30 s: half a minute in which news are missed after the API server is back.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(2));

/// Between two looks for a kind that the cluster lacks.
const ABSENT: Duration = Duration::from_secs(30);

/// So long an optional kind may be denied before it counts as empty: an API server that has just begun denies everything
/// until it has read the roles, and what it holds back would be taken for gone.
const DENIED: Duration = Duration::from_secs(5);

/// A trouble that lasts is said again after this time.
const SILENCE: Duration = Duration::from_secs(300);

/// What happened to the collection.
#[derive(Debug)]
pub enum Change<K> {
    /// The object is new or changed.
    Applied(Arc<K>),
    /// The object is gone; this is the last version seen.
    Deleted(Arc<K>),
    /// The store is complete. Sent once, after the objects of the first list.
    Ready,
}

impl<K> Change<K> {
    /// Returns the object that changed or vanished.
    #[must_use]
    pub fn object(&self) -> Option<&Arc<K>> {
        match self {
            Self::Applied(object) | Self::Deleted(object) => Some(object),
            Self::Ready => None,
        }
    }
}

/// A watched collection.
#[derive(Debug)]
pub struct Watched<K: Resource<DynamicType = ()> + Clone + 'static> {
    /// Current objects; complete once [`Change::Ready`] was sent or `store.wait_until_ready()` returns.
    pub store: Store<K>,
    /// Changes in order. Unbounded: it holds one pointer per change, and consumers turn them into keys at once.
    /// Ends only after the stop signal.
    pub changes: mpsc::UnboundedReceiver<Change<K>>,
}

/// Watches all objects of `api` that match `config` until `stop`. Drops `managedFields`.
///
/// Must be called inside a tokio runtime.
pub fn watch<K>(api: Api<K>, config: Config, stop: CancellationToken) -> Watched<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    watch_pruned(api, config, |_| {}, stop)
}

/// Like [`watch`]; `prune` drops what the consumer never reads before the object is stored.
pub fn watch_pruned<K>(
    api: Api<K>,
    config: Config,
    prune: impl Fn(&mut K) + Send + Sync + 'static,
    stop: CancellationToken,
) -> Watched<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    start(api, config, prune, false, stop)
}

/// Like [`watch`], for a kind that a cluster may lack or keep from us: until it can be listed it counts as empty.
pub fn watch_optional<K>(api: Api<K>, config: Config, stop: CancellationToken) -> Watched<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    start(api, config, |_| {}, true, stop)
}

fn start<K>(
    api: Api<K>,
    mut config: Config,
    prune: impl Fn(&mut K) + Send + Sync + 'static,
    optional: bool,
    stop: CancellationToken,
) -> Watched<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    config.timeout = config.timeout.or(Some(WATCH_TIMEOUT));
    let (store, writer) = reflector::store();
    let (sender, changes) = mpsc::unbounded_channel();
    let follower = Follower {
        store: store.clone(),
        writer,
        changes: sender,
        prune,
        optional,
        ready: false,
        denied: None,
        trouble: None,
    };
    tokio::spawn(follow(guarded(api), config, follower, stop));
    Watched { store, changes }
}

/// Makes the API yield undecodable objects as values instead of failing the whole answer.
fn guarded<K: Resource<DynamicType = ()>>(api: Api<K>) -> Api<Guarded<K>> {
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
struct Guarded<K>(Result<K, Broken>);

#[derive(Clone, Debug)]
struct Broken {
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

async fn follow<K, P>(api: Api<Guarded<K>>, config: Config, mut follower: Follower<K, P>, stop: CancellationToken)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    P: Fn(&mut K) + Send + Sync + 'static,
{
    let events = watcher::watcher(api, config)
        .backoff(backoff())
        .take_until(stop.clone().cancelled_owned());
    pin_mut!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => follower.take(event),
            Err(error) => {
                if follower.fail(&error) == Verdict::Absent {
                    let _ = timeout(ABSENT, stop.cancelled()).await;
                }
            }
        }
    }
}

fn backoff() -> impl Backoff {
    let (first, longest) = BACKOFF;
    let waits = ExponentialBuilder::default()
        .with_min_delay(first)
        .with_max_delay(longest)
        .with_jitter()
        .without_max_times();
    ResetTimerBackoff::new(ExponentialBackoff::from(waits), Duration::from_secs(120))
}

/// What a failure means.
#[derive(PartialEq, Eq)]
enum Verdict {
    /// An optional kind is not there.
    Absent,
    /// Something is wrong.
    Trouble,
}

/// Keeps the store and tells what changed.
struct Follower<K: Resource<DynamicType = ()> + Clone + 'static, P> {
    store: Store<K>,
    writer: Writer<K>,
    changes: mpsc::UnboundedSender<Change<K>>,
    prune: P,
    optional: bool,
    ready: bool,
    /// Since when a list has been denied, until something else happens.
    denied: Option<Instant>,
    /// What went wrong and when that was said, until something goes right.
    trouble: Option<(String, Instant)>,
}

impl<K, P> Follower<K, P>
where
    K: Resource<DynamicType = ()> + Clone + Debug + 'static,
    P: Fn(&mut K),
{
    fn take(&mut self, event: Event<Guarded<K>>) {
        // The start of a list is an intention, not yet a success.
        if !matches!(event, Event::Init) {
            self.denied = None;
            if self.trouble.take().is_some() {
                info!(event = "watchRecovered", kind = %K::kind(&()));
            }
        }
        match event {
            Event::Apply(object) => {
                if let Some(object) = self.accept(object) {
                    self.writer.apply_watcher_event(&Event::Apply(object.clone()));
                    self.tell_applied(&ObjectRef::from_obj(&object));
                }
            }
            Event::Delete(object) => self.delete(&object),
            Event::Init => self.writer.apply_watcher_event(&Event::Init),
            Event::InitApply(object) => {
                if let Some(object) = self.accept(object) {
                    self.writer.apply_watcher_event(&Event::InitApply(object));
                }
            }
            Event::InitDone => self.finish_list(),
        }
    }

    /// Warns about a new trouble, and of an old one now and then: an API server that is away need not fill the log.
    fn fail(&mut self, error: &watcher::Error) -> Verdict {
        let kind = K::kind(&());
        let text = explain(error);
        if self.optional && self.is_out_of_reach(error) {
            debug!(event = "kindUnavailable", %kind, error = text);
            if !self.ready {
                // An empty list, for those who wait for the store.
                self.writer.apply_watcher_event(&Event::Init);
                self.writer.apply_watcher_event(&Event::InitDone);
            }
            self.tell_ready();
            return Verdict::Absent;
        }
        if self
            .trouble
            .as_ref()
            .is_some_and(|(said, at)| *said == text && at.elapsed() < SILENCE)
        {
            debug!(event = "watchFailed", %kind, error = text);
        } else {
            warn!(event = "watchFailed", %kind, error = text);
            self.trouble = Some((text, Instant::now()));
        }
        Verdict::Trouble
    }

    /// The kind is not served, or not for us.
    fn is_out_of_reach(&mut self, error: &watcher::Error) -> bool {
        let watcher::Error::InitialListFailed(kube::Error::Api(status)) = error else {
            return false;
        };
        match status.code {
            404 => true,
            403 => self.denied.get_or_insert_with(Instant::now).elapsed() >= DENIED,
            _ => false,
        }
    }

    fn tell_ready(&mut self) {
        if !std::mem::replace(&mut self.ready, true) {
            self.tell(Change::Ready);
        }
    }

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

    fn delete(&mut self, object: &Guarded<K>) {
        let key = key_of(object.meta());
        let Some(last) = self.store.get(&key) else { return };
        self.writer.apply_watcher_event(&Event::Delete((*last).clone()));
        self.tell(Change::Deleted(last));
    }

    fn finish_list(&mut self) {
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
        debug!(event = "listed", kind = %K::kind(&()), objects = self.store.len());
        self.tell_ready();
    }

    fn tell_applied(&self, key: &ObjectRef<K>) {
        if let Some(object) = self.store.get(key) {
            self.tell(Change::Applied(object));
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

#[cfg(test)]
mod tests;
