//! One pass over one MetalLB resource.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kube::{Client, ResourceExt};
use metallb_api::{BgpBackend, MetalLB, names};
use metallb_manifests::Object;
use metallb_runtime::{cause::explain, tasks::Spawner, work::Queue};
use semver::Version;
use tokio::time::Instant;
use tracing::warn;

use crate::{
    openshift::routing::{self, Routing},
    plan::{Key, Wanted},
    removal::finalizer,
    removal::handover,
    removal::orphan,
    removal::teardown::{Order, Teardown},
    removal::withdrawal,
    rights::preflight,
    status::conditions::State,
    status::diagnosis,
    status::failure::Error,
    status::readiness,
    status::tell::{Report, Teller, VERSION},
    status::workload::Workload,
    sync::Sync,
};

/// How soon something that is under way is looked at again; watches tell most of it sooner.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// The same for a teardown or a switch of back-ends, where every step waits for the one before.
const STEP: Duration = Duration::from_millis(500);

/// How long failures that may pass by themselves go untold.
const UNTOLD: Duration = Duration::from_secs(5);

/// How long the old back-end may stay while speakers of the new one start.
const SWITCH: Duration = Duration::from_secs(60);

/// How soon speakers of the old back-end are looked for again that are still there after that.
const OLD_SPEAKERS: Duration = Duration::from_secs(30);

/// How soon the network operator of OpenShift is looked at again, should its watch keep something from us.
const NETWORK_OPERATOR: Duration = Duration::from_secs(120);

/// How often missing rights are looked for again.
const RIGHTS: Duration = Duration::from_secs(30);

/// What one term of leadership knows.
pub(crate) struct Reconciler {
    client: Client,
    namespace: String,
    sync: Sync,
    teller: Teller,
    queue: Queue<Key>,
    /// When a look that was asked for comes, so that passes do not ask for more and more of them.
    next_look: Option<Instant>,
    /// The back-end that was deployed last.
    backend: Option<BgpBackend>,
    /// Where the speakers that were deployed last hand their routes to frr-k8s.
    target: Option<String>,
    /// Where speakers have handed routes to frr-k8s that are not withdrawn yet; none until that is known.
    handed: Option<BTreeSet<String>>,
    /// Until when the old back-end may stay; none once it is gone.
    switching: Option<Instant>,
    order: Option<Order>,
    orphaned: orphan::Asked,
    last_good: Vec<Object>,
    failing_since: Option<Instant>,
    /// Rights that are missing, and when that was asked.
    missing: Arc<Mutex<Vec<String>>>,
    asked: Option<Instant>,
    /// Owns the questions that nobody waits for.
    tasks: Spawner,
}

impl Reconciler {
    pub(crate) fn new(
        client: Client,
        namespace: &str,
        sync: Sync,
        teller: Teller,
        queue: Queue<Key>,
        orphaned: orphan::Asked,
        tasks: Spawner,
    ) -> Self {
        Self {
            client,
            namespace: namespace.to_owned(),
            sync,
            teller,
            queue,
            next_look: None,
            backend: None,
            target: None,
            handed: None,
            switching: None,
            order: None,
            orphaned,
            last_good: Vec::new(),
            failing_since: None,
            missing: Arc::default(),
            asked: None,
            tasks,
        }
    }

    /// Begins a term: somebody else may have led meanwhile.
    pub(crate) async fn begin(&mut self) {
        self.sync.begin().await;
        self.backend = None;
        self.handed = None;
        self.order = None;
        self.asked = None;
    }

    pub(crate) fn forget(&mut self, key: &Key) {
        self.teller.forget(key);
    }

    /// Makes the objects exist, and tells how they do.
    pub(crate) async fn deploy(&mut self, key: &Key, resource: Option<&MetalLB>, wanted: Wanted) -> Result<(), Error> {
        let Some(resource) = resource else { return Ok(()) };
        let Wanted {
            backend,
            objects,
            network_operator,
            notes,
        } = wanted;
        self.order = None;
        if let Some(oldest) = network_operator
            && let Some(state) = self.route(resource, &oldest).await?
        {
            self.queue.add_after(key.clone(), NETWORK_OPERATOR);
            return self.refuse(key, Some(resource), state).await;
        }
        let target = handover::planned(&objects, &self.namespace);
        self.learn(key, Some(resource)).await?;
        self.note_backend(resource, backend, target.as_ref());
        // A deletion must wait from the first write on.
        let hold = finalizer::hold(&self.client, resource);
        let (due, ()) = tokio::try_join!(self.sync.rehearsed(&objects), hold)?;
        let written = self.sync.perform(due).await?;
        self.teller.written(resource, &written);
        let settled = self.prune(resource, target.as_deref(), &objects).await?;
        self.failing_since = None;
        let (state, report) = self.judge(backend, &objects, notes).await;
        let busy = !settled || !matches!(state, State::Available { .. });
        self.last_good = objects;
        let told = self.teller.or_warn(key, resource, &state, Some(&report)).await;
        self.look_again(key, if settled { LOOK_AGAIN } else { STEP }, busy || !told);
        self.look_again(key, OLD_SPEAKERS, self.has_handed_elsewhere(target.as_deref()));
        self.look_for_rights(key, None);
        Ok(())
    }

    /// Has the network operator of OpenShift deploy frr-k8s; returns the state of waiting for it.
    async fn route(&self, resource: &MetalLB, oldest: &Version) -> Result<Option<State>, Error> {
        match routing::judge(&self.sync.inventory, oldest) {
            Routing::Provided => Ok(None),
            Routing::Unavailable(state) => Ok(Some(state)),
            Routing::Unasked(patch) => {
                routing::ask(&self.client, &self.sync.inventory, &patch).await?;
                let note = "the network operator of OpenShift was asked for an frr-k8s";
                self.teller.event(resource, false, "RoutingRequested", note);
                Ok(None)
            }
        }
    }

    /// Finds out, once a term, where speakers have handed routes to, and keeps it where the next term finds it.
    async fn learn(&mut self, key: &Key, resource: Option<&MetalLB>) -> Result<(), Error> {
        if self.handed.is_some() {
            return Ok(());
        }
        let mut handed = handover::remembered(resource);
        let deployed = handover::deployed(&self.client, &self.namespace).await?;
        if let Some(namespace) = deployed
            && handed.insert(namespace)
            && let Some(resource) = resource
            && let Err(failure) = self.teller.remember(key, resource, &handed).await
        {
            warn!(event = "statusFailed", resource = %key, error = explain(&failure));
        }
        self.handed = Some(handed);
        Ok(())
    }

    fn note_backend(&mut self, resource: &MetalLB, backend: BgpBackend, target: Option<&String>) {
        let hands_over_as_before = self.target.as_ref() == target;
        self.target = target.cloned();
        if self.backend == Some(backend) && hands_over_as_before {
            return;
        }
        self.switching = Some(Instant::now() + SWITCH);
        if self.backend == Some(backend) {
            return;
        }
        match self.backend.replace(backend) {
            Some(old) => {
                let note = format!("back-end {old} is replaced with {backend}");
                self.teller.event(resource, false, "BackendChanged", &note);
            }
            None if resource.status.is_none() => {
                let note = format!("deploying MetalLB-rs {VERSION} with back-end {backend}");
                self.teller.event(resource, false, "Deploying", &note);
            }
            None => {}
        }
    }

    /// Removes what is not wanted any more; tells whether all is as it shall stay.
    async fn prune(&mut self, resource: &MetalLB, target: Option<&str>, objects: &[Object]) -> Result<bool, Error> {
        let unwanted = self.sync.unwanted(objects);
        let withdrawn = self.withdraw(resource, target).await?;
        if !withdrawn && self.switching.is_some_and(|until| Instant::now() < until) {
            return Ok(false);
        }
        let removed = self.sync.remove(&unwanted).await?;
        self.teller.removed(Some(resource), &removed);
        self.switching = None;
        Ok(true)
    }

    /// Withdraws what speakers have handed to frr-k8s, but for what they write to `kept`; tells whether that is done.
    async fn withdraw(&mut self, resource: &MetalLB, kept: Option<&str>) -> Result<bool, Error> {
        if self.switching.is_none() && !self.has_handed_elsewhere(kept) {
            return Ok(true);
        }
        let handed = self.handed.get_or_insert_default();
        handed.extend(kept.map(ToOwned::to_owned));
        let withdrawal = withdrawal::withdraw(&self.client, &self.namespace, handed, kept).await?;
        handed.retain(|namespace| kept == Some(namespace) || withdrawal.written.contains(namespace));
        let done = withdrawal.is_done();
        self.teller.left(Some(resource), withdrawal.left);
        Ok(done)
    }

    fn has_handed_elsewhere(&self, kept: Option<&str>) -> bool {
        let mut handed = self.handed.iter().flatten();
        handed.any(|namespace| kept != Some(namespace))
    }

    async fn judge(&self, backend: BgpBackend, objects: &[Object], mut notes: Vec<String>) -> (State, Report) {
        let mut live = self.sync.live(objects);
        let missing = self.missing();
        notes.splice(0..0, missing.iter().cloned());
        match self
            .sync
            .inventory
            .get(&format!("Deployment/{}", names::WEBHOOK_DEPLOYMENT))
        {
            Some(server) => live.push(server),
            None => notes.push(format!(
                "Deployment {} does not exist: nobody checks what users configure",
                names::WEBHOOK_DEPLOYMENT
            )),
        }
        let workloads = Workload::all(&live);
        let blockers = diagnosis::blockers(&self.client, &self.namespace, &workloads).await;
        let state = match readiness::state(&workloads, &blockers, &notes) {
            State::Progressing(message) if !missing.is_empty() => {
                State::degraded("MissingPermissions", format!("{}; {message}", missing.join("; ")))
            }
            state => state,
        };
        let handed = self.handed.clone().unwrap_or_default();
        let report = Report {
            backend,
            workloads,
            handed,
        };
        (state, report)
    }

    /// Says why the resource has no effect. What ran before goes on, and is kept as it was.
    pub(crate) async fn refuse(&mut self, key: &Key, resource: Option<&MetalLB>, state: State) -> Result<(), Error> {
        let Some(resource) = resource else { return Ok(()) };
        if *key == Key::singleton(&self.namespace) && !self.last_good.is_empty() {
            let good = std::mem::take(&mut self.last_good);
            let written = self.sync.deploy(&good).await;
            self.last_good = good;
            self.teller.written(resource, &written?);
        }
        let told = self.teller.or_warn(key, resource, &state, None).await;
        self.look_again(key, LOOK_AGAIN, !told);
        Ok(())
    }

    /// Takes everything away in order, then lets the resource go.
    pub(crate) async fn remove(&mut self, key: &Key, resource: Option<&MetalLB>) -> Result<(), Error> {
        self.rest();
        let going = self.order.is_some();
        if going || resource.is_some() || !self.sync.unwanted(&[]).is_empty() {
            if !going && self.is_orphaned(resource).await? {
                return self.leave(key, resource).await;
            }
            self.learn(key, resource).await?;
            let handed = self.handed.get_or_insert_default();
            let mut order = self.order.take().unwrap_or_else(Order::begin);
            let step = order.step(&self.client, &self.namespace, &mut self.sync, handed).await;
            let (removed, left) = (std::mem::take(&mut order.removed), std::mem::take(&mut order.left));
            self.teller.removed(resource, &removed);
            self.teller.left(resource, left);
            self.order = Some(order);
            if let Teardown::Waiting(note) = step? {
                if let Some(resource) = resource {
                    self.teller.event(resource, false, "Withdrawing", &note);
                }
                self.look_again(key, STEP, true);
                return Ok(());
            }
        }
        self.part(key, resource).await
    }

    /// Tells whether the deletion of the resource leaves alone what is deployed, or has done so.
    async fn is_orphaned(&self, resource: Option<&MetalLB>) -> Result<bool, Error> {
        if resource.is_some_and(|resource| self.orphaned.includes(resource)) {
            return Ok(true);
        }
        orphan::is_done(&self.client, &self.namespace).await
    }

    /// Lets the resource go and leaves everything as it is.
    pub(crate) async fn leave(&mut self, key: &Key, resource: Option<&MetalLB>) -> Result<(), Error> {
        self.rest();
        if let Some(uid) = resource.and_then(ResourceExt::uid) {
            self.sync.disown(&uid).await?;
        }
        if let Some(resource) = resource.filter(|resource| finalizer::is_held(resource)) {
            let note = "what is deployed goes on, and is neither repaired nor updated any more";
            self.teller.event(resource, true, "Orphaned", note);
        }
        self.part(key, resource).await
    }

    /// Lets the resource go with everything else.
    pub(crate) async fn let_go(&mut self, key: &Key, resource: Option<&MetalLB>) -> Result<(), Error> {
        self.rest();
        self.part(key, resource).await
    }

    /// Forgets what was to be kept up.
    fn rest(&mut self) {
        self.last_good.clear();
        self.backend = None;
    }

    /// Ends with the resource.
    async fn part(&mut self, key: &Key, resource: Option<&MetalLB>) -> Result<(), Error> {
        self.order = None;
        self.handed = None;
        self.failing_since = None;
        match resource {
            Some(resource) => finalizer::release(&self.client, resource).await,
            None => {
                self.forget(key);
                Ok(())
            }
        }
    }

    /// Tells a failure, unless it may pass by itself and is young.
    pub(crate) async fn failed(&mut self, key: &Key, resource: Option<&MetalLB>, failure: &Error) {
        let since = *self.failing_since.get_or_insert_with(Instant::now);
        if failure.is_passing() && since.elapsed() < UNTOLD {
            return;
        }
        self.look_for_rights(key, Some(failure));
        let Some(resource) = resource else { return };
        let missing = self.missing();
        let state = match failure.state() {
            State::Degraded { reason, message } if failure.is_forbidden() && !missing.is_empty() => State::Degraded {
                reason,
                message: format!("{message}; {}", missing.join("; ")),
            },
            state => state,
        };
        self.teller.or_warn(key, resource, &state, None).await;
    }

    /// Asks for missing rights once a term, and again now and then while something is missing. Nobody waits for it.
    fn look_for_rights(&mut self, key: &Key, failure: Option<&Error>) {
        let wanted = failure.is_some_and(Error::is_forbidden) || !self.missing().is_empty();
        let due = match self.asked {
            None => true,
            Some(asked) => wanted && asked.elapsed() >= RIGHTS,
        };
        if !due {
            return;
        }
        self.asked = Some(Instant::now());
        let (client, namespace) = (self.client.clone(), self.namespace.clone());
        let (queue, key, shared) = (self.queue.clone(), key.clone(), self.missing.clone());
        let stop = self.tasks.stop().clone();
        self.tasks.spawn_brief("rights", async move {
            let missing = preflight::missing(&client, &namespace);
            let Some(missing) = stop.run_until_cancelled(missing).await else {
                return Ok(());
            };
            if !missing.is_empty() {
                queue.add_after(key.clone(), RIGHTS);
            }
            let mut known = shared.lock().unwrap_or_else(PoisonError::into_inner);
            if *known != missing {
                *known = missing;
                queue.add(key);
            }
            Ok(())
        });
    }

    fn missing(&self) -> Vec<String> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn look_again(&mut self, key: &Key, after: Duration, busy: bool) {
        let now = Instant::now();
        if busy && self.next_look.is_none_or(|at| at <= now) {
            self.next_look = Some(now + after);
            self.queue.add_after(key.clone(), after);
        }
    }
}
