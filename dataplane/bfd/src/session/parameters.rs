//! The intervals of a session, and how a change of them is agreed on (RFC 5880 §6.5 and §6.8.3).

use std::time::Duration;

use super::{Session, Turn};
use crate::{Hops, SessionConfig, State, echo::Echoing, packet::interval};

/// While a session is not up it sends no faster (RFC 5880 §6.8.3), and with echoes it need not receive faster either.
pub(super) const SLOW: Duration = Duration::from_secs(1);

/// Whether the peer has to confirm a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Poll {
    Idle,
    /// Every packet asks for confirmation.
    Asking,
    /// Every packet asks for confirmation, and there was another change meanwhile: the next confirmation may be of the first
    /// one.
    AskingAgain,
}

/// The intervals that are offered to the peer, and those in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parameters {
    /// `bfd.DesiredMinTxInterval`
    pub(super) desired_min_tx: Duration,
    /// `bfd.RequiredMinRxInterval`
    pub(super) required_min_rx: Duration,
    /// Until a change is confirmed the faster of the old and the new.
    used_min_tx: Duration,
    /// Until a change is confirmed the slower of the old and the new.
    used_min_rx: Duration,
    poll: Poll,
}

impl Parameters {
    /// Those of a session that is down.
    pub(super) fn new(config: &SessionConfig) -> Self {
        let (desired_min_tx, required_min_rx) = (config.transmit_interval.max(SLOW), config.receive_interval);
        Self {
            desired_min_tx,
            required_min_rx,
            used_min_tx: desired_min_tx,
            used_min_rx: required_min_rx,
            poll: Poll::Idle,
        }
    }

    pub(super) fn is_polling(&self) -> bool {
        self.poll != Poll::Idle
    }

    /// Takes other intervals. Those of a session that is not up are in force at once: the peer learns them from every
    /// packet and no detection time depends on them.
    fn set(&mut self, desired_min_tx: Duration, required_min_rx: Duration, up: bool) {
        let same = (desired_min_tx, required_min_rx) == (self.desired_min_tx, self.required_min_rx);
        (self.desired_min_tx, self.required_min_rx) = (desired_min_tx, required_min_rx);
        if !up {
            self.confirm();
        } else if !same {
            self.used_min_tx = self.used_min_tx.min(desired_min_tx);
            self.used_min_rx = self.used_min_rx.max(required_min_rx);
            self.poll = match self.poll {
                Poll::Idle => Poll::Asking,
                Poll::Asking | Poll::AskingAgain => Poll::AskingAgain,
            };
        }
    }

    /// Takes in that the peer has confirmed a change.
    pub(super) fn on_final(&mut self) {
        match self.poll {
            Poll::Idle => {}
            Poll::Asking => self.confirm(),
            Poll::AskingAgain => self.poll = Poll::Asking,
        }
    }

    fn confirm(&mut self) {
        self.poll = Poll::Idle;
        (self.used_min_tx, self.used_min_rx) = (self.desired_min_tx, self.required_min_rx);
    }
}

impl Session {
    /// Follows a change of state, configuration, or of what the peer can do.
    pub(super) fn update(&mut self, turn: &mut Turn<'_>) {
        self.update_echo(turn);
        let up = self.state == State::Up;
        let slow = |interval: Duration, slowly: bool| if slowly { interval.max(SLOW) } else { interval };
        let desired_min_tx = slow(self.config.transmit_interval, !up);
        let required_min_rx = slow(self.config.receive_interval, self.echoing.is_some() && self.echo_proven);
        let before = self.detection_time();
        self.parameters.set(desired_min_tx, required_min_rx, up);
        // The peer may still follow what was offered a moment ago, so the deadline is never moved ahead.
        let longer = self.detection_time().saturating_sub(before);
        self.detect_at = self.detect_at.map(|at| at + longer);
    }

    /// Echoes are sent while the session is up and the peer returns them (RFC 5880 §6.8.9).
    fn update_echo(&mut self, turn: &mut Turn<'_>) {
        let wanted = self.config.echo_transmit.filter(|_| {
            self.state == State::Up && self.remote.required_min_echo_rx != 0 && self.key.hops == Hops::Single
        });
        let Some(wanted) = wanted else {
            self.echoing = None;
            return;
        };
        let wanted = wanted.max(interval(self.remote.required_min_echo_rx));
        // A change starts anew: echoes that are under way have the old secret and no longer count.
        if self.echoing.as_ref().is_none_or(|echoing| echoing.interval != wanted) {
            self.echoing = Some(Echoing::new(
                turn.now,
                wanted,
                self.config.multiplier,
                self.echo_proven,
                turn.random,
            ));
        }
    }

    /// The longest time between two periodic packets (RFC 5880 §6.8.7).
    pub(super) fn transmit_interval(&self) -> Duration {
        self.parameters.used_min_tx.max(interval(self.remote.required_min_rx))
    }

    /// The detection time (RFC 5880 §6.8.4).
    pub(super) fn detection_time(&self) -> Duration {
        let agreed = self.parameters.used_min_rx.max(interval(self.remote.desired_min_tx));
        agreed * u32::from(self.remote.multiplier)
    }
}
