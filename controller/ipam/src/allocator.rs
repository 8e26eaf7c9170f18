//! The allocator: every address has its users, every Service at most one pair of addresses.

mod change;
mod choose;
mod explain;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::HashMap;
use metallb_config::Pool;

use crate::catalog::Catalog;
use crate::family::Family;
use crate::key::{Key, PoolName};
use crate::pool::{Counters, PoolState, Spec};
use crate::refusal::{Refusal, Why};
use crate::request::{Port, Request, Sharing};
use crate::waiters::{Lack, Topic, Waiters, Woken};

pub use explain::{Clash, Explanation, Neighbour, Trial};

/// The addresses of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// The pool of all of them.
    pub pool: PoolName,
    /// One, or one of each family, in the order to be written.
    pub ips: Vec<IpAddr>,
}

/// An allocation and under which terms it was made.
#[derive(Clone, Debug)]
struct Held {
    allocation: Allocation,
    sharing: Option<Sharing>,
    ports: Box<[Port]>,
}

/// Who is on an address. Both lists are sorted; nearly always they are of length one.
#[derive(Debug, Default)]
struct Holder {
    sharing: Option<Sharing>,
    users: Vec<Key>,
    ports: Vec<(Port, Key)>,
}

/// Owns pools, addresses in use and waiters.
///
/// What a call makes room for is offered when the caller asks with [`Allocator::take_woken`]: to those who wait, first come
/// first, and kept for them until the caller tries them again, or [releases](Allocator::release) them if they are gone.
#[derive(Debug, Default)]
pub struct Allocator {
    catalog: Catalog,
    held: HashMap<Key, Held>,
    holders: HashMap<IpAddr, Holder>,
    waiters: Waiters,
    woken: Woken,
    /// Where there may be room for somebody who waits; one entry for each free address.
    loosened: Vec<Topic>,
    /// Whether there may be room for anybody anywhere.
    all_loosened: bool,
    touched: BTreeSet<PoolName>,
    /// What is kept back for whom, be it that no pool has it at the moment.
    reserved: BTreeMap<Key, (IpAddr, Request)>,
    lost: Vec<Lost>,
}

/// A Service whose addresses were taken from it by an edit of pools; its status shows them still.
#[derive(Debug)]
pub(crate) struct Lost {
    pub(crate) key: Key,
    pub(crate) ips: Vec<IpAddr>,
    /// The terms under which it had them.
    pub(crate) request: Request,
}

impl Allocator {
    /// Puts a set of pools in force and returns the Services that it concerns: those whose pool
    /// changed, and all waiters, since what they are told names pools.
    ///
    /// Addresses that still lie in one pool stay with their Service, whatever the pool is called;
    /// others are let go.
    pub fn set_pools(&mut self, pools: &BTreeMap<String, Pool>) -> BTreeSet<Key> {
        let specs: BTreeMap<PoolName, _> = pools
            .iter()
            .map(|(name, pool)| (name.as_str().into(), Spec::from(pool)))
            .collect();
        let touched = self.catalog.changes(&specs);
        if touched.is_empty() {
            return BTreeSet::new();
        }
        // They are made anew, by the new pools.
        for key in self.woken.promised() {
            self.redeem(&key);
        }
        self.all_loosened = true;
        let moved: Vec<_> = self
            .held
            .iter()
            .filter(|(_, held)| touched.contains(&held.allocation.pool))
            .collect();
        let mut moved: Vec<_> = moved
            .into_iter()
            .map(|(key, held)| (key.clone(), held.clone()))
            .collect();
        moved.sort_by(|a, b| a.0.cmp(&b.0));
        for (key, held) in &moved {
            self.detach(key, held);
        }
        self.catalog.set(specs);
        self.touched.extend(touched);
        let (mut concerned, mut lost) = (BTreeSet::new(), Vec::new());
        for (key, mut held) in moved {
            if !key.is_standin() {
                concerned.insert(key.clone());
            }
            match self.home_of(&held.allocation.ips) {
                Some(pool) => {
                    held.allocation.pool = pool;
                    self.attach(&key, held);
                }
                None => {
                    self.held.remove(&key);
                    lost.push((key, held));
                }
            }
        }
        self.reserve_again();
        lost.retain(|(key, _)| !self.reserved.contains_key(key));
        self.lost = lost.into_iter().map(|(key, held)| held.lost(key)).collect();
        concerned.extend(self.waiters.keys());
        concerned
    }

    /// Tells whether there are pools at all.
    #[must_use]
    pub fn has_pools(&self) -> bool {
        !self.catalog.is_empty()
    }

    /// The addresses that a Service has.
    #[must_use]
    pub fn held(&self, key: &Key) -> Option<&Allocation> {
        self.held.get(key).map(|held| &held.allocation)
    }

    /// The terms under which a Service has its addresses.
    pub(crate) fn terms(&self, key: &Key) -> Option<Request> {
        self.held.get(key).map(|held| held.terms(key))
    }

    /// Tells whether a Service waits for an address.
    #[must_use]
    pub fn waits(&self, key: &Key) -> bool {
        self.waiters.contains(key)
    }

    /// The Services on an address, in the order of their names.
    pub fn users(&self, ip: IpAddr) -> impl Iterator<Item = &Key> {
        self.holders.get(&ip).into_iter().flat_map(|holder| &holder.users)
    }

    /// The pool that owns an address and can hand it out.
    #[must_use]
    pub fn pool_of(&self, ip: IpAddr) -> Option<PoolName> {
        self.catalog.locate(ip).map(|(pool, _)| pool.name.clone())
    }

    /// Gives a Service exactly these addresses, in this order; what it had before is let go.
    /// Costs nothing if it has them already. A Service that [waits](Self::wait) again afterwards keeps its turn.
    ///
    /// # Errors
    /// Says why not; then nothing has changed.
    pub fn claim(&mut self, key: &Key, request: &Request, ips: &[IpAddr]) -> Result<Allocation, Refusal> {
        self.begin(key);
        let pool = self.check(key, request, ips)?;
        let allocation = Allocation {
            pool,
            ips: ips.to_vec(),
        };
        Ok(self.commit(key, request, allocation))
    }

    /// Tells whether [`claim`](Self::claim) would succeed.
    pub(crate) fn allows(&self, key: &Key, request: &Request, ips: &[IpAddr]) -> bool {
        self.check(key, request, ips).is_ok()
    }

    /// Finds addresses for a request and gives them to the Service; what it had before is let go.
    ///
    /// # Errors
    /// Names every pool tried and why; then the Service keeps what it has, and is woken when its
    /// request can be met.
    pub fn allocate(&mut self, key: &Key, request: &Request) -> Result<Allocation, Refusal> {
        self.begin(key);
        match self.choose(key, request) {
            Ok(allocation) => Ok(self.commit(key, request, allocation)),
            Err(refusal) => {
                self.wait(key, request);
                Err(self.explain(refusal, request))
            }
        }
    }

    /// Adds an address of the other family from the same pool; `None` if the pool has no such family.
    ///
    /// # Errors
    /// All addresses of that family are in use; the Service is woken when that changes.
    pub fn extend(&mut self, key: &Key, request: &Request) -> Result<Option<Allocation>, Why> {
        self.begin(key);
        let Some(Allocation { pool, ips }) = self.held(key).cloned() else {
            return Ok(None);
        };
        let ([first], Some(state)) = (ips.as_slice(), self.catalog.get(&pool)) else {
            return Ok(None);
        };
        let family = Family::of(*first).other();
        if !state.has(family) {
            return Ok(None);
        }
        let Some(second) = self.pick(state, family, key, request) else {
            let mut topics = vec![Topic::Pool(pool, family)];
            topics.extend(group_topic(request));
            self.waiters.wait(key, request.clone(), Lack::SecondFamily, topics);
            return Err(Why::Full(family));
        };
        let ips = vec![*first, second];
        Ok(Some(self.commit(key, request, Allocation { pool, ips })))
    }

    /// Lets a Service wait for its request without trying it now.
    pub fn wait(&mut self, key: &Key, request: &Request) {
        self.begin(key);
        let topics = self.topics(request);
        self.waiters.wait(key, request.clone(), Lack::Everything, topics);
    }

    /// Lets a Service that was not looked at yet wait in its turn, if it is not waiting; all who wait are offered what
    /// there is.
    pub fn enlist(&mut self, key: &Key, request: &Request) {
        self.wait(key, request);
        self.all_loosened = true;
    }

    /// Takes the addresses of a Service away; it also waits no more, unless it [waits](Self::wait) on at once. Returns
    /// whether it had any.
    pub fn release(&mut self, key: &Key) -> bool {
        self.begin(key);
        self.reserved.remove(key);
        let held = self.held.remove(key);
        if let Some(held) = &held {
            let freed = self.detach(key, held);
            self.loosen(held, &freed);
        }
        held.is_some()
    }

    /// The waiters that should be tried (or released) now; each is named once.
    ///
    /// Only now is offered what was let go since the last call.
    pub fn take_woken(&mut self) -> BTreeSet<Key> {
        self.offer_what_there_is();
        self.waiters.close();
        self.woken.drain()
    }

    /// The Services that lost their addresses when the pools changed the last time.
    pub(crate) fn take_lost(&mut self) -> Vec<Lost> {
        std::mem::take(&mut self.lost)
    }

    /// The pools whose numbers may have changed since the last call, removed ones included.
    pub fn take_touched(&mut self) -> BTreeSet<PoolName> {
        std::mem::take(&mut self.touched)
    }

    /// The numbers of a pool.
    #[must_use]
    pub fn counters(&self, pool: &str) -> Option<Counters> {
        self.catalog.get(pool).map(PoolState::counters)
    }

    /// The numbers of all pools.
    #[must_use]
    pub fn all_counters(&self) -> BTreeMap<PoolName, Counters> {
        let pools = self.catalog.by_name();
        pools.iter().map(|pool| (pool.name.clone(), pool.counters())).collect()
    }

    /// The number of Services with addresses and of those that wait.
    #[must_use]
    pub fn len(&self) -> (usize, usize) {
        let held = self.held.keys().filter(|key| !key.is_standin());
        (held.count(), self.waiters.len())
    }

    /// The pool that has all these addresses.
    fn home_of(&self, ips: &[IpAddr]) -> Option<PoolName> {
        let mut homes = ips.iter().map(|ip| self.pool_of(*ip));
        let home = homes.next()??;
        homes.all(|other| other.as_ref() == Some(&home)).then_some(home)
    }

    /// What could help a request later.
    fn topics(&self, request: &Request) -> Vec<Topic> {
        let mut topics: Vec<_> = request.wanted.iter().map(|ip| Topic::Ip(*ip)).collect();
        if request.wanted.is_empty() {
            for pool in self.candidates(request) {
                for family in Family::ALL {
                    if request.families.includes(family) && pool.has(family) {
                        topics.push(Topic::Pool(pool.name.clone(), family));
                    }
                }
            }
        }
        topics.extend(group_topic(request));
        topics
    }
}

impl Held {
    fn lost(self, key: Key) -> Lost {
        Lost {
            request: self.terms(&key),
            key,
            ips: self.allocation.ips,
        }
    }

    fn terms(&self, key: &Key) -> Request {
        Request {
            namespace: key.namespace().into(),
            sharing: self.sharing.clone(),
            ports: self.ports.to_vec(),
            ..Request::default()
        }
    }
}

fn group_topic(request: &Request) -> Option<Topic> {
    request
        .sharing
        .as_ref()
        .map(|sharing| Topic::Sharing(Arc::clone(&sharing.key)))
}
