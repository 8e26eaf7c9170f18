//! How often something happened to a session.

use std::sync::atomic::{AtomicU64, Ordering};

/// Live counts of one session, for upstream's metrics.
#[derive(Debug, Default)]
pub struct Counters {
    pub(super) control_input: AtomicU64,
    pub(super) control_output: AtomicU64,
    pub(super) echo_input: AtomicU64,
    pub(super) echo_output: AtomicU64,
    pub(super) ups: AtomicU64,
    pub(super) downs: AtomicU64,
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counters {
    /// Control packets that were taken in.
    #[must_use]
    pub fn control_input(&self) -> u64 {
        self.control_input.load(Ordering::Relaxed)
    }

    /// Control packets that were sent.
    #[must_use]
    pub fn control_output(&self) -> u64 {
        self.control_output.load(Ordering::Relaxed)
    }

    /// Echoes that came back.
    #[must_use]
    pub fn echo_input(&self) -> u64 {
        self.echo_input.load(Ordering::Relaxed)
    }

    /// Echoes that were sent.
    #[must_use]
    pub fn echo_output(&self) -> u64 {
        self.echo_output.load(Ordering::Relaxed)
    }

    /// How often the session came up.
    #[must_use]
    pub fn ups(&self) -> u64 {
        self.ups.load(Ordering::Relaxed)
    }

    /// How often the session went down after it was up.
    #[must_use]
    pub fn downs(&self) -> u64 {
        self.downs.load(Ordering::Relaxed)
    }
}
