//! Messages as bytes: everything in RFC 4271 §4 and the extensions that the crate speaks.
//!
//! What a session negotiated is a value, the [`Codec`], that encoding and decoding take; nothing here remembers a
//! session. Decoding never panics: an error names the NOTIFICATION that answers it.

mod attribute;
mod capability;
mod codec;
mod error;
mod header;
mod nlri;
pub mod notification;
mod open;
mod reader;
mod refresh;
mod restart;
#[cfg(test)]
mod second_opinion;
#[cfg(test)]
mod tests;
mod update;

pub use attribute::{Aggregator, AsPath, Attribute, MpReach, MpUnreach, NextHop, Origin, Segment, SegmentKind};
pub use capability::{Capability, ExtendedNextHop};
pub use codec::{Codec, Message};
pub use error::{DecodeError, EncodeError, HeaderError, OpenError, UpdateError};
pub use header::{Frame, Framer, MessageType};
pub use nlri::Family;
pub(crate) use nlri::encoded_len as encoded_prefix_len;
pub use notification::Notification;
pub use open::Open;
pub use refresh::{RefreshError, RouteRefresh};
pub use restart::{RestartCapability, RestartFamily};
pub use update::Update;

/// Stands for an AS number above 65535 where only 16 bits fit (RFC 6793 §9).
pub const AS_TRANS: u16 = 23456;
/// The largest message unless both sides offer more (RFC 4271 §4).
pub const MAX_MESSAGE: usize = 4096;
/// The largest message with the extended message capability (RFC 8654 §4).
pub const MAX_EXTENDED_MESSAGE: usize = 65535;

/// Writes an AS number into 16 bits.
pub(crate) fn two_octets(asn: u32) -> u16 {
    u16::try_from(asn).unwrap_or(AS_TRANS)
}
