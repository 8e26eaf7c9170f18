//! A keyed work queue: de-duplicating, one worker per key at a time, with exponential backoff per key.
//!
//! ```
//! # use metallb_runtime::work::{Backoff, Outcome, Queue};
//! # async fn converge(_: &str) -> Result<(), ()> { Ok(()) }
//! # async fn run() {
//! let queue = Queue::new(Backoff::default());
//! queue.add("default/web");
//! loop {
//!     let key = queue.next().await;
//!     let outcome = if converge(key).await.is_ok() { Outcome::Ok } else { Outcome::Retry };
//!     queue.done(&key, outcome);
//! }
//! # }
//! ```

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt::{self, Debug};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

mod metrics;

pub use metrics::{QueueMetrics, WorkMetrics};

/// How long a failed key waits: `base` · 2ⁿ after the n-th failure in a row, at most `cap`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Wait after the first failure.
    pub base: Duration,
    /// Longest wait.
    pub cap: Duration,
}

impl Default for Backoff {
    /// 5 ms, as client-go, up to 30 s.
    ///
    /// Upstream: up to 1000 s, which leaves a Service broken for a quarter of an hour after the cause went away.
    fn default() -> Self {
        Self {
            base: Duration::from_millis(5),
            cap: Duration::from_secs(30),
        }
    }
}

impl Backoff {
    fn after(&self, failures: u32) -> Duration {
        let factor = 2_u32.saturating_pow(failures.saturating_sub(1));
        self.base.saturating_mul(factor).min(self.cap)
    }
}

/// How the work on a key ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Converged: the failures of the key are forgotten.
    Ok,
    /// To be tried again after the backoff of the key.
    Retry,
}

/// A queue of keys; clones share it.
pub struct Queue<K> {
    shared: Arc<Shared<K>>,
}

struct Shared<K> {
    state: Mutex<State<K>>,
    wake: Notify,
    backoff: Backoff,
}

/// A key that is being worked on.
struct Busy {
    since: Instant,
    /// When the key was added again meanwhile.
    again: Option<Instant>,
}

struct State<K> {
    /// Due keys, and since when.
    ready: VecDeque<(K, Instant)>,
    queued: HashSet<K>,
    /// Keys handed out and not yet done.
    busy: HashMap<K, Busy>,
    /// Ordered by time, then by a counter that makes equal times distinct.
    delayed: BTreeMap<(Instant, u64), K>,
    sequence: u64,
    failures: HashMap<K, u32>,
    metrics: Option<QueueMetrics>,
}

impl<K> Clone for Queue<K> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
        }
    }
}

impl<K> Debug for Queue<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

impl<K: Clone + Eq + Hash> Queue<K> {
    /// Creates an empty queue.
    #[must_use]
    pub fn new(backoff: Backoff) -> Self {
        Self::build(backoff, None)
    }

    /// Creates an empty queue whose work is counted.
    #[must_use]
    pub fn observed(backoff: Backoff, metrics: QueueMetrics) -> Self {
        Self::build(backoff, Some(metrics))
    }

    fn build(backoff: Backoff, metrics: Option<QueueMetrics>) -> Self {
        let state = State {
            ready: VecDeque::new(),
            queued: HashSet::new(),
            busy: HashMap::new(),
            delayed: BTreeMap::new(),
            sequence: 0,
            failures: HashMap::new(),
            metrics,
        };
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                wake: Notify::new(),
                backoff,
            }),
        }
    }

    /// Queues `key` now; a key that waits already is queued once, one that is being worked on comes again afterwards.
    pub fn add(&self, key: K) {
        self.state().push(key);
        self.shared.wake.notify_one();
    }

    /// Queues `key` after `delay`. Earlier additions of the key are not put off by it.
    pub fn add_after(&self, key: K, delay: Duration) {
        self.state().push_at(key, Instant::now() + delay);
        self.shared.wake.notify_one();
    }

    /// Waits for a key to work on; each must be given back with [`Queue::done`]. Cancel-safe.
    pub async fn next(&self) -> K {
        loop {
            let due = {
                let mut state = self.state();
                state.promote(Instant::now());
                if let Some(key) = state.pop() {
                    if !state.ready.is_empty() {
                        self.shared.wake.notify_one();
                    }
                    return key;
                }
                state.delayed.first_key_value().map(|((at, _), _)| *at)
            };
            let wake = self.shared.wake.notified();
            match due {
                Some(at) => {
                    let _ = tokio::time::timeout_at(at, wake).await;
                }
                None => wake.await,
            }
        }
    }

    /// Gives `key` back. What was added to the queue meanwhile comes at once, whatever the outcome.
    pub fn done(&self, key: &K, outcome: Outcome) {
        let mut state = self.state();
        let busy = state.busy.remove(key);
        let again = busy.as_ref().and_then(|busy| busy.again);
        if let (Some(busy), Some(metrics)) = (&busy, &state.metrics) {
            metrics.done(busy.since, outcome);
        }
        match outcome {
            Outcome::Ok => {
                state.failures.remove(key);
            }
            Outcome::Retry => {
                let failures = state.failures.entry(key.clone()).or_insert(0);
                *failures += 1;
                let delay = self.shared.backoff.after(*failures);
                if again.is_none() {
                    state.push_at(key.clone(), Instant::now() + delay);
                    if let Some(metrics) = &state.metrics {
                        metrics.retried();
                    }
                }
            }
        }
        if let Some(since) = again {
            state.queued.insert(key.clone());
            state.ready.push_back((key.clone(), since));
        }
        drop(state);
        self.shared.wake.notify_one();
    }

    /// Forgets all keys that wait, and all failures; what is being worked on may still be given back.
    pub fn clear(&self) {
        let mut state = self.state();
        let again = state.busy.values_mut().filter_map(|busy| busy.again.take()).count();
        if let Some(metrics) = &state.metrics {
            metrics.dropped(state.ready.len() + again);
        }
        state.ready.clear();
        state.queued.clear();
        state.delayed.clear();
        state.failures.clear();
    }

    /// Returns the number of keys that are due.
    #[must_use]
    pub fn len(&self) -> usize {
        self.state().ready.len()
    }

    /// Tells whether no key is due.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn state(&self) -> MutexGuard<'_, State<K>> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash> State<K> {
    fn push(&mut self, key: K) {
        let now = Instant::now();
        let new = match self.busy.get_mut(&key) {
            Some(busy) => busy.again.replace(busy.again.unwrap_or(now)).is_none(),
            None => {
                let new = self.queued.insert(key.clone());
                if new {
                    self.ready.push_back((key, now));
                }
                new
            }
        };
        if let Some(metrics) = self.metrics.as_ref().filter(|_| new) {
            metrics.added();
        }
    }

    fn push_at(&mut self, key: K, at: Instant) {
        self.sequence += 1;
        self.delayed.insert((at, self.sequence), key);
    }

    fn promote(&mut self, now: Instant) {
        while let Some(entry) = self.delayed.first_entry().filter(|entry| entry.key().0 <= now) {
            let key = entry.remove();
            self.push(key);
        }
    }

    fn pop(&mut self) -> Option<K> {
        let (key, since) = self.ready.pop_front()?;
        self.queued.remove(&key);
        let now = Instant::now();
        let busy = Busy {
            since: now,
            again: None,
        };
        self.busy.insert(key.clone(), busy);
        if let Some(metrics) = &self.metrics {
            metrics.taken(now - since, now);
        }
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> Queue<&'static str> {
        Queue::new(Backoff::default())
    }

    async fn within(queue: &Queue<&'static str>, limit: Duration) -> Option<&'static str> {
        tokio::time::timeout(limit, queue.next()).await.ok()
    }

    const SOON: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn a_key_added_twice_comes_once() {
        let queue = queue();
        queue.add("a");
        queue.add("a");
        assert_eq!(within(&queue, SOON).await, Some("a"));
        queue.done(&"a", Outcome::Ok);
        assert_eq!(within(&queue, SOON).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_never_worked_on_twice_at_a_time() {
        let queue = queue();
        queue.add("a");
        assert_eq!(queue.next().await, "a");
        queue.add("a");
        assert_eq!(within(&queue, SOON).await, None);
        queue.done(&"a", Outcome::Ok);
        assert_eq!(within(&queue, SOON).await, Some("a"));
    }

    #[tokio::test(start_paused = true)]
    async fn failures_double_the_wait_up_to_the_cap() {
        let queue = queue();
        queue.add("a");
        let mut waits = Vec::new();
        for _ in 0..16 {
            let before = Instant::now();
            let key = queue.next().await;
            waits.push(before.elapsed().as_millis());
            queue.done(&key, Outcome::Retry);
        }
        assert_eq!(waits[..5], [0, 5, 10, 20, 40]);
        assert_eq!(waits[14..], [30_000, 30_000]);
    }

    #[tokio::test(start_paused = true)]
    async fn success_forgets_the_failures() {
        let queue = queue();
        for outcome in [Outcome::Retry, Outcome::Retry, Outcome::Ok] {
            queue.add("a");
            let key = queue.next().await;
            queue.done(&key, outcome);
        }
        // The two backoffs that are still pending bring the key again; neither counts as a failure.
        while let Some(key) = within(&queue, Duration::from_secs(1)).await {
            queue.done(&key, Outcome::Ok);
        }
        queue.add("a");
        let key = queue.next().await;
        queue.done(&key, Outcome::Retry);
        let before = Instant::now();
        queue.next().await;
        assert_eq!(before.elapsed(), Duration::from_millis(5));
    }

    #[tokio::test(start_paused = true)]
    async fn one_failing_key_does_not_hold_up_another() {
        let queue = queue();
        queue.add("bad");
        let bad = queue.next().await;
        queue.done(&bad, Outcome::Retry);
        queue.add("good");
        assert_eq!(within(&queue, SOON).await, Some("good"));
    }

    #[tokio::test(start_paused = true)]
    async fn news_about_a_failing_key_come_at_once() {
        let queue = queue();
        queue.add("a");
        let key = queue.next().await;
        queue.add("a");
        queue.done(&key, Outcome::Retry);
        assert_eq!(within(&queue, SOON).await, Some("a"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_delayed_key_comes_in_time() {
        let queue = queue();
        queue.add_after("late", Duration::from_secs(3));
        let before = Instant::now();
        assert_eq!(queue.next().await, "late");
        assert_eq!(before.elapsed(), Duration::from_secs(3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiting_worker_notices_a_new_key() {
        let queue = queue();
        let worker = tokio::spawn({
            let queue = queue.clone();
            async move { queue.next().await }
        });
        tokio::task::yield_now().await;
        queue.add("a");
        assert_eq!(worker.await.unwrap(), "a");
    }

    #[tokio::test(start_paused = true)]
    async fn a_cleared_queue_holds_nothing_and_works_on() {
        let queue = queue();
        queue.add("busy");
        let busy = queue.next().await;
        queue.add("busy");
        queue.add("ready");
        queue.add_after("late", Duration::from_secs(3));
        queue.clear();
        queue.done(&busy, Outcome::Ok);
        assert_eq!(within(&queue, Duration::from_secs(60)).await, None);
        queue.add("a");
        assert_eq!(within(&queue, SOON).await, Some("a"));
    }

    #[tokio::test(start_paused = true)]
    async fn the_work_is_counted_under_the_names_of_controller_runtime() {
        let registry = prometheus::Registry::new();
        let metrics = WorkMetrics::register(&registry).unwrap().queue("service", 16);
        let queue = Queue::observed(Backoff::default(), metrics);
        let text = || {
            prometheus::TextEncoder::new()
                .encode_to_string(&registry.gather())
                .unwrap()
        };
        for key in ["a", "a", "b"] {
            queue.add(key);
        }
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(queue.next().await, "a");
        tokio::time::advance(Duration::from_secs(3)).await;
        let busy = text();
        for line in [
            "workqueue_depth{controller=\"service\",name=\"service\",priority=\"\"} 1",
            "workqueue_adds_total{controller=\"service\",name=\"service\"} 2",
            "workqueue_queue_duration_seconds_sum{controller=\"service\",name=\"service\"} 2",
            "workqueue_unfinished_work_seconds{controller=\"service\",name=\"service\"} 3",
            "workqueue_longest_running_processor_seconds{controller=\"service\",name=\"service\"} 3",
            "controller_runtime_active_workers{controller=\"service\"} 1",
            "controller_runtime_max_concurrent_reconciles{controller=\"service\"} 16",
            "controller_runtime_reconcile_total{controller=\"service\",result=\"error\"} 0",
        ] {
            assert!(busy.contains(&format!("{line}\n")), "{line} is not in\n{busy}");
        }
        queue.done(&"a", Outcome::Retry);
        let key = queue.next().await;
        queue.done(&key, Outcome::Ok);
        let done = text();
        for line in [
            "workqueue_retries_total{controller=\"service\",name=\"service\"} 1",
            "workqueue_work_duration_seconds_sum{controller=\"service\",name=\"service\"} 3",
            "workqueue_unfinished_work_seconds{controller=\"service\",name=\"service\"} 0",
            "controller_runtime_active_workers{controller=\"service\"} 0",
            "controller_runtime_reconcile_total{controller=\"service\",result=\"error\"} 1",
            "controller_runtime_reconcile_total{controller=\"service\",result=\"success\"} 1",
            "controller_runtime_reconcile_errors_total{controller=\"service\"} 1",
            "controller_runtime_reconcile_time_seconds_count{controller=\"service\"} 2",
        ] {
            assert!(done.contains(&format!("{line}\n")), "{line} is not in\n{done}");
        }
    }
}
