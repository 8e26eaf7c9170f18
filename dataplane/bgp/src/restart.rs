//! Graceful restart as the restarting speaker (RFC 4724 §4.1), with NOTIFICATIONs (RFC 8538).
//!
//! What forwards packets for our addresses is not this process: it goes on while this process is away. A peer that agreed
//! keeps our routes when the connection is lost, for as long as the restart time, and then until End-of-RIB says that the
//! table has been sent anew.
//!
//! Only who comes back may make use of that: whatever ends a session for good sends a Hard Reset, after which the peer
//! forgets the routes at once.

use std::time::Duration;

use crate::{
    PeerConfig,
    wire::{Capability, Family, Open, RestartCapability, RestartFamily},
};

/// Has a peer keep our routes while we restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GracefulRestart {
    /// How long we take to come back at most, in whole seconds up to 4095.
    pub restart_time: Duration,
}

impl Default for GracefulRestart {
    /// As FRR has it.
    fn default() -> Self {
        Self {
            restart_time: Duration::from_secs(120),
        }
    }
}

impl GracefulRestart {
    /// Makes the capability for the families of a peer; `restarted` in the first OPEN after the start only.
    pub(crate) fn capability(self, config: &PeerConfig, restarted: bool) -> Capability {
        let families = [Family::IPV4_UNICAST, Family::IPV6_UNICAST].into_iter();
        let families = families.filter(|family| config.wants(*family));
        let kept = |family| RestartFamily { family, forwards: true };
        let seconds = u16::try_from(self.restart_time.as_secs()).unwrap_or(RestartCapability::MAX_TIME);
        Capability::GracefulRestart(RestartCapability {
            restarted,
            notification: true,
            time: seconds.min(RestartCapability::MAX_TIME),
            families: families.map(kept).collect(),
        })
    }
}

/// What both sides agreed on for the time of a restart of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// The peer keeps them after a NOTIFICATION, too, unless that is a Hard Reset.
    pub notification: bool,
}

impl Agreed {
    /// Works out what both OPENs have in common; `None` if the peer does not keep routes.
    pub(crate) fn negotiate(ours: &Open, theirs: &Open) -> Option<Self> {
        let restart = |open: &Open| open.capabilities.iter().find_map(|own| own.restart().cloned());
        let (ours, theirs) = (restart(ours)?, restart(theirs)?);
        Some(Self {
            notification: ours.notification && theirs.notification,
        })
    }
}
