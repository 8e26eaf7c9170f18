//! ServiceL2Status and ServiceBGPStatus: one object for each announced Service and protocol.
//!
//! What they should say comes from the engine, what they say from a watch; a queue with one entry a Service brings the
//! two together. Nothing is written when nothing differs. Objects that others delete or edit are repaired; those of an
//! earlier Pod of this node, which the garbage collector is about to delete, are replaced.

mod index;
mod kind;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use metallb_api::names::{self, field_manager};
use metallb_runtime::apply;
use metallb_runtime::cause::explain;
use metallb_runtime::tasks::Spawner;
use metallb_runtime::watch::{self, ViewChange, watch_view};
use metallb_runtime::work::{Backoff, Outcome, Queue};
use sha2::{Digest, Sha256};
use tokio::sync::{Mutex as AsyncMutex, Notify, watch as watch_channel};
use tokio::time::Instant;
use tracing::{debug, warn};

use index::{Fingerprint, Index, Seen, Written};
pub(crate) use kind::StatusKind;

use metallb_engine::{ServiceKey, StatusContent};

/// Writers per kind: a failover of many Services takes a while, and must not flood the API server.
const WRITERS: usize = 4;
/// How long an object that we made may be missing in the watch.
const WATCH_LAG: Duration = Duration::from_secs(10);
/// Somebody else deletes our object again and again, such as a speaker that believes to announce the same: so long it is
/// waited before the next one is made, twice as long each time.
const CONTESTED: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// After so long without that, it is made at once again.
const PEACE: Duration = Duration::from_secs(300);
/// If so many Services wait for objects of their own, what other nodes have is listed once for all of them: a list for each,
/// and the API server looks through all objects for each.
const MANY: usize = 16;
/// So long such a list counts.
const FRESH: Duration = Duration::from_secs(1);
/// Objects that the API server is asked for at a time.
const PAGE: u32 = 500;
/// Longest value of a label.
const LABEL_LIMIT: usize = 63;

/// Says what the objects should say; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Desired {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    queue: Queue<Arc<ServiceKey>>,
    opened: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Before the first decisions, objects of an earlier run are left alone.
    opened: bool,
    contents: HashMap<Arc<ServiceKey>, StatusContent>,
}

impl Default for Desired {
    fn default() -> Self {
        Self {
            shared: Arc::new(Shared {
                state: Mutex::default(),
                queue: Queue::new(Backoff::default()),
                opened: Notify::new(),
            }),
        }
    }
}

impl Desired {
    /// Sets what the object of one Service says; `None` = there should be none.
    pub(crate) fn set(&self, service: Arc<ServiceKey>, content: Option<StatusContent>) {
        match content {
            Some(content) => drop(self.state().contents.insert(Arc::clone(&service), content)),
            None => drop(self.state().contents.remove(&service)),
        }
        self.shared.queue.add(service);
    }

    /// Allows to delete what is not desired.
    pub(crate) fn open(&self) {
        self.state().opened = true;
        self.shared.opened.notify_one();
    }

    /// Returns the key that what is desired for the Service is kept under, if anything is.
    fn share(&self, key: ServiceKey) -> Arc<ServiceKey> {
        let state = self.state();
        let known = state.contents.get_key_value(&key);
        let known = known.map(|(known, _)| Arc::clone(known));
        known.unwrap_or_else(|| key.into())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whose objects they are.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    /// MetalLB's namespace.
    pub(crate) namespace: String,
    /// Name of this node.
    pub(crate) node: String,
    /// The Pod of this speaker; its end is the end of the objects.
    pub(crate) pod: OwnerReference,
}

impl Owner {
    /// The Pod, for events.
    pub(crate) fn reference(&self) -> ObjectReference {
        let OwnerReference {
            api_version,
            kind,
            name,
            uid,
            ..
        } = self.pod.clone();
        ObjectReference {
            api_version: Some(api_version),
            kind: Some(kind),
            namespace: Some(self.namespace.clone()),
            name: Some(name),
            uid: Some(uid).filter(|uid| !uid.is_empty()),
            ..ObjectReference::default()
        }
    }
}

/// Brings the objects of kind `K` in line with `desired` until the stop signal.
pub(crate) async fn write<K: StatusKind>(client: Client, owner: Owner, desired: Desired, tasks: Spawner) {
    let api: Api<K> = Api::namespaced(client, &owner.namespace);
    let selector = format!("{}={}", names::LABEL_NODE, label_value(&owner.node));
    let (own, pod) = (watch::Config::default().labels(&selector), owner.pod.uid.clone());
    let known = desired.clone();
    let view = move |object: Written| Some(Seen::of::<K::Status>(object, &pod, |key| known.share(key)));
    let mut watched = watch_view(api.clone(), own, view, &tasks);
    let writer = Writer {
        api,
        owner,
        desired,
        index: Mutex::default(),
        listed: watch_channel::channel(false).0,
        made: Mutex::default(),
        taken: Mutex::default(),
        foreign: AsyncMutex::default(),
    };
    let work = futures::future::join_all((0..WRITERS).map(|_| writer.work()));
    let listen = async {
        loop {
            tokio::select! {
                Some(change) = watched.changes.recv() => writer.seen(change),
                () = writer.desired.shared.opened.notified() => writer.review(),
            }
        }
    };
    tokio::select! {
        () = tasks.stop().cancelled() => {}
        _ = work => {}
        () = listen => {}
    }
}

struct Writer<K: StatusKind> {
    api: Api<K>,
    owner: Owner,
    desired: Desired,
    index: Mutex<Index>,
    /// Whether the index holds all objects of the first list.
    listed: watch_channel::Sender<bool>,
    made: Mutex<HashMap<Arc<ServiceKey>, Made>>,
    taken: Mutex<HashMap<Arc<ServiceKey>, Taken>>,
    foreign: AsyncMutex<Option<Foreign>>,
}

/// Names of the objects of other nodes.
type Names = HashMap<ServiceKey, Vec<String>>;

/// What other nodes had when all of it was listed.
struct Foreign {
    at: Instant,
    names: Names,
}

/// How often an object was deleted that is wanted, and when last.
struct Taken {
    times: u32,
    at: Instant,
}

/// An object that we made and may not see in the watch yet.
#[derive(Clone)]
struct Made {
    name: String,
    says: Option<Fingerprint>,
    at: Instant,
}

/// An object of this node for one Service.
struct Found {
    name: String,
    says: Option<Fingerprint>,
    ours: bool,
}

impl<K: StatusKind> Writer<K> {
    async fn work(&self) {
        // A write before the first list would make a second object.
        if self.listed.subscribe().wait_for(|listed| *listed).await.is_err() {
            return;
        }
        loop {
            let key = self.desired.shared.queue.next().await;
            let outcome = match self.converge(&key).await {
                Ok(()) => Outcome::Ok,
                Err(error) => {
                    warn!(event = "statusFailed", kind = %K::kind(&()), service = %key, error = explain(error.as_ref()));
                    Outcome::Retry
                }
            };
            self.desired.shared.queue.done(&key, outcome);
        }
    }

    fn seen(&self, change: ViewChange<Seen>) {
        let ViewChange::Changed { key, before, now } = change else {
            self.listed.send_replace(true);
            return;
        };
        let service = |seen: &Option<Arc<Seen>>| seen.as_ref().and_then(|seen| seen.service.clone());
        let (was, is) = (service(&before), service(&now));
        for service in [&is, &was].into_iter().flatten() {
            self.forget_shown(service, &key.name, now.as_deref());
        }
        if now.is_none() && before.as_ref().is_some_and(|before| before.ours) {
            was.iter().for_each(|service| self.note_taken(service));
        }
        self.index().change(&key.name, before.as_deref(), now);
        for service in [is, was].into_iter().flatten() {
            self.desired.shared.queue.add(service);
        }
    }

    /// Forgets what we made once the watch shows it, or that it is gone.
    fn forget_shown(&self, service: &Arc<ServiceKey>, name: &str, now: Option<&Seen>) {
        let mut made = self.made();
        let known = made.get(service).filter(|made| made.name == name);
        if known.is_some_and(|made| now.is_none_or(|now| now.says == made.says)) {
            made.remove(service);
        }
    }

    /// An object is gone that may still be wanted.
    fn note_taken(&self, service: &Arc<ServiceKey>) {
        if !self.desired.state().contents.contains_key(service) {
            return;
        }
        let (mut taken, now) = (self.taken(), Instant::now());
        let known = taken.entry(Arc::clone(service)).or_insert(Taken { times: 0, at: now });
        if now - known.at >= PEACE {
            known.times = 0;
        }
        (known.times, known.at) = (known.times + 1, now);
    }

    /// How long to wait before an object is made.
    fn contested(&self, service: &ServiceKey) -> Option<Duration> {
        let (taken, (first, longest)) = (self.taken(), CONTESTED);
        let known = taken.get(service)?;
        let doublings = known.times.checked_sub(2)?;
        let wait = first.saturating_mul(2_u32.saturating_pow(doublings)).min(longest);
        let left = wait.checked_sub(known.at.elapsed())?;
        (!left.is_zero()).then_some(left)
    }

    /// Looks again at what was spared before the first decisions.
    fn review(&self) {
        let made: Vec<Arc<ServiceKey>> = self.made().keys().cloned().collect();
        let listed: Vec<Arc<ServiceKey>> = self.index().services().cloned().collect();
        for key in listed.into_iter().chain(made) {
            self.desired.shared.queue.add(key);
        }
    }

    async fn converge(&self, key: &Arc<ServiceKey>) -> anyhow::Result<()> {
        let (opened, content) = {
            let state = self.desired.state();
            (state.opened, state.contents.get(key).cloned())
        };
        let found = self.found(key);
        let Some(content) = content else {
            if opened {
                self.delete(found.iter().map(|object| object.name.as_str())).await?;
                self.made().remove(key);
                self.taken().remove(key);
            }
            return Ok(());
        };
        let wanted = K::says(&self.owner.node, key, &content);
        let keep = found
            .iter()
            .find(|object| object.ours)
            .map(|object| object.name.clone());
        let surplus = found.iter().filter(|object| Some(&object.name) != keep.as_ref());
        self.delete(surplus.map(|object| object.name.as_str())).await?;
        let name = match keep {
            Some(name) => name,
            None => {
                if let Some(wait) = self.contested(key) {
                    debug!(event = "statusContested", kind = %K::kind(&()), service = %key);
                    self.desired.shared.queue.add_after(Arc::clone(key), wait);
                    return Ok(());
                }
                self.create(key).await?
            }
        };
        let says = Fingerprint::of(&wanted);
        if found.iter().any(|object| object.name == name && object.says == says) {
            return Ok(());
        }
        apply::status(&self.api, &name, &wanted, field_manager::SPEAKER).await?;
        let made = Made {
            name,
            says,
            at: Instant::now(),
        };
        self.made().insert(Arc::clone(key), made);
        Ok(())
    }

    /// What is there for the Service: what the watch shows, newer knowledge of our own taking precedence.
    fn found(&self, key: &ServiceKey) -> Vec<Found> {
        let made = self
            .made()
            .get(key)
            .filter(|made| made.at.elapsed() < WATCH_LAG)
            .cloned();
        let mut found: Vec<_> = self
            .index()
            .of(key)
            .map(|(name, seen)| Found {
                name: name.to_owned(),
                says: seen.says,
                ours: seen.ours,
            })
            .collect();
        if let Some(made) = made {
            match found.iter_mut().find(|object| object.name == made.name) {
                // Until the watch shows our write, it shows what was before.
                Some(object) if object.says.is_none() => object.says = made.says,
                Some(_) => {}
                None => found.insert(
                    0,
                    Found {
                        name: made.name.clone(),
                        says: made.says,
                        ours: true,
                    },
                ),
            }
        }
        found
    }

    async fn create(&self, key: &Arc<ServiceKey>) -> anyhow::Result<String> {
        if K::EXCLUSIVE {
            self.delete_foreign(key).await?;
        }
        let labels = [
            (names::LABEL_NODE, label_value(&self.owner.node)),
            (names::LABEL_SERVICE_NAME, key.name.clone()),
            (names::LABEL_SERVICE_NAMESPACE, key.namespace.clone()),
        ];
        let meta = ObjectMeta {
            generate_name: Some(K::PREFIX.to_owned()),
            labels: Some(
                labels
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect(),
            ),
            owner_references: Some(vec![self.owner.pod.clone()]),
            ..ObjectMeta::default()
        };
        let params = PostParams {
            field_manager: Some(field_manager::SPEAKER.to_owned()),
            ..PostParams::default()
        };
        let name = apply::create(&self.api, &params, &K::with(meta)).await?;
        debug!(event = "statusCreated", kind = %K::kind(&()), service = %key, name);
        let made = Made {
            name: name.clone(),
            says: None,
            at: Instant::now(),
        };
        self.made().insert(Arc::clone(key), made);
        Ok(name)
    }

    /// Whoever announced before may be dead, and then nobody else tells that it does not any more.
    async fn delete_foreign(&self, key: &ServiceKey) -> anyhow::Result<()> {
        let mut all = self.foreign.lock().await;
        let names = if self.desired.shared.queue.len() < MANY {
            *all = None;
            drop(all);
            let of_service = format!(
                ",{}={},{}={}",
                names::LABEL_SERVICE_NAME,
                key.name,
                names::LABEL_SERVICE_NAMESPACE,
                key.namespace
            );
            self.list_foreign(&of_service).await?.remove(key)
        } else {
            let known = all.take().filter(|known| known.at.elapsed() < FRESH);
            let known = match known {
                Some(known) => known,
                None => Foreign {
                    at: Instant::now(),
                    names: self.list_foreign("").await?,
                },
            };
            all.insert(known).names.get(key).cloned()
        };
        let names = names.unwrap_or_default();
        self.delete(names.iter().map(String::as_str)).await
    }

    /// Lists the objects of other nodes that also match the rest of a selector.
    async fn list_foreign(&self, rest: &str) -> anyhow::Result<Names> {
        let selector = format!("{}!={}{rest}", names::LABEL_NODE, label_value(&self.owner.node));
        let mut params = ListParams::default().labels(&selector).limit(PAGE);
        let mut names = Names::new();
        loop {
            let page = self.api.list_metadata(&params).await?;
            for object in page.items {
                let labels = object.metadata.labels.unwrap_or_default();
                let service = labels
                    .get(names::LABEL_SERVICE_NAMESPACE)
                    .zip(labels.get(names::LABEL_SERVICE_NAME));
                if let Some(((namespace, service), name)) = service.zip(object.metadata.name) {
                    names.entry(ServiceKey::new(namespace, service)).or_default().push(name);
                }
            }
            match page.metadata.continue_.filter(|next| !next.is_empty()) {
                Some(next) => params = params.continue_token(&next),
                None => return Ok(names),
            }
        }
    }

    async fn delete<'a>(&self, names: impl Iterator<Item = &'a str>) -> anyhow::Result<()> {
        for name in names {
            // The name is made by the API server, and no other object gets it again.
            if apply::delete(&self.api, name, None).await? {
                debug!(event = "statusDeleted", kind = %K::kind(&()), name);
            }
        }
        Ok(())
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<Arc<ServiceKey>, Taken>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn made(&self) -> MutexGuard<'_, HashMap<Arc<ServiceKey>, Made>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the value of the node label: the name, or a digest of one that is too long for a label.
///
/// Upstream: a long name makes the label invalid, and the object is never created.
pub(crate) fn label_value(node: &str) -> String {
    if node.len() <= LABEL_LIMIT {
        return node.to_owned();
    }
    let digest = Sha256::digest(node.as_bytes());
    let hash: String = digest[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{hash}", &node[..node.floor_char_boundary(LABEL_LIMIT - 9)])
}

#[cfg(test)]
mod tests;
