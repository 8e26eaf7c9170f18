//! Connections that the peer dials, and which of two survives (RFC 4271 §6.8, RFC 6286 §2.3).
//!
//! ```text
//!  ours:   Connect ──► OpenSent ──► OpenConfirm ──► Established
//!                         │              │               │ the challenger gets 6/7
//!  theirs: challenger, OPEN sent ──OPEN──► compare identifiers: the connection that the higher one has dialled stays
//! ```
//!
//! The challenger is promoted to be the session's connection if it wins, or if ours ends before that is decided.

use std::time::Instant;

use super::{Action, Connection, ConnectionId, LinkAddresses, Negotiated, OPEN_HOLD, Session, State, StopReason, open};
use crate::wire::{Message, Notification, Open, notification::Code};

/// How many octets may follow the OPEN of a connection that is not decided on: of a peer that behaves, one KEEPALIVE.
const MOST_WAITING: usize = 4096;

/// A connection that the peer has dialled while there is one already.
#[derive(Debug)]
pub(super) struct Challenger {
    pub(super) id: ConnectionId,
    /// When it is dropped if nothing is decided.
    pub(super) until: Instant,
    pub(super) connection: Connection,
    /// The peer's OPEN, if ours is still being dialled and would win.
    theirs: Option<Open>,
}

impl Session {
    /// Names a connection that the peer has dialled; `None` if the session takes none now: answer with
    /// [`StopReason::Collision`] then. Any connection named before is to be closed.
    pub fn accept(&mut self) -> Option<ConnectionId> {
        if !self.config.dialing.accepts() || !self.is_running() || self.state == State::Established {
            return None;
        }
        self.challenger = None;
        if self.current.is_none() {
            return Some(self.name_connection());
        }
        self.attempts += 1;
        let id = ConnectionId(self.attempts);
        self.expected = Some(id);
        Some(id)
    }

    pub(super) fn is_challenger(&self, id: ConnectionId) -> bool {
        self.challenger.as_ref().is_some_and(|challenger| challenger.id == id)
    }

    /// Sends our OPEN on the second connection as well.
    pub(super) fn on_challenged(&mut self, now: Instant, id: ConnectionId, link: LinkAddresses, out: &mut Vec<Action>) {
        self.expected = None;
        if self.state == State::Established || !self.is_running() {
            return out.push(Action::Close(id));
        }
        // Both connections carry the first OPEN after the restart.
        let restart = self.connection.as_ref().and_then(|other| other.open.restart());
        let told = restart.is_some_and(|restart| restart.restarted);
        let restarted = std::mem::take(&mut self.restarted) || told;
        let open = open::offer(&self.config, &link, self.withheld.as_ref(), restarted);
        self.challenger = Some(Challenger {
            id,
            until: now + OPEN_HOLD,
            connection: Connection::new(link, open.clone()),
            theirs: None,
        });
        // Ours may have ended while the peer's was on its way.
        if self.current.is_none() {
            self.promote(now, out);
        }
        match self.is_challenger(id) {
            true => self.send_to_challenger(&Message::Open(open), out),
            false => self.send(&Message::Open(open), out),
        }
    }

    fn send_to_challenger(&mut self, message: &Message, out: &mut Vec<Action>) {
        let Some(challenger) = &mut self.challenger else { return };
        if let Ok(bytes) = challenger.connection.codec().encode(message) {
            challenger.connection.unwritten += bytes.len();
            out.push(Action::SendOn(challenger.id, bytes));
        }
    }

    pub(super) fn on_challenger_written(&mut self, octets: usize) {
        if let Some(challenger) = &mut self.challenger {
            let connection = &mut challenger.connection;
            connection.unwritten = connection.unwritten.saturating_sub(octets);
        }
    }

    pub(super) fn on_challenger_received(&mut self, now: Instant, bytes: &[u8], out: &mut Vec<Action>) {
        let Some(challenger) = &mut self.challenger else { return };
        challenger.connection.framer.push(bytes);
        if challenger.theirs.is_some() {
            // What follows the OPEN waits for the decision.
            if challenger.connection.framer.waiting() > MOST_WAITING {
                self.dismiss(&StopReason::Collision.notification(), out);
            }
            return;
        }
        let message = match challenger.connection.framer.next(false) {
            Ok(None) => return,
            Ok(Some(frame)) => challenger.connection.codec().decode(&frame),
            Err(error) => Err(error.into()),
        };
        match message {
            Ok(Message::Open(theirs)) => self.on_challenger_open(now, theirs, out),
            Ok(Message::Notification(_)) => self.drop_challenger(out),
            Ok(other) => self.dismiss(
                &Notification::with_data(Code::StateMachine, 1, [other.kind().code()]),
                out,
            ),
            Err(error) => self.dismiss(&error.notification(), out),
        }
    }

    fn on_challenger_open(&mut self, now: Instant, theirs: Open, out: &mut Vec<Action>) {
        let Some(challenger) = &mut self.challenger else { return };
        let Connection { link, open, .. } = &challenger.connection;
        let negotiated = match open::negotiate(&self.config, link, open, &theirs) {
            Ok(negotiated) => negotiated,
            Err(error) => return self.dismiss(&error.notification(), out),
        };
        // If the peer dialled both, the later one counts: the peer has most likely lost the other.
        let dialled = self.dialled || self.state == State::Connect;
        match (dialled && ours_wins(&negotiated), self.connection.is_some()) {
            (true, true) => self.dismiss(&StopReason::Collision.notification(), out),
            // Ours is still being dialled; if that fails, theirs takes its place.
            (true, false) => challenger.theirs = Some(theirs),
            (false, _) => {
                challenger.theirs = Some(theirs);
                if self.connection.is_some() {
                    self.send(&Message::Notification(StopReason::Collision.notification()), out);
                }
                self.disconnect(out);
                self.promote(now, out);
            }
        }
    }

    /// Decides now that the first connection has the peer's OPEN: if it is to stay, the second one is ended.
    pub(super) fn settle_collision(&mut self, out: &mut Vec<Action>) {
        let ours = self.connection.as_ref().and_then(|ours| ours.negotiated.as_deref());
        let established = self.state == State::Established;
        let stays = ours.is_some_and(|ours| established || (self.dialled && ours_wins(ours)));
        if self.challenger.is_some() && stays {
            self.dismiss(&StopReason::Collision.notification(), out);
        }
    }

    /// Makes the challenger the session's connection; tells whether there was one.
    pub(super) fn promote(&mut self, now: Instant, out: &mut Vec<Action>) -> bool {
        let Some(challenger) = self.challenger.take() else {
            return false;
        };
        self.timers.clear();
        self.timers.set(super::Timer::Hold, Some(challenger.until));
        self.current = Some(challenger.id);
        self.dialled = false;
        self.connection = Some(challenger.connection);
        out.push(Action::Promote(challenger.id));
        self.enter(now, State::OpenSent);
        self.watch_writing(now);
        if let Some(theirs) = challenger.theirs {
            self.on_open(now, &theirs, out);
            // What came after it.
            self.on_received(now, &[], out);
        }
        true
    }

    /// Sends the NOTIFICATION on the second connection and ends it.
    pub(super) fn dismiss(&mut self, notification: &Notification, out: &mut Vec<Action>) {
        self.send_to_challenger(&Message::Notification(notification.clone()), out);
        self.drop_challenger(out);
    }

    pub(super) fn drop_challenger(&mut self, out: &mut Vec<Action>) {
        self.expected = None;
        out.extend(self.challenger.take().map(|challenger| Action::Close(challenger.id)));
    }
}

/// Tells whether the connection that we have dialled is to stay: that of the higher identifier, or of the higher AS.
fn ours_wins(negotiated: &Negotiated) -> bool {
    let ours = (negotiated.router_id, negotiated.egress.asn);
    ours > (negotiated.remote_router_id, negotiated.remote_asn)
}
