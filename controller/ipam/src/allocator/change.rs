//! Changing: the only code that moves addresses between free, used and shared, and wakes waiters.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Allocation, Allocator, Held, Holder};
use crate::family::Family;
use crate::key::{Key, PoolName};
use crate::request::Request;
use crate::waiters::{Lack, Topic};

impl Allocator {
    /// Keeps an address back for `key`, whether or not its pool is open to it, until it is released; false if others have
    /// it on other terms. One that no pool has is kept back as soon as a pool has it.
    pub fn reserve(&mut self, key: &Key, request: &Request, ip: IpAddr) -> bool {
        if self.fits(ip, key, request).is_err() {
            return false;
        }
        self.reserved.insert(key.clone(), (ip, request.clone()));
        if let Some(pool) = self.pool_of(ip) {
            self.commit(key, request, Allocation { pool, ips: vec![ip] });
        }
        true
    }

    /// After the pools have changed: keeps back what a pool has again.
    pub(super) fn reserve_again(&mut self) {
        let missing = self.reserved.iter().filter(|(key, _)| !self.held.contains_key(*key));
        let missing: Vec<_> = missing.map(|(key, kept)| (key.clone(), kept.clone())).collect();
        for (key, (ip, request)) in missing {
            self.reserve(&key, &request, ip);
        }
    }

    /// Makes an allocation that was found possible.
    pub(super) fn commit(&mut self, key: &Key, request: &Request, allocation: Allocation) -> Allocation {
        if self.same(key, request, &allocation) {
            return allocation;
        }
        let old = self.held.remove(key);
        let freed = old.as_ref().map(|held| self.detach(key, held)).unwrap_or_default();
        let held = Held {
            allocation: allocation.clone(),
            sharing: request.sharing.clone(),
            ports: request.ports.as_slice().into(),
        };
        self.attach(key, held);
        if let Some(old) = &old {
            let freed: Vec<_> = freed
                .into_iter()
                .filter(|(ip, _)| !allocation.ips.contains(ip))
                .collect();
            self.loosen(old, &freed);
        }
        if let Some(sharing) = &request.sharing {
            // A group has come to a new address: others of the group may join it there.
            self.loosened.push(Topic::Sharing(Arc::clone(&sharing.key)));
            // Services that are refused it are told who has it now.
            let ips = allocation.ips.iter().map(|ip| Topic::Ip(*ip));
            self.loosened
                .extend(ips.filter(|topic| self.waiters.on(topic).next().is_some()));
        }
        allocation
    }

    fn same(&self, key: &Key, request: &Request, allocation: &Allocation) -> bool {
        self.held.get(key).is_some_and(|held| {
            held.allocation == *allocation && held.sharing == request.sharing && *held.ports == *request.ports
        })
    }

    /// Puts a Service on its addresses.
    pub(super) fn attach(&mut self, key: &Key, held: Held) {
        let Allocation { pool: name, ips } = &held.allocation;
        let slots: Vec<_> = ips
            .iter()
            .filter_map(|ip| Some((*ip, self.catalog.locate(*ip)?.1)))
            .collect();
        let holders = &mut self.holders;
        let known = self.catalog.change(name, |pool| {
            for (ip, slot) in slots {
                let family = Family::of(ip);
                let holder = holders.entry(ip).or_default();
                if holder.users.is_empty() {
                    pool.take(family, slot);
                }
                if holder.join(key, &held)
                    && let Some(sharing) = &held.sharing
                {
                    pool.offer(family, slot, sharing, true);
                }
            }
            pool.services += u64::from(!key.is_standin());
        });
        if known.is_none() {
            return;
        }
        self.touched.insert(name.clone());
        self.held.insert(key.clone(), held);
    }

    /// Takes a Service off its addresses; returns those that nobody has now, with their pool.
    pub(super) fn detach(&mut self, key: &Key, held: &Held) -> Vec<(IpAddr, PoolName)> {
        let Allocation { pool: name, ips } = &held.allocation;
        let slots: Vec<_> = ips
            .iter()
            .map(|ip| (*ip, self.catalog.locate(*ip).map(|(_, slot)| slot)))
            .collect();
        let holders = &mut self.holders;
        let freed = self.catalog.change(name, |pool| {
            let mut freed = Vec::new();
            for (ip, slot) in slots {
                let Some(holder) = holders.get_mut(&ip) else {
                    continue;
                };
                holder.leave(key);
                if !holder.users.is_empty() {
                    continue;
                }
                let sharing = holders.remove(&ip).and_then(|holder| holder.sharing);
                if let Some(slot) = slot {
                    pool.give(Family::of(ip), slot);
                    if let Some(sharing) = &sharing {
                        pool.offer(Family::of(ip), slot, sharing, false);
                    }
                }
                freed.push((ip, name.clone()));
            }
            pool.services = pool.services.saturating_sub(u64::from(!key.is_standin()));
            freed
        });
        let Some(freed) = freed else {
            return Vec::new();
        };
        self.touched.insert(name.clone());
        freed
    }

    /// Notes what a Service has let go: whole addresses, or room on shared ones.
    pub(super) fn loosen(&mut self, old: &Held, freed: &[(IpAddr, PoolName)]) {
        let ips = old.allocation.ips.iter().map(|ip| Topic::Ip(*ip));
        let group = old
            .sharing
            .iter()
            .map(|sharing| Topic::Sharing(Arc::clone(&sharing.key)));
        let freed = freed
            .iter()
            .map(|(ip, pool)| Topic::Pool(Arc::clone(pool), Family::of(*ip)));
        self.loosened.extend(ips.chain(group).chain(freed));
    }

    /// A Service is looked at: it waits no more, and what is kept for it is there to be taken.
    pub(crate) fn begin(&mut self, key: &Key) {
        self.waiters.pause(key);
        self.redeem(key);
    }

    /// Ends a promise. What the Service does not take is offered to the next.
    pub(super) fn redeem(&mut self, key: &Key) {
        let Some(reasons) = self.woken.arrived(key) else {
            return;
        };
        self.loosened.extend(reasons);
        let standin = promised(key);
        if let Some(held) = self.held.remove(&standin) {
            let freed = self.detach(&standin, &held);
            self.loosen(&held, &freed);
        }
    }

    /// Offers what was let go to those who wait.
    pub(super) fn offer_what_there_is(&mut self) {
        if std::mem::take(&mut self.all_loosened) {
            self.loosened.clear();
            for key in self.waiters.in_turn() {
                self.promise(&key, None);
            }
        }
        for topic in std::mem::take(&mut self.loosened) {
            self.offer(&topic);
        }
    }

    fn offer(&mut self, topic: &Topic) {
        if let Topic::Pool(pool, family) = topic
            && self
                .catalog
                .get(pool)
                .is_none_or(|state| state.first_free(*family).is_none())
        {
            return;
        }
        let waiters: Vec<_> = match topic {
            // One free address is for one Service; those before it cannot be served.
            Topic::Pool(..) => {
                let mut waiters = self.waiters.on(topic).map(|(key, _)| key);
                let next = waiters.find(|key| !self.woken.is_promised(key) && self.gets(key).is_some());
                next.into_iter().cloned().collect()
            }
            Topic::Ip(_) | Topic::Sharing(_) => self.waiters.on(topic).map(|(key, _)| key.clone()).collect(),
        };
        for key in waiters {
            self.promise(&key, Some(topic));
            if matches!(topic, Topic::Ip(_)) && !self.waiters.was_looked_at(&key) {
                // Also those who cannot be served: their refusal may name who has left. Not who has looked a moment ago: it
                // would be woken by its own look for ever.
                self.woken.wake(&key);
            }
        }
    }

    /// Keeps for a waiter what it would get now, until it was looked at.
    ///
    /// Otherwise the next Service that is looked at would take it, even a new one.
    fn promise(&mut self, key: &Key, reason: Option<&Topic>) {
        if self.woken.is_promised(key) {
            return;
        }
        let (Some(allocation), Some(waiter)) = (self.gets(key), self.waiters.get(key)) else {
            return;
        };
        let held = Held {
            allocation,
            sharing: waiter.request.sharing.clone(),
            ports: waiter.request.ports.as_slice().into(),
        };
        self.woken.promise(key, reason.cloned());
        if !held.allocation.ips.is_empty() {
            self.attach(&promised(key), held);
        }
    }

    /// What a waiter would get now beside what it has; none if it cannot be served.
    fn gets(&self, key: &Key) -> Option<Allocation> {
        let waiter = self.waiters.get(key)?;
        let mut allocation = match waiter.lack {
            Lack::Everything => self.choose(key, &waiter.request).ok()?,
            Lack::SecondFamily => {
                let held = self.held(key)?;
                let family = Family::of(*held.ips.first()?).other();
                let pool = self.catalog.get(&held.pool)?;
                Allocation {
                    pool: Arc::clone(&held.pool),
                    ips: vec![self.pick(pool, family, key, &waiter.request)?],
                }
            }
        };
        let own = self.held(key).map(|held| held.ips.as_slice()).unwrap_or_default();
        allocation.ips.retain(|ip| !own.contains(ip));
        Some(allocation)
    }
}

fn promised(key: &Key) -> Key {
    key.standin(PROMISED)
}

/// Why a Service has a stand-in on an address that is kept for it.
pub(super) const PROMISED: &str = "next in turn";

impl Holder {
    /// Enters a user under its terms; returns whether the address is new to this kind of sharing.
    fn join(&mut self, key: &Key, held: &Held) -> bool {
        let first = self.users.is_empty();
        self.sharing.clone_from(&held.sharing);
        if let Err(at) = self.users.binary_search(key) {
            self.users.insert(at, key.clone());
        }
        for port in &held.ports {
            if let Err(at) = self.ports.binary_search_by(|(own, _)| own.cmp(port)) {
                self.ports.insert(at, (*port, key.clone()));
            }
        }
        first
    }

    fn leave(&mut self, key: &Key) {
        if let Ok(at) = self.users.binary_search(key) {
            self.users.remove(at);
        }
        self.ports.retain(|(_, user)| user != key);
    }
}
