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
//! A session has one connection, and for a moment a second one that the peer has dialled: see `collision`.

mod collision;
mod connection;
mod goodbye;
mod next_hop;
mod open;
mod receive;
mod refresh;
mod state;
#[cfg(test)]
mod tests;
mod timers;
mod transmit;

use std::time::{Duration, Instant};

use self::{
    collision::Challenger,
    connection::Connection,
    open::Withheld,
    timers::{Dice, Ending, Retry, Timer, Timers},
};
pub use self::{
    next_hop::{NextHops, Reach},
    open::{Negotiated, hashed_router_id},
    state::{Action, ConnectionId, Event, LinkAddresses, Prefixes, State},
};
use crate::{
    Dialing, DownReason, PeerConfig, PeerRoute, Posture, RibOut, StopReason,
    wire::{Family, Message, Notification, notification::Code},
};

/// How long TCP may take; upstream's value.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The hold time while the peer's is not known (RFC 4271 §8.2.2).
const OPEN_HOLD: Duration = Duration::from_secs(240);

/// The session with one peer.
#[derive(Debug)]
pub struct Session {
    config: PeerConfig,
    state: State,
    /// When `state` was entered.
    since: Option<Instant>,
    timers: Timers,
    retry: Retry,
    dice: Dice,
    /// Counts connections and attempts at one.
    attempts: u64,
    /// Names the connection, or the attempt at one.
    current: Option<ConnectionId>,
    connection: Option<Connection>,
    /// Whether this speaker dialled `connection`.
    dialled: bool,
    /// Names the second connection while it is on its way to us.
    expected: Option<ConnectionId>,
    challenger: Option<Challenger>,
    rib: RibOut,
    /// Whether `rib` is complete: "nothing to announce" differs from "not known yet".
    routes_known: bool,
    /// Whether the speaker has restarted and the peer has not been informed yet.
    restarted: bool,
    /// Set for one attempt after the peer refused a capability.
    withheld: Option<Withheld>,
}

impl Session {
    /// Makes a session that waits for [`Event::Start`]; `seed` decides its jitter.
    pub fn new(config: PeerConfig, seed: u64) -> Self {
        Self {
            retry: Retry::new(config.connect_time),
            config,
            state: State::Idle,
            since: None,
            timers: Timers::default(),
            dice: Dice::new(seed),
            attempts: 0,
            current: None,
            connection: None,
            dialled: false,
            expected: None,
            challenger: None,
            rib: RibOut::default(),
            routes_known: false,
            restarted: false,
            withheld: None,
        }
    }

    /// Sets the restart flag in the first OPEN (RFC 4724 §4.1). Must be called before the start.
    pub fn set_restarted(&mut self) {
        self.restarted = true;
    }

    /// Returns the configuration given at the start.
    pub fn config(&self) -> &PeerConfig {
        &self.config
    }

    /// Returns where the session stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// Returns since when it stands there; absent before the start.
    pub fn since(&self) -> Option<Instant> {
        self.since
    }

    /// Returns what was agreed on, from OpenConfirm on.
    pub fn negotiated(&self) -> Option<&Negotiated> {
        self.connection.as_ref()?.negotiated.as_deref()
    }

    /// Returns the routes of this session.
    pub fn rib(&self) -> &RibOut {
        &self.rib
    }

    /// Tells whether all routes are known that were to be announced at the start (RFC 4724 §2: not before that may
    /// End-of-RIB be sent).
    pub fn routes_known(&self) -> bool {
        self.routes_known
    }

    /// Counts the routes of this session.
    pub fn prefixes(&self) -> Prefixes {
        let wanted = Family::UNICAST.into_iter().filter(|family| self.config.wants(*family));
        let established = self.negotiated().filter(|_| self.state == State::Established);
        let lacks = |family| established.is_some_and(|agreed| agreed.egress.next_hops.of(family).is_lacking());
        let mut prefixes = Prefixes {
            advertised: self.rib.advertised(),
            unsendable: self.rib.oversized(),
            ..Prefixes::default()
        };
        for family in wanted {
            if lacks(family) {
                prefixes.unsendable += self.rib.desired(family);
            } else {
                prefixes.desired += self.rib.desired(family);
            }
        }
        prefixes.desired = prefixes.desired.saturating_sub(self.rib.oversized());
        prefixes
    }

    fn name_connection(&mut self) -> ConnectionId {
        self.attempts += 1;
        let id = ConnectionId(self.attempts);
        self.current = Some(id);
        id
    }

    /// Returns when [`Event::Tick`] is due, if at all.
    pub fn next_deadline(&self) -> Option<Instant> {
        let challenger = self.challenger.as_ref().map(|challenger| challenger.until);
        self.timers.next().into_iter().chain(challenger).min()
    }

    /// Feeds one event; returns what the shell must do, in order.
    pub fn handle(&mut self, now: Instant, event: Event<'_>) -> Vec<Action> {
        let mut out = Vec::new();
        match event {
            Event::Start => self.on_start(now, &mut out),
            Event::Stop(reason, text) => self.on_stop(now, reason, text, &mut out),
            Event::Reset(reason) => self.on_reset(now, reason, &mut out),
            Event::Show(posture) => self.on_show(now, posture, &mut out),
            Event::RoutesChanged(routes) => self.on_routes_changed(now, routes, &mut out),
            Event::Tick => self.on_tick(now, &mut out),
            Event::Connected(id, link) if self.expected == Some(id) => self.on_challenged(now, id, link, &mut out),
            Event::Connected(id, link) => self.on_connected(now, id, link, &mut out),
            Event::ConnectFailed(id, text) if self.dials(id) => {
                self.end(now, DownReason::ConnectFailed(text), &mut out);
            }
            Event::Received(id, bytes) if self.has(id) => self.on_received(now, bytes, &mut out),
            Event::Written(id, octets) if self.has(id) => self.on_written(now, octets, &mut out),
            Event::Closed(id, text) if self.has(id) => self.end(now, DownReason::Closed(text), &mut out),
            Event::Received(id, bytes) if self.is_challenger(id) => self.on_challenger_received(now, bytes, &mut out),
            Event::Written(id, octets) if self.is_challenger(id) => self.on_challenger_written(octets),
            Event::Closed(id, _) if self.is_challenger(id) => self.drop_challenger(&mut out),
            // They are about a connection that the session no longer has.
            Event::ConnectFailed(..) | Event::Received(..) | Event::Written(..) | Event::Closed(..) => {}
        }
        out
    }

    fn has(&self, id: ConnectionId) -> bool {
        self.current == Some(id) && self.connection.is_some()
    }

    fn dials(&self, id: ConnectionId) -> bool {
        self.current == Some(id) && self.connection.is_none()
    }

    fn on_start(&mut self, now: Instant, out: &mut Vec<Action>) {
        if !self.is_running() {
            self.begin(now, out);
        }
    }

    fn is_running(&self) -> bool {
        self.state != State::Idle || self.timers.is_set(Timer::Retry)
    }

    fn begin(&mut self, now: Instant, out: &mut Vec<Action>) {
        if self.config.dialing == Dialing::Passive {
            self.enter(now, State::Active);
        } else {
            self.connect(now, out);
        }
    }

    fn on_stop(&mut self, now: Instant, reason: StopReason, text: &str, out: &mut Vec<Action>) {
        let was_running = self.is_running();
        self.say_goodbye(reason, text, out);
        self.enter(now, State::Idle);
        if was_running {
            out.push(Action::Down(DownReason::Stopped(reason)));
        }
    }

    /// Also ends the pause between attempts: a session that is reset by hand should be back at once.
    fn on_reset(&mut self, now: Instant, reason: StopReason, out: &mut Vec<Action>) {
        if !self.is_running() {
            return;
        }
        let was_connected = self.connection.is_some();
        self.say_goodbye(reason, "", out);
        if was_connected {
            out.push(Action::Down(DownReason::Stopped(reason)));
        }
        self.begin(now, out);
    }

    fn on_show(&mut self, now: Instant, posture: Posture, out: &mut Vec<Action>) {
        self.rib.set_posture(posture);
        self.flush(now, out);
    }

    fn on_connected(&mut self, now: Instant, id: ConnectionId, link: LinkAddresses, out: &mut Vec<Action>) {
        if self.has(id) {
            return;
        }
        if !self.dials(id) {
            return out.push(Action::Close(id));
        }
        let open = open::offer(&self.config, &link, self.withheld.as_ref(), self.restarted);
        self.restarted = false;
        self.dialled = self.state == State::Connect;
        self.timers.clear();
        self.timers.set(Timer::Hold, Some(now + OPEN_HOLD));
        self.connection = Some(Connection::new(link, open.clone()));
        self.enter(now, State::OpenSent);
        self.send(&Message::Open(open), out);
        self.watch_writing(now);
    }

    fn on_written(&mut self, now: Instant, octets: usize, out: &mut Vec<Action>) {
        let Some(connection) = &mut self.connection else { return };
        connection.unwritten = connection.unwritten.saturating_sub(octets);
        // Progress restarts the send hold timer.
        self.timers.set(Timer::SendHold, None);
        self.flush(now, out);
        self.watch_writing(now);
    }

    fn on_routes_changed(&mut self, now: Instant, routes: &[PeerRoute], out: &mut Vec<Action>) {
        self.routes_known = true;
        for (prefix, desired) in routes {
            self.rib.change(*prefix, desired.clone());
        }
        self.flush(now, out);
    }

    fn on_tick(&mut self, now: Instant, out: &mut Vec<Action>) {
        if self
            .challenger
            .as_ref()
            .is_some_and(|challenger| challenger.until <= now)
        {
            self.dismiss(&Notification::new(Code::HoldTimerExpired, 0), out);
        }
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
        self.enter(now, State::Connect);
        self.timers.set(Timer::Connect, Some(now + CONNECT_TIMEOUT));
        out.push(Action::Connect(self.name_connection()));
    }

    fn enter(&mut self, now: Instant, state: State) {
        if self.state != state || self.since.is_none() {
            self.since = Some(now);
        }
        self.state = state;
    }

    /// Ends the connection or the attempt at one, and plans the next.
    fn end(&mut self, now: Instant, reason: DownReason, out: &mut Vec<Action>) {
        let connection = self.connection.as_ref();
        if connection.is_some_and(|connection| connection.stable_since(now)) {
            self.retry.reset();
        }
        let was_established = connection.is_some_and(|connection| connection.established.is_some());
        let ending = if was_established && !reason.is_refusal() {
            Ending::Lost
        } else {
            Ending::Refused
        };
        let tcp_failed = connection.is_none();
        self.disconnect(out);
        out.push(Action::Down(reason));
        if self.promote(now, out) {
            return;
        }
        if self.config.dialing == Dialing::Passive {
            return self.enter(now, State::Active);
        }
        self.enter(now, if tcp_failed { State::Active } else { State::Idle });
        let pause = self.retry.pause(ending, &mut self.dice);
        self.timers.set(Timer::Retry, Some(now + pause));
    }

    fn disconnect(&mut self, out: &mut Vec<Action>) {
        out.extend(self.current.take().map(Action::Close));
        self.connection = None;
        self.timers.clear();
        self.rib.reset();
        self.withheld = None;
    }
}
