//! Graceful restart as the restarting speaker (RFC 4724 §4.1), with NOTIFICATIONs (RFC 8538).
//!
//! Packets for our addresses are forwarded by the kernel, which goes on while this process is away. A peer that agreed
//! keeps our routes when the connection is lost, for as long as the restart time, and then until End-of-RIB says that the
//! table has been sent anew.
//!
//! Only a session that comes back may use this: one that ends for good sends a Hard Reset, after which the peer
//! forgets the routes at once.

use std::time::Duration;

use crate::{
    PeerConfig,
    wire::{Capability, Family, Open, RestartCapability, RestartFamily},
};

/// Graceful restart: the peer keeps our routes while this speaker restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GracefulRestart {
    /// The longest time that a restart takes, in whole seconds up to 4095.
    pub restart_time: Duration,
}

impl Default for GracefulRestart {
    /// FRR's default.
    fn default() -> Self {
        Self {
            restart_time: Duration::from_secs(120),
        }
    }
}

impl GracefulRestart {
    /// Makes the capability for the families of a peer; `restarted` in the first OPEN after the start only.
    pub(crate) fn capability(self, config: &PeerConfig, restarted: bool) -> Capability {
        let families = Family::UNICAST.into_iter().filter(|family| config.wants(*family));
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

/// What both sides agreed on for a restart of this speaker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// Whether the peer also keeps routes after a NOTIFICATION other than a Hard Reset (RFC 8538).
    pub notification: bool,
}

impl Agreed {
    /// Works out what both OPENs have in common; `None` if the peer does not keep routes.
    pub(crate) fn negotiate(ours: &Open, theirs: &Open) -> Option<Self> {
        let (ours, theirs) = (ours.restart()?, theirs.restart()?);
        Some(Self {
            notification: ours.notification && theirs.notification,
        })
    }
}
