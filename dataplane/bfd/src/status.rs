//! How a session is doing.

use std::time::{Duration, Instant};

use crate::{Diagnostic, State};

/// How a session is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Where it stands.
    pub state: State,
    /// Since when it stands there.
    pub since: Instant,
    /// Why it changed its state last.
    pub diagnostic: Diagnostic,
    /// Whether it was up at any time.
    pub was_up: bool,
    /// Where the peer's session stands.
    pub remote_state: State,
    /// Why the peer's session changed its state last.
    pub remote_diagnostic: Diagnostic,
    /// Names the session here.
    pub local_discriminator: u32,
    /// Names the session at the peer; zero while not known.
    pub remote_discriminator: u32,
    /// The longest time between two packets that we send.
    pub transmit_interval: Duration,
    /// The silence of the peer after which the session is down; absent before the peer is heard.
    pub detection_time: Option<Duration>,
    /// The time between two echoes that we send; absent if we send none now, or none has come back so far.
    pub echo_interval: Option<Duration>,
    /// Whether a change of parameters is not confirmed yet.
    pub polling: bool,
}

impl Status {
    /// Whether the path worked and no longer does. A peer that reports AdminDown has not failed (RFC 5882 §3.2),
    /// nor has one that was never heard.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.was_up && self.state != State::Up && self.remote_state != State::AdminDown
    }
}
