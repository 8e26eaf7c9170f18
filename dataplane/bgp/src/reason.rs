//! Why a session is stopped, and why it is down.

use std::{fmt, time::Duration};

use crate::wire::{Notification, notification::Code};

/// Why the owner of a session ends it; decides the Cease subcode (RFC 4486, RFC 9384).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The speaker exits: 6/2.
    Shutdown,
    /// The speaker exits and comes back: no NOTIFICATION to a peer that keeps routes meanwhile (RFC 4724), else 6/2.
    Restart,
    /// The peer was removed from the configuration: 6/3.
    Deconfigured,
    /// Someone asked for a fresh session: 6/4.
    Reset,
    /// The configuration of the peer changed: 6/6.
    ConfigChange,
    /// The addresses, interface or AS of the session change: 6/6. The next session is another one to the router.
    Moved,
    /// Another connection to the same peer won: 6/7.
    Collision,
    /// The path to the peer no longer works: 6/10 (RFC 9384).
    BfdDown,
}

impl StopReason {
    /// Returns the NOTIFICATION to send to the peer.
    pub fn notification(self) -> Notification {
        let subcode = match self {
            Self::Shutdown | Self::Restart => 2,
            Self::Deconfigured => 3,
            Self::Reset => 4,
            Self::ConfigChange | Self::Moved => 6,
            Self::Collision => 7,
            Self::BfdDown => 10,
        };
        Notification::new(Code::Cease, subcode)
    }

    /// Tells whether the peer must drop the routes with the session: it does not come back, or its path does not work
    /// (RFC 5882 §4.3).
    pub(crate) fn is_final(self) -> bool {
        matches!(self, Self::Shutdown | Self::Deconfigured | Self::Moved | Self::BfdDown)
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Restart => f.write_str("the speaker restarts"),
            reason => reason.notification().fmt(f),
        }
    }
}

/// Why a session, or an attempt at one, ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DownReason {
    /// TCP did not come up; the text is the operating system's.
    #[error("connecting failed: {0}")]
    ConnectFailed(String),
    /// TCP neither came up nor failed in time.
    #[error("connecting timed out after {}s", .0.as_secs())]
    ConnectTimeout(Duration),
    /// The peer closed the connection, or it broke.
    #[error("connection closed{}", .0.as_ref().map(|text| format!(": {text}")).unwrap_or_default())]
    Closed(Option<String>),
    /// The peer sent this NOTIFICATION.
    #[error("peer sent NOTIFICATION {0}{hint}", hint = hint(.0))]
    Received(Notification),
    /// This speaker rejected what the peer sent, or missed what it should have sent.
    #[error("sent NOTIFICATION {notification}: {text}")]
    Sent {
        /// The NOTIFICATION that was sent.
        notification: Notification,
        /// What was wrong.
        text: String,
    },
    /// The owner ended the session.
    #[error("stopped: {0}")]
    Stopped(StopReason),
}

/// Returns advice, where the remedy is not obvious.
fn hint(notification: &Notification) -> &'static str {
    match (notification.code, notification.subcode) {
        // An identifier that is a hash of the node's name may be that of another node.
        (Code::Open, 3) => ": give the BGPPeer of this node another routerID",
        _ => "",
    }
}

impl DownReason {
    /// Tells whether the peer refuses sessions for now, so that it would refuse another attempt made at once as well.
    ///
    /// A reset (6/4), a change of its configuration (6/6) and a lost collision (6/7) ask for another session; BFD that is down
    /// (6/10) and the expiry of its hold timer (4/0) mean that it did not hear us.
    pub(crate) fn is_refusal(&self) -> bool {
        let Self::Received(notification) = self else {
            return false;
        };
        let enclosed = notification.enclosed();
        let notification = enclosed.as_ref().unwrap_or(notification);
        match notification.code {
            Code::Cease => !matches!(notification.subcode, 4 | 6 | 7 | 10),
            Code::HoldTimerExpired => false,
            _ => true,
        }
    }
}
