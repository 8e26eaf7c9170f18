//! Two nodes that announce one address on one segment.
//!
//! While the other is a member the usual order decides: the one that is not first withdraws as soon as it knows, and the
//! first one insists if that takes long. Where they hear each other on the segment only, be it that the membership does not
//! know yet, the one with the worse place by upstream's order is silent until the other is.

use std::net::IpAddr;
use std::sync::Arc;

use metallb_announce::outranks;
use tracing::info;

use crate::engine::{Dirty, Entry};
use crate::{Claim, Conflict, Effect, Engine, EventKind, ServiceKey};

impl Engine {
    pub(crate) fn take_conflict(&mut self, conflict: &Conflict, dirty: &mut Dirty, effects: &mut Vec<Effect>) {
        let peer = self.nodes.statements.owner_of(conflict.mac).cloned();
        match peer {
            Some(peer) => self.contest(conflict, &peer, dirty, effects),
            None if conflict.claim == Claim::Confirmed => self.tell_conflict(conflict, effects),
            None => {}
        }
    }

    fn contest(&mut self, conflict: &Conflict, peer: &Arc<str>, dirty: &mut Dirty, effects: &mut Vec<Effect>) {
        let (ip, interface) = (conflict.ip, &conflict.interface);
        let concerned = self.answering_for(ip);
        if concerned.is_empty() {
            return;
        }
        let agrees = self.agrees(peer);
        if !agrees && concerned.iter().all(|key| self.is_outranked(key, peer)) {
            if self.yielded.insert(ip, Arc::clone(peer)).is_none() {
                info!(event = "peerConflict", %ip, interface, node = %peer, "yielding an address to a node that announces it, too");
                effects.push(Effect::Yield(ip));
                dirty.services.extend(concerned);
            }
            return;
        }
        self.end_yield(ip, dirty);
        if agrees && conflict.claim == Claim::First {
            return;
        }
        if self.insisted.insert(ip) {
            info!(event = "peerConflict", %ip, interface, node = %peer, "insisting on an address that another node announces, too");
        }
        effects.push(Effect::Defend(ip));
    }

    fn is_outranked(&self, key: &Arc<ServiceKey>, peer: &str) -> bool {
        let entry = self.services.get(key);
        let facts = entry.and_then(|entry| Some((entry, entry.facts.as_deref()?)));
        facts.is_some_and(|(entry, facts)| {
            self.pool_of(key, facts).is_some_and(|pool| {
                outranks(
                    &self.inputs(key, &facts.view),
                    pool,
                    &facts.view,
                    &entry.endpoints(),
                    peer,
                )
            })
        })
    }

    /// Says whether a node goes by the same as this one, as far as is known: it is a member, and was heard if it is suspected.
    fn agrees(&self, node: &str) -> bool {
        let members = self.nodes.members.as_ref();
        members.is_some_and(|members| members.contains(node)) && !self.nodes.unaware.contains(node)
    }

    /// The other has been silent.
    pub(crate) fn end_claims(&mut self, ip: IpAddr, dirty: &mut Dirty) {
        self.insisted.remove(&ip);
        self.end_yield(ip, dirty);
    }

    fn end_yield(&mut self, ip: IpAddr, dirty: &mut Dirty) {
        if self.yielded.remove(&ip).is_some() {
            dirty.resumed.insert(ip);
            dirty.services.extend(self.answering_for(ip));
        }
    }

    /// With one that knows the same the usual order decides.
    pub(crate) fn review_yields(&mut self, dirty: &mut Dirty) {
        let over = self.yielded.iter().filter(|(_, peer)| self.agrees(peer));
        for ip in over.map(|(ip, _)| *ip).collect::<Vec<_>>() {
            self.end_yield(ip, dirty);
        }
    }

    /// Has what is no longer yielded answered again, if it is still announced.
    pub(crate) fn resume(&mut self, dirty: &Dirty, effects: &mut Vec<Effect>) {
        let announcements = &self.announcements;
        self.yielded.retain(|ip, _| announcements.announces(*ip));
        self.insisted.retain(|ip| announcements.announces(*ip));
        let still = dirty.resumed.iter().filter(|ip| announcements.announces(**ip));
        effects.extend(still.map(|ip| Effect::Resume(*ip)));
    }

    pub(crate) fn is_yielded(&self, entry: &Entry) -> bool {
        let facts = entry.facts.as_ref().filter(|_| !self.yielded.is_empty());
        let mut addresses = facts.into_iter().flat_map(|facts| facts.view.ingress.iter().flatten());
        addresses.any(|ip| self.yielded.contains_key(ip))
    }

    /// Tells the users of all Services that have the address.
    fn tell_conflict(&self, conflict: &Conflict, effects: &mut Vec<Effect>) {
        let Conflict { ip, interface, mac, .. } = conflict;
        let concerned = self.answering_for(*ip).into_iter();
        let concerned = concerned.filter_map(|key| Some((self.services.get(&key)?, key)));
        effects.extend(concerned.map(|(entry, key)| Effect::Event {
            service: key,
            uid: entry.facts.as_ref().and_then(|facts| facts.uid.clone()),
            kind: EventKind::AddressConflict,
            note: format!(
                "another host, {mac}, claims {ip} on interface {interface} of node {:?}",
                self.settings.node
            ),
        }));
    }
}
