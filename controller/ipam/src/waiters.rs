//! Services without an address, indexed by what could give them one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::HashMap;

use crate::family::Family;
use crate::key::{Key, PoolName};
use crate::request::Request;

/// Something that a Service can wait for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Topic {
    /// This address, or room on it.
    Ip(IpAddr),
    /// A free address of a pool.
    Pool(PoolName, Family),
    /// An address of a sharing group.
    Sharing(Arc<str>),
}

/// What a waiter lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lack {
    /// What it asked for.
    Everything,
    /// The second family, from the pool of the first.
    SecondFamily,
}

#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) request: Request,
    pub(crate) lack: Lack,
    /// Who came first is served first.
    turn: u64,
    topics: Vec<Topic>,
}

/// The queue of waiters.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    all: HashMap<Key, Waiter>,
    topics: HashMap<Topic, BTreeMap<u64, Key>>,
    last_turn: u64,
}

impl Waiters {
    /// Enters a Service, or renews what it waits for without losing its turn.
    pub(crate) fn wait(&mut self, key: &Key, request: Request, lack: Lack, topics: Vec<Topic>) {
        let turn = self.remove(key).map_or_else(
            || {
                self.last_turn += 1;
                self.last_turn
            },
            |waiter| waiter.turn,
        );
        for topic in &topics {
            self.topics.entry(topic.clone()).or_default().insert(turn, key.clone());
        }
        let waiter = Waiter {
            request,
            lack,
            turn,
            topics,
        };
        self.all.insert(key.clone(), waiter);
    }

    pub(crate) fn remove(&mut self, key: &Key) -> Option<Waiter> {
        let waiter = self.all.remove(key)?;
        for topic in &waiter.topics {
            if let Some(queue) = self.topics.get_mut(topic) {
                queue.remove(&waiter.turn);
                if queue.is_empty() {
                    self.topics.remove(topic);
                }
            }
        }
        Some(waiter)
    }

    /// Those who wait for a topic, first come first.
    pub(crate) fn on(&self, topic: &Topic) -> impl Iterator<Item = (&Key, &Waiter)> {
        let queue = self.topics.get(topic).into_iter().flatten();
        queue.filter_map(|(_, key)| Some((key, self.all.get(key)?)))
    }

    /// All waiters.
    pub(crate) fn keys(&self) -> impl Iterator<Item = Key> {
        self.all.keys().cloned()
    }

    pub(crate) fn contains(&self, key: &Key) -> bool {
        self.all.contains_key(key)
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }
}

/// Services that were woken and have not come yet, with the pools that they were woken for.
///
/// One freed address wakes one waiter. If that one does not take it (it is gone, or was served
/// elsewhere), the next in the queue has to be woken; so the reason is remembered until it comes.
#[derive(Debug, Default)]
pub(crate) struct Woken {
    fresh: BTreeSet<Key>,
    owed: HashMap<Key, BTreeSet<(PoolName, Family)>>,
}

impl Woken {
    pub(crate) fn wake(&mut self, key: &Key, reason: Option<(PoolName, Family)>) {
        self.fresh.insert(key.clone());
        if let Some(reason) = reason {
            self.owed.entry(key.clone()).or_default().insert(reason);
        }
    }

    /// Tells whether the Service is on its way already.
    pub(crate) fn contains(&self, key: &Key) -> bool {
        self.owed.contains_key(key)
    }

    /// Those woken since the last call.
    pub(crate) fn drain(&mut self) -> BTreeSet<Key> {
        std::mem::take(&mut self.fresh)
    }

    /// The Service came (or is gone): for which pools somebody else may have to be woken.
    pub(crate) fn arrived(&mut self, key: &Key) -> BTreeSet<(PoolName, Family)> {
        self.owed.remove(key).unwrap_or_default()
    }
}
