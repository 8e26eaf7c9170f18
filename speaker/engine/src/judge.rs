//! Which Services are judged again, and what follows from the verdicts.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use metallb_announce::{Decision, Extension, Inputs, Reason, ServiceView, decide, has_candidate, place};
use metallb_config::Pool;
use tracing::info;

use crate::announced::{Changes, Context};
use crate::engine::{Dirty, Entry};
use crate::{Effect, Engine, Protocol, ServiceFacts, ServiceKey};

impl Engine {
    pub(crate) fn judge(&mut self, dirty: &Dirty, effects: &mut Vec<Effect>) {
        let keys: BTreeSet<Arc<ServiceKey>> = if dirty.all {
            self.services.keys().cloned().collect()
        } else {
            let moved = self.moved(dirty);
            dirty.services.iter().cloned().chain(moved).collect()
        };
        let kept = self.kept.len();
        for key in keys {
            self.judge_one(&key, effects);
        }
        if self.kept.len() != kept {
            self.report(effects);
        }
    }

    /// Services of which another node may be the owner, or stand in for it, since nodes came and went.
    fn moved(&self, dirty: &Dirty) -> Vec<Arc<ServiceKey>> {
        let nodes = &dirty.nodes;
        if nodes.is_empty() {
            return Vec::new();
        }
        let moves = |(key, entry): &(&Arc<ServiceKey>, &Entry)| {
            let Some(ranking) = entry.announced.ranking() else {
                return false;
            };
            let gains = |node: &Arc<str>| self.place(key, entry, node).is_some_and(|place| ranking.admits(place));
            ranking.nodes().iter().any(|node| nodes.gone.contains(node)) || nodes.came.iter().any(gains)
        };
        let entries = self.services.iter().map(|(key, entry)| (key, &**entry));
        let moved = entries.filter(moves);
        moved.map(|(key, _)| Arc::clone(key)).collect()
    }

    fn place(&self, key: &Arc<ServiceKey>, entry: &Entry, node: &str) -> Option<metallb_announce::election::Place> {
        let view = &entry.facts.as_ref()?.view;
        let pool = self.pool_of(key, entry.facts.as_deref()?)?;
        place(&self.inputs(key, view), pool, view, &entry.endpoints(), node)
    }

    fn judge_one(&mut self, key: &Arc<ServiceKey>, effects: &mut Vec<Effect>) {
        let Some(mut entry) = self.services.remove(key) else {
            return;
        };
        let facts = entry.facts.as_deref();
        let ours = |facts: &ServiceFacts| facts.view.load_balancer && facts.view.has_class(&self.settings.class);
        let relevant = facts.is_some_and(ours);
        if relevant || entry.announced.is_judged() {
            let decision = self.decide(key, &entry);
            let planned = self.is_planned(key, &entry, &decision);
            let addresses: Vec<IpAddr> = facts
                .into_iter()
                .flat_map(|f| f.view.ingress.iter().copied().flatten())
                .collect();
            let context = Context {
                node: &self.settings.node,
                service: key,
                uid: facts.and_then(|facts| facts.uid.as_deref()),
                addresses: &addresses,
                links: self.links.as_ref(),
                sessions: &self.sessions,
                uncarried: &self.uncarried,
                planned,
                yielded: self.is_yielded(&entry),
            };
            self.partners.forget(&self.settings.node, entry.announced.ranking());
            entry
                .announced
                .update(&context, decision, &mut self.announcements, effects);
            if !relevant {
                entry.announced.forget();
            }
            self.partners.learn(&self.settings.node, entry.announced.ranking());
        }
        if facts.is_none() || !relevant {
            self.kept.remove(key);
        }
        if !entry.is_empty() {
            self.services.insert(Arc::clone(key), entry);
        }
    }

    pub(crate) fn inputs(&self, key: &Arc<ServiceKey>, view: &ServiceView) -> Inputs<'_> {
        let agreement = self.nodes.statements.agreement.as_ref();
        Inputs {
            node: &self.settings.node,
            nodes: &self.nodes.views,
            members: self.nodes.members.as_ref().filter(|_| self.settings.membership),
            suspects: &self.nodes.suspects,
            extension: agreement.map(|agreement| Extension {
                standings: &agreement.standings,
                failback: agreement.failback,
                owners: self.owners.of(key, view),
            }),
            ignore_exclude_label: self.settings.ignore_exclude_label,
            class: &self.settings.class,
        }
    }

    /// The pool that holds the addresses of a Service, or did when it got them.
    pub(crate) fn pool_of(&self, key: &Arc<ServiceKey>, facts: &ServiceFacts) -> Option<&Pool> {
        let addresses = facts.view.addresses()?;
        let settled = self.config.as_ref()?;
        let kept = || {
            self.kept
                .get(key)
                .map(Arc::as_ref)
                .filter(|pool| pool.holds(&addresses))
        };
        settled.config.pool_holding(&addresses).or_else(kept)
    }

    fn decide(&mut self, key: &Arc<ServiceKey>, entry: &Entry) -> Decision {
        let Some(facts) = entry.facts.as_deref() else {
            return Decision::none(Reason::ServiceDeleted);
        };
        let pool = self.pool_of(key, facts);
        let mut decision = decide(&self.inputs(key, &facts.view), pool, &facts.view, &entry.endpoints());
        let is_kept = |pool: &Pool| {
            self.kept
                .get(key)
                .is_some_and(|kept| std::ptr::eq(pool, &raw const **kept))
        };
        if !pool.is_some_and(is_kept) {
            self.kept.remove(key);
        }
        if !self.is_open(Protocol::Layer2) {
            decision.layer2 = Err(Reason::NotOwner);
        }
        decision
    }

    /// Says whether a Service that this node loses is answered by another node instead, which shall be heard first. Not if
    /// this node is suspected: then the other has been for a while.
    fn is_planned(&self, key: &Arc<ServiceKey>, entry: &Entry, decision: &Decision) -> bool {
        let moves = matches!(
            decision.layer2,
            Err(Reason::NotOwner
                | Reason::NoMatchingAdvertisement
                | Reason::NodeLabeledExcludeBalancers
                | Reason::NodeNetworkUnavailable)
        );
        let facts = entry.facts.as_deref().filter(|_| moves && entry.announced.answers());
        let Some(facts) = facts.filter(|_| !self.nodes.suspects.contains(&*self.settings.node)) else {
            return false;
        };
        self.pool_of(key, facts)
            .is_some_and(|pool| has_candidate(&self.inputs(key, &facts.view), pool, &facts.view, &entry.endpoints()))
    }

    /// Returns what the data plane must change.
    pub(crate) fn data_plane(&mut self) -> Vec<Effect> {
        let Changes {
            addresses,
            handed_over,
            routes,
        } = self.announcements.changes();
        let mut effects = Vec::new();
        if !routes.is_empty() {
            let total = self.announcements.prefixes();
            info!(event = "updatedAdvertisements", numAds = total, changed = routes.len());
            effects.push(Effect::Routes(routes));
        }
        if !addresses.is_empty() {
            effects.push(Effect::Addresses(addresses));
        }
        if !handed_over.is_empty() {
            effects.push(Effect::HandOver(handed_over));
        }
        effects
    }
}
