//! Equal values once: ten thousand Services usually have one set of communities between them.

use std::collections::BTreeSet;
use std::sync::Arc;

/// Shares equal values.
#[derive(Debug)]
pub(crate) struct Interner<T>(BTreeSet<Arc<T>>);

impl<T> Default for Interner<T> {
    fn default() -> Self {
        Self(BTreeSet::new())
    }
}

impl<T: Ord> Interner<T> {
    /// Returns the one copy that is equal to `value`.
    pub(crate) fn share(&mut self, value: Arc<T>) -> Arc<T> {
        match self.0.get(&value) {
            Some(known) => Arc::clone(known),
            None => {
                self.0.insert(Arc::clone(&value));
                value
            }
        }
    }

    /// Forgets what nobody uses any more.
    pub(crate) fn sweep(&mut self) {
        self.0.retain(|value| Arc::strong_count(value) > 1);
    }
}
