//! One look at one Service: keep what it has if that is right, else find something better.

use std::net::IpAddr;

use metallb_api::names::{allocation_reason, event_reason};

use super::{Action, Assigner, EventKind, Level, Outcome, Standing};
use crate::allocator::Allocation;
use crate::family::{Families, FamilyPolicy};
use crate::refusal::{Refusal, RequestError, quoted};
use crate::request::Request;
use crate::service::Service;

impl Assigner {
    /// Decides what a Service gets and says what has to be written, told and logged.
    ///
    /// What the allocator remembers wins over the status read: a stale copy or a foreign hand in
    /// the status does not move an address. Upstream: an empty status is a released address (W9).
    pub fn converge(&mut self, service: &Service) -> Outcome {
        self.meet(service);
        self.allocator.begin(&service.key);
        self.misunderstood.remove(&service.key);
        let before = self.take_back(&service.key);
        let mut pass = Pass {
            assigner: self,
            service,
            outcome: Outcome::default(),
            warnings: Vec::new(),
        };
        let target = pass.decide();
        pass.write(target);
        let outcome = pass.finish();
        if service.load_balancer || outcome.writes() {
            self.linger(service, &before);
        }
        outcome
    }
}

/// What the Service shall have in the end.
enum Target {
    /// Leave everything as it is.
    AsIs,
    /// These addresses.
    Have(Allocation),
    /// Nothing.
    Nothing,
}

struct Pass<'a> {
    assigner: &'a mut Assigner,
    service: &'a Service,
    outcome: Outcome,
    warnings: Vec<(EventKind, &'static str, String)>,
}

impl Pass<'_> {
    fn decide(&mut self) -> Target {
        let service = self.service;
        if !service.load_balancer {
            // Upstream: any status is emptied, be it of another controller (W40).
            let ours = self.assigner.owns(&service.key) || service.is_marked();
            self.assigner.allocator.release(&service.key);
            if !ours {
                return Target::AsIs;
            }
            self.log(Level::Debug, "clearAssignment", "notLoadBalancer");
            return Target::Nothing;
        }
        if service.cluster_ips.iter().all(String::is_empty) {
            self.without(
                allocation_reason::NO_CLUSTER_IPS,
                "the service has no cluster addresses",
            );
            return self.clear(Level::Info, "noClusterIPs");
        }
        if service.policy == FamilyPolicy::RequireDualStack && service.cluster_ips.len() < 2 {
            let message = format!(
                "Service requires dual stack but not enough clusterips [{}]",
                service.cluster_ips.join(" ")
            );
            self.without(allocation_reason::NOT_ENOUGH_CLUSTER_IPS, &message);
            self.warn(event_reason::NOT_ENOUGH_CLUSTER_IPS, message.clone());
            return self.clear(Level::Error, &message);
        }
        let Some(families) = service.families() else {
            let ips = service.cluster_ips.join(" ");
            let message = format!(
                "Failed to retrieve ClusterIPs IPFamily for \"{}\": [{ips}]",
                service.key
            );
            self.stand(
                !service.ingress.is_empty(),
                allocation_reason::INVALID_CLUSTER_IPS,
                &message,
            );
            self.warn(event_reason::NO_CLUSTER_IPS_FAMILY, message);
            self.log(Level::Error, "clearAssignment", "noclusterIPsIPFamily");
            self.outcome.failed = true;
            return Target::AsIs;
        };
        self.with_families(families)
    }

    fn with_families(&mut self, families: Families) -> Target {
        let service = self.service;
        let current = self.current();
        let plain = service.request(families, Vec::new(), None);
        if !self.assigner.allocator.has_pools() {
            return self.without_pools(families, &current);
        }
        let wanted = match service.wanted() {
            Ok(wanted) => wanted,
            Err(error) => return self.bad_request(&plain, &current, &error),
        };
        let request = Request {
            prefer: current.clone(),
            ..service.request(families, wanted, service.wanted_pool())
        };
        match self.keep(&request, &current) {
            Some(kept) => self.top_up(&request, kept),
            None => self.find(&plain, &request, &current),
        }
    }

    fn without_pools(&mut self, families: Families, current: &[IpAddr]) -> Target {
        let service = self.service;
        if !current.is_empty() {
            let message = self.not_allowed("there are no pools");
            self.tell(EventKind::Normal, event_reason::CLEAR_ASSIGNMENT, message);
        }
        self.without(allocation_reason::NO_POOLS, "there are no pools");
        let target = self.clear(Level::Debug, "noConfig");
        // Also one that is not understood: it is told so when there are pools.
        let wanted = service.wanted().unwrap_or_default();
        let request = service.request(families, wanted, service.wanted_pool());
        self.assigner.allocator.wait(&service.key, &request);
        target
    }

    /// The addresses that the Service has: what we remember, else what the status says.
    fn current(&mut self) -> Vec<IpAddr> {
        let texts = || {
            self.service
                .ingress
                .iter()
                .map(|ingress| ingress.ip.as_str())
                .collect::<Vec<_>>()
                .join(" ")
        };
        if self.service.proper_ingress().is_none() {
            let message = format!(
                "Failed to retrieve LBIPs IPFamily for \"{}\": [{}]",
                self.service.key,
                texts()
            );
            self.warn(event_reason::NO_LB_IPS_FAMILY, message);
            self.log(Level::Error, "clearAssignment", "nolbIPsIPFamily");
        }
        match self.assigner.allocator.held(&self.service.key) {
            Some(held) => held.ips.clone(),
            None => self.assigner.rightful(self.service),
        }
    }

    /// Keeps the present addresses if they are what the Service asks for and it may have them.
    fn keep(&mut self, request: &Request, current: &[IpAddr]) -> Option<Allocation> {
        if current.is_empty() || !suits(request, current) {
            return None;
        }
        let reason = if request
            .pool
            .as_ref()
            .is_some_and(|pool| !self.comes_from(current, pool))
        {
            "differentPoolRequested"
        } else if !request.wanted.is_empty() && !request.wanted.iter().all(|ip| current.contains(ip)) {
            "differentIPRequested"
        } else {
            return match self.assigner.allocator.claim(&self.service.key, request, current) {
                Ok(kept) => Some(kept),
                Err(refusal) => {
                    let message = self.not_allowed(&refusal.to_string());
                    self.tell(EventKind::Normal, event_reason::CLEAR_ASSIGNMENT, message);
                    self.log(Level::Info, "clearAssignment", &refusal.to_string());
                    None
                }
            };
        };
        self.log(Level::Info, "clearAssignment", reason);
        None
    }

    fn comes_from(&self, ips: &[IpAddr], pool: &str) -> bool {
        ips.iter()
            .all(|ip| self.assigner.allocator.pool_of(*ip).as_deref() == Some(pool))
    }

    /// Adds the second family if the Service likes to have it and the pool knows it.
    fn top_up(&mut self, request: &Request, kept: Allocation) -> Target {
        let lacking = request.families == Families::Dual && kept.ips.len() == 1;
        if !lacking {
            return Target::Have(kept);
        }
        match self.assigner.allocator.extend(&self.service.key, request) {
            Ok(extended) => Target::Have(extended.unwrap_or(kept)),
            Err(why) => {
                let message = format!("cannot assign additional IP in PreferDualStack: {why}");
                self.with(allocation_reason::SECOND_FAMILY_MISSING, &message);
                self.tell(EventKind::Normal, event_reason::ADDITIONAL_ASSIGN_FAILED, message);
                Target::Have(kept)
            }
        }
    }

    /// Finds other addresses; if there are none, those of now stay as long as they are legal.
    ///
    /// Upstream: they are lost first (W17).
    fn find(&mut self, plain: &Request, request: &Request, current: &[IpAddr]) -> Target {
        let refusal = match self.assigner.allocator.allocate(&self.service.key, request) {
            Ok(found) => return self.top_up(request, found),
            Err(refusal) => refusal,
        };
        self.outcome.failed = true;
        self.log(Level::Error, "allocateIPs", &refusal.to_string());
        let kept = self.keep_anyway(plain, request, current);
        let mut message = format!("Failed to allocate IP for \"{}\": {refusal}", self.service.key);
        match &kept {
            Some(kept) => {
                message.push_str(&format!("; keeping {}", quoted(&kept.ips)));
                self.with(allocation_reason::REQUEST_REFUSED, &message);
            }
            None => self.without(refusal.reason(), &refusal.to_string()),
        }
        self.warn(event_reason::ALLOCATION_FAILED, message);
        kept.map_or_else(|| self.let_go(request), Target::Have)
    }

    fn keep_anyway(&mut self, plain: &Request, request: &Request, current: &[IpAddr]) -> Option<Allocation> {
        if current.is_empty() || !suits(request, current) {
            return None;
        }
        let kept = self.assigner.allocator.claim(&self.service.key, plain, current).ok()?;
        self.assigner.allocator.wait(&self.service.key, request);
        Some(kept)
    }

    /// Releases what is held, but goes on waiting.
    fn let_go(&mut self, request: &Request) -> Target {
        let request = Request {
            prefer: Vec::new(),
            ..request.clone()
        };
        self.assigner.allocator.release(&self.service.key);
        self.assigner.allocator.wait(&self.service.key, &request);
        Target::Nothing
    }

    /// The request is not understood: there is nothing to wait for but an edit.
    fn bad_request(&mut self, plain: &Request, current: &[IpAddr], error: &RequestError) -> Target {
        self.outcome.failed = true;
        self.assigner.misunderstood.insert(self.service.key.clone());
        if !current.is_empty() && suits(plain, current) {
            let claimed = self.assigner.allocator.claim(&self.service.key, plain, current);
            if let Ok(kept) = claimed {
                let message = format!("invalid requested loadbalancer IPs: {error}");
                self.with(allocation_reason::REQUEST_REFUSED, &message);
                self.warn(event_reason::LOAD_BALANCER_FAILED, message);
                self.log(Level::Error, "loadbalancerIP", &error.to_string());
                return Target::Have(kept);
            }
        }
        self.assigner.allocator.release(&self.service.key);
        let refusal = Refusal::from(error.clone());
        self.without(refusal.reason(), &refusal.to_string());
        let message = format!("Failed to allocate IP for \"{}\": {refusal}", self.service.key);
        self.warn(event_reason::ALLOCATION_FAILED, message);
        self.log(Level::Error, "allocateIPs", &refusal.to_string());
        Target::Nothing
    }

    fn clear(&mut self, level: Level, reason: &str) -> Target {
        self.assigner.allocator.release(&self.service.key);
        self.log(level, "clearAssignment", reason);
        self.outcome.failed = true;
        Target::Nothing
    }

    /// Compares with the Service as it is: no difference, no write.
    fn write(&mut self, target: Target) {
        let service = self.service;
        match target {
            Target::AsIs => {}
            Target::Nothing if service.ingress.is_empty() && !service.is_marked() => {}
            Target::Nothing => self.outcome.actions.insert(0, Action::ClearIngress),
            Target::Have(Allocation { pool, ips }) => {
                if self.outcome.standing.is_none() {
                    let message = format!("Assigned IP {} from pool {pool}", quoted(&ips));
                    self.with(allocation_reason::ALLOCATED, &message);
                }
                let exact = service.ingress.len() == ips.len() && service.ingress_ips().is_ok_and(|own| own == ips);
                let written = service.legible_ingress();
                if !exact || service.marked_pool() != Some(&*pool) {
                    let set = Action::SetIngress { ips: ips.clone(), pool };
                    self.outcome.actions.insert(0, set);
                }
                self.tell_of_new(&ips, &written);
            }
        }
        if self.outcome.writes() {
            for key in service.deprecated_annotations() {
                let message = format!("Service uses deprecated annotation {key}");
                self.log(Level::Warn, "deprecatedAnnotation", key);
                self.event(EventKind::Warning, event_reason::DEPRECATED_ANNOTATION, message);
            }
        }
    }

    fn tell_of_new(&mut self, ips: &[IpAddr], written: &[IpAddr]) {
        let new: Vec<_> = ips.iter().filter(|ip| !written.contains(ip)).copied().collect();
        let message = match new.as_slice() {
            [] => return,
            [one] if ips.len() == 2 => format!("Assigned additional IP \"{one}\""),
            new => format!("Assigned IP {}", quoted(new)),
        };
        self.log(Level::Info, "ipAllocated", &quoted(&new));
        self.event(EventKind::Normal, event_reason::IP_ALLOCATED, message);
    }

    /// It has addresses.
    fn with(&mut self, reason: &'static str, message: &str) {
        self.stand(true, reason, message);
    }

    /// It has none.
    fn without(&mut self, reason: &'static str, message: &str) {
        self.stand(false, reason, message);
    }

    fn stand(&mut self, allocated: bool, reason: &'static str, message: &str) {
        let message = message.to_owned();
        self.outcome.standing = Some(Standing {
            allocated,
            reason,
            message,
        });
    }

    fn not_allowed(&self, why: &str) -> String {
        let key = &self.service.key;
        format!("current IP for \"{key}\" not allowed by config, will attempt for new IP assignment: {why}")
    }

    fn warn(&mut self, reason: &'static str, message: String) {
        self.tell(EventKind::Warning, reason, message);
    }

    /// Notes an event that is told only if it was not told the last time.
    fn tell(&mut self, kind: EventKind, reason: &'static str, message: String) {
        self.warnings.push((kind, reason, message));
    }

    fn event(&mut self, kind: EventKind, reason: &'static str, message: String) {
        self.outcome.actions.push(Action::Event { kind, reason, message });
    }

    fn log(&mut self, level: Level, event: &'static str, detail: &str) {
        let detail = detail.to_owned();
        self.outcome.actions.push(Action::Log { level, event, detail });
    }

    /// Says nothing twice: without news and without a write the pass is silent.
    fn finish(mut self) -> Outcome {
        let warnings = std::mem::take(&mut self.warnings);
        let said = warnings
            .iter()
            .map(|(_, reason, message)| format!("{reason}: {message}"));
        let said: Vec<_> = said.collect();
        let memory = self.assigner.memory.entry(self.service.key.clone()).or_default();
        let before = std::mem::replace(&mut memory.said, said.clone());
        let mut news = false;
        for ((kind, reason, message), said) in warnings.into_iter().zip(said) {
            // What follows from our own write is said in the look before it, together with what that look alone knows.
            if !before.contains(&said) {
                news = true;
                self.event(kind, reason, message);
            }
        }
        if !news && !self.outcome.writes() {
            self.outcome.actions.clear();
        }
        self.outcome
    }
}

/// Tells whether addresses are of the families that a Service needs.
fn suits(request: &Request, ips: &[IpAddr]) -> bool {
    let lenient = request.families == Families::Dual && request.policy == FamilyPolicy::PreferDualStack;
    match (request.families, Families::of(ips)) {
        (_, None) => false,
        (Families::Dual, Some(Families::Single(_))) => lenient,
        (own, Some(has)) => own == has && (own != Families::Dual || request.policy != FamilyPolicy::SingleStack),
    }
}
