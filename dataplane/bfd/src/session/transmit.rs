//! When a session sends, and what (RFC 5880 §6.8.7).

use super::{Session, Turn};
use crate::{Action, Control, State, packet::micros};

/// Whether a packet confirms a poll of the peer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Confirms {
    Poll,
    Nothing,
}

impl Session {
    /// Sends a packet about a change at once, without waiting for the next periodic one.
    pub(super) fn announce(&mut self, turn: &mut Turn<'_>) {
        if self.has_role() {
            self.send(Confirms::Nothing, turn);
            self.transmit_at = None;
        }
    }

    /// Answers a poll at once, even if periodic packets must not be sent.
    pub(super) fn confirm(&mut self, turn: &mut Turn<'_>) {
        self.send(Confirms::Poll, turn);
    }

    /// Sends what is due.
    pub(super) fn transmit_periodic(&mut self, turn: &mut Turn<'_>) {
        if let Some(ending) = &mut self.ending {
            ending.left = ending.left.saturating_sub(1);
        }
        self.send(Confirms::Nothing, turn);
        self.transmit_at = None;
        self.schedule(turn);
    }

    pub(super) fn transmit_echo(&mut self, turn: &mut Turn<'_>) {
        if let Some(echoing) = &mut self.echoing {
            let echo = echoing.transmit(turn.now, self.id, self.config.multiplier, turn.random);
            turn.actions.push(Action::Echo {
                id: self.id,
                bytes: echo.encode(),
            });
        }
    }

    /// Schedules the next periodic packet: no later than the interval allows, and not at all if it must not be sent.
    pub(super) fn schedule(&mut self, turn: &mut Turn<'_>) {
        if !self.has_role() || !self.is_wanted() {
            self.transmit_at = None;
            // A packet that must not be sent need not be timed.
            if let Some(ending) = &mut self.ending {
                ending.left = 0;
            }
            return;
        }
        let interval = match &self.ending {
            Some(ending) => ending.interval,
            None => self.transmit_interval(),
        };
        if self.transmit_at.is_none_or(|at| at > turn.now + interval) {
            self.transmit_at = Some(turn.now + turn.random.jittered(interval, self.config.multiplier));
        }
    }

    /// A passive session sends nothing before the peer does.
    fn has_role(&self) -> bool {
        !self.config.passive || self.remote.discriminator != 0
    }

    /// Whether the peer wants periodic packets: not if it cannot receive any, nor in demand mode, unless this side polls.
    fn is_wanted(&self) -> bool {
        let both_up = self.state == State::Up && self.remote.state == State::Up;
        let demand = self.remote.demand && both_up && !self.parameters.is_polling();
        self.remote.required_min_rx != 0 && !demand
    }

    fn send(&self, confirms: Confirms, turn: &mut Turn<'_>) {
        let confirms = confirms == Confirms::Poll;
        let packet = Control {
            diagnostic: self.diagnostic,
            state: self.state,
            poll: self.parameters.is_polling() && !confirms,
            final_: confirms,
            // It ends with this process.
            independent: false,
            demand: false,
            multiplier: self.config.multiplier,
            my_discriminator: self.id,
            your_discriminator: self.remote.discriminator,
            desired_min_tx: micros(self.parameters.desired_min_tx),
            required_min_rx: micros(self.parameters.required_min_rx),
            required_min_echo_rx: self.config.echo_receive.map_or(0, micros),
        };
        turn.actions.push(Action::Send {
            id: self.id,
            bytes: packet.encode(),
        });
    }
}
