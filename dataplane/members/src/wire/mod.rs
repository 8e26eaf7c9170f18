//! What members say to each other, byte for byte as `github.com/hashicorp/memberlist` v0.5.1 does.
//!
//! ```text
//!  datagram      [ encrypted( ] [ CRC ] message | compound of messages | compressed message   [ ) ]
//!  stream        [ encrypted( ] message | compressed message                                  [ ) ]
//!  message       type byte, msgpack map of its fields
//!  encrypted     datagram: version 1, nonce 12, AES-GCM ciphertext, tag 16
//!                stream: 0x0A, length u32, then the same; these five bytes are authenticated as well
//!  CRC           0x0C, CRC-32 of the rest u32
//!  compressed    0x09, map { Algo: 0, Buf: LZW }
//!  compound      0x07, count u8, a length u16 each, the messages
//! ```

pub(crate) mod lzw;
pub(crate) mod message;
pub(crate) mod msgpack;
pub(crate) mod packet;
pub(crate) mod stream;

/// First bytes.
pub(crate) mod kind {
    pub(crate) const PING: u8 = 0;
    pub(crate) const INDIRECT_PING: u8 = 1;
    pub(crate) const ACK: u8 = 2;
    pub(crate) const SUSPECT: u8 = 3;
    pub(crate) const ALIVE: u8 = 4;
    pub(crate) const DEAD: u8 = 5;
    pub(crate) const PUSH_PULL: u8 = 6;
    pub(crate) const COMPOUND: u8 = 7;
    pub(crate) const USER: u8 = 8;
    pub(crate) const COMPRESSED: u8 = 9;
    pub(crate) const ENCRYPTED: u8 = 10;
    pub(crate) const NACK: u8 = 11;
    pub(crate) const CRC: u8 = 12;
    pub(crate) const ERROR: u8 = 13;
    pub(crate) const LABEL: u8 = 244;
}

/// Why something that came in is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Refusal {
    /// Cut short.
    #[error("truncated")]
    Truncated,
    /// Not as it should be.
    #[error("malformed")]
    Malformed,
    /// The sender has another key, or none.
    #[error("no installed key could decrypt it")]
    Decryption,
    /// Encrypted, but we have no key.
    #[error("encrypted, and there is no key here")]
    Unexpected,
    /// Damaged on the way.
    #[error("wrong checksum")]
    Checksum,
    /// A message type that is none, or not in this place.
    #[error("unknown message type")]
    UnknownType,
    /// Of a membership with a label, which MetalLB has not.
    #[error("of another membership, which has a label")]
    Label,
    /// More than we are ready to read.
    #[error("too large")]
    TooLarge,
    /// Meant for another node.
    #[error("meant for another node")]
    Misdirected,
    /// A node with the name of a living one, at another address.
    #[error("a node of that name is alive at another address")]
    Conflict,
    /// Versions that nobody can speak.
    #[error("protocol versions make no sense")]
    Version,
}

impl Refusal {
    /// A word for metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::Malformed => "malformed",
            Self::Decryption => "decryption",
            Self::Unexpected => "encrypted",
            Self::Checksum => "checksum",
            Self::UnknownType => "unknown_type",
            Self::Label => "label",
            Self::TooLarge => "too_large",
            Self::Misdirected => "misdirected",
            Self::Conflict => "conflict",
            Self::Version => "version",
        }
    }
}

#[cfg(test)]
mod tests;
