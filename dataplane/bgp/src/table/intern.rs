//! Equal attributes, kept once: ten thousand Services usually have one set between them.

use std::{collections::HashSet, sync::Arc};

use crate::Attributes;

/// How many sets are kept before the first look for those that nobody uses.
const FIRST_SWEEP: usize = 64;

/// Knows every set of attributes in use.
#[derive(Debug)]
pub(super) struct Interner {
    known: HashSet<Arc<Attributes>>,
    /// The number of sets at which unused ones are dropped: twice what was left the last time, so that a sweep is
    /// paid for by those that were added.
    sweep_at: usize,
}

impl Default for Interner {
    fn default() -> Self {
        Self {
            known: HashSet::new(),
            sweep_at: FIRST_SWEEP,
        }
    }
}

impl Interner {
    /// Returns the one set that equals `attributes`.
    pub(super) fn share(&mut self, attributes: Arc<Attributes>) -> Arc<Attributes> {
        if let Some(known) = self.known.get(&attributes) {
            return Arc::clone(known);
        }
        if self.known.len() >= self.sweep_at {
            self.known.retain(|attributes| Arc::strong_count(attributes) > 1);
            self.sweep_at = FIRST_SWEEP.max(self.known.len() * 2);
        }
        self.known.insert(Arc::clone(&attributes));
        attributes
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }
}
