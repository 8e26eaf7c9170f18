//! One session: its state machine (RFC 5880 §6.2) and its variables (§6.8.1).
//!
//! ```text
//!                          ┌──────┐ hears Down, or nothing, or AdminDown
//!                          │      ▼
//!                        ┌──────────┐
//!        hears Down ┌────│   Down   │◄────────────────────┐
//!                   │    └──────────┘                     │
//!                   ▼         │ hears Init                │ nothing for the detection time, no echoes,
//!              ┌────────┐     └────────────►┌────────┐    │ hears Down or AdminDown
//!              │  Init  │──────────────────►│   Up   │────┘
//!              └────────┘ hears Init or Up  └────────┘
//! ```
//! From Init, too, silence and AdminDown lead to Down. A session that is removed sends AdminDown until the peer has heard it.

mod parameters;
mod receive;
mod transmit;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use self::parameters::Parameters;
use crate::{Action, Control, Diagnostic, SessionConfig, SessionKey, State, Status, echo::Echoing, random::Random};

/// The context of an event: its time, the source of randomness, and the actions so far.
pub(crate) struct Turn<'a> {
    pub(crate) now: Instant,
    pub(crate) random: &'a mut Random,
    pub(crate) actions: &'a mut Vec<Action>,
}

/// The last values from the peer.
#[derive(Debug)]
struct Remote {
    discriminator: u32,
    state: State,
    diagnostic: Diagnostic,
    multiplier: u8,
    desired_min_tx: u32,
    required_min_rx: u32,
    required_min_echo_rx: u32,
    demand: bool,
}

impl Default for Remote {
    fn default() -> Self {
        Self {
            discriminator: 0,
            state: State::Down,
            diagnostic: Diagnostic::None,
            multiplier: 0,
            desired_min_tx: 0,
            // RFC 5880 §6.8.1: zero would forbid the first packet.
            required_min_rx: 1,
            required_min_echo_rx: 0,
            demand: false,
        }
    }
}

impl Remote {
    fn of(packet: &Control) -> Self {
        Self {
            discriminator: packet.my_discriminator,
            state: packet.state,
            diagnostic: packet.diagnostic,
            multiplier: packet.multiplier,
            desired_min_tx: packet.desired_min_tx,
            required_min_rx: packet.required_min_rx,
            required_min_echo_rx: packet.required_min_echo_rx,
            demand: packet.demand,
        }
    }
}

/// The intervals in force, and whether they are about to change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Rates {
    transmit: Duration,
    detection: Option<Duration>,
    echo: Option<Duration>,
    polling: bool,
}

/// The AdminDown packets of a session that ends while the peer believes it to be up.
#[derive(Debug)]
struct Ending {
    /// How many more packets are sent.
    left: u8,
    interval: Duration,
}

/// One session.
#[derive(Debug)]
pub(crate) struct Session {
    id: u32,
    pub(crate) key: Arc<SessionKey>,
    config: SessionConfig,
    state: State,
    since: Instant,
    diagnostic: Diagnostic,
    was_up: bool,
    remote: Remote,
    parameters: Parameters,
    echoing: Option<Echoing>,
    /// Whether echoes have come back. A peer that promises to return them and does not route them is not down.
    echo_proven: bool,
    ending: Option<Ending>,
    /// The next periodic packet.
    transmit_at: Option<Instant>,
    /// When the detection time expires.
    detect_at: Option<Instant>,
    /// The intervals in force that were reported last.
    told: Rates,
    /// When this session is due in the queue of all sessions.
    pub(crate) queued: Option<Instant>,
}

impl Session {
    /// A session that is down; the first packet of an active one goes out within `spread`.
    pub(crate) fn new(
        id: u32,
        key: Arc<SessionKey>,
        config: SessionConfig,
        spread: Duration,
        turn: &mut Turn<'_>,
    ) -> Self {
        let transmit_at = (!config.passive).then(|| turn.now + turn.random.part_of(spread));
        Self {
            id,
            key,
            parameters: Parameters::new(&config),
            config,
            state: State::Down,
            since: turn.now,
            diagnostic: Diagnostic::None,
            was_up: false,
            remote: Remote::default(),
            echoing: None,
            echo_proven: false,
            ending: None,
            transmit_at,
            detect_at: None,
            told: Rates::default(),
            queued: None,
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let echo = self.echoing.as_ref().map(|echoing| echoing.transmit_at);
        let echo_missed = self.echoing.as_ref().and_then(|echoing| echoing.detect_at);
        [self.transmit_at, self.detect_at, echo, echo_missed]
            .into_iter()
            .flatten()
            .min()
    }

    pub(crate) fn minimum_ttl(&self) -> u8 {
        self.config.minimum_ttl.unwrap_or(1)
    }

    /// Takes another configuration, without a change of state; a session that was about to end stays.
    pub(crate) fn configure(&mut self, config: SessionConfig, turn: &mut Turn<'_>) {
        let resumed = self.ending.take().is_some();
        if !resumed && config == self.config {
            return;
        }
        let (before, same_rates) = (self.config.multiplier, self.parameters);
        self.config = config;
        if resumed {
            // RFC 5880 §6.8.16. The peer knows the discriminator still, so it stays.
            self.enter(State::Down, Diagnostic::None, turn);
            return;
        }
        self.update(turn);
        if before != self.config.multiplier || same_rates != self.parameters {
            self.announce(turn);
        }
        self.schedule(turn);
    }

    /// Begins to end. A peer that believes the session to be up is sent AdminDown until it answers, so that it does not take
    /// the end for a failure (RFC 5880 §6.8.16).
    pub(crate) fn end(&mut self, turn: &mut Turn<'_>) {
        if self.ending.is_some() {
            return;
        }
        // RFC 5880 §6.8.3 asks for a second between two packets of a session that is not up. One lost packet would then be
        // a failure to the peer, so the rate stays what it is for these few.
        let interval = self.transmit_interval().min(parameters::SLOW);
        let left = if self.state > State::Down {
            self.config.multiplier
        } else {
            0
        };
        self.ending = Some(Ending { left, interval });
        self.enter(State::AdminDown, Diagnostic::AdminDown, turn);
        self.detect_at = None;
    }

    /// Whether it has ended and can be forgotten.
    pub(crate) fn has_ended(&self) -> bool {
        self.ending.as_ref().is_some_and(|ending| ending.left == 0)
    }

    /// Performs what is due.
    pub(crate) fn tick(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now;
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if due(self.detect_at) {
            self.on_silence(turn);
        }
        if due(self.echoing.as_ref().and_then(|echoing| echoing.detect_at)) {
            self.enter(State::Down, Diagnostic::EchoFailed, turn);
        }
        if due(self.echoing.as_ref().map(|echoing| echoing.transmit_at)) {
            self.transmit_echo(turn);
        }
        if due(self.transmit_at) {
            self.transmit_periodic(turn);
        }
    }

    /// Handles a peer that was silent for the detection time (RFC 5880 §6.8.4).
    fn on_silence(&mut self, turn: &mut Turn<'_>) {
        self.detect_at = None;
        // A peer that comes back may have another discriminator (§6.8.1), and other parameters.
        self.remote = Remote {
            state: self.remote.state,
            diagnostic: self.remote.diagnostic,
            ..Remote::default()
        };
        if self.state > State::Down {
            self.enter(State::Down, Diagnostic::TimeExpired, turn);
        } else {
            self.schedule(turn);
        }
    }

    /// Changes the state, sends it to the peer at once, and reports it.
    fn enter(&mut self, state: State, diagnostic: Diagnostic, turn: &mut Turn<'_>) {
        self.change(state, diagnostic, turn);
        self.announce(turn);
        self.schedule(turn);
    }

    /// Changes the state and reports it.
    fn change(&mut self, state: State, diagnostic: Diagnostic, turn: &mut Turn<'_>) {
        self.state = state;
        self.since = turn.now;
        self.diagnostic = diagnostic;
        self.was_up |= state == State::Up;
        self.update(turn);
        self.report(turn);
    }

    /// Reports the intervals in force if they have changed since the last report.
    pub(crate) fn report_rates(&mut self, turn: &mut Turn<'_>) {
        let rates = self.rates();
        if std::mem::replace(&mut self.told, rates) != rates {
            turn.actions.push(Action::Agreed {
                key: Arc::clone(&self.key),
                status: self.status(),
            });
        }
    }

    fn rates(&self) -> Rates {
        Rates {
            transmit: self.transmit_interval(),
            detection: (self.remote.discriminator != 0).then(|| self.detection_time()),
            echo: self
                .echoing
                .as_ref()
                .filter(|_| self.echo_proven)
                .map(|echoing| echoing.interval),
            polling: self.parameters.is_polling(),
        }
    }

    fn report(&self, turn: &mut Turn<'_>) {
        turn.actions.push(Action::Changed {
            id: self.id,
            key: Arc::clone(&self.key),
            status: self.status(),
        });
    }

    /// How it is doing.
    pub(crate) fn status(&self) -> Status {
        let rates = self.rates();
        Status {
            state: self.state,
            since: self.since,
            diagnostic: self.diagnostic,
            was_up: self.was_up,
            remote_state: self.remote.state,
            remote_diagnostic: self.remote.diagnostic,
            local_discriminator: self.id,
            remote_discriminator: self.remote.discriminator,
            transmit_interval: rates.transmit,
            detection_time: rates.detection,
            echo_interval: rates.echo,
            polling: rates.polling,
        }
    }
}
