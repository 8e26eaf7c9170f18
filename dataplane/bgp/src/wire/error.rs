//! Errors in messages; the NOTIFICATION follows from the type of the error.

use super::{
    RefreshError,
    notification::{Code, Notification},
};

/// An error in received bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// RFC 4271 §6.1.
    #[error("message header: {0}")]
    Header(#[from] HeaderError),
    /// RFC 4271 §6.2.
    #[error("OPEN: {0}")]
    Open(#[from] OpenError),
    /// RFC 4271 §6.3, after RFC 7606 has taken away most of it.
    #[error("UPDATE: {0}")]
    Update(#[from] UpdateError),
    /// RFC 7313 §5.
    #[error("ROUTE-REFRESH: {0}")]
    Refresh(#[from] RefreshError),
}

impl DecodeError {
    /// Returns the answer to the peer.
    pub fn notification(&self) -> Notification {
        match self {
            Self::Header(error) => error.notification(),
            Self::Open(error) => error.notification(),
            Self::Update(error) => error.notification(),
            Self::Refresh(error) => error.notification(),
        }
    }
}

/// An error in a message header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The marker is not all ones.
    #[error("connection not synchronised")]
    Marker,
    /// The length is impossible for the type.
    #[error("bad length {0}")]
    Length(u16),
    /// The type is unknown.
    #[error("bad type {0}")]
    Type(u8),
}

impl HeaderError {
    /// Returns the answer to the peer; the data is the erroneous field.
    pub fn notification(&self) -> Notification {
        match self {
            Self::Marker => Notification::new(Code::Header, 1),
            Self::Length(length) => Notification::with_data(Code::Header, 2, length.to_be_bytes()),
            Self::Type(kind) => Notification::with_data(Code::Header, 3, [*kind]),
        }
    }
}

/// An error in an OPEN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// An optional parameter or a capability does not fit its place.
    #[error("malformed optional parameters")]
    Malformed,
    /// The peer does not speak BGP-4.
    #[error("unsupported version {0}")]
    Version(u8),
    /// The peer is in another AS than configured.
    #[error("peer is in AS {asn}")]
    PeerAs {
        /// The AS that the peer claims.
        asn: u32,
        /// Tells whether the peer knows 4-octet AS numbers.
        four_octet: bool,
    },
    /// The identifier is zero, or ours on an internal session.
    #[error("bad BGP identifier {0}")]
    Identifier(std::net::Ipv4Addr),
    /// An optional parameter is neither capabilities nor known.
    #[error("unsupported optional parameter {0}")]
    Parameter(u8),
    /// One or two seconds are too short.
    #[error("unacceptable hold time of {0}s")]
    HoldTime(u16),
}

impl OpenError {
    /// Returns the answer to the peer.
    pub fn notification(&self) -> Notification {
        match *self {
            Self::Malformed => Notification::new(Code::Open, 0),
            Self::Version(_) => Notification::with_data(Code::Open, 1, 4u16.to_be_bytes()),
            Self::PeerAs { asn, four_octet: true } => Notification::with_data(Code::Open, 2, asn.to_be_bytes()),
            Self::PeerAs { asn, four_octet: false } => {
                Notification::with_data(Code::Open, 2, super::two_octets(asn).to_be_bytes())
            }
            Self::Identifier(_) => Notification::new(Code::Open, 3),
            Self::Parameter(_) => Notification::new(Code::Open, 4),
            Self::HoldTime(_) => Notification::new(Code::Open, 6),
        }
    }
}

/// An error in an UPDATE that makes its parts indistinguishable.
///
/// A malformed attribute is not an error: see [`super::Attribute::Malformed`] (RFC 7606 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpdateError {
    /// The two inner lengths contradict the message length.
    #[error("lengths inside the message do not add up")]
    Lengths,
    /// A prefix is longer than its family allows, or cut short.
    #[error("invalid prefix")]
    Network,
}

impl UpdateError {
    /// Returns the answer to the peer.
    pub fn notification(&self) -> Notification {
        match self {
            Self::Lengths => Notification::new(Code::Update, 1),
            Self::Network => Notification::new(Code::Update, 10),
        }
    }
}

/// Why a message cannot be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The message would be longer than negotiated.
    #[error("message of {length} octets exceeds {max}")]
    TooLong {
        /// The length it would have.
        length: usize,
        /// The length allowed.
        max: usize,
    },
}
