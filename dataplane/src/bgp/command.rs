//! Requests to a running session.

use metallb_bgp::StopReason;

use super::look::Look;

/// A request to a running session.
#[derive(Debug)]
pub enum Command {
    /// End the session for this reason and begin another at once; ends a pause between attempts as well.
    Reset(StopReason),
    /// Look at it; see [`BgpHandle::look`](super::BgpHandle::look).
    Look(Look),
    /// Fail as a fault in our code would.
    #[cfg(test)]
    Panic,
}
