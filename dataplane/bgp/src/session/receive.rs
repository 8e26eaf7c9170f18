//! Handling of the messages of the peer (RFC 4271 §8.2.2).

use std::time::Instant;

use super::{Action, Session, State, Timer, Withheld, open};
use crate::{
    DownReason,
    wire::{DecodeError, Frame, Message, MessageType, Notification, Open, Update, notification::Code},
};

impl Session {
    pub(super) fn on_received(&mut self, now: Instant, bytes: &[u8], out: &mut Vec<Action>) {
        let Some(connection) = &mut self.connection else { return };
        connection.framer.push(bytes);
        // An error ends the connection, and with it the loop.
        while let Some(connection) = &mut self.connection {
            let codec = connection.codec();
            let (kind, message) = match connection.framer.next(codec.extended_message) {
                Ok(None) => return,
                Ok(Some(frame)) if frame.kind == MessageType::Update => {
                    self.on_update(now, frame, out);
                    continue;
                }
                Ok(Some(frame)) => (Some(frame.kind), codec.decode(&frame)),
                Err(error) => (None, Err(error.into())),
            };
            match message {
                Ok(message) => {
                    let mut answer = Vec::new();
                    self.on_message(now, &message, &mut answer);
                    out.push(Action::Received(message));
                    out.append(&mut answer);
                }
                Err(error) => match kind.filter(|kind| !may_arrive(self.state, *kind)) {
                    // A message that may not come in this state is an error whatever is in it (RFC 4271 §8.2.2).
                    Some(kind) => self.on_unexpected(now, self.state, kind, out),
                    None => self.fail(now, error.notification(), error.to_string(), out),
                },
            }
        }
    }

    /// Restarts the hold time; the routes are not kept.
    fn on_update(&mut self, now: Instant, frame: Frame, out: &mut Vec<Action>) {
        let fault = Update::check(&frame.body).err();
        out.push(Action::Update(frame));
        match fault {
            _ if self.state != State::Established => self.on_unexpected(now, self.state, MessageType::Update, out),
            None => self.restart_hold(now),
            Some(fault) => {
                let error = DecodeError::from(fault);
                self.fail(now, error.notification(), error.to_string(), out);
            }
        }
    }

    fn on_message(&mut self, now: Instant, message: &Message, out: &mut Vec<Action>) {
        match (self.state, message) {
            (_, Message::Notification(notification)) => self.on_notification(now, notification, out),
            (State::OpenSent, Message::Open(open)) => self.on_open(now, open, out),
            (State::OpenConfirm, Message::Keepalive) => self.on_established(now, out),
            (State::Established, Message::Keepalive) => self.restart_hold(now),
            (State::Established, Message::RouteRefresh(refresh)) => self.on_refresh(now, *refresh, out),
            (state, message) => self.on_unexpected(now, state, message.kind(), out),
        }
    }

    fn on_notification(&mut self, now: Instant, notification: &Notification, out: &mut Vec<Action>) {
        // One attempt with less, then with everything again: the peer may have been replaced meanwhile.
        let refusal = match (self.state, &self.withheld) {
            (State::OpenSent | State::OpenConfirm, None) => Withheld::from_refusal(notification),
            _ => None,
        };
        self.end(now, DownReason::Received(notification.clone()), out);
        self.withheld = refusal;
    }

    pub(super) fn on_open(&mut self, now: Instant, open: &Open, out: &mut Vec<Action>) {
        let Some(connection) = &mut self.connection else { return };
        match open::negotiate(&self.config, &connection.link, &connection.open, open) {
            Ok(negotiated) => {
                connection.negotiated = Some(Box::new(negotiated));
                self.enter(now, State::OpenConfirm);
                self.restart_hold(now);
                self.keepalive(now, out);
                self.settle_collision(out);
            }
            Err(error) => self.fail(now, error.notification(), format!("OPEN: {error}"), out),
        }
    }

    fn on_established(&mut self, now: Instant, out: &mut Vec<Action>) {
        let Some(connection) = &mut self.connection else { return };
        connection.established = Some(now);
        if connection.hold_time().is_none() {
            self.timers.set(Timer::Hold, None);
        }
        out.extend(connection.negotiated.clone().map(Action::Up));
        self.enter(now, State::Established);
        self.settle_collision(out);
        self.restart_hold(now);
        self.flush(now, out);
    }

    fn on_unexpected(&mut self, now: Instant, state: State, kind: MessageType, out: &mut Vec<Action>) {
        let subcode = match state {
            State::OpenSent => 1,
            State::OpenConfirm => 2,
            State::Established => 3,
            State::Idle | State::Connect | State::Active => 0,
        };
        let notification = Notification::with_data(Code::StateMachine, subcode, [kind.code()]);
        self.fail(now, notification, format!("unexpected {kind:?} in {state}"), out);
    }
}

fn may_arrive(state: State, kind: MessageType) -> bool {
    match (state, kind) {
        (_, MessageType::Notification) => true,
        (State::OpenSent, kind) => kind == MessageType::Open,
        (State::OpenConfirm, kind) => kind == MessageType::Keepalive,
        (_, kind) => kind != MessageType::Open,
    }
}
