//! The control packet (RFC 5880 §4.1).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! ┌─────┬─────────┬───┬─┬─┬─┬─┬─┬─┬───────────────┬───────────────┐
//! │Vers │  Diag   │Sta│P│F│C│A│D│M│  Detect Mult  │    Length     │
//! ├─────┴─────────┴───┴─┴─┴─┴─┴─┴─┴───────────────┴───────────────┤
//! │                       My Discriminator                        │
//! ├───────────────────────────────────────────────────────────────┤
//! │                      Your Discriminator                       │
//! ├───────────────────────────────────────────────────────────────┤
//! │                    Desired Min TX Interval                    │
//! ├───────────────────────────────────────────────────────────────┤
//! │                   Required Min RX Interval                    │
//! ├───────────────────────────────────────────────────────────────┤
//! │                 Required Min Echo RX Interval                 │
//! └───────────────────────────────────────────────────────────────┘
//! ```

use std::{fmt, time::Duration};

use crate::Refusal;

/// Octets of a control packet without an authentication section.
pub const CONTROL_LEN: usize = 24;

const VERSION: u8 = 1;
const POLL: u8 = 0x20;
const FINAL: u8 = 0x10;
const INDEPENDENT: u8 = 0x08;
const AUTHENTICATED: u8 = 0x04;
const DEMAND: u8 = 0x02;
const MULTIPOINT: u8 = 0x01;

/// Where a session stands (RFC 5880 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Switched off by an administrator.
    AdminDown,
    /// The path is not known to work.
    Down,
    /// The peer is heard, and has not said yet that it hears us.
    Init,
    /// The path works in both directions.
    Up,
}

impl State {
    fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::AdminDown,
            1 => Self::Down,
            2 => Self::Init,
            _ => Self::Up,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AdminDown => "AdminDown",
            Self::Down => "Down",
            Self::Init => "Init",
            Self::Up => "Up",
        })
    }
}

/// Why a session changed its state last (RFC 5880 §4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Diagnostic {
    /// Nothing has gone wrong.
    #[default]
    None,
    /// No control packet came for the detection time.
    TimeExpired,
    /// Echo packets did not come back.
    EchoFailed,
    /// The neighbour said that its session is down.
    NeighborDown,
    /// The forwarding plane was reset.
    ForwardingReset,
    /// The path is known to be down by other means.
    PathDown,
    /// A path that this one is joined with is down.
    ConcatenatedPathDown,
    /// An administrator switched the session off.
    AdminDown,
    /// The reverse of a path that this one is joined with is down.
    ReverseConcatenatedPathDown,
    /// A code without a meaning so far, 9 to 31.
    Reserved(u8),
}

impl Diagnostic {
    /// Reads the lowest five bits.
    fn from_bits(bits: u8) -> Self {
        match bits & 0x1f {
            0 => Self::None,
            1 => Self::TimeExpired,
            2 => Self::EchoFailed,
            3 => Self::NeighborDown,
            4 => Self::ForwardingReset,
            5 => Self::PathDown,
            6 => Self::ConcatenatedPathDown,
            7 => Self::AdminDown,
            8 => Self::ReverseConcatenatedPathDown,
            code => Self::Reserved(code),
        }
    }

    /// The code on the wire.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::None => 0,
            Self::TimeExpired => 1,
            Self::EchoFailed => 2,
            Self::NeighborDown => 3,
            Self::ForwardingReset => 4,
            Self::PathDown => 5,
            Self::ConcatenatedPathDown => 6,
            Self::AdminDown => 7,
            Self::ReverseConcatenatedPathDown => 8,
            Self::Reserved(code) => code & 0x1f,
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("no diagnostic"),
            Self::TimeExpired => f.write_str("control detection time expired"),
            Self::EchoFailed => f.write_str("echo function failed"),
            Self::NeighborDown => f.write_str("neighbor signaled session down"),
            Self::ForwardingReset => f.write_str("forwarding plane reset"),
            Self::PathDown => f.write_str("path down"),
            Self::ConcatenatedPathDown => f.write_str("concatenated path down"),
            Self::AdminDown => f.write_str("administratively down"),
            Self::ReverseConcatenatedPathDown => f.write_str("reverse concatenated path down"),
            Self::Reserved(code) => write!(f, "diagnostic {code}"),
        }
    }
}

/// A control packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control {
    /// Why the sender's session changed its state last.
    pub diagnostic: Diagnostic,
    /// Where the sender's session stands.
    pub state: State,
    /// The sender wants its parameters confirmed.
    pub poll: bool,
    /// Confirms the parameters of a poll.
    pub final_: bool,
    /// The sender's BFD survives the end of its control plane.
    pub independent: bool,
    /// The sender wants no periodic packets.
    pub demand: bool,
    /// So many packets of the sender may be lost, and one more means that it is gone. Not zero.
    pub multiplier: u8,
    /// Names the session at the sender. Not zero.
    pub my_discriminator: u32,
    /// Names the session at the receiver; zero while the sender does not know.
    pub your_discriminator: u32,
    /// The sender would like to send no faster than this, in microseconds.
    pub desired_min_tx: u32,
    /// The sender can receive no faster than this, in microseconds; zero if it wants no periodic packets at all.
    pub required_min_rx: u32,
    /// The sender can return echoes no faster than this, in microseconds; zero if it cannot at all.
    pub required_min_echo_rx: u32,
}

impl Control {
    /// Reads a packet, and checks what can be checked without a session (RFC 5880 §6.8.6).
    ///
    /// # Errors
    /// If it must be discarded.
    pub fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        let Some(fixed) = bytes.first_chunk::<CONTROL_LEN>() else {
            return Err(Refusal::TooShort);
        };
        let [first, flags, multiplier, length, ..] = *fixed;
        if first >> 5 != VERSION {
            return Err(Refusal::Version);
        }
        if usize::from(length) < CONTROL_LEN || usize::from(length) > bytes.len() {
            return Err(Refusal::Length);
        }
        if multiplier == 0 {
            return Err(Refusal::Multiplier);
        }
        if flags & MULTIPOINT != 0 {
            return Err(Refusal::Multipoint);
        }
        let packet = Self {
            diagnostic: Diagnostic::from_bits(first),
            state: State::from_bits(flags >> 6),
            poll: flags & POLL != 0,
            final_: flags & FINAL != 0,
            independent: flags & INDEPENDENT != 0,
            demand: flags & DEMAND != 0,
            multiplier,
            my_discriminator: word(fixed, 4),
            your_discriminator: word(fixed, 8),
            desired_min_tx: word(fixed, 12),
            required_min_rx: word(fixed, 16),
            required_min_echo_rx: word(fixed, 20),
        };
        if packet.my_discriminator == 0 {
            return Err(Refusal::MyDiscriminator);
        }
        if packet.your_discriminator == 0 && packet.state > State::Down {
            return Err(Refusal::YourDiscriminator);
        }
        // RFC 5880 selects the session first. None of ours is authenticated, so the order only decides which refusal counts.
        if flags & AUTHENTICATED != 0 {
            return Err(Refusal::Authentication);
        }
        Ok(packet)
    }

    /// Writes the packet.
    #[must_use]
    pub fn encode(&self) -> [u8; CONTROL_LEN] {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        let mut bytes = [0; CONTROL_LEN];
        bytes[0] = VERSION << 5 | self.diagnostic.code();
        bytes[1] = (self.state as u8) << 6
            | flag(self.poll, POLL)
            | flag(self.final_, FINAL)
            | flag(self.independent, INDEPENDENT)
            | flag(self.demand, DEMAND);
        bytes[2] = self.multiplier;
        bytes[3] = CONTROL_LEN as u8;
        let words = [
            self.my_discriminator,
            self.your_discriminator,
            self.desired_min_tx,
            self.required_min_rx,
            self.required_min_echo_rx,
        ];
        for (place, word) in bytes[4..].chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }
}

fn word(bytes: &[u8; CONTROL_LEN], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |word| u32::from_be_bytes(*word))
}

/// An interval as it travels: microseconds, at most what fits.
pub(crate) fn micros(interval: Duration) -> u32 {
    u32::try_from(interval.as_micros()).unwrap_or(u32::MAX)
}

/// An interval that has travelled.
pub(crate) fn interval(micros: u32) -> Duration {
    Duration::from_micros(micros.into())
}
