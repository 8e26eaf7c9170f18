//! Changing: the only code that moves addresses between free, used and shared, and wakes waiters.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Allocation, Allocator, Held, Holder};
use crate::family::Family;
use crate::key::{Key, PoolName};
use crate::request::Request;
use crate::waiters::{Lack, Topic, Waiter};

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
        self.waiters.remove(key);
        if self.same(key, request, &allocation) {
            self.settle(key);
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
            self.wake_after(old, &freed);
        }
        if let Some(sharing) = &request.sharing {
            // A group has come to a new address: others of the group may join it there.
            self.wake_group(&sharing.key);
        }
        self.settle(key);
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
            pool.services += 1;
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
            pool.services = pool.services.saturating_sub(1);
            freed
        });
        let Some(freed) = freed else {
            return Vec::new();
        };
        self.touched.insert(name.clone());
        freed
    }

    /// Wakes those whom it concerns that a Service has let go: of whole addresses, or of room on shared ones.
    pub(super) fn wake_after(&mut self, old: &Held, freed: &[(IpAddr, PoolName)]) {
        for ip in &old.allocation.ips {
            // Also those who cannot be served: their refusal may name who has left.
            for (key, _) in self.waiters.on(&Topic::Ip(*ip)) {
                self.woken.wake(key, None);
            }
        }
        if let Some(sharing) = &old.sharing {
            self.wake_group(&sharing.key);
        }
        for (ip, pool) in freed {
            self.wake_next(pool, Family::of(*ip));
        }
    }

    /// Wakes all of a sharing group that could be served now.
    fn wake_group(&mut self, sharing: &Arc<str>) {
        let topic = Topic::Sharing(Arc::clone(sharing));
        let waiters = self.waiters.on(&topic);
        let served: Vec<_> = waiters
            .filter(|(key, waiter)| self.can_serve(key, waiter))
            .map(|(key, _)| key.clone())
            .collect();
        for key in served {
            self.woken.wake(&key, None);
        }
    }

    /// Wakes one Service for one free address of a pool.
    fn wake_next(&mut self, pool: &PoolName, family: Family) {
        let topic = Topic::Pool(pool.clone(), family);
        let mut waiters = self.waiters.on(&topic).filter(|(key, _)| !self.woken.contains(key));
        let next = waiters
            .find(|(key, waiter)| self.can_serve(key, waiter))
            .map(|(key, _)| key.clone());
        if let Some(key) = next {
            self.woken.wake(&key, Some((pool.clone(), family)));
        }
    }

    fn can_serve(&self, key: &Key, waiter: &Waiter) -> bool {
        match waiter.lack {
            Lack::Everything => self.choose(key, &waiter.request).is_ok(),
            Lack::SecondFamily => self.held(key).is_some_and(|held| {
                let missing = held.ips.first().map(|ip| Family::of(*ip).other());
                let pool = self.catalog.get(&held.pool);
                missing
                    .zip(pool)
                    .is_some_and(|(family, pool)| self.pick(pool, family, key, &waiter.request).is_some())
            }),
        }
    }

    /// A woken Service has come. If it left something of what it was woken for, the next is woken.
    pub(super) fn settle(&mut self, key: &Key) {
        for (pool, family) in self.woken.arrived(key) {
            let left = self
                .catalog
                .get(&pool)
                .is_some_and(|state| state.first_free(family).is_some());
            if left {
                self.wake_next(&pool, family);
            }
        }
    }
}

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
