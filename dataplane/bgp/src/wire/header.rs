//! Message header (RFC 4271 §4.1), and messages cut out of a byte stream.
//!
//! ```text
//!  0                   1                   2                   3
//! +---------------------------------------------------------------+
//! |                     Marker: 16 octets of ones                 |
//! +-------------------------------+---------------+---------------+
//! |            Length             |     Type      |  body ...
//! +-------------------------------+---------------+
//! ```

use bytes::{Buf, Bytes, BytesMut};

use super::{HeaderError, MAX_EXTENDED_MESSAGE, MAX_MESSAGE};

pub(super) const LEN: usize = 19;
const MARKER: [u8; 16] = [0xff; 16];

/// The type of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageType {
    /// RFC 4271 §4.2.
    Open,
    /// RFC 4271 §4.3.
    Update,
    /// RFC 4271 §4.5.
    Notification,
    /// RFC 4271 §4.4.
    Keepalive,
    /// RFC 2918 §3.
    RouteRefresh,
}

impl MessageType {
    /// Returns the number on the wire.
    pub fn code(self) -> u8 {
        match self {
            Self::Open => 1,
            Self::Update => 2,
            Self::Notification => 3,
            Self::Keepalive => 4,
            Self::RouteRefresh => 5,
        }
    }

    /// Returns the type with this number.
    pub fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Open,
            2 => Self::Update,
            3 => Self::Notification,
            4 => Self::Keepalive,
            5 => Self::RouteRefresh,
            _ => return None,
        })
    }

    /// Tells whether a whole message of this type may have that length.
    fn allows(self, length: usize, max: usize) -> bool {
        match self {
            Self::Open => (29..=MAX_MESSAGE).contains(&length),
            Self::Update => (23..=max).contains(&length),
            Self::Notification => (21..=max).contains(&length),
            Self::Keepalive => length == LEN,
            Self::RouteRefresh => (23..=max).contains(&length),
        }
    }
}

/// One message cut out of the stream, not yet decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The message type.
    pub kind: MessageType,
    /// What follows the header.
    pub body: Bytes,
}

/// Cuts messages out of a byte stream, however TCP sliced it.
#[derive(Debug, Default)]
pub struct Framer {
    buffer: BytesMut,
}

impl Framer {
    /// Appends bytes as received.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns how many octets wait to be cut.
    pub fn waiting(&self) -> usize {
        self.buffer.len()
    }

    /// Returns the next complete message, `None` if more bytes are needed.
    ///
    /// # Errors
    /// When the stream is not BGP or the header is invalid; the connection must be closed then.
    pub fn next(&mut self, extended: bool) -> Result<Option<Frame>, HeaderError> {
        let Some((header, _)) = self.buffer.split_first_chunk::<LEN>() else {
            return Ok(None);
        };
        let (length, kind) = check(header, extended)?;
        if self.buffer.len() < length {
            return Ok(None);
        }
        let mut message = self.buffer.split_to(length);
        message.advance(LEN);
        Ok(Some(Frame {
            kind,
            body: message.freeze(),
        }))
    }
}

fn check(header: &[u8; LEN], extended: bool) -> Result<(usize, MessageType), HeaderError> {
    if header[..16] != MARKER {
        return Err(HeaderError::Marker);
    }
    let length = u16::from_be_bytes([header[16], header[17]]);
    let max = if extended { MAX_EXTENDED_MESSAGE } else { MAX_MESSAGE };
    if usize::from(length) < LEN || usize::from(length) > max {
        return Err(HeaderError::Length(length));
    }
    let kind = MessageType::from_code(header[18]).ok_or(HeaderError::Type(header[18]))?;
    if !kind.allows(length.into(), max) {
        return Err(HeaderError::Length(length));
    }
    Ok((length.into(), kind))
}

/// Starts a message; [`finish`] fills in the length.
pub(super) fn start(kind: MessageType) -> Vec<u8> {
    let mut message = Vec::with_capacity(64);
    message.extend_from_slice(&MARKER);
    message.extend_from_slice(&[0, 0, kind.code()]);
    message
}

/// Puts a received message together again, as far as it fits.
pub(super) fn whole(kind: MessageType, body: &[u8]) -> Bytes {
    let mut message = start(kind);
    message.extend_from_slice(&body[..body.len().min(usize::from(u16::MAX) - LEN)]);
    finish(message).unwrap_or_default()
}

/// Writes the length; `None` if it does not fit the field.
pub(super) fn finish(mut message: Vec<u8>) -> Option<Bytes> {
    let length = u16::try_from(message.len()).ok()?;
    message[16..18].copy_from_slice(&length.to_be_bytes());
    Some(message.into())
}
