//! NOTIFICATION (RFC 4271 §4.5).
//!
//! ```text
//! +---------------+---------------+------------------
//! |  Error code   | Error subcode |  Data (variable)
//! +---------------+---------------+------------------
//! ```

use std::{borrow::Cow, fmt};

use super::{HeaderError, header, reader::Reader};

/// The subcode of Cease that ends graceful restart as well (RFC 8538 §3.1).
const HARD_RESET: u8 = 9;

/// The class of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// RFC 4271 §6.1.
    Header,
    /// RFC 4271 §6.2.
    Open,
    /// RFC 4271 §6.3.
    Update,
    /// RFC 4271 §6.5.
    HoldTimerExpired,
    /// RFC 6608.
    StateMachine,
    /// RFC 4486.
    Cease,
    /// RFC 7313 §5.
    RouteRefresh,
    /// RFC 9687 §3.
    SendHoldTimerExpired,
    /// None of the above.
    Other(u8),
}

impl Code {
    /// Returns the number on the wire.
    pub fn number(self) -> u8 {
        match self {
            Self::Header => 1,
            Self::Open => 2,
            Self::Update => 3,
            Self::HoldTimerExpired => 4,
            Self::StateMachine => 5,
            Self::Cease => 6,
            Self::RouteRefresh => 7,
            Self::SendHoldTimerExpired => 8,
            Self::Other(number) => number,
        }
    }

    fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Header,
            2 => Self::Open,
            3 => Self::Update,
            4 => Self::HoldTimerExpired,
            5 => Self::StateMachine,
            6 => Self::Cease,
            7 => Self::RouteRefresh,
            8 => Self::SendHoldTimerExpired,
            number => Self::Other(number),
        }
    }
}

/// A NOTIFICATION message, which ends the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// The class of the error.
    pub code: Code,
    /// The error within its class; 0 is unspecific.
    pub subcode: u8,
    /// Depends on code and subcode.
    pub data: Vec<u8>,
}

impl Notification {
    /// Makes one without data.
    pub fn new(code: Code, subcode: u8) -> Self {
        Self {
            code,
            subcode,
            data: Vec::new(),
        }
    }

    /// Makes one with data.
    pub fn with_data(code: Code, subcode: u8, data: impl Into<Vec<u8>>) -> Self {
        Self {
            code,
            subcode,
            data: data.into(),
        }
    }

    /// Returns the text that an administrator sent along with a shutdown or reset (RFC 9003 §2).
    pub fn communication(&self) -> Option<Cow<'_, str>> {
        let (Code::Cease, 2 | 4) = (self.code, self.subcode) else {
            return None;
        };
        let (length, text) = self.data.split_first()?;
        text.get(..usize::from(*length))
            .filter(|text| !text.is_empty())
            .map(String::from_utf8_lossy)
    }

    /// Adds a text for the peer's administrators to a shutdown or reset, which alone may have one: 255 octets at
    /// most (RFC 9003 §2). A longer one is cut between two characters.
    #[must_use]
    pub fn with_communication(self, text: &str) -> Self {
        let (Code::Cease, 2 | 4, false) = (self.code, self.subcode, text.is_empty()) else {
            return self;
        };
        let text = &text[..text.floor_char_boundary(u8::MAX.into())];
        let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
        Self {
            data: [&[length], text.as_bytes()].concat(),
            ..self
        }
    }

    /// Encloses it in a Hard Reset, after which no routes are kept (RFC 8538 §3.1).
    #[must_use]
    pub fn hard(&self) -> Self {
        let mut data = Vec::new();
        self.encode(&mut data);
        Self::with_data(Code::Cease, HARD_RESET, data)
    }

    /// Returns what a Hard Reset encloses.
    pub fn enclosed(&self) -> Option<Self> {
        let (Code::Cease, HARD_RESET) = (self.code, self.subcode) else {
            return None;
        };
        Self::decode(&self.data).ok()
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.code.number(), self.subcode]);
        out.extend_from_slice(&self.data);
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, HeaderError> {
        let mut reader = Reader::new(body);
        let (Some(code), Some(subcode)) = (reader.u8(), reader.u8()) else {
            // Only reachable without the framer, which has checked the length.
            return Err(HeaderError::Length(
                u16::try_from(header::LEN + body.len()).unwrap_or(u16::MAX),
            ));
        };
        Ok(Self {
            code: Code::from_number(code),
            subcode,
            data: reader.rest().to_vec(),
        })
    }

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} ({})", self.code.number(), self.subcode, self.name())?;
        self.communication().map_or(Ok(()), |text| write!(f, " {text:?}"))
    }

    fn name(&self) -> &'static str {
        match (self.code, self.subcode) {
            (Code::Header, 1) => "connection not synchronised",
            (Code::Header, 2) => "bad message length",
            (Code::Header, 3) => "bad message type",
            (Code::Header, _) => "message header error",
            (Code::Open, 1) => "unsupported version number",
            (Code::Open, 2) => "bad peer AS",
            (Code::Open, 3) => "bad BGP identifier",
            (Code::Open, 4) => "unsupported optional parameter",
            (Code::Open, 6) => "unacceptable hold time",
            (Code::Open, 7) => "unsupported capability",
            (Code::Open, _) => "OPEN message error",
            (Code::Update, 1) => "malformed attribute list",
            (Code::Update, 10) => "invalid network field",
            (Code::Update, _) => "UPDATE message error",
            (Code::HoldTimerExpired, _) => "hold timer expired",
            (Code::StateMachine, 1) => "unexpected message in OpenSent",
            (Code::StateMachine, 2) => "unexpected message in OpenConfirm",
            (Code::StateMachine, 3) => "unexpected message in Established",
            (Code::StateMachine, _) => "state machine error",
            (Code::Cease, 1) => "maximum number of prefixes reached",
            (Code::Cease, 2) => "administrative shutdown",
            (Code::Cease, 3) => "peer de-configured",
            (Code::Cease, 4) => "administrative reset",
            (Code::Cease, 5) => "connection rejected",
            (Code::Cease, 6) => "other configuration change",
            (Code::Cease, 7) => "connection collision resolution",
            (Code::Cease, 8) => "out of resources",
            (Code::Cease, 9) => "hard reset",
            (Code::Cease, 10) => "BFD down",
            (Code::Cease, _) => "cease",
            (Code::RouteRefresh, _) => "route refresh error",
            (Code::SendHoldTimerExpired, _) => "send hold timer expired",
            (Code::Other(_), _) => "unknown error",
        }
    }
}

impl fmt::Display for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.describe(f)?;
        // One level only: nesting has no meaning, and might have no end.
        self.enclosed().map_or(Ok(()), |enclosed| {
            f.write_str(" for ")?;
            enclosed.describe(f)
        })
    }
}
