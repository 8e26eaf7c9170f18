//! The engine: every decision of the controller, without a client, a task or a clock.
//!
//! The shell hands over one event at a time and carries out the actions that come back, in order.
//! What can fail (the write) is reported back as another event.

mod announced;
mod announcing;
mod rivalry;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ObjectReference, Service};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use metallb_api::names::{announcement_reason, event_reason};
use metallb_config::Pool;
use metallb_ipam::{Action as Decision, Assigner, Counters, EventKind, Key, Level, PoolName, Standing};

use crate::view::{self, Wanted};
use announced::{Announced, Saying};
use announcing::{Announcing, Finding};
use rivalry::Rivalries;

pub use announced::Announcers;
pub use announcing::{NOT_ANNOUNCEABLE, Reaches};

/// Something that happened.
#[derive(Debug)]
pub enum Event {
    /// The first pools, with all Services that exist. Until then nothing is done.
    Start {
        /// What is in force and what is not legible.
        pools: Arc<Accepted>,
        /// All Services.
        services: Vec<Arc<Service>>,
    },
    /// The pools have changed.
    Pools(Arc<Accepted>),
    /// How pools may be announced has changed, or become known; none if it is not known any more.
    Reaches(Option<Arc<Reaches>>),
    /// A key came out of the queue; no Service means that it is gone, no announcers that they are not known yet.
    Look(Key, Option<Arc<Service>>, Option<Announcers>),
    /// The write of a Service succeeded that was made from the given version.
    Written {
        /// The Service.
        key: Key,
        /// The `resourceVersion` that was read; none if the write left it as it was.
        from: Option<String>,
    },
}

/// The pools that the engine works with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Accepted {
    /// Pools in force.
    pub pools: BTreeMap<String, Pool>,
    /// Pools that exist but cannot be used, and never could. Their Services are left alone.
    pub unusable: BTreeSet<String>,
}

/// Something to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Look at this Service soon.
    Enqueue(Key),
    /// Look at this Service after that time.
    Later(Key, Duration),
    /// Write the status and the annotations of this Service, guarded by its `resourceVersion`.
    Write(Box<Service>),
    /// Tell the user, once the write (if any) has succeeded.
    Tell {
        /// The Service.
        about: Box<ObjectReference>,
        /// Normal or warning.
        kind: EventKind,
        /// Stable reason.
        reason: &'static str,
        /// Text.
        message: String,
    },
    /// Find out who keeps overwriting the status of this Service, and tell the user.
    Rival(Box<ObjectReference>),
    /// Tell the log.
    Log {
        /// The Service.
        key: Key,
        /// How loud.
        level: Level,
        /// What happened.
        event: &'static str,
        /// More about it.
        detail: String,
    },
    /// The numbers of some pools have changed.
    Count,
    /// The Service does not have what it asks for, by this reason; it is looked at again when that can change.
    Failed(&'static str),
}

/// State and decisions of one term of leadership.
#[derive(Debug, Default)]
pub struct Engine {
    class: String,
    /// Whether Services carry our condition.
    conditions: bool,
    /// How long this term lasts.
    elapsed: Duration,
    started: bool,
    assigner: Assigner,
    unusable: BTreeSet<String>,
    /// Services whose pool is unusable, as they were last seen: what they have is theirs as soon as it can be read.
    stuck: BTreeMap<Key, metallb_ipam::Service>,
    /// The last write of each Service that succeeded.
    written: HashMap<Key, Written>,
    /// Writes whose end is not known, or that have failed, which nobody can be sure of.
    sent: HashMap<Key, Sent>,
    rivalries: Rivalries,
    announcing: Announcing,
    announced: Announced,
    touched: BTreeSet<PoolName>,
    /// Services that ask for an address and have none, and why.
    pending: HashMap<Key, &'static str>,
}

/// A write that succeeded.
#[derive(Debug)]
struct Written {
    /// The version that it was made from; a read of that version is out of date.
    from: String,
    digest: view::Digest,
}

/// Writes that were sent from one version of a Service, of which one at most can be made.
#[derive(Debug)]
struct Sent {
    from: String,
    /// The addresses of all of them.
    all: Vec<IpAddr>,
    /// The addresses of the last one.
    last: Vec<IpAddr>,
    digest: view::Digest,
}

impl Engine {
    /// An engine for Services of a class, empty for those without one; `conditions` says whether they carry ours.
    #[must_use]
    pub fn new(class: &str, conditions: bool) -> Self {
        Self {
            class: class.to_owned(),
            conditions,
            ..Self::default()
        }
    }

    /// Says how long this term lasts, by a clock that nobody sets; before an event, if that may matter.
    pub fn tick(&mut self, elapsed: Duration) {
        self.elapsed = elapsed;
    }

    /// Takes one event in and says what to do.
    pub fn handle(&mut self, now: Timestamp, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        let mut due = match event {
            Event::Start { pools, services } => self.start(&pools, services),
            Event::Pools(pools) => self.set_pools(&pools),
            Event::Reaches(reaches) => self.announcing.set(reaches),
            Event::Look(key, service, by) => {
                if self.started {
                    self.look(now, &key, service.as_deref(), by.as_ref(), &mut actions);
                }
                BTreeSet::new()
            }
            Event::Written { key, from } => {
                self.written(key, from);
                BTreeSet::new()
            }
        };
        due.append(&mut self.assigner.take_woken());
        actions.extend(due.into_iter().map(Action::Enqueue));
        let mut touched = self.assigner.take_touched();
        if !touched.is_empty() {
            actions.push(Action::Count);
        }
        self.touched.append(&mut touched);
        actions
    }

    /// The pools whose numbers changed since the last call; no numbers for a pool that is gone.
    pub fn take_counters(&mut self) -> BTreeMap<PoolName, Option<Counters>> {
        let touched = std::mem::take(&mut self.touched);
        let allocator = self.assigner.allocator();
        touched
            .into_iter()
            .map(|pool| (pool.clone(), allocator.counters(&pool)))
            .collect()
    }

    /// How many Services ask for an address and have none, by the reason of their condition.
    pub fn pending(&self) -> BTreeMap<&'static str, i64> {
        let mut counts = BTreeMap::new();
        for reason in self.pending.values() {
            *counts.entry(*reason).or_default() += 1;
        }
        counts
    }

    /// Takes note of why a Service has no address, if it has none.
    fn pends(&mut self, key: &Key, reason: Option<&'static str>, actions: &mut Vec<Action>) {
        let before = match reason {
            Some(reason) => self.pending.insert(key.clone(), reason),
            None => self.pending.remove(key),
        };
        if before != reason {
            actions.push(Action::Count);
        }
    }

    /// The numbers of a pool; none before the start.
    #[must_use]
    pub fn counters(&self, pool: &str) -> Option<Counters> {
        self.started.then(|| self.assigner.allocator().counters(pool)).flatten()
    }

    /// Two phases: all addresses are taken in before the first one is given.
    fn start(&mut self, pools: &Accepted, mut services: Vec<Arc<Service>>) -> BTreeSet<Key> {
        self.set_pools(pools);
        services.sort_by_cached_key(|service| metallb_ipam::seniority(service));
        let (ours, theirs): (Vec<_>, Vec<_>) = services
            .iter()
            .partition(|service| metallb_ipam::is_of_class(service, &self.class));
        for service in ours.iter().chain(&theirs) {
            let seen = metallb_ipam::Service::from(&***service);
            self.assigner.import(&seen);
            self.is_stuck(&seen);
        }
        // Few at most times; those with addresses need not be viewed again.
        for service in ours.into_iter().filter(|service| view::addresses(service).is_empty()) {
            self.assigner.enlist(&metallb_ipam::Service::from(&**service));
        }
        self.started = true;
        services.iter().map(|service| view::key(service)).collect()
    }

    fn set_pools(&mut self, pools: &Accepted) -> BTreeSet<Key> {
        self.unusable.clone_from(&pools.unusable);
        let mut due = self.assigner.set_pools(&pools.pools);
        let unusable = |pool: &str| pools.unusable.contains(pool);
        let freed = self
            .stuck
            .extract_if(.., |_, service| !service.noted_pool().is_some_and(unusable));
        for (key, service) in freed {
            self.assigner.import(&service);
            due.insert(key);
        }
        due
    }

    fn look(
        &mut self,
        now: Timestamp,
        key: &Key,
        service: Option<&Service>,
        by: Option<&Announcers>,
        actions: &mut Vec<Action>,
    ) {
        let Some(service) = service else {
            self.written.remove(key);
            self.sent.remove(key);
            self.rivalries.forget(key);
            self.announcing.forget(key);
            self.announced.forget(key);
            self.pends(key, None, actions);
            self.stuck.remove(key);
            if self.assigner.forget(key) {
                actions.push(log(key, Level::Info, "serviceDeleted", ""));
            }
            return;
        };
        let version = service.resource_version().unwrap_or_default();
        if self.written.get(key).is_some_and(|written| written.from == version) {
            // Our own write has not come back yet. It will, and then there is another look.
            return;
        }
        if self.sent.get(key).is_some_and(|sent| sent.from != version) {
            self.sent.remove(key);
        }
        let mut seen = metallb_ipam::Service::from(service);
        seen.sent = self.sent.get(key).map(|sent| sent.all.clone()).unwrap_or_default();
        if !self.concerns(service, &seen) {
            self.announcing.forget(key);
            self.announced.forget(key);
            self.pends(key, None, actions);
            return;
        }
        let outcome = self.assigner.converge(&seen);
        let standing = outcome.standing.as_ref();
        if let (true, Some(standing)) = (outcome.failed, standing) {
            actions.push(Action::Failed(standing.reason));
        }
        let without = standing.filter(|standing| !standing.allocated);
        self.pends(key, without.map(|standing| standing.reason), actions);
        let finding = self.announceable(key, service, outcome.standing.as_ref());
        let saying = self.announced(key, service, outcome.standing.as_ref(), by, &finding);
        let later = finding.later.into_iter().chain(saying.later);
        actions.extend(later.map(|delay| Action::Later(key.clone(), delay)));
        let standing = outcome.standing.filter(|_| self.conditions);
        let mut decided = outcome.actions;
        if decided.iter().any(assigns) {
            self.announced.assigning(self.elapsed);
        }
        decided.extend(finding.news.into_iter().flatten());
        let conditions = saying.beside(&finding.condition);
        if let Some(written) = view::written(service, &decided, standing.as_ref(), &conditions, now) {
            let digest = view::digest(&written);
            let assigns = decided.iter().any(assigns);
            if self
                .written
                .get(key)
                .is_some_and(|last| last.digest.is_undone_by(assigns, digest))
            {
                // Somebody else has undone what we wrote. It is news to nobody that it is written again.
                decided.retain(|decision| !tells_of_a_write(decision));
                let rivalry = self.rivalries.restore(key, self.elapsed);
                actions.extend(rivalry.later.map(|delay| Action::Later(key.clone(), delay)));
                actions.extend(rivalry.told.then(|| Action::Rival(Box::new(view::reference(service)))));
                if rivalry.later.is_none() {
                    self.send(key, version, written, digest, actions);
                }
            } else {
                self.send(key, version, written, digest, actions);
            }
        }
        actions.extend(
            decided
                .into_iter()
                .filter_map(|decision| spoken(key, service, decision)),
        );
    }

    /// Whether any node may announce what the Service has now.
    fn announceable(&mut self, key: &Key, service: &Service, standing: Option<&Standing>) -> Finding {
        let held = self.assigner.allocator().held(key);
        let pool = held.filter(|_| standing.is_some_and(|standing| standing.allocated));
        let pool = pool.map(|held| Arc::clone(&held.pool));
        self.announcing
            .judge(self.elapsed, key, service, pool.as_ref(), self.conditions)
    }

    /// What the Service is to say of those who announce it; nothing without an address.
    fn announced(
        &mut self,
        key: &Key,
        service: &Service,
        standing: Option<&Standing>,
        by: Option<&Announcers>,
        finding: &Finding,
    ) -> Saying {
        if !self.conditions || !standing.is_some_and(|standing| standing.allocated) {
            self.announced.forget(key);
            return Saying::now(Wanted::Absent);
        }
        let barred = matches!(finding.condition, Wanted::Says { .. });
        self.announced.judge(self.elapsed, key, service, by, barred)
    }

    fn send(&mut self, key: &Key, from: String, service: Service, digest: view::Digest, actions: &mut Vec<Action>) {
        let last = view::addresses(&service);
        let sent = self.sent.entry(key.clone()).or_insert_with(|| Sent {
            from,
            all: Vec::new(),
            last: Vec::new(),
            digest,
        });
        for ip in &last {
            if !sent.all.contains(ip) {
                sent.all.push(*ip);
            }
        }
        (sent.last, sent.digest) = (last, digest);
        actions.push(Action::Write(Box::new(service)));
    }

    fn written(&mut self, key: Key, from: Option<String>) {
        let Some(sent) = self.sent.get(&key) else {
            return;
        };
        let digest = sent.digest;
        match from {
            Some(from) => {
                // The version has moved on: no other write from that one will be made.
                self.assigner.written(&key, &sent.last);
                self.sent.remove(&key);
                self.written.insert(key, Written { from, digest });
            }
            None => self.assigner.written(&key, &sent.all),
        }
    }

    /// Tells whether the Service is ours to decide about.
    fn concerns(&mut self, service: &Service, seen: &metallb_ipam::Service) -> bool {
        if !metallb_ipam::is_of_class(service, &self.class) {
            if seen.load_balancer {
                self.assigner.reserve(seen);
                return false;
            }
            if !self.is_ours(seen) && !view::has_condition(service) {
                self.assigner.forget(&seen.key);
                return false;
            }
        }
        let stuck = self.is_stuck(seen);
        if stuck {
            self.assigner.reserve(seen);
        }
        !stuck
    }

    /// Tells whether a Service has addresses of a pool that cannot be read: nothing says that they are wrong.
    fn is_stuck(&mut self, seen: &metallb_ipam::Service) -> bool {
        let unreadable = seen.noted_pool().is_some_and(|pool| self.unusable.contains(pool));
        let stuck = unreadable && seen.load_balancer && !seen.ingress.is_empty() && !self.assigner.owns(&seen.key);
        match stuck {
            true => self.stuck.insert(seen.key.clone(), seen.clone()),
            false => self.stuck.remove(&seen.key),
        };
        stuck
    }

    /// The API server drops the class when the type changes, so that ours can be seen by our mark only (W25).
    fn is_ours(&self, seen: &metallb_ipam::Service) -> bool {
        self.assigner.owns(&seen.key) || seen.is_marked()
    }
}

/// Tells whether this changes the addresses of a Service.
fn assigns(decision: &Decision) -> bool {
    matches!(decision, Decision::SetIngress { .. } | Decision::ClearIngress)
}

/// Tells whether this is said of a write.
fn tells_of_a_write(decision: &Decision) -> bool {
    matches!(decision, Decision::Event { reason, .. } if is_of_a_write(reason))
}

/// Tells whether an event of this reason is told of a write, and is untrue without it.
#[must_use]
pub fn is_of_a_write(reason: &str) -> bool {
    [event_reason::IP_ALLOCATED, event_reason::DEPRECATED_ANNOTATION].contains(&reason)
        || announcement_reason::ALL.contains(&reason)
}

fn spoken(key: &Key, service: &Service, decision: Decision) -> Option<Action> {
    match decision {
        Decision::Event { kind, reason, message } => Some(Action::Tell {
            about: Box::new(view::reference(service)),
            kind,
            reason,
            message,
        }),
        Decision::Log { level, event, detail } => Some(log(key, level, event, &detail)),
        Decision::SetIngress { .. } | Decision::ClearIngress => None,
    }
}

fn log(key: &Key, level: Level, event: &'static str, detail: &str) -> Action {
    Action::Log {
        key: key.clone(),
        level,
        event,
        detail: detail.to_owned(),
    }
}

#[cfg(test)]
mod tests;
