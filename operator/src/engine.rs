//! The reconciler's loop: watches, queue, leadership, end.

use std::time::Duration;

use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client,
    runtime::reflector::{ObjectRef, Store},
};
use metallb_api::{MetalLB, names};
use metallb_manifests::{Environment, Platform, TlsSettings};
use metallb_runtime::cause::explain;
use metallb_runtime::{
    CancellationToken,
    admin::Health,
    events::Recorder,
    lease,
    tasks::{Spawner, unless_stopped},
    watch::{self as cluster, Change, Watched},
    work::{Outcome, Queue},
};
use tokio::{
    sync::watch::{self, Receiver},
    time::timeout,
};
use tracing::{debug, error, info, warn};

use crate::{
    olm::OperatorCondition,
    openshift::tls_profile,
    plan::{Key, Plan, plan},
    reconcile::Reconciler,
    removal::finalizer,
    removal::orphan,
    status::metrics::Metrics,
    status::tell::Teller,
    sync::Sync,
    sync::inventory::{Feed, Inventory, View},
};

/// What `/readyz` calls the first sight of the cluster.
pub(crate) const CLUSTER: &str = "MetalLB resources and deployed objects";

/// Every so often all is looked at again, in case a watch has kept something from us.
const RESYNC: Duration = Duration::from_secs(300);

/// The API group by which OpenShift is known.
const OPENSHIFT: &str = "route.openshift.io";

/// Time between two attempts to find out what the cluster offers.
const DISCOVERY: Duration = Duration::from_secs(2);

/// How long the end may be put off for the pass that is under way.
const LAST_PASS: Duration = Duration::from_secs(5);

/// How long the end may be put off for giving the finalizer back.
const PARTING: Duration = Duration::from_secs(2);

/// How the engine has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Nothing is under way.
    Clean,
    /// A pass did not end in time; the API server may still carry out what it asked for.
    Overdue,
}

/// Owns the state of the reconciler.
pub(crate) struct Engine {
    client: Client,
    environment: Environment,
    /// The TLS settings that count, once they are known.
    tls: watch::Sender<Option<TlsSettings>>,
    resources: Store<MetalLB>,
    /// Our own, and no other.
    namespaces: Store<Namespace>,
    inventory: Inventory,
    openshift: bool,
    reconciler: Reconciler,
    queue: Queue<Key>,
    metrics: Metrics,
}

impl Engine {
    /// Starts the watches; the second value keeps the queue fed and must be run beside the engine.
    pub(crate) fn new(
        client: Client,
        environment: Environment,
        tls: watch::Sender<Option<TlsSettings>>,
        recorder: Recorder,
        metrics: Metrics,
        condition: Option<String>,
        tasks: &Spawner,
    ) -> (Self, Vec<Feed>) {
        let queue = Queue::new(metallb_runtime::work::Backoff::default());
        let resources = cluster::watch(Api::<MetalLB>::all(client.clone()), cluster::Config::default(), tasks);
        let namespace = environment.namespace.clone();
        let singleton = Key::singleton(&namespace);
        let (changed, key) = (queue.clone(), singleton.clone());
        let notify = move || changed.add(key.clone());
        let (inventory, mut feeds) = Inventory::watch(&client, &namespace, notify.clone(), tasks.stop());
        let store = resources.store.clone();
        let orphaned = orphan::Asked::default();
        feeds.push(Box::pin(feed(resources, queue.clone(), orphaned.clone())));
        // Installations of earlier versions do not let us look.
        let own = cluster::watch_optional(
            Api::<Namespace>::all(client.clone()),
            cluster::Config::default().fields(&format!("metadata.name={namespace}")),
            tasks,
        );
        let namespaces = own.store.clone();
        feeds.push(Box::pin(heed(own, notify)));
        let condition = OperatorCondition::from_name(&client, &namespace, condition);
        let teller = Teller::new(client.clone(), recorder, metrics.clone(), singleton, condition);
        let sync = Sync::new(client.clone(), &namespace, inventory.clone(), metrics.clone());
        let reconciler = Reconciler::new(
            client.clone(),
            &namespace,
            sync,
            teller,
            queue.clone(),
            orphaned,
            tasks.clone(),
        );
        let engine = Self {
            resources: store,
            namespaces,
            reconciler,
            inventory,
            openshift: false,
            queue,
            client,
            environment,
            tls,
            metrics,
        };
        (engine, feeds)
    }

    /// Works until `stop`, while `leader` says so.
    pub(crate) async fn run(
        mut self,
        mut leader: Receiver<bool>,
        health: Health,
        stop: CancellationToken,
    ) -> anyhow::Result<End> {
        if unless_stopped(&stop, self.look_around()).await?.is_none() {
            return Ok(End::Clean);
        }
        let mut end = End::Clean;
        health.ready(CLUSTER);
        let mut leading = false;
        let mut resync = tokio::time::interval(RESYNC);
        leader.mark_changed();
        loop {
            // Cancel-safe: a key is handed out only when `next` completes.
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                changed = leader.changed() => {
                    if changed.is_err() && !stop.is_cancelled() {
                        bail!("the election of a leader ended unexpectedly");
                    }
                    leading = *leader.borrow_and_update();
                    info!(event = "leadership", leading);
                    if leading {
                        tokio::select! {
                            () = self.reconciler.begin() => {}
                            () = lease::lost(&leader) => {}
                        }
                    }
                    self.enqueue_all();
                }
                // The first tick comes at once.
                _ = resync.tick() => self.enqueue_all(),
                key = self.queue.next() => {
                    self.tell_tls();
                    let outcome = tokio::select! {
                        biased;
                        () = std::future::ready(()), if !leading => Outcome::Ok,
                        outcome = self.reconcile(&key) => outcome,
                        // Another one may have begun: nothing of this pass is asked for any more. All is due when we lead
                        // again.
                        () = lease::lost(&leader) => Outcome::Ok,
                        () = overdue(&stop) => {
                            end = End::Overdue;
                            Outcome::Ok
                        }
                    };
                    self.queue.done(&key, outcome);
                }
            }
        }
        if leading {
            self.part().await;
        }
        Ok(end)
    }

    /// Waits until the cluster is known.
    async fn look_around(&mut self) -> anyhow::Result<()> {
        let known = self.resources.wait_until_ready().await;
        known.context("the watch of MetalLB resources ended")?;
        let known = self.namespaces.wait_until_ready().await;
        known.context("the watch of our namespace ended")?;
        self.inventory.wait_until_known().await;
        self.openshift = loop {
            match self.client.list_api_groups().await {
                Ok(list) => break list.groups.iter().any(|group| group.name == OPENSHIFT),
                Err(error) => warn!(event = "discoveryFailed", error = explain(&error)),
            }
            tokio::time::sleep(DISCOVERY).await;
        };
        self.tell_tls();
        Ok(())
    }

    /// The TLS settings of OpenShift where it has any, otherwise those that we were told.
    fn tls_now(&self) -> TlsSettings {
        let api_server = self.inventory.get(tls_profile::ID).filter(|_| self.openshift);
        api_server.map_or_else(|| self.environment.tls.clone(), |found| tls_profile::settings(&found))
    }

    /// Tells those who serve with these settings, whether we lead or not.
    fn tell_tls(&self) {
        let now = Some(self.tls_now());
        self.tls.send_if_modified(|told| {
            let changed = *told != now;
            *told = now;
            changed
        });
    }

    /// What was told, with what the cluster offers by now.
    fn environment_now(&self) -> Environment {
        let mut environment = self.environment.clone();
        environment.tls = self.tls_now();
        environment.platform = Platform::discover(|group, kind| match group {
            OPENSHIFT => self.openshift,
            _ => !matches!(self.inventory.view(kind), View::Absent | View::Unknown),
        });
        environment
    }

    /// Queues all resources, and the one that has an effect even if it is gone: there may be something to remove.
    fn enqueue_all(&self) {
        for resource in self.resources.state() {
            self.queue.add(Key::of(&resource));
        }
        self.queue.add(Key::singleton(&self.environment.namespace));
    }

    async fn reconcile(&mut self, key: &Key) -> Outcome {
        let environment = self.environment_now();
        let resource = self.resources.get(&ObjectRef::new(&key.name).within(&key.namespace));
        let resource = resource.as_deref();
        let namespace = self.namespaces.get(&ObjectRef::new(&environment.namespace));
        let result = match plan(key, resource, namespace.as_deref(), &environment) {
            Plan::Deploy(wanted) => self.reconciler.deploy(key, resource, wanted).await,
            Plan::Refuse(state) => self.reconciler.refuse(key, resource, state).await,
            Plan::Remove => self.reconciler.remove(key, resource).await,
            Plan::Leave => self.reconciler.leave(key, resource).await,
            Plan::LetGo => self.reconciler.let_go(key, resource).await,
            Plan::Nothing => {
                self.reconciler.forget(key);
                Ok(())
            }
        };
        let outcome = match result {
            Ok(()) => Outcome::Ok,
            Err(failure) => {
                let (passing, text) = (failure.is_passing(), failure.state().summary().2.to_owned());
                if passing {
                    debug!(event = "reconcileFailed", resource = %key, error = text);
                } else {
                    error!(event = "reconcileFailed", resource = %key, error = text);
                }
                self.reconciler.failed(key, resource, &failure).await;
                Outcome::Retry
            }
        };
        self.metrics.reconciled(outcome == Outcome::Ok);
        outcome
    }

    /// Lets a deletion go on without us: nobody may ever come who could finish it.
    async fn part(&self) {
        let namespace = self.environment.namespace.clone();
        let giving = finalizer::give_back(&self.client, &namespace, names::METALLB_RESOURCE);
        match timeout(PARTING, giving).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(event = "finalizerKept", error = error.state().summary().2),
            Err(_) => warn!(event = "finalizerKept", error = "the API server did not answer"),
        }
    }
}

/// Waits until a pass should have ended after the stop signal.
async fn overdue(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(LAST_PASS).await;
}

/// Queues a key for everything that the watch of MetalLB resources reports.
async fn feed(mut watched: Watched<MetalLB>, queue: Queue<Key>, orphaned: orphan::Asked) -> anyhow::Result<()> {
    while let Some(change) = watched.changes.recv().await {
        match &change {
            Change::Applied(object) | Change::Deleted(object) => {
                orphaned.note(object);
                queue.add(Key::of(object));
            }
            Change::Ready => {}
        }
    }
    Ok(())
}

/// Calls `notify` after every change of our namespace.
async fn heed(mut watched: Watched<Namespace>, notify: impl Fn()) -> anyhow::Result<()> {
    while watched.changes.recv().await.is_some() {
        notify();
    }
    Ok(())
}
