//! Watches for signs of life from the caller, which decides who answers.

use std::time::{Duration, Instant};

/// The silence after which other speakers take over from this one.
const PATIENCE: Duration = Duration::from_secs(2);

/// The caller's signs of life, which are expected once there was one.
#[derive(Debug, Default)]
pub(crate) struct Attention {
    heard: Option<Instant>,
    /// Its absence was noticed.
    noticed: bool,
}

impl Attention {
    pub(crate) fn hear(&mut self, now: Instant) {
        self.heard = Some(now);
        self.noticed = false;
    }

    /// Says whether the caller is missing.
    pub(crate) fn is_missing(&self, now: Instant) -> bool {
        self.heard.is_some_and(|heard| heard + PATIENCE <= now)
    }

    /// Tells whether the caller is missing; true once for each absence.
    pub(crate) fn notice(&mut self, now: Instant) -> bool {
        self.is_missing(now) && !std::mem::replace(&mut self.noticed, true)
    }

    /// When [`Self::notice`] will say so.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let heard = self.heard.filter(|_| !self.noticed);
        heard.map(|heard| heard + PATIENCE)
    }
}
