//! One term of leadership: import, assign, and stop at once when the lease is lost.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use futures::FutureExt;
use k8s_openapi::api::core::v1::{ObjectReference, Service};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, ResourceExt};
use metallb_api::names::{self, event_reason};
use metallb_assign::{Accepted, Action, Engine, Event, NOT_ANNOUNCEABLE, Reaches, Verdict, is_of_a_write};
use metallb_ipam::{EventKind, Key};
use metallb_runtime::CancellationToken;
use metallb_runtime::cause::explain;
use metallb_runtime::tasks::unless_stopped;
use metallb_runtime::work::Outcome;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use super::lanes::{Lanes, Place};
use super::{Shared, config, numbers, rival, speak, state};
use crate::metrics::WORKERS;

/// Longest write. A leader that loses the lease is no leader 10 s after its last renewal, and the
/// next one starts after 15 s at the earliest, so that a late write always comes before.
const WRITE_TIMEOUT: Duration = Duration::from_secs(4);

/// Longest question who else writes a status: a write waits for it, and at the end of the process somebody for both.
const RIVAL_TIMEOUT: Duration = Duration::from_millis(500);

/// The engine of this term; the lock is never held across an await.
pub(super) struct Term {
    pub(super) shared: Arc<Shared>,
    engine: Mutex<Engine>,
    begun: Instant,
    lanes: Lanes,
}

/// Serves one term after the other.
pub(super) async fn serve(
    shared: Arc<Shared>,
    mut leading: watch::Receiver<bool>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    loop {
        if unless_stopped(&stop, until(&mut leading, true)).await?.is_none() {
            return Ok(());
        }
        let end = stop.child_token();
        shared.metrics.leader.set(1);
        let term = run(Arc::clone(&shared), end.clone());
        tokio::pin!(term);
        let lost = tokio::select! {
            result = &mut term => return result,
            lost = until(&mut leading, false) => lost,
        };
        end.cancel();
        shared.metrics.leader.set(0);
        term.await?;
        shared.assigning.store(false, Ordering::SeqCst);
        shared.queue.clear();
        shared.metrics.hide_pools();
        if stop.is_cancelled() {
            return Ok(());
        }
        lost?;
    }
}

async fn until(leading: &mut watch::Receiver<bool>, wanted: bool) -> anyhow::Result<()> {
    leading
        .wait_for(|leading| *leading == wanted)
        .await
        .map(drop)
        .context("the election ended")
}

async fn run(shared: Arc<Shared>, end: CancellationToken) -> anyhow::Result<()> {
    let mut tasks = JoinSet::new();
    // From the beginning: it may be the configuration that keeps the rest from beginning.
    tasks.spawn(state::follow(Arc::clone(&shared), end.clone()));
    if let Some(term) = unless_stopped(&end, start(shared)).await? {
        let term = Arc::new(term);
        tasks.spawn(Arc::clone(&term).work(end.clone()));
        tasks.spawn(Arc::clone(&term).follow_pools(end.clone()));
        tasks.spawn(numbers::follow(term, end.clone()));
    }
    let ended = tasks.join_next().await;
    end.cancel();
    tasks.join_all().await;
    ended.transpose().context("a task of the term panicked").map(drop)
}

/// Waits for everything to be known, and imports it.
async fn start(shared: Arc<Shared>) -> anyhow::Result<Term> {
    shared
        .stores
        .services
        .wait_until_ready()
        .await
        .context("the watch of Services ended")?;
    shared.stores.catch_up(&shared.client).await;
    // What was parsed may be older than what the stores have by now.
    config::judge_again(&shared).await?;
    let mut verdict = shared.verdict.subscribe();
    let ready = |verdict: &Option<Verdict>| verdict.as_ref().is_some_and(|v| v.accepted.is_some());
    verdict
        .wait_for(ready)
        .await
        .context("the configuration is followed no more")?;
    let mut engine = Engine::new(&shared.settings.class, shared.settings.conditions);
    // Whatever changes after this is queued, whatever changed before is in the stores.
    shared.assigning.store(true, Ordering::SeqCst);
    let services = shared.stores.services.state();
    let count = services.len();
    let (pools, reaches) = current(&shared);
    // Nothing is due by this alone.
    engine.handle(Timestamp::now(), Event::Reaches(reaches));
    let actions = engine.handle(Timestamp::now(), Event::Start { pools, services });
    info!(event = "termStarted", services = count, "assigning addresses");
    let term = Term {
        shared,
        engine: Mutex::new(engine),
        begun: Instant::now(),
        lanes: Lanes::new(WORKERS),
    };
    term.settle(actions);
    Ok(term)
}

/// What is in force now.
fn current(shared: &Shared) -> (Arc<Accepted>, Option<Arc<Reaches>>) {
    let verdict = shared.verdict.borrow();
    let verdict = verdict.as_ref();
    let accepted = verdict.and_then(|verdict| verdict.accepted.clone());
    let reaches = verdict.and_then(|verdict| verdict.reaches.clone());
    (Arc::new(accepted.unwrap_or_default()), reaches)
}

impl Term {
    pub(super) fn engine<T>(&self, read: impl FnOnce(&mut Engine) -> T) -> T {
        read(&mut self.engine.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn handle(&self, event: Event) -> Vec<Action> {
        let (now, elapsed) = (Timestamp::now(), self.begun.elapsed());
        self.engine(|engine| {
            engine.tick(elapsed);
            engine.handle(now, event)
        })
    }

    async fn follow_pools(self: Arc<Self>, end: CancellationToken) {
        let mut verdict = self.shared.verdict.subscribe();
        let mut last = None;
        loop {
            let now = current(&self.shared);
            let (pools, reaches) = &now;
            if last.as_ref().is_none_or(|(last, _)| last != pools) {
                self.settle(self.handle(Event::Pools(Arc::clone(pools))));
            }
            if last.as_ref().is_none_or(|(_, last)| last != reaches) {
                self.settle(self.handle(Event::Reaches(reaches.clone())));
            }
            last = Some(now);
            tokio::select! {
                () = end.cancelled() => return,
                changed = verdict.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Hands Services to tasks, as many at a time as there are places.
    async fn work(self: Arc<Self>, end: CancellationToken) {
        let mut busy = JoinSet::new();
        loop {
            let next = async { (self.lanes.place().await, self.shared.queue.next().await) };
            tokio::select! {
                biased;
                () = end.cancelled() => break,
                (place, key) = next => drop(busy.spawn(Arc::clone(&self).serve(key, place))),
            }
            while busy.try_join_next().is_some() {}
        }
        // What is being written is written before somebody else may assign.
        busy.join_all().await;
    }

    async fn serve(self: Arc<Self>, key: Key, place: Place) {
        let outcome = AssertUnwindSafe(self.attend(&key, place)).catch_unwind().await;
        let outcome = outcome.unwrap_or_else(|_| self.panicked(&key));
        self.shared.queue.done(&key, outcome);
    }

    /// A Service that nobody thought of shall not take the others' controller away, now and after every restart.
    fn panicked(&self, key: &Key) -> Outcome {
        error!(op = "reconcile", service = %key, "this Service makes the controller panic");
        self.shared.metrics.services.panicked();
        self.shared.metrics.update_errors.inc();
        Outcome::Retry
    }

    async fn attend(&self, key: &Key, place: Place) -> Outcome {
        let metrics = &self.shared.metrics;
        metrics.updates.inc();
        let service = self.shared.stores.service(key);
        if service.is_none() {
            self.lanes.forget(key);
        }
        let by = self.shared.announcers.of(key);
        let mut actions = self.handle(Event::Look(key.clone(), service, by));
        let mut remove = |wanted: fn(&Action) -> bool| {
            let place = actions.iter().position(wanted)?;
            Some(actions.remove(place))
        };
        let write = remove(|action| matches!(action, Action::Write(_)));
        let rival = remove(|action| matches!(action, Action::Rival(_)));
        if let Some(Action::Rival(about)) = rival {
            self.tell_of_rival(key, about).await;
        }
        for action in &actions {
            if let Action::Failed(reason) = action {
                metrics.failed(reason);
            }
        }
        let Some(Action::Write(service)) = write else {
            self.settle(actions);
            return Outcome::Ok;
        };
        match self.lanes.carry(key, place, self.write(key, &service)).await {
            Some(Ok(true)) => {
                self.settle(actions);
                Outcome::Ok
            }
            Some(Ok(false)) | None => {
                self.settle(silent(actions));
                Outcome::Retry
            }
            Some(Err(error)) => {
                error!(op = "updateServiceStatus", service = %key, error = explain(error.as_ref()), "failed to update service");
                metrics.update_errors.inc();
                self.settle(silent(actions));
                Outcome::Retry
            }
        }
    }

    async fn tell_of_rival(&self, key: &Key, about: Box<ObjectReference>) {
        let Ok(text) = tokio::time::timeout(RIVAL_TIMEOUT, rival::text(&self.shared, key)).await else {
            return;
        };
        warn!(event = "statusOverwritten", service = %key, text);
        let reason = event_reason::STATUS_OVERWRITTEN;
        speak::tell(&self.shared.recorder, &about, EventKind::Warning, reason, &text);
    }

    /// Returns whether the write was made; a conflict is no error but a reason to look again.
    async fn write(&self, key: &Key, service: &Service) -> anyhow::Result<bool> {
        let api: Api<Service> = Api::namespaced(self.shared.client.clone(), key.namespace());
        let params = PostParams {
            field_manager: Some(names::field_manager::CONTROLLER.to_owned()),
            ..PostParams::default()
        };
        let put = api.replace_status(key.name(), &params, service);
        match tokio::time::timeout(WRITE_TIMEOUT, put).await.context("timed out")? {
            Ok(now) => {
                info!(event = "serviceUpdated", service = %key, "updated service object");
                // A version that stayed will not be seen to change, so there is nothing to wait for.
                let from = service.resource_version();
                let from = from.filter(|from| now.resource_version().as_ref() != Some(from));
                let key = key.clone();
                self.settle(self.handle(Event::Written { key, from }));
                Ok(true)
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
                debug!(op = "updateServiceStatus", service = %key, error = status.message, "looking again");
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Carries out everything that is no write.
    fn settle(&self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Enqueue(key) => self.shared.queue.add(key),
                Action::Later(key, delay) => self.shared.queue.add_after(key, delay),
                Action::Tell {
                    about,
                    kind,
                    reason,
                    message,
                } => speak::tell(&self.shared.recorder, &about, kind, reason, &message),
                Action::Log {
                    key,
                    level,
                    event,
                    detail,
                } => speak::log(&key, level, event, &detail),
                Action::Count => self.shared.recount.notify_one(),
                Action::Write(_) | Action::Rival(_) | Action::Failed(_) => {}
            }
        }
    }
}

/// What remains true although the write was not made; whoever was woken was woken rightly.
fn silent(mut actions: Vec<Action>) -> Vec<Action> {
    actions.retain(|action| match action {
        Action::Tell { reason, .. } => !is_of_a_write(reason),
        Action::Log { event, .. } => !["ipAllocated", "deprecatedAnnotation", NOT_ANNOUNCEABLE].contains(event),
        _ => true,
    });
    actions
}
