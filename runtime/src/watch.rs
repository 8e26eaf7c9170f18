//! A watched collection, as whole objects with a store to read from ([`watch`]), or as views ([`views::watch_view`]).
//!
//! One task per kind owns the watch. It goes list → watch → (on trouble, with backoff) watch or list again, keeps what
//! it has seen, and reports every object that really changed; a re-list that finds nothing new reports nothing.
//!
//! One broken object neither ends the watch nor takes away what worked. Of whole objects, one that cannot be decoded is a
//! warning, and its last legible version, if any, stays in the store. Views are read leniently: see [`wire`].

pub mod views;
pub mod wire;

mod objects;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use backon::ExponentialBuilder;
use futures::{Stream, StreamExt};
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::{self, Store};
use kube::runtime::utils::{Backoff, ResetTimerBackoff};
use kube::runtime::watcher::{self, ExponentialBackoff, InitialListStrategy};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tracing::{debug, info, warn};

use crate::cause::explain;
use crate::tasks::Spawner;

use objects::{Objects, guarded};

pub use kube::runtime::watcher::{Config, Event};
pub use views::{Key, ViewChange, Views, watch_view};

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

/// Watches all objects of `api` that match `config` until the stop signal of `tasks`, which own the watch. Drops
/// `managedFields`.
pub fn watch<K>(api: Api<K>, config: Config, tasks: &Spawner) -> Watched<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    watch_pruned(api, config, |_| {}, tasks)
}

/// Like [`watch`]; `prune` drops what the consumer never reads before the object is stored.
pub fn watch_pruned<K>(
    api: Api<K>,
    config: Config,
    prune: impl Fn(&mut K) + Send + Sync + 'static,
    tasks: &Spawner,
) -> Watched<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    start(api, config, prune, false, tasks)
}

/// Like [`watch`], for a kind that a cluster may lack or keep from us: until it can be listed it counts as empty.
pub fn watch_optional<K>(api: Api<K>, config: Config, tasks: &Spawner) -> Watched<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    start(api, config, |_| {}, true, tasks)
}

fn start<K>(
    api: Api<K>,
    config: Config,
    prune: impl Fn(&mut K) + Send + Sync + 'static,
    optional: bool,
    tasks: &Spawner,
) -> Watched<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let (store, writer) = reflector::store();
    let (sender, changes) = mpsc::unbounded_channel();
    let objects = Objects {
        store: store.clone(),
        writer,
        changes: sender,
        prune,
    };
    follow(guarded(api), config, Follower::new(objects, optional), tasks);
    Watched { store, changes }
}

/// What is kept of a collection, and how its changes are told.
trait Keep: Send + 'static {
    /// What the API server sends.
    type Wire: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static;

    /// A list begins.
    fn begin(&mut self);
    /// An object of the list.
    fn list(&mut self, object: Self::Wire);
    /// The list is complete: what it did not have is gone. Returns how many objects there are.
    fn finish(&mut self) -> usize;
    /// An object is new or changed.
    fn apply(&mut self, object: Self::Wire);
    /// An object is gone.
    fn delete(&mut self, object: Self::Wire);
    /// The first list is complete, or counts as empty.
    fn ready(&mut self);
}

/// What kube's watcher tells, list after list and watch after watch, with our timeout and waits; it never ends.
///
/// For those who keep what they see in a way of their own.
pub fn events<K>(api: Api<K>, mut config: Config) -> impl Stream<Item = watcher::Result<Event<K>>> + Send
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    config.timeout = config.timeout.or(Some(WATCH_TIMEOUT));
    watcher::watcher(api, config).backoff(backoff())
}

/// Starts the task of a watch.
fn follow<S: Keep>(api: Api<S::Wire>, config: Config, mut follower: Follower<S>, tasks: &Spawner) {
    let stop = tasks.stop().clone();
    tasks.spawn("watch", async move {
        let mut streamed = config.initial_list_strategy == InitialListStrategy::StreamingList;
        let mut events = events(api.clone(), config.clone()).boxed();
        while let Some(Some(event)) = stop.run_until_cancelled(events.next()).await {
            match event {
                Ok(event) => follower.take(event),
                Err(error) if streamed && refuses_to_stream(&error) => {
                    debug!(event = "listNotStreamed", kind = %S::Wire::kind(&()), error = explain(&error));
                    streamed = false;
                    let initial_list_strategy = InitialListStrategy::ListWatch;
                    events = self::events(
                        api.clone(),
                        Config {
                            initial_list_strategy,
                            ..config.clone()
                        },
                    )
                    .boxed();
                }
                Err(error) => {
                    if follower.fail(&error) == Verdict::Absent {
                        let _ = timeout(ABSENT, stop.cancelled()).await;
                    }
                }
            }
        }
        Ok(())
    });
}

/// API servers before Kubernetes 1.32 call the parameter invalid, unless they were told to know it.
fn refuses_to_stream(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::WatchStartFailed(kube::Error::Api(status)) if matches!(status.code, 400 | 422))
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

/// Follows the events of one watch.
struct Follower<S> {
    kept: S,
    optional: bool,
    ready: bool,
    /// Since when a list has been denied, until something else happens.
    denied: Option<Instant>,
    /// What went wrong and when that was said, until something goes right.
    trouble: Option<(String, Instant)>,
}

impl<S: Keep> Follower<S> {
    fn new(kept: S, optional: bool) -> Self {
        Self {
            kept,
            optional,
            ready: false,
            denied: None,
            trouble: None,
        }
    }

    fn take(&mut self, event: Event<S::Wire>) {
        // The start of a list is an intention, not yet a success.
        if !matches!(event, Event::Init) {
            self.denied = None;
            if self.trouble.take().is_some() {
                info!(event = "watchRecovered", kind = %S::Wire::kind(&()));
            }
        }
        match event {
            Event::Apply(object) => self.kept.apply(object),
            Event::Delete(object) => self.kept.delete(object),
            Event::Init => self.kept.begin(),
            Event::InitApply(object) => self.kept.list(object),
            Event::InitDone => {
                let objects = self.kept.finish();
                debug!(event = "listed", kind = %S::Wire::kind(&()), objects);
                self.tell_ready();
            }
        }
    }

    /// Warns about a new trouble, and of an old one now and then: an API server that is away need not fill the log.
    fn fail(&mut self, error: &watcher::Error) -> Verdict {
        let kind = S::Wire::kind(&());
        let text = explain(error);
        if self.optional && self.is_out_of_reach(error) {
            debug!(event = "kindUnavailable", %kind, error = text);
            if !self.ready {
                // An empty list, for those who wait for the store.
                self.kept.begin();
                self.kept.finish();
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
            self.kept.ready();
        }
    }
}

#[cfg(test)]
mod tests;
