//! How the speaker takes its leave of all peers.

use std::sync::{Arc, OnceLock};

use metallb_bgp::StopReason;

/// What all peers are told when the speaker ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Farewell {
    /// Whether the speaker comes back ([`StopReason::Restart`]) or leaves for good ([`StopReason::Shutdown`]).
    pub reason: StopReason,
    /// For the people who look after the router (RFC 9003); empty says nothing.
    pub text: String,
}

impl Default for Farewell {
    fn default() -> Self {
        Self {
            reason: StopReason::Shutdown,
            text: String::new(),
        }
    }
}

/// The farewell, once it is decided on; clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Decided(Arc<OnceLock<Arc<Farewell>>>);

impl Decided {
    /// The first decision counts.
    pub(super) fn decide(&self, farewell: Farewell) {
        let _ = self.0.set(Arc::new(farewell));
    }

    pub(super) fn get(&self) -> Arc<Farewell> {
        self.0.get().cloned().unwrap_or_default()
    }
}
