//! How a session, or all of them, end.

use std::sync::{Arc, OnceLock};

use metallb_bgp::StopReason;

/// How a session ends: the reason and text of its NOTIFICATION.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Farewell {
    /// Why it ends; of a speaker that exits, [`StopReason::Restart`] if it comes back, else [`StopReason::Shutdown`].
    pub reason: StopReason,
    /// A text for the administrators of the router (RFC 9003); none is sent if it is empty.
    pub text: String,
}

impl Default for Farewell {
    fn default() -> Self {
        StopReason::Shutdown.into()
    }
}

impl From<StopReason> for Farewell {
    /// Without a text.
    fn from(reason: StopReason) -> Self {
        let text = String::new();
        Self { reason, text }
    }
}

/// The farewell of the speaker to all peers, once it is decided on; clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Decided(Arc<OnceLock<Farewell>>);

impl Decided {
    /// Sets the farewell; the first call counts.
    pub(super) fn decide(&self, farewell: Farewell) {
        let _ = self.0.set(farewell);
    }

    pub(super) fn get(&self) -> Farewell {
        self.0.get().cloned().unwrap_or_default()
    }
}
