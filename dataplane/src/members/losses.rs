//! When members were lost, and when each was heard last: what a failover is measured from.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

/// How a member was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// The fast path found it silent, or it says itself that it cannot announce.
    Suspected,
    /// memberlist declared it dead.
    Died,
    /// It said goodbye.
    Left,
}

/// A member that others stand in for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// How it was lost; by the fast path first, if that was so.
    pub how: How,
    /// Its last sign of life, where this node has looked for one.
    pub heard: Option<Instant>,
    /// When this node came to know.
    pub noticed: Instant,
}

/// The members that are lost; clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Losses(Arc<Mutex<BTreeMap<String, Loss>>>);

impl Losses {
    pub(super) fn of(&self, node: &str) -> Option<Loss> {
        self.all().get(node).copied()
    }

    /// A member is lost. Whoever took over from it then has done so by now.
    pub(super) fn add(&self, node: &str, loss: Loss) {
        self.all().entry(node.to_owned()).or_insert(loss);
    }

    /// A member is back.
    pub(super) fn remove(&self, node: &str) {
        self.all().remove(node);
    }

    /// These are suspected now, and no others.
    pub(super) fn suspected(&self, nodes: &BTreeSet<String>, now: Instant, heard: impl Fn(&str) -> Option<Instant>) {
        let mut all = self.all();
        all.retain(|node, loss| loss.how != How::Suspected || nodes.contains(node));
        for node in nodes {
            all.entry(node.clone()).or_insert_with(|| Loss {
                how: How::Suspected,
                heard: heard(node),
                noticed: now,
            });
        }
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Loss>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
