//! The state machine of one session (RFC 4271 §8), without sockets and without a clock.
//!
//! ```text
//!              Start / Retry                 Connected                OPEN accepted
//!   ┌──────┐ ───────────────► ┌─────────┐ ──────────────► ┌──────────┐ ─────────────► ┌─────────────┐
//!   │ Idle │                  │ Connect │    send OPEN    │ OpenSent │ send KEEPALIVE │ OpenConfirm │
//!   └──────┘ ◄─ any error ──  └─────────┘                 └──────────┘                └─────────────┘
//!       ▲                      │      ▲                                                  │ KEEPALIVE
//!       │ any error     failed ▼      │ Retry                                            ▼
//!       │                     ┌────────┐                                         ┌─────────────┐
//!       └──────────────────── │ Active │ ◄── Start, if passive                   │ Established │
//!                             └────────┘                                         └─────────────┘
//! ```
//!
//! A session has at most one connection. Collision detection (RFC 4271 §6.8) compares two of them and belongs one level
//! above: two sessions, of which the loser gets [`StopReason::Collision`].

mod next_hop;
mod open;
mod state;
#[cfg(test)]
mod tests;
mod timers;

use std::time::{Duration, Instant};

use bytes::Bytes;

pub use self::{
    next_hop::{NextHops, Reach},
    open::{Negotiated, hashed_router_id},
    state::{Action, Event, LinkAddresses, State},
};
use self::{
    open::Withheld,
    timers::{Dice, Retry, Timer, Timers},
};
use crate::{
    DownReason, PeerConfig, RibOut, Route, StopReason,
    wire::{Codec, Framer, Message, MessageType, Notification, Open, RouteRefresh, notification::Code},
};

/// Is how long TCP may take; upstream's value.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Is the hold time while the peer's is not known (RFC 4271 §8.2.2).
const OPEN_HOLD: Duration = Duration::from_secs(240);
/// RFC 9687 §3.3.
const SEND_HOLD: Duration = Duration::from_secs(8 * 60);
/// Is how long a session without hold time must stay up before its loss counts as the first.
const STABLE: Duration = Duration::from_secs(30);
/// Is how many unsent octets stop the RIB; more changes collapse in the RIB instead of queueing here.
const HIGH_WATER: usize = 64 * 1024;

/// Is the session with one peer.
#[derive(Debug)]
pub struct Session {
    config: PeerConfig,
    state: State,
    timers: Timers,
    retry: Retry,
    dice: Dice,
    connection: Option<Connection>,
    rib: RibOut,
    /// Is set for one attempt after the peer refused a capability.
    withheld: Option<Withheld>,
}

/// Is what dies with the TCP connection.
#[derive(Debug)]
struct Connection {
    link: LinkAddresses,
    framer: Framer,
    open: Open,
    /// Counts octets that the kernel has not taken yet.
    unwritten: usize,
    negotiated: Option<Box<Negotiated>>,
    established: Option<Instant>,
}

impl Connection {
    /// Returns the codec in force: extensions of the message size start with the first message after the OPENs.
    fn codec(&self) -> Codec {
        self.negotiated
            .as_ref()
            .map(|negotiated| negotiated.egress.codec)
            .unwrap_or_default()
    }

    fn hold_time(&self) -> Option<Duration> {
        self.negotiated.as_ref().and_then(|negotiated| negotiated.hold_time)
    }

    fn stable_since(&self, now: Instant) -> bool {
        let needed = self.hold_time().unwrap_or(STABLE);
        self.established
            .is_some_and(|since| now.saturating_duration_since(since) >= needed)
    }
}

impl Session {
    /// Makes a session that waits for [`Event::Start`]; `seed` decides its jitter.
    pub fn new(config: PeerConfig, seed: u64) -> Self {
        Self {
            retry: Retry::new(config.connect_time),
            config,
            state: State::Idle,
            timers: Timers::default(),
            dice: Dice::new(seed),
            connection: None,
            rib: RibOut::default(),
            withheld: None,
        }
    }

    /// Returns the configuration given at the start.
    pub fn config(&self) -> &PeerConfig {
        &self.config
    }

    /// Returns where the session stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// Returns what was agreed on, from OpenConfirm on.
    pub fn negotiated(&self) -> Option<&Negotiated> {
        self.connection.as_ref()?.negotiated.as_deref()
    }

    /// Returns the routes of this session, for counting.
    pub fn rib(&self) -> &RibOut {
        &self.rib
    }

    /// Returns when [`Event::Tick`] is due, if at all.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Feeds one event; returns what the shell must do, in order.
    pub fn handle(&mut self, now: Instant, event: Event<'_>) -> Vec<Action> {
        let mut out = Vec::new();
        match event {
            Event::Start => self.on_start(now, &mut out),
            Event::Stop(reason) => self.on_stop(reason, &mut out),
            Event::Connected(link) => self.on_connected(now, link, &mut out),
            Event::ConnectFailed(text) if self.state == State::Connect => {
                self.end(now, DownReason::ConnectFailed(text), &mut out);
            }
            Event::ConnectFailed(_) => {}
            Event::Received(bytes) => self.on_received(now, bytes, &mut out),
            Event::Written(octets) => self.on_written(now, octets, &mut out),
            Event::Closed(text) if self.connection.is_some() => self.end(now, DownReason::Closed(text), &mut out),
            Event::Closed(_) => {}
            Event::RoutesChanged(routes) => self.on_routes_changed(now, routes, &mut out),
            Event::Tick => self.on_tick(now, &mut out),
        }
        out
    }

    fn on_start(&mut self, now: Instant, out: &mut Vec<Action>) {
        if self.state != State::Idle || self.timers.is_set(Timer::Retry) {
            return;
        }
        if self.config.passive {
            self.state = State::Active;
        } else {
            self.connect(now, out);
        }
    }

    fn on_stop(&mut self, reason: StopReason, out: &mut Vec<Action>) {
        if self.connection.is_some() {
            self.send(&Message::Notification(reason.notification()), out);
        }
        let was_running = self.state != State::Idle || self.timers.is_set(Timer::Retry);
        self.disconnect(out);
        self.state = State::Idle;
        self.retry.reset();
        if was_running {
            out.push(Action::Down(DownReason::Stopped(reason)));
        }
    }

    fn on_connected(&mut self, now: Instant, link: LinkAddresses, out: &mut Vec<Action>) {
        if !matches!(self.state, State::Connect | State::Active) {
            return out.push(Action::Close);
        }
        let open = open::offer(&self.config, &link, self.withheld.as_ref());
        self.timers.clear();
        self.timers.set(Timer::Hold, Some(now + OPEN_HOLD));
        self.connection = Some(Connection {
            link,
            framer: Framer::default(),
            open: open.clone(),
            unwritten: 0,
            negotiated: None,
            established: None,
        });
        self.state = State::OpenSent;
        self.send(&Message::Open(open), out);
        self.watch_writing(now);
    }

    fn on_received(&mut self, now: Instant, bytes: &[u8], out: &mut Vec<Action>) {
        let Some(connection) = &mut self.connection else { return };
        connection.framer.push(bytes);
        // A fault ends the connection, and with it the loop.
        while let Some(connection) = &mut self.connection {
            let codec = connection.codec();
            let message = match connection.framer.next(codec.extended_message) {
                Ok(None) => return,
                Ok(Some(frame)) => codec.decode(&frame),
                Err(error) => Err(error.into()),
            };
            match message {
                Ok(message) => {
                    let mut answer = Vec::new();
                    self.on_message(now, &message, &mut answer);
                    out.push(Action::Received(message));
                    out.append(&mut answer);
                }
                Err(error) => self.fail(now, error.notification(), error.to_string(), out),
            }
        }
    }

    fn on_message(&mut self, now: Instant, message: &Message, out: &mut Vec<Action>) {
        match (self.state, message) {
            (_, Message::Notification(notification)) => self.on_notification(now, notification, out),
            (State::OpenSent, Message::Open(open)) => self.on_open(now, open, out),
            (State::OpenConfirm, Message::Keepalive) => self.on_established(now, out),
            (State::Established, Message::Keepalive | Message::Update(_)) => self.restart_hold(now),
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

    fn on_open(&mut self, now: Instant, open: &Open, out: &mut Vec<Action>) {
        let Some(connection) = &mut self.connection else { return };
        match open::negotiate(&self.config, &connection.link, &connection.open, open) {
            Ok(negotiated) => {
                connection.negotiated = Some(Box::new(negotiated));
                self.state = State::OpenConfirm;
                self.restart_hold(now);
                self.keepalive(now, out);
            }
            Err(error) => self.fail(now, error.notification(), format!("OPEN: {error}"), out),
        }
    }

    fn on_established(&mut self, now: Instant, out: &mut Vec<Action>) {
        let Some(connection) = &mut self.connection else { return };
        connection.established = Some(now);
        self.state = State::Established;
        if connection.hold_time().is_none() {
            self.timers.set(Timer::Hold, None);
        }
        out.extend(connection.negotiated.clone().map(Action::Up));
        self.restart_hold(now);
        self.flush(now, out);
    }

    fn on_refresh(&mut self, now: Instant, refresh: RouteRefresh, out: &mut Vec<Action>) {
        if self.config.offer.route_refresh && refresh.subtype == 0 {
            self.rib.refresh(refresh.family);
            self.flush(now, out);
        }
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

    fn on_written(&mut self, now: Instant, octets: usize, out: &mut Vec<Action>) {
        let Some(connection) = &mut self.connection else { return };
        connection.unwritten = connection.unwritten.saturating_sub(octets);
        // Progress restarts the send hold timer.
        self.timers.set(Timer::SendHold, None);
        self.flush(now, out);
        self.watch_writing(now);
    }

    fn on_routes_changed(&mut self, now: Instant, routes: &[Route], out: &mut Vec<Action>) {
        self.rib.set_desired(routes);
        self.flush(now, out);
    }

    fn on_tick(&mut self, now: Instant, out: &mut Vec<Action>) {
        while let Some(timer) = self.timers.expired(now) {
            match timer {
                Timer::Retry => self.connect(now, out),
                Timer::Connect => self.end(now, DownReason::ConnectTimeout(CONNECT_TIMEOUT), out),
                Timer::Hold => {
                    let text = "nothing heard for the hold time".to_owned();
                    self.fail(now, Notification::new(Code::HoldTimerExpired, 0), text, out);
                }
                Timer::Keepalive => self.keepalive(now, out),
                Timer::SendHold => {
                    let text = "the peer does not read".to_owned();
                    self.fail(now, Notification::new(Code::SendHoldTimerExpired, 0), text, out);
                }
            }
        }
    }

    fn connect(&mut self, now: Instant, out: &mut Vec<Action>) {
        self.state = State::Connect;
        self.timers.set(Timer::Connect, Some(now + CONNECT_TIMEOUT));
        out.push(Action::Connect);
    }

    /// Sends a KEEPALIVE, unless older bytes are still waiting: they say the same.
    fn keepalive(&mut self, now: Instant, out: &mut Vec<Action>) {
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
    fn restart_hold(&mut self, now: Instant) {
        match self.connection.as_ref().and_then(Connection::hold_time) {
            Some(hold) => self.timers.set(Timer::Hold, Some(now + hold)),
            None if self.state == State::Established => self.timers.set(Timer::Hold, None),
            None => {}
        }
    }

    /// Tells the peer what it does not know yet, unless it is busy with what it was told before.
    fn flush(&mut self, now: Instant, out: &mut Vec<Action>) {
        let Some(connection) = &mut self.connection else { return };
        let Some(negotiated) = &connection.negotiated else {
            return;
        };
        if self.state != State::Established || connection.unwritten > HIGH_WATER {
            return;
        }
        let flush = self.rib.flush(&negotiated.egress);
        if !flush.unsendable.is_empty() {
            out.push(Action::Unsendable(flush.unsendable));
        }
        if flush.messages.is_empty() {
            return;
        }
        for message in flush.messages {
            self.queue(message, out);
        }
        self.watch_writing(now);
        self.restart_keepalive(now);
    }

    /// Arms the send hold timer while bytes wait and it does not run yet.
    fn watch_writing(&mut self, now: Instant) {
        let Some(connection) = &self.connection else { return };
        if connection.unwritten == 0 {
            self.timers.set(Timer::SendHold, None);
        } else if !self.timers.is_set(Timer::SendHold) {
            let patience = connection.hold_time().map_or(SEND_HOLD, |hold| SEND_HOLD.max(hold * 2));
            self.timers.set(Timer::SendHold, Some(now + patience));
        }
    }

    fn send(&mut self, message: &Message, out: &mut Vec<Action>) {
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

    /// Ends the connection because of the peer's fault, and says so.
    fn fail(&mut self, now: Instant, notification: Notification, text: String, out: &mut Vec<Action>) {
        self.send(&Message::Notification(notification.clone()), out);
        self.end(now, DownReason::Sent { notification, text }, out);
    }

    /// Ends the connection or the attempt at one, and plans the next.
    fn end(&mut self, now: Instant, reason: DownReason, out: &mut Vec<Action>) {
        if self
            .connection
            .as_ref()
            .is_some_and(|connection| connection.stable_since(now))
        {
            self.retry.reset();
        }
        let tcp_failed = self.connection.is_none();
        self.disconnect(out);
        out.push(Action::Down(reason));
        if self.config.passive {
            self.state = State::Active;
            return;
        }
        self.state = if tcp_failed { State::Active } else { State::Idle };
        let pause = self.retry.pause(&mut self.dice);
        self.timers.set(Timer::Retry, Some(now + pause));
    }

    fn disconnect(&mut self, out: &mut Vec<Action>) {
        if self.connection.take().is_some() || self.state == State::Connect {
            out.push(Action::Close);
        }
        self.timers.clear();
        self.rib.reset();
        self.withheld = None;
    }
}
