//! ROUTE-REFRESH (RFC 2918 §3, RFC 7313 §4).
//!
//! ```text
//! +-------------------------------+---------------+---------------+
//! |              AFI              |    Subtype    |     SAFI      |
//! +-------------------------------+---------------+---------------+
//! ```

use super::{Family, HeaderError, header, reader::Reader};

/// Asks for all routes of a family again, or frames the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteRefresh {
    /// The family asked for.
    pub family: Family,
    /// 0 for the request, 1 and 2 for begin and end of the answer.
    pub subtype: u8,
}

impl RouteRefresh {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.family.afi.to_be_bytes());
        out.extend_from_slice(&[self.subtype, self.family.safi]);
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, HeaderError> {
        let mut reader = Reader::new(body);
        let parsed = (|| Some((reader.u16()?, reader.u8()?, reader.u8()?)))();
        // What follows is ORF (RFC 5291), never offered here.
        parsed
            .map(|(afi, subtype, safi)| Self {
                family: Family { afi, safi },
                subtype,
            })
            .ok_or_else(|| HeaderError::Length(u16::try_from(header::LEN + body.len()).unwrap_or(u16::MAX)))
    }
}
