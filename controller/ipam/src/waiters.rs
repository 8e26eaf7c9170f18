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
    turn: u64,
    topics: Vec<Topic>,
}

/// The queue of waiters.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    all: HashMap<Key, Waiter>,
    topics: HashMap<Topic, BTreeMap<u64, Key>>,
    /// Who came first is served first: a turn is kept until the Service has what it asks for.
    turns: HashMap<Key, u64>,
    last_turn: u64,
    /// Services that are being looked at; one that does not wait again loses its turn.
    paused: Vec<Key>,
}

impl Waiters {
    /// Enters a Service, or renews what it waits for without losing its turn.
    pub(crate) fn wait(&mut self, key: &Key, request: Request, lack: Lack, topics: Vec<Topic>) {
        self.remove(key);
        let last_turn = &mut self.last_turn;
        let turn = *self.turns.entry(key.clone()).or_insert_with(|| {
            *last_turn += 1;
            *last_turn
        });
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

    /// Takes a Service out while it is looked at. It has its turn still if it [waits](Self::wait) again, and otherwise
    /// until [`Self::close`].
    pub(crate) fn pause(&mut self, key: &Key) {
        self.remove(key);
        self.paused.push(key.clone());
    }

    /// Tells whether the Service has been looked at since the last [`Self::close`].
    pub(crate) fn was_looked_at(&self, key: &Key) -> bool {
        self.paused.contains(key)
    }

    /// The looks are over.
    pub(crate) fn close(&mut self) {
        for key in std::mem::take(&mut self.paused) {
            if !self.all.contains_key(&key) {
                self.turns.remove(&key);
            }
        }
    }

    fn remove(&mut self, key: &Key) {
        let Some(waiter) = self.all.remove(key) else {
            return;
        };
        for topic in &waiter.topics {
            if let Some(queue) = self.topics.get_mut(topic) {
                queue.remove(&waiter.turn);
                if queue.is_empty() {
                    self.topics.remove(topic);
                }
            }
        }
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Waiter> {
        self.all.get(key)
    }

    /// All waiters, first come first.
    pub(crate) fn in_turn(&self) -> Vec<Key> {
        let mut all: Vec<_> = self.all.iter().map(|(key, waiter)| (waiter.turn, key)).collect();
        all.sort_unstable();
        all.into_iter().map(|(_, key)| key.clone()).collect()
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

/// Services that were woken and have not come yet.
///
/// What one of them was woken for is kept for it until it comes, so that nobody comes between. If it does not take it (it
/// is gone, or was served elsewhere), it is offered to the next; so the reasons are remembered, too.
#[derive(Debug, Default)]
pub(crate) struct Woken {
    fresh: BTreeSet<Key>,
    promised: HashMap<Key, BTreeSet<Topic>>,
}

impl Woken {
    /// Has the Service looked at, without a promise.
    pub(crate) fn wake(&mut self, key: &Key) {
        self.fresh.insert(key.clone());
    }

    /// Has the Service looked at, for which something is kept.
    pub(crate) fn promise(&mut self, key: &Key, reason: Option<Topic>) {
        self.wake(key);
        self.promised.entry(key.clone()).or_default().extend(reason);
    }

    /// Tells whether something is kept for the Service.
    pub(crate) fn is_promised(&self, key: &Key) -> bool {
        self.promised.contains_key(key)
    }

    /// Those woken since the last call.
    pub(crate) fn drain(&mut self) -> BTreeSet<Key> {
        std::mem::take(&mut self.fresh)
    }

    /// The Service came (or is gone): what it was promised for; none if it was not.
    pub(crate) fn arrived(&mut self, key: &Key) -> Option<BTreeSet<Topic>> {
        self.promised.remove(key)
    }

    /// All those who were promised something.
    pub(crate) fn promised(&self) -> Vec<Key> {
        self.promised.keys().cloned().collect()
    }
}
