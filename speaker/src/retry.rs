//! Work that is attempted again until it succeeds, ever more rarely.

use std::time::Duration;

use metallb_runtime::tasks::until;
use tokio::time::Instant;

/// What comes after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing, until something changes.
    Wait,
    /// Another attempt.
    Retry,
}

/// When the next attempt is due.
#[derive(Debug)]
pub(crate) struct Retries {
    first: Duration,
    longest: Duration,
    pause: Duration,
    at: Option<Instant>,
}

impl Retries {
    /// No attempt is due. The pause before the first retry is `first`; each further one is twice as long, up to `longest`.
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            pause: first,
            at: None,
        }
    }

    /// Waits until an attempt is due, for ever if none is. Cancel-safe.
    pub(crate) async fn due(&self) {
        until(self.at.map(Instant::into_std)).await;
    }

    /// Tells whether the last attempt failed, too.
    pub(crate) fn has_failed(&self) -> bool {
        self.pause > self.first
    }

    /// Takes in the end of an attempt.
    pub(crate) fn attempted(&mut self, next: Next) {
        (self.at, self.pause) = match next {
            Next::Wait => (None, self.first),
            Next::Retry => (Some(Instant::now() + self.pause), (self.pause * 2).min(self.longest)),
        };
    }
}
