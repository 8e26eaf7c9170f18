//! Echo packets, which only their sender reads (RFC 5880 §5), and their timers.
//!
//! ```text
//!  0       4              8                     16          20
//! ┌───────┬──────────────┬─────────────────────┬───────────┐
//! │ mlbe  │ discriminator│ secret of the start │ sequence  │
//! └───────┴──────────────┴─────────────────────┴───────────┘
//! ```
//! The secret keeps others than the peer, which sees it, from forging returned echoes.

use std::time::{Duration, Instant};

use crate::random::Random;

/// Octets of an echo packet.
pub const ECHO_LEN: usize = 20;
/// An echo is sent with a TTL of 255 and returned over one hop, with less by one where the peer routes it.
pub const ECHO_TTL_MIN: u8 = 254;

const MARK: [u8; 4] = *b"mlbe";

/// What is in an echo packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Echo {
    pub(crate) discriminator: u32,
    pub(crate) secret: [u8; 8],
    pub(crate) sequence: u32,
}

impl Echo {
    pub(crate) fn encode(self) -> [u8; ECHO_LEN] {
        let mut bytes = [0; ECHO_LEN];
        bytes[..4].copy_from_slice(&MARK);
        bytes[4..8].copy_from_slice(&self.discriminator.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.secret);
        bytes[16..].copy_from_slice(&self.sequence.to_be_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (mark, rest) = bytes.split_first_chunk::<4>()?;
        let (discriminator, rest) = rest.split_first_chunk::<4>()?;
        let (secret, rest) = rest.split_first_chunk::<8>()?;
        let sequence = rest.first_chunk::<4>()?;
        (*mark == MARK).then(|| Self {
            discriminator: u32::from_be_bytes(*discriminator),
            secret: *secret,
            sequence: u32::from_be_bytes(*sequence),
        })
    }
}

/// The echo function of a session while it is active.
#[derive(Debug)]
pub(crate) struct Echoing {
    pub(crate) interval: Duration,
    secret: [u8; 8],
    sequence: u32,
    pub(crate) transmit_at: Instant,
    /// When the session is down if no echo comes back; absent while it is not known that the peer returns any.
    pub(crate) detect_at: Option<Instant>,
}

impl Echoing {
    /// `proven`: the peer has returned echoes before.
    pub(crate) fn new(now: Instant, interval: Duration, multiplier: u8, proven: bool, random: &mut Random) -> Self {
        Self {
            interval,
            secret: random.bytes(),
            sequence: 0,
            transmit_at: now,
            // One interval more than usual, for the time that the first echo is on its way.
            detect_at: proven.then(|| now + interval * (u32::from(multiplier) + 1)),
        }
    }

    /// The next packet.
    pub(crate) fn transmit(&mut self, now: Instant, discriminator: u32, multiplier: u8, random: &mut Random) -> Echo {
        self.transmit_at = now + random.jittered(self.interval, multiplier);
        self.sequence = self.sequence.wrapping_add(1);
        Echo {
            discriminator,
            secret: self.secret,
            sequence: self.sequence,
        }
    }

    /// Takes in an echo that has come back; returns whether it is one of the last that were sent, `multiplier` at most.
    pub(crate) fn receive(&mut self, now: Instant, echo: &Echo, multiplier: u8) -> bool {
        let age = self.sequence.wrapping_sub(echo.sequence);
        if echo.secret != self.secret || age > u32::from(multiplier) {
            return false;
        }
        self.detect_at = Some(now + self.interval * u32::from(multiplier));
        true
    }
}
