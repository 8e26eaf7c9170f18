//! Tasks around the engine: watches feed it, workers carry out what it says.

mod announcers;
mod behind;
mod config;
mod lanes;
mod nodes;
mod numbers;
mod rival;
mod speak;
mod state;
mod stores;
mod term;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use k8s_openapi::api::core::v1::Pod;
use kube::{Client, ResourceExt};
use metallb_api::names;
use metallb_assign::Verdict;
use metallb_config::Backend;
use metallb_ipam::Key;
use metallb_runtime::admin::Health;
use metallb_runtime::events::Recorder;
use metallb_runtime::tasks::{Spawner, Tasks};
use metallb_runtime::work::{Backoff, Queue};
use metallb_runtime::{CancellationToken, lease};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::metrics::Metrics;
use announcers::Announcers;
use stores::Stores;

/// What the command line says about assigning.
pub(crate) struct Settings {
    pub(crate) namespace: String,
    pub(crate) class: String,
    /// Whether Services carry our condition.
    pub(crate) conditions: bool,
    pub(crate) backend: Backend,
    /// Speakers announce from nodes with the exclude label, or may do so.
    pub(crate) ignore_exclude_label: bool,
    pub(crate) pod: Pod,
}

/// What all tasks share.
struct Shared {
    client: Client,
    settings: Settings,
    stores: Stores,
    announcers: Arc<Announcers>,
    metrics: Metrics,
    queue: Queue<Key>,
    /// Whether changed Services are of interest: a standby would only collect the names of what is long gone.
    assigning: AtomicBool,
    /// What the parser says of the latest objects; nothing before all stores are complete.
    verdict: watch::Sender<Option<Verdict>>,
    /// Those who wait for a verdict on what is in the stores now.
    asked: mpsc::UnboundedSender<oneshot::Sender<()>>,
    /// Numbers or status of some pool may have to be written.
    recount: Notify,
    recorder: Recorder,
    /// Owns what has to end with the process, or with a term.
    tasks: Spawner,
}

/// Tells `/readyz` what there is to wait for.
pub(crate) fn announce_needs(health: &Health) {
    for kind in stores::KINDS {
        health.missing(kind);
    }
}

/// Starts watching, parsing, and assigning whenever the lease is ours, which is to be given up at the end.
pub(crate) fn spawn(
    client: Client,
    settings: Settings,
    metrics: Metrics,
    health: &Health,
    tasks: &mut Tasks,
    stop: &CancellationToken,
) -> lease::Candidacy {
    let identity = settings.pod.name_any();
    let (timing, spawner) = (lease::Timing::default(), tasks.spawner());
    let candidacy = lease::hold(
        client.clone(),
        &settings.namespace,
        names::CONTROLLER_LEASE,
        &identity,
        timing,
        &spawner,
    );
    let (stores, changes) = Stores::watch(&client, &settings.namespace, &spawner);
    let announcers = Arc::<Announcers>::default();
    let announced = announcers::watch(&client, &settings.namespace, &announcers, &spawner);
    let recorder = Recorder::new(client.clone(), names::event_source::CONTROLLER, &identity, &spawner);
    let (asked, questions) = mpsc::unbounded_channel();
    let shared = Arc::new(Shared {
        client,
        settings,
        stores,
        announcers,
        queue: Queue::observed(Backoff::default(), metrics.services.clone()),
        metrics,
        assigning: AtomicBool::new(false),
        verdict: watch::Sender::new(None),
        asked,
        recount: Notify::new(),
        recorder,
        tasks: spawner,
    });
    tasks.spawn(
        "services",
        stores::feed(changes.services, Arc::clone(&shared), health.clone(), stop.clone()),
    );
    tasks.spawn(
        "configuration",
        config::follow(
            changes.configuration,
            questions,
            Arc::clone(&shared),
            health.clone(),
            stop.clone(),
        ),
    );
    tasks.spawn(
        "announcers",
        announcers::follow(announced, Arc::clone(&shared), stop.clone()),
    );
    let work = candidacy.work();
    let assigning = term::serve(shared, candidacy.leading(), stop.clone());
    tasks.spawn("assign", async move {
        let ended = assigning.await;
        // All writes have ended by now, well or not: nobody else may assign before.
        work.done();
        ended
    });
    candidacy
}
