//! What a running session can be asked.

use std::{sync::Arc, time::Instant};

use ipnet::IpNet;
use metallb_bgp::{Attributes, Negotiated, Posture, Session, State, StopReason};
use tokio::sync::oneshot;

use super::look::Look;

/// What a running session can be asked.
#[derive(Debug)]
pub enum Command {
    /// End the session for this reason and begin another at once; ends a pause between attempts as well.
    Reset(StopReason),
    /// Keep the session up and withdraw everything, until told to resume or the peer is removed.
    Drain,
    /// Announce everything again after [`Command::Drain`].
    Resume,
    /// Describe the session; no answer comes if there is none of that name.
    Inspect(oneshot::Sender<Inspection>),
    /// Look at it; see [`BgpHandle::look`](super::BgpHandle::look).
    Look(Look),
    /// Fail as a fault in our code would.
    #[cfg(test)]
    Panic,
}

/// Describes a session at one moment.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// Where the session stands.
    pub state: State,
    /// Since when it stands there.
    pub since: Option<Instant>,
    /// What both sides agreed on, if they did.
    pub negotiated: Option<Negotiated>,
    /// Tells whether everything is withdrawn on purpose.
    pub drained: bool,
    /// Lists what the peer knows (Adj-RIB-Out).
    pub routes: Vec<(IpNet, Arc<Attributes>)>,
}

impl Inspection {
    pub(super) fn of(session: &Session) -> Self {
        let known = session.rib().routes();
        Self {
            state: session.state(),
            since: session.since(),
            negotiated: session.negotiated().cloned(),
            drained: session.rib().posture() == Posture::Withdraw,
            routes: known
                .map(|(prefix, attributes)| (prefix, Arc::clone(attributes)))
                .collect(),
        }
    }
}
