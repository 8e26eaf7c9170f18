//! The NOTIFICATION that ends a session (RFC 4486, RFC 8538 §3.1).

use super::{Action, Session};
use crate::{
    StopReason,
    wire::{Message, Notification},
};

impl Session {
    pub(super) fn say_goodbye(&mut self, reason: StopReason, text: &str, out: &mut Vec<Action>) {
        if self.connection.is_some()
            && let Some(notification) = self.last_word(reason, text)
        {
            self.send(&Message::Notification(notification), out);
        }
        self.dismiss(&reason.notification(), out);
        self.disconnect(out);
        self.retry.reset();
    }

    /// Returns the NOTIFICATION to send, if any: the peer keeps the routes of a connection that closes without one.
    fn last_word(&self, reason: StopReason, text: &str) -> Option<Notification> {
        let negotiated = self.negotiated();
        let agreed = negotiated.and_then(|negotiated| negotiated.graceful_restart.as_ref());
        // Before the peer's OPEN it is unknown whether the peer still keeps routes of the session before.
        let kept = agreed.is_some() || (negotiated.is_none() && self.config.graceful_restart.is_some());
        if reason == StopReason::Restart && kept {
            return None;
        }
        let notification = reason.notification().with_communication(text);
        let hard = reason.is_final() && agreed.is_some_and(|agreed| agreed.notification);
        Some(if hard { notification.hard() } else { notification })
    }
}
