//! What a session sends: KEEPALIVEs, routes and NOTIFICATIONs, and the timers that go with them.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Action, Negotiated, Session, State, Timer, connection::Connection};
use crate::{
    DownReason,
    wire::{Family, Message, Notification, Update},
};

/// RFC 9687 §3.3.
const SEND_HOLD: Duration = Duration::from_secs(8 * 60);
/// How many unsent octets stop the RIB; more changes collapse in the RIB instead of queueing here.
pub(super) const HIGH_WATER: usize = 64 * 1024;

impl Session {
    /// Sends a KEEPALIVE, unless older bytes are still waiting: they say the same.
    pub(super) fn keepalive(&mut self, now: Instant, out: &mut Vec<Action>) {
        let waiting = self
            .connection
            .as_ref()
            .is_some_and(|connection| connection.unwritten > 0);
        if self.state == State::OpenConfirm || !waiting {
            self.send(&Message::Keepalive, out);
            self.watch_writing(now);
        }
        self.restart_keepalive(now);
    }

    fn restart_keepalive(&mut self, now: Instant) {
        let interval = self.negotiated().and_then(|negotiated| negotiated.keepalive_time);
        let jittered = interval.map(|interval| interval.mul_f64(self.dice.between(0.75, 1.0)));
        self.timers
            .set(Timer::Keepalive, jittered.map(|interval| now + interval));
    }

    /// Starts the negotiated hold time anew; without one, only the wait for the first KEEPALIVE is limited.
    pub(super) fn restart_hold(&mut self, now: Instant) {
        match self.connection.as_ref().and_then(Connection::hold_time) {
            Some(hold) => self.timers.set(Timer::Hold, Some(now + hold)),
            None if self.state == State::Established => self.timers.set(Timer::Hold, None),
            None => {}
        }
    }

    /// Sends what the peer does not know yet, unless it is still busy with what was sent before.
    pub(super) fn flush(&mut self, now: Instant, out: &mut Vec<Action>) {
        let unwritten = |session: &Self| session.connection.as_ref().map_or(0, |connection| connection.unwritten);
        let before = unwritten(self);
        if self.state != State::Established || before > HIGH_WATER {
            return;
        }
        self.tell_changes(out);
        self.end_rib(out);
        self.repeat_tables(out);
        if unwritten(self) > before {
            self.watch_writing(now);
            self.restart_keepalive(now);
        }
    }

    pub(super) fn tell_changes(&mut self, out: &mut Vec<Action>) {
        let Some(negotiated) = self
            .connection
            .as_ref()
            .and_then(|connection| connection.negotiated.as_ref())
        else {
            return;
        };
        let flush = self.rib.flush(&negotiated.egress);
        if !flush.oversized.is_empty() {
            out.push(Action::Oversized(flush.oversized));
        }
        for message in flush.messages {
            self.queue(message, out);
        }
    }

    /// Sends End-of-RIB once the peer has the whole table, so that it drops the routes it kept from the session before. Not
    /// before all routes are known: the peer would drop those that are still to come (RFC 4724 §4.1).
    fn end_rib(&mut self, out: &mut Vec<Action>) {
        let Some(connection) = &mut self.connection else { return };
        let helps = |all: &Negotiated| all.graceful_restart.is_some();
        if !self.routes_known || connection.rib_ended || !connection.negotiated.as_deref().is_some_and(helps) {
            return;
        }
        connection.rib_ended = true;
        let codec = connection.codec();
        // Also for a family that has no routes here: GoBGP 3 waits for the end of each one of the session.
        for family in Family::UNICAST {
            if codec.carries(family) {
                self.send(&Message::Update(Update::end_of_rib(family)), out);
            }
        }
    }

    /// Arms the send hold timer while bytes wait and it does not run yet.
    pub(super) fn watch_writing(&mut self, now: Instant) {
        let Some(connection) = &self.connection else { return };
        if connection.unwritten == 0 {
            self.timers.set(Timer::SendHold, None);
        } else if !self.timers.is_set(Timer::SendHold) {
            let patience = connection.hold_time().map_or(SEND_HOLD, |hold| SEND_HOLD.max(hold * 2));
            self.timers.set(Timer::SendHold, Some(now + patience));
        }
    }

    pub(super) fn send(&mut self, message: &Message, out: &mut Vec<Action>) {
        let codec = self.connection.as_ref().map(Connection::codec).unwrap_or_default();
        if let Ok(bytes) = codec.encode(message) {
            self.queue(bytes, out);
        }
    }

    fn queue(&mut self, bytes: Bytes, out: &mut Vec<Action>) {
        if let Some(connection) = &mut self.connection {
            connection.unwritten += bytes.len();
            out.push(Action::Send(bytes));
        }
    }

    /// Sends the NOTIFICATION and ends the connection, because of an error of the peer.
    pub(super) fn fail(&mut self, now: Instant, notification: Notification, text: String, out: &mut Vec<Action>) {
        self.send(&Message::Notification(notification.clone()), out);
        self.end(now, DownReason::Sent { notification, text }, out);
    }
}
