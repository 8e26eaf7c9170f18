//! What a packet does to a session (RFC 5880 §6.8.6).

use super::{Remote, Session, Turn};
use crate::{Control, Diagnostic, Refusal, State, echo::Echo};

impl Session {
    /// Takes in a packet that belongs to this session.
    ///
    /// # Errors
    /// If the session is switched off.
    pub(crate) fn receive(&mut self, packet: &Control, turn: &mut Turn<'_>) -> Result<(), Refusal> {
        let was_switched_off = self.remote.state == State::AdminDown;
        self.remote = Remote::of(packet);
        if let Some(ending) = &mut self.ending {
            if packet.state <= State::Down {
                ending.left = 0;
            }
            return Err(Refusal::AdminDown);
        }
        if packet.final_ {
            self.parameters.on_final();
        }
        // A new deadline is set below; the old one must not be moved by a change of the detection time.
        self.detect_at = None;
        let next = self.successor(packet.state);
        match next {
            Some((state, diagnostic)) => self.change(state, diagnostic, turn),
            None => {
                self.update(turn);
                if was_switched_off != (packet.state == State::AdminDown) {
                    self.report(turn);
                }
            }
        }
        self.detect_at = Some(turn.now + self.detection_time());
        if packet.poll {
            self.confirm(turn);
        } else if next.is_some() {
            self.announce(turn);
        }
        self.schedule(turn);
        Ok(())
    }

    /// The state that follows from the peer's state, if it is another one.
    fn successor(&self, heard: State) -> Option<(State, Diagnostic)> {
        match (self.state, heard) {
            (State::Init | State::Up, State::AdminDown) | (State::Up, State::Down) => {
                Some((State::Down, Diagnostic::NeighborDown))
            }
            (State::Down, State::Down) => Some((State::Init, Diagnostic::None)),
            (State::Down, State::Init) | (State::Init, State::Init | State::Up) => Some((State::Up, Diagnostic::None)),
            (State::Init, State::Down)
            | (State::Up, State::Init | State::Up)
            | (State::Down, State::AdminDown | State::Up)
            | (State::AdminDown, _) => None,
        }
    }

    /// Takes in an echo.
    ///
    /// # Errors
    /// If no such echo is awaited.
    pub(crate) fn receive_echo(&mut self, echo: &Echo, turn: &mut Turn<'_>) -> Result<(), Refusal> {
        let multiplier = self.config.multiplier;
        let echoing = self.echoing.as_mut().ok_or(Refusal::Echo)?;
        if !echoing.receive(turn.now, echo, multiplier) {
            return Err(Refusal::Echo);
        }
        if !self.echo_proven {
            self.echo_proven = true;
            self.update(turn);
            self.announce(turn);
            self.schedule(turn);
        }
        Ok(())
    }
}
