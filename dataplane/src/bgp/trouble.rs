//! The last problem of a session.

use std::time::SystemTime;

use metallb_bgp::{DownReason, StopReason, wire::Notification};

/// What went wrong with a session last. It stays when the session comes up again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Which side sent the NOTIFICATION, if there was one.
    pub direction: Option<Direction>,
    /// Error code and subcode of that NOTIFICATION (RFC 4271 §4.5).
    pub code: Option<(u8, u8)>,
    /// What happened, with the text that an administrator of the peer has sent (RFC 9003).
    pub text: String,
    /// Whether a session was lost, and not just an attempt at one.
    pub lost: bool,
    /// When it happened for the first time in a row.
    pub since: SystemTime,
    /// When it happened last.
    pub at: SystemTime,
    /// How often it happened in a row.
    pub count: u64,
}

/// Which side sent a NOTIFICATION.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The peer.
    Received,
    /// This node.
    Sent,
}

impl Trouble {
    /// Describes why a session, or an attempt at one, ended; `None` if this side ended it on purpose.
    pub(super) fn of(reason: &DownReason, lost: bool, now: SystemTime) -> Option<Self> {
        let told = |direction, notification: &Notification| {
            let code = (notification.code.number(), notification.subcode);
            (Some(direction), Some(code))
        };
        let (direction, code) = match reason {
            DownReason::Received(notification) => told(Direction::Received, notification),
            DownReason::Sent { notification, .. } => told(Direction::Sent, notification),
            DownReason::Stopped(reason @ StopReason::BfdDown) => told(Direction::Sent, &reason.notification()),
            DownReason::Stopped(_) => return None,
            _ => (None, None),
        };
        Some(Self {
            direction,
            code,
            text: reason.to_string(),
            lost,
            since: now,
            at: now,
            count: 1,
        })
    }

    /// Counts on from `before` if the same happened again.
    pub(super) fn after(mut self, before: Option<&Self>) -> Self {
        if let Some(before) = before.filter(|before| before.text == self.text && !self.lost) {
            (self.since, self.count, self.lost) = (before.since, before.count + 1, before.lost);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use metallb_bgp::wire::notification::Code;

    use super::*;

    fn refusal() -> DownReason {
        DownReason::Received(Notification::with_data(Code::Cease, 2, *b"\x05night"))
    }

    // BGP-109
    #[test]
    fn a_notification_tells_who_sent_it_its_code_and_its_text() {
        let now = SystemTime::UNIX_EPOCH;
        let told = Trouble::of(&refusal(), true, now).unwrap();
        assert_eq!((told.direction, told.code), (Some(Direction::Received), Some((6, 2))));
        assert_eq!(
            told.text,
            "peer sent NOTIFICATION 6/2 (administrative shutdown) \"night\""
        );
        let bfd = Trouble::of(&DownReason::Stopped(StopReason::BfdDown), true, now).unwrap();
        assert_eq!((bfd.direction, bfd.code), (Some(Direction::Sent), Some((6, 10))));
        let silent = Trouble::of(&DownReason::Closed(None), true, now).unwrap();
        assert_eq!((silent.direction, silent.code), (None, None));
        assert_eq!(
            Trouble::of(&DownReason::Stopped(StopReason::Deconfigured), true, now),
            None
        );
    }

    // BGP-109
    #[test]
    fn retries_that_end_alike_are_counted_since_the_first() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let lost = Trouble::of(&refusal(), true, at(1)).unwrap();
        let again = Trouble::of(&refusal(), false, at(5)).unwrap().after(Some(&lost));
        assert_eq!(
            (again.since, again.at, again.count, again.lost),
            (at(1), at(5), 2, true)
        );
        let other = Trouble::of(&DownReason::Closed(None), false, at(9)).unwrap();
        let other = other.after(Some(&again));
        assert_eq!((other.since, other.count, other.lost), (at(9), 1, false));
        let relost = Trouble::of(&refusal(), true, at(20)).unwrap().after(Some(&again));
        assert_eq!((relost.since, relost.count), (at(20), 1), "a session was up in between");
    }
}
