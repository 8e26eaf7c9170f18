//! From one Service to what has to be written to it.

mod converge;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use foldhash::HashMap;
use metallb_config::Pool;

use crate::allocator::{Allocator, Explanation};
use crate::family::{Families, Family};
use crate::key::{Key, PoolName};
use crate::refusal::RequestError;
use crate::request::Request;
use crate::service::Service;

/// The type of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// As it should be.
    Normal,
    /// Somebody should look at it.
    Warning,
}

/// The level of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Of interest when looking for a fault.
    Debug,
    /// A change of state.
    Info,
    /// Something to put right some day.
    Warn,
    /// A Service does not get what it asks for.
    Error,
}

/// Something to be done for a Service, in the order given; events only after the write succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Write these addresses and the name of their pool.
    SetIngress {
        /// The addresses, in order.
        ips: Vec<IpAddr>,
        /// Their pool.
        pool: PoolName,
    },
    /// Remove all addresses and the name of the pool.
    ClearIngress,
    /// Tell the user.
    Event {
        /// Normal or warning.
        kind: EventKind,
        /// Stable, for scripts and alerts.
        reason: &'static str,
        /// For people.
        message: String,
    },
    /// Tell the log.
    Log {
        /// How loud.
        level: Level,
        /// What happened.
        event: &'static str,
        /// Why, or with which address.
        detail: String,
    },
}

/// Whether a Service of type LoadBalancer has addresses, and why (not): the content of its condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether it has addresses.
    pub allocated: bool,
    /// Stable, for scripts and alerts.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// What came out for one Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// How the Service stands now; none if it asks for nothing.
    pub standing: Option<Standing>,
    /// To be done, in order. Nothing to do means no write.
    pub actions: Vec<Action>,
    /// Whether the Service does not have what it asks for. It is not to be retried: it is woken when that can change.
    pub failed: bool,
}

impl Outcome {
    /// The addresses to be written, if any are.
    #[must_use]
    pub fn ingress(&self) -> Option<&[IpAddr]> {
        self.actions.iter().find_map(|action| match action {
            Action::SetIngress { ips, .. } => Some(ips.as_slice()),
            _ => None,
        })
    }

    /// Tells whether the Service has to be written.
    #[must_use]
    pub fn writes(&self) -> bool {
        self.actions
            .iter()
            .any(|action| matches!(action, Action::SetIngress { .. } | Action::ClearIngress))
    }
}

/// What is remembered of a Service between two looks.
#[derive(Debug, Default)]
struct Memory {
    uid: String,
    /// The last warnings, so that none is said again and again.
    said: Vec<String>,
}

/// An address that a Service has left, and that its status shows still or may come to show.
#[derive(Debug)]
struct Left {
    ip: IpAddr,
    /// Who has it meanwhile.
    standin: Key,
    /// The terms under which the Service had it.
    terms: Request,
}

/// Decides about Services one at a time; the only user of the [`Allocator`].
#[derive(Debug, Default)]
pub struct Assigner {
    allocator: Allocator,
    memory: HashMap<Key, Memory>,
    /// Addresses that Services have left but that are not free yet, for as long as a status may show them.
    leaving: HashMap<Key, Vec<Left>>,
    /// Services whose request is not understood: they wait for nothing, but are told of it only while there are pools.
    misunderstood: BTreeSet<Key>,
}

impl Assigner {
    /// See [`Allocator::set_pools`]. What a Service loses by it is kept back until it was looked at: its status shows it
    /// still, and another edit may give it back.
    pub fn set_pools(&mut self, pools: &BTreeMap<String, Pool>) -> BTreeSet<Key> {
        let before = self.allocator.has_pools();
        let mut concerned = self.allocator.set_pools(pools);
        if self.allocator.has_pools() != before {
            concerned.extend(self.misunderstood.iter().cloned());
        }
        for lost in self.allocator.take_lost() {
            for ip in lost.ips {
                self.keep_back(&lost.key, lost.request.clone(), ip);
            }
        }
        concerned
    }

    /// Takes in the addresses that a Service has in its status, if that is still allowed.
    ///
    /// At the start all Services are imported before the first one is converged, so that nobody is
    /// given an address whose holder was not looked at yet. Upstream: one pass for both (W4).
    pub fn import(&mut self, service: &Service) {
        self.meet(service);
        let before = self.take_back(&service.key);
        let ips = self.rightful(service);
        let known = self.allocator.held(&service.key).is_some();
        if !service.load_balancer && !service.is_marked() {
            return;
        }
        if !known
            && service.load_balancer
            && let Some(families) = Families::of(&ips)
        {
            let request = service.request(families, Vec::new(), None);
            // Refused: not allowed any more. The Service will ask for another in its turn.
            let _ = self.allocator.claim(&service.key, &request, &ips);
        }
        self.linger(service, &before);
    }

    /// Lets a Service wait that has no address, before it is looked at.
    ///
    /// At the start all Services are enlisted after all were imported, the oldest first: what became free while nobody
    /// was there goes to who came first.
    pub fn enlist(&mut self, service: &Service) {
        let key = &service.key;
        if !service.load_balancer || self.allocator.held(key).is_some() || self.allocator.waits(key) {
            return;
        }
        if let (Some(families), Ok(wanted)) = (service.families(), service.wanted()) {
            let request = service.request(families, wanted, service.wanted_pool());
            self.allocator.enlist(key, &request);
        }
    }

    /// The addresses in the status of a Service; if they are no proper list, those of them that it may have: one of each
    /// family.
    fn rightful(&self, service: &Service) -> Vec<IpAddr> {
        if let Some(ips) = service.proper_ingress() {
            return ips;
        }
        let wanted = service.families();
        let families = Family::ALL
            .into_iter()
            .filter(|family| wanted.is_none_or(|all| all.includes(*family)));
        let mut ips = Vec::new();
        for family in families {
            let mut shown = service.legible_ingress().into_iter();
            let fits = |ip: &IpAddr| {
                let all: Vec<_> = ips.iter().copied().chain([*ip]).collect();
                let request = service.request(Families::of(&all).unwrap_or_default(), Vec::new(), None);
                self.allocator.allows(&service.key, &request, &all)
            };
            let first = shown.find(|ip| Family::of(*ip) == family && fits(ip));
            ips.extend(first);
        }
        ips
    }

    /// Keeps the addresses that a Service's status shows, or may come to show, but that it does not hold any more. No other
    /// Service may have them meanwhile, even if the write fails for ever. `before` has the requests that it held them by.
    fn linger(&mut self, service: &Service, before: &[(IpAddr, Request)]) {
        let held = self.allocator.held(&service.key).map(|held| held.ips.clone());
        let held = held.unwrap_or_default();
        for ip in service.shown().into_iter().filter(|ip| !held.contains(ip)) {
            let old = before
                .iter()
                .find(|(had, _)| *had == ip)
                .map(|(_, terms)| terms.clone());
            let terms = old.unwrap_or_else(|| service.request(Families::Single(Family::of(ip)), Vec::new(), None));
            self.keep_back(&service.key, terms, ip);
        }
    }

    fn keep_back(&mut self, key: &Key, terms: Request, ip: IpAddr) {
        let standin = key.standin(&format!("leaving {ip}"));
        if self.allocator.reserve(&standin, &terms, ip) {
            let left = Left { ip, standin, terms };
            self.leaving.entry(key.clone()).or_default().push(left);
        }
    }

    /// Lets a Service have again what is kept for it, to decide anew; returns that, and on which terms it had what.
    fn take_back(&mut self, key: &Key) -> Vec<(IpAddr, Request)> {
        let mut before = Vec::new();
        if let (Some(held), Some(terms)) = (self.allocator.held(key), self.allocator.terms(key)) {
            before.extend(held.ips.iter().map(|ip| (*ip, terms.clone())));
        }
        for left in self.leaving.remove(key).unwrap_or_default() {
            self.allocator.release(&left.standin);
            before.push((left.ip, left.terms));
        }
        before
    }

    /// The status of a Service shows these addresses, and nothing else: what it has left besides is free.
    pub fn written(&mut self, key: &Key, shown: &[IpAddr]) {
        let left = self.leaving.remove(key).unwrap_or_default();
        let (kept, free): (Vec<_>, Vec<_>) = left.into_iter().partition(|left| shown.contains(&left.ip));
        for left in free {
            self.allocator.release(&left.standin);
        }
        if !kept.is_empty() {
            self.leaving.insert(key.clone(), kept);
        }
    }

    /// Takes note of the addresses of a Service that somebody else serves, so that they are not given away.
    ///
    /// Upstream: they are forgotten, and given to others (W26).
    pub fn reserve(&mut self, service: &Service) {
        self.allocator.begin(&service.key);
        let held = self.allocator.held(&service.key).map(|held| held.ips.as_slice());
        if held != service.ingress_ips().ok().as_deref() {
            self.allocator.release(&service.key);
        }
        self.import(service);
    }

    /// Forgets a Service that is gone; returns whether it had addresses.
    pub fn forget(&mut self, key: &Key) -> bool {
        self.memory.remove(key);
        self.misunderstood.remove(key);
        self.written(key, &[]);
        self.allocator.release(key)
    }

    /// What each pool answers to the request of a Service, as if it came today and had nothing; `None` if its cluster
    /// addresses say no families.
    ///
    /// For a Service that holds nothing and whose status shows nothing, [`converge`](Self::converge) comes to the same end.
    ///
    /// # Errors
    /// The request is not understood.
    #[must_use]
    pub fn explain(&self, service: &Service) -> Option<Result<Explanation, RequestError>> {
        let families = service.families()?;
        let wanted = service.wanted();
        Some(wanted.map(|wanted| {
            let request = service.request(families, wanted, service.wanted_pool());
            self.allocator.explained(&service.key, request)
        }))
    }

    /// Tells whether the Service is known to hold addresses.
    #[must_use]
    pub fn owns(&self, key: &Key) -> bool {
        self.allocator.held(key).is_some()
    }

    /// See [`Allocator::take_woken`].
    pub fn take_woken(&mut self) -> BTreeSet<Key> {
        self.allocator.take_woken()
    }

    /// See [`Allocator::take_touched`].
    pub fn take_touched(&mut self) -> BTreeSet<PoolName> {
        self.allocator.take_touched()
    }

    /// The allocator, to read from.
    #[must_use]
    pub fn allocator(&self) -> &Allocator {
        &self.allocator
    }

    /// A Service made again under the same name does not inherit anything.
    fn meet(&mut self, service: &Service) {
        let memory = self.memory.entry(service.key.clone()).or_default();
        if memory.uid == service.uid {
            return;
        }
        let known = !memory.uid.is_empty();
        memory.uid.clone_from(&service.uid);
        if known {
            memory.said.clear();
            self.written(&service.key, &[]);
            self.allocator.release(&service.key);
        }
    }
}
