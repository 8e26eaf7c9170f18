//! The reconciler: one key at a time, from watches to writes.

use std::{collections::HashMap, pin::Pin, time::Duration};

use anyhow::{Context, bail};
use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, Deployment},
        core::v1::{ConfigMap, ServiceAccount},
    },
    apimachinery::pkg::apis::meta::v1::Condition,
    jiff::Timestamp,
};
use kube::{
    Api, Client, Resource,
    runtime::reflector::{ObjectRef, Store},
};
use metallb_api::{MetalLB, MetalLBStatus, names::field_manager};
use metallb_manifests::Environment;
use metallb_runtime::{
    CancellationToken,
    admin::Health,
    apply,
    events::{EventType, Recorder},
    watch::{self, Change, Watched},
    work::{Outcome, Queue},
};
use tokio::sync::watch::Receiver;
use tracing::{error, info, warn};

use crate::{
    conditions::{State, conditions},
    metrics::Metrics,
    plan::{Key, Plan, plan},
    readiness,
    sync::{self, Sync},
};

/// What `/readyz` calls the first sight of the cluster.
pub(crate) const CLUSTER: &str = "MetalLB resources and deployed objects";

/// Every so often all is looked at again, in case a watch has kept something from us.
const RESYNC: Duration = Duration::from_secs(300);

/// A task that feeds the queue from one watch.
type Feed = Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>;

/// Owns the state of the reconciler.
pub(crate) struct Engine {
    client: Client,
    environment: Environment,
    resources: Store<MetalLB>,
    sync: Sync,
    queue: Queue<Key>,
    recorder: Recorder,
    metrics: Metrics,
    /// The conditions that were written last, with the resource's uid.
    told: HashMap<Key, (Option<String>, Vec<Condition>)>,
}

impl Engine {
    /// Starts the watches; the second value keeps the queue fed and must be run beside the engine.
    pub(crate) fn new(
        client: Client,
        environment: &Environment,
        recorder: Recorder,
        metrics: Metrics,
        stop: &CancellationToken,
    ) -> (Self, Vec<(&'static str, Feed)>) {
        let queue = Queue::new(metallb_runtime::work::Backoff::default());
        let resources = watch::watch(
            Api::<MetalLB>::all(client.clone()),
            watch::Config::default(),
            stop.clone(),
        );
        let ours = || watch::Config::default().labels(&sync::selector());
        let namespace = environment.namespace.as_str();
        let config_maps = watch::watch(
            Api::<ConfigMap>::namespaced(client.clone(), namespace),
            ours(),
            stop.clone(),
        );
        let daemon_sets = watch::watch(
            Api::<DaemonSet>::namespaced(client.clone(), namespace),
            ours(),
            stop.clone(),
        );
        let deployments = watch::watch(
            Api::<Deployment>::namespaced(client.clone(), namespace),
            ours(),
            stop.clone(),
        );
        let service_accounts = watch::watch(
            Api::<ServiceAccount>::namespaced(client.clone(), namespace),
            ours(),
            stop.clone(),
        );
        let stores = sync::stores(&config_maps, &daemon_sets, &deployments, &service_accounts);
        let engine = Self {
            resources: resources.store.clone(),
            sync: Sync::new(client.clone(), namespace, stores, metrics.clone()),
            queue: queue.clone(),
            client,
            recorder,
            metrics,
            told: HashMap::new(),
            environment: environment.clone(),
        };
        let singleton = Key::singleton(namespace);
        let one = || {
            let singleton = singleton.clone();
            move || singleton.clone()
        };
        let (a, b, c, d) = (one(), one(), one(), one());
        let feeds: Vec<(&'static str, Feed)> = vec![
            (
                "watch of MetalLB resources",
                Box::pin(feed(resources, queue.clone(), Key::of)),
            ),
            (
                "watch of ConfigMaps",
                Box::pin(feed(config_maps, queue.clone(), move |_| a())),
            ),
            (
                "watch of DaemonSets",
                Box::pin(feed(daemon_sets, queue.clone(), move |_| b())),
            ),
            (
                "watch of Deployments",
                Box::pin(feed(deployments, queue.clone(), move |_| c())),
            ),
            (
                "watch of ServiceAccounts",
                Box::pin(feed(service_accounts, queue, move |_| d())),
            ),
        ];
        (engine, feeds)
    }

    /// Works until `stop`, while `leader` says so.
    pub(crate) async fn run(
        mut self,
        mut leader: Receiver<bool>,
        health: Health,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        tokio::select! {
            ready = self.wait_until_ready() => ready?,
            () = stop.cancelled() => return Ok(()),
        }
        health.ready(CLUSTER);
        let mut leading = *leader.borrow_and_update();
        let mut resync = tokio::time::interval(RESYNC);
        loop {
            // Cancel-safe: a key is handed out only when `next` completes.
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                changed = leader.changed() => {
                    if changed.is_err() && !stop.is_cancelled() {
                        bail!("the election of a leader ended unexpectedly");
                    }
                    leading = *leader.borrow_and_update();
                    info!(event = "leadership", leading);
                    self.enqueue_all();
                }
                // The first tick comes at once.
                _ = resync.tick() => self.enqueue_all(),
                key = self.queue.next() => {
                    let outcome = if leading { self.reconcile(&key).await } else { Outcome::Ok };
                    self.queue.done(&key, outcome);
                }
            }
        }
    }

    async fn wait_until_ready(&self) -> anyhow::Result<()> {
        self.resources
            .wait_until_ready()
            .await
            .context("the watch of MetalLB resources ended")?;
        self.sync.wait_until_ready().await
    }

    /// Queues all resources, and the one that has an effect even if it is gone: there may be something to remove.
    fn enqueue_all(&self) {
        for resource in self.resources.state() {
            self.queue.add(Key::of(&resource));
        }
        self.queue.add(Key::singleton(&self.environment.namespace));
    }

    async fn reconcile(&mut self, key: &Key) -> Outcome {
        let resource = self.resources.get(&ObjectRef::new(&key.name).within(&key.namespace));
        let result = match plan(key, resource.as_deref(), &self.environment) {
            Plan::Deploy(objects) => self
                .sync
                .deploy(&objects)
                .await
                .map(|live| Some(readiness::state(&live))),
            Plan::Refuse(state) => Ok(Some(state)),
            Plan::Remove => self.sync.remove().await.map(|()| None),
            Plan::Nothing => Ok(None),
        };
        let (state, mut outcome) = match result {
            Ok(state) => (state, Outcome::Ok),
            Err(failure) => {
                let state = failure.state();
                error!(event = "reconcileFailed", resource = %key, error = format!("{:#}", anyhow::Error::new(failure)));
                (state, Outcome::Retry)
            }
        };
        let Some(resource) = resource else {
            self.told.remove(key);
            self.metrics.reconciled(outcome == Outcome::Ok);
            return outcome;
        };
        if let Some(state) = state
            && let Err(failure) = self.tell(key, &resource, &state).await
        {
            warn!(event = "statusFailed", resource = %key, error = format!("{:#}", anyhow::Error::new(failure)));
            outcome = Outcome::Retry;
        }
        self.metrics.reconciled(outcome == Outcome::Ok);
        outcome
    }

    /// Writes the state into the status, if it is not there already.
    async fn tell(&mut self, key: &Key, resource: &MetalLB, state: &State) -> Result<(), apply::Error> {
        let uid = resource.metadata.uid.clone();
        let stored = resource
            .status
            .as_ref()
            .map(|status| status.conditions.as_slice())
            .unwrap_or_default();
        // What we wrote ourselves may not have come back to us yet.
        let before = match self.told.get(key) {
            Some((told, conditions)) if *told == uid => conditions.as_slice(),
            _ => stored,
        };
        if *key == Key::singleton(&self.environment.namespace) {
            self.metrics.state(state);
        }
        let made = conditions(state, resource.metadata.generation, before, Timestamp::now());
        if made == stored {
            return Ok(());
        }
        let news = !says_the_same(before, &made);
        let api: Api<MetalLB> = Api::namespaced(self.client.clone(), &key.namespace);
        let status = MetalLBStatus {
            conditions: made.clone(),
            ..MetalLBStatus::default()
        };
        match apply::status(&api, &key.name, &status, field_manager::OPERATOR).await {
            // It was deleted meanwhile.
            Err(apply::Error::Api { source, .. }) if is_gone(&source) => return Ok(()),
            result => result?,
        };
        self.told.insert(key.clone(), (uid, made));
        if news {
            self.announce(key, resource, state);
        }
        Ok(())
    }

    fn announce(&self, key: &Key, resource: &MetalLB, state: &State) {
        let (type_, reason, message) = state.summary();
        let event_type = match state {
            State::Degraded { .. } => EventType::Warning,
            _ => EventType::Normal,
        };
        let note = if message.is_empty() {
            "all workloads are ready"
        } else {
            message
        };
        info!(event = "stateChanged", resource = %key, state = type_, reason, note);
        self.recorder
            .emit(&resource.object_ref(&()), event_type, reason, "Reconcile", note);
    }
}

fn is_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// Tells whether the conditions that hold are the same, and for the same reasons.
fn says_the_same(before: &[Condition], after: &[Condition]) -> bool {
    let holding = |conditions: &[Condition]| -> Vec<(String, String)> {
        let holding = conditions.iter().filter(|condition| condition.status == "True");
        holding
            .map(|condition| (condition.type_.clone(), condition.reason.clone()))
            .collect()
    };
    holding(before) == holding(after)
}

/// Queues a key for everything that a watch reports.
async fn feed<K>(mut watched: Watched<K>, queue: Queue<Key>, key: impl Fn(&K) -> Key) -> anyhow::Result<()>
where
    K: Resource<DynamicType = ()> + Clone,
{
    while let Some(change) = watched.changes.recv().await {
        match &change {
            Change::Applied(object) | Change::Deleted(object) => queue.add(key(object)),
            Change::Ready => {}
        }
    }
    Ok(())
}
