//! The metrics of a queue and of the work on its keys, under the names of client-go and controller-runtime.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, exponential_buckets,
};
use tokio::time::Instant;

use super::Outcome;

/// Upper bounds of controller-runtime's `reconcile_time_seconds`.
const RECONCILE_BUCKETS: [f64; 40] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25, 1.5,
    1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 60.0,
];
const QUEUE: [&str; 2] = ["name", "controller"];
const CONTROLLER: [&str; 1] = ["controller"];

/// The families of a process; each queue has one series in all of them. Clones share them.
#[derive(Clone, Debug)]
pub struct WorkMetrics {
    depth: IntGaugeVec,
    adds: IntCounterVec,
    waited: HistogramVec,
    worked: HistogramVec,
    retries: IntCounterVec,
    results: IntCounterVec,
    errors: IntCounterVec,
    terminal: IntCounterVec,
    panics: IntCounterVec,
    time: HistogramVec,
    workers: IntGaugeVec,
    active: IntGaugeVec,
    running: Running,
}

impl WorkMetrics {
    /// Registers all families.
    ///
    /// # Errors
    /// When a name is registered already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let seconds = exponential_buckets(1e-8, 10.0, 12)?;
        let metrics = Self {
            depth: IntGaugeVec::new(
                Opts::new(
                    "workqueue_depth",
                    "Current depth of workqueue by workqueue and priority",
                ),
                &["name", "controller", "priority"],
            )?,
            adds: counter(
                "workqueue_adds_total",
                "Total number of adds handled by workqueue",
                &QUEUE,
            )?,
            waited: histogram(
                "workqueue_queue_duration_seconds",
                "How long in seconds an item stays in workqueue before being requested",
                &QUEUE,
                seconds.clone(),
            )?,
            worked: histogram(
                "workqueue_work_duration_seconds",
                "How long in seconds processing an item from workqueue takes.",
                &QUEUE,
                seconds,
            )?,
            retries: counter(
                "workqueue_retries_total",
                "Total number of retries handled by workqueue",
                &QUEUE,
            )?,
            results: counter(
                "controller_runtime_reconcile_total",
                "Total number of reconciliations per controller",
                &["controller", "result"],
            )?,
            errors: counter(
                "controller_runtime_reconcile_errors_total",
                "Total number of reconciliation errors per controller",
                &CONTROLLER,
            )?,
            terminal: counter(
                "controller_runtime_terminal_reconcile_errors_total",
                "Total number of terminal reconciliation errors per controller",
                &CONTROLLER,
            )?,
            panics: counter(
                "controller_runtime_reconcile_panics_total",
                "Total number of reconciliation panics per controller",
                &CONTROLLER,
            )?,
            time: histogram(
                "controller_runtime_reconcile_time_seconds",
                "Length of time per reconciliation per controller",
                &CONTROLLER,
                RECONCILE_BUCKETS.to_vec(),
            )?,
            workers: gauge(
                "controller_runtime_max_concurrent_reconciles",
                "Maximum number of concurrent reconciles per controller",
            )?,
            active: gauge(
                "controller_runtime_active_workers",
                "Number of currently used workers per controller",
            )?,
            running: Running::new()?,
        };
        for collector in metrics.collectors() {
            registry.register(collector)?;
        }
        Ok(metrics)
    }

    fn collectors(&self) -> Vec<Box<dyn Collector>> {
        vec![
            Box::new(self.depth.clone()),
            Box::new(self.adds.clone()),
            Box::new(self.waited.clone()),
            Box::new(self.worked.clone()),
            Box::new(self.retries.clone()),
            Box::new(self.results.clone()),
            Box::new(self.errors.clone()),
            Box::new(self.terminal.clone()),
            Box::new(self.panics.clone()),
            Box::new(self.time.clone()),
            Box::new(self.workers.clone()),
            Box::new(self.active.clone()),
            Box::new(self.running.clone()),
        ]
    }

    /// The series of one queue, which so many workers serve. All start at zero.
    #[must_use]
    pub fn queue(&self, name: &str, workers: usize) -> QueueMetrics {
        let both = [name, name];
        let result = |result: &str| self.results.with_label_values(&[name, result]);
        for never in ["requeue", "requeue_after"] {
            result(never);
        }
        self.terminal.with_label_values(&[name]);
        let most = self.workers.with_label_values(&[name]);
        most.set(i64::try_from(workers).unwrap_or(i64::MAX));
        QueueMetrics {
            depth: self.depth.with_label_values(&[name, name, ""]),
            adds: self.adds.with_label_values(&both),
            waited: self.waited.with_label_values(&both),
            worked: self.worked.with_label_values(&both),
            retries: self.retries.with_label_values(&both),
            success: result("success"),
            error: result("error"),
            errors: self.errors.with_label_values(&[name]),
            panics: self.panics.with_label_values(&[name]),
            time: self.time.with_label_values(&[name]),
            active: self.active.with_label_values(&[name]),
            begun: self.running.queue(name),
        }
    }
}

fn counter(name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
    IntCounterVec::new(Opts::new(name, help), labels)
}

fn gauge(name: &str, help: &str) -> prometheus::Result<IntGaugeVec> {
    IntGaugeVec::new(Opts::new(name, help), &CONTROLLER)
}

fn histogram(name: &str, help: &str, labels: &[&str], buckets: Vec<f64>) -> prometheus::Result<HistogramVec> {
    HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets), labels)
}

/// The series of one queue; clones count together.
#[derive(Clone, Debug)]
pub struct QueueMetrics {
    depth: IntGauge,
    adds: IntCounter,
    waited: Histogram,
    worked: Histogram,
    retries: IntCounter,
    success: IntCounter,
    error: IntCounter,
    errors: IntCounter,
    panics: IntCounter,
    time: Histogram,
    active: IntGauge,
    begun: Begun,
}

impl QueueMetrics {
    /// Counts a piece of work that waits in no queue of ours.
    pub fn observe<T>(&self, work: impl FnOnce() -> T) -> T {
        self.added();
        let begin = Instant::now();
        self.taken(Duration::ZERO, begin);
        let result = work();
        self.done(begin, Outcome::Ok);
        result
    }

    /// Counts work that ended in a panic.
    pub fn panicked(&self) {
        self.panics.inc();
    }

    pub(super) fn added(&self) {
        self.adds.inc();
        self.depth.inc();
    }

    pub(super) fn retried(&self) {
        self.retries.inc();
    }

    pub(super) fn dropped(&self, keys: usize) {
        self.depth.sub(i64::try_from(keys).unwrap_or(i64::MAX));
    }

    pub(super) fn taken(&self, waited: Duration, begin: Instant) {
        self.depth.dec();
        self.waited.observe(waited.as_secs_f64());
        self.active.inc();
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).push(begin);
    }

    pub(super) fn done(&self, begin: Instant, outcome: Outcome) {
        let took = begin.elapsed().as_secs_f64();
        self.worked.observe(took);
        self.time.observe(took);
        self.active.dec();
        match outcome {
            Outcome::Ok => self.success.inc(),
            Outcome::Retry => {
                self.error.inc();
                self.errors.inc();
            }
        }
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = begun.iter().position(|other| *other == begin) {
            begun.swap_remove(at);
        }
    }
}

/// When the pieces of work in progress began.
type Begun = Arc<Mutex<Vec<Instant>>>;

/// What is in progress is measured when somebody asks.
#[derive(Clone, Debug)]
struct Running {
    unfinished: GaugeVec,
    longest: GaugeVec,
    queues: Arc<Mutex<Vec<(Gauge, Gauge, Begun)>>>,
}

impl Running {
    fn new() -> prometheus::Result<Self> {
        let unfinished = Opts::new(
            "workqueue_unfinished_work_seconds",
            "How many seconds of work has been done that is in progress and hasn't been observed by work_duration. \
             Large values indicate stuck threads. One can deduce the number of stuck threads by observing the rate at \
             which this increases.",
        );
        let longest = Opts::new(
            "workqueue_longest_running_processor_seconds",
            "How many seconds has the longest running processor for workqueue been running.",
        );
        Ok(Self {
            unfinished: GaugeVec::new(unfinished, &QUEUE)?,
            longest: GaugeVec::new(longest, &QUEUE)?,
            queues: Arc::default(),
        })
    }

    fn queue(&self, name: &str) -> Begun {
        let begun = Begun::default();
        let series = (
            self.unfinished.with_label_values(&[name, name]),
            self.longest.with_label_values(&[name, name]),
            Arc::clone(&begun),
        );
        self.queues.lock().unwrap_or_else(PoisonError::into_inner).push(series);
        begun
    }
}

impl Collector for Running {
    fn desc(&self) -> Vec<&Desc> {
        [self.unfinished.desc(), self.longest.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        for (unfinished, longest, begun) in self.queues.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let begun = begun.lock().unwrap_or_else(PoisonError::into_inner);
            let ages = begun.iter().map(|begin| begin.elapsed().as_secs_f64());
            // Rust sums nothing up to -0.
            unfinished.set(ages.clone().fold(0.0, |sum, age| sum + age));
            longest.set(ages.fold(0.0, f64::max));
        }
        [self.unfinished.collect(), self.longest.collect()].concat()
    }
}
