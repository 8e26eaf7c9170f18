//! ROUTE-REFRESH (RFC 2918 §3, RFC 7313 §4).
//!
//! ```text
//! +-------------------------------+---------------+---------------+
//! |              AFI              |    Subtype    |     SAFI      |
//! +-------------------------------+---------------+---------------+
//! ```

use bytes::Bytes;

use super::{
    Codec, DecodeError, Family, HeaderError, MessageType, Notification, header, notification::Code, reader::Reader,
};

/// A request for all routes of a family, or the begin or end of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteRefresh {
    /// The family asked for.
    pub family: Family,
    /// 0 for the request, 1 and 2 for begin and end of the answer.
    pub subtype: u8,
}

/// The subcode of 7 for a length that is not that of the subtype (RFC 7313 §5).
const INVALID_LENGTH: u8 = 1;

/// A begin or end of the wrong length (RFC 7313 §5); holds the whole message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("begin or end of {} octets", .0.len())]
pub struct RefreshError(Bytes);

impl RefreshError {
    /// Returns the answer to the peer.
    pub fn notification(&self) -> Notification {
        Notification::with_data(Code::RouteRefresh, INVALID_LENGTH, &self.0[..])
    }
}

impl RouteRefresh {
    /// The subtype that asks for a table.
    pub const REQUEST: u8 = 0;
    /// The subtype ahead of a table that is sent again (BoRR).
    pub const BEGIN: u8 = 1;
    /// The subtype behind it (EoRR).
    pub const END: u8 = 2;

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.family.afi.to_be_bytes());
        out.extend_from_slice(&[self.subtype, self.family.safi]);
    }

    pub(super) fn decode(body: &[u8], codec: &Codec) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let parsed = (|| Some((reader.u16()?, reader.u8()?, reader.u8()?)))();
        let framed = parsed.is_some_and(|(_, subtype, _)| matches!(subtype, Self::BEGIN | Self::END));
        if codec.enhanced_refresh && framed && !reader.is_empty() {
            return Err(RefreshError(header::whole(MessageType::RouteRefresh, body)).into());
        }
        // What follows a request is ORF (RFC 5291), never offered here.
        parsed
            .map(|(afi, subtype, safi)| Self {
                family: Family { afi, safi },
                subtype,
            })
            .ok_or_else(|| HeaderError::Length(u16::try_from(header::LEN + body.len()).unwrap_or(u16::MAX)).into())
    }
}
