//! Capabilities (RFC 5492 §4).
//!
//! ```text
//! +---------------+---------------+------------------
//! |     Code      |    Length     |  Value (variable)
//! +---------------+---------------+------------------
//! ```

use super::{
    Family, OpenError, RestartCapability,
    reader::{self, Reader},
};

/// A capability that a speaker offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Capability {
    /// Carries routes of this family (RFC 4760 §8).
    Multiprotocol(Family),
    /// Answers ROUTE-REFRESH (RFC 2918 §2).
    RouteRefresh,
    /// Accepts IPv6 next hops where IPv4 ones are usual (RFC 8950 §4).
    ExtendedNextHop(Vec<ExtendedNextHop>),
    /// Accepts messages of 65535 octets (RFC 8654 §3).
    ExtendedMessage,
    /// Graceful restart, of the sender or only of its peers (RFC 4724 §3).
    GracefulRestart(RestartCapability),
    /// Knows 4-octet AS numbers, and is in this one (RFC 6793 §3).
    FourOctetAsn(u32),
    /// Puts a begin and an end around a table that is sent again (RFC 7313 §3.1).
    EnhancedRouteRefresh,
    /// The name of the host, and its domain (draft-walton-bgp-hostname-capability §3).
    HostName {
        /// At most 64 octets; a longer one is cut between two characters.
        host: String,
        /// The domain; may be empty.
        domain: String,
    },
    /// Not known here, or has a length that its code does not allow: ignored.
    Unknown {
        /// The capability code.
        code: u8,
        /// The value as it came.
        value: Vec<u8>,
    },
}

/// One triple of the extended next hop capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtendedNextHop {
    /// The family of the routes; its SAFI takes 16 bits here.
    pub family: Family,
    /// The address family of the next hop.
    pub next_hop_afi: u16,
}

impl ExtendedNextHop {
    /// Allows IPv4 routes over IPv6 next hops.
    pub const IPV4_OVER_IPV6: Self = Self {
        family: Family::IPV4_UNICAST,
        next_hop_afi: 2,
    };
}

impl Capability {
    /// Returns the number on the wire.
    pub fn code(&self) -> u8 {
        match self {
            Self::Multiprotocol(_) => 1,
            Self::RouteRefresh => 2,
            Self::ExtendedNextHop(_) => 5,
            Self::ExtendedMessage => 6,
            Self::GracefulRestart(_) => 64,
            Self::FourOctetAsn(_) => 65,
            Self::EnhancedRouteRefresh => 70,
            Self::HostName { .. } => 73,
            Self::Unknown { code, .. } => *code,
        }
    }

    pub(super) fn family(&self) -> Option<Family> {
        match self {
            Self::Multiprotocol(family) => Some(*family),
            _ => None,
        }
    }

    /// Returns the graceful restart capability, if it is that.
    pub fn restart(&self) -> Option<&RestartCapability> {
        match self {
            Self::GracefulRestart(restart) => Some(restart),
            _ => None,
        }
    }

    pub(super) fn allows_ipv4_over_ipv6(&self) -> bool {
        matches!(self, Self::ExtendedNextHop(triples) if triples.contains(&ExtendedNextHop::IPV4_OVER_IPV6))
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let value = self.value();
        out.push(self.code());
        out.push(u8::try_from(value.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(&value[..value.len().min(u8::MAX.into())]);
    }

    fn value(&self) -> Vec<u8> {
        match self {
            Self::Multiprotocol(Family { afi, safi }) => [&afi.to_be_bytes()[..], &[0, *safi]].concat(),
            Self::RouteRefresh | Self::ExtendedMessage | Self::EnhancedRouteRefresh => Vec::new(),
            Self::HostName { host, domain } => [host, domain].into_iter().flat_map(|name| counted(name)).collect(),
            Self::ExtendedNextHop(triples) => triples.iter().flat_map(ExtendedNextHop::octets).collect(),
            Self::GracefulRestart(restart) => restart.octets(),
            Self::FourOctetAsn(asn) => asn.to_be_bytes().to_vec(),
            Self::Unknown { value, .. } => value.clone(),
        }
    }

    /// Reads all capabilities of one optional parameter.
    pub(super) fn decode_all(parameter: &[u8]) -> Result<Vec<Self>, OpenError> {
        reader::all(parameter, |reader| {
            let code = reader.u8()?;
            let length = reader.u8()?;
            Some(Self::decode(code, reader.take(length.into())?))
        })
        .ok_or(OpenError::Malformed)
    }

    fn decode(code: u8, value: &[u8]) -> Self {
        let known = match (code, value.len()) {
            (1, 4) => Reader::new(value)
                .u16()
                .map(|afi| Self::Multiprotocol(Family { afi, safi: value[3] })),
            (2, 0) => Some(Self::RouteRefresh),
            (5, _) => reader::all(value, ExtendedNextHop::read).map(Self::ExtendedNextHop),
            (6, 0) => Some(Self::ExtendedMessage),
            (64, _) => RestartCapability::read(value).map(Self::GracefulRestart),
            (65, 4) => Reader::new(value).u32().map(Self::FourOctetAsn),
            (70, 0) => Some(Self::EnhancedRouteRefresh),
            (73, _) => host_name(value),
            _ => None,
        };
        known.unwrap_or_else(|| Self::Unknown {
            code,
            value: value.to_vec(),
        })
    }
}

impl ExtendedNextHop {
    fn octets(&self) -> [u8; 6] {
        let ([a, b], [c, d]) = (self.family.afi.to_be_bytes(), self.next_hop_afi.to_be_bytes());
        [a, b, 0, self.family.safi, c, d]
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let (afi, safi, next_hop_afi) = (reader.u16()?, reader.u16()?, reader.u16()?);
        Some(Self {
            family: Family {
                afi,
                safi: u8::try_from(safi).ok()?,
            },
            next_hop_afi,
        })
    }
}

/// The longest name of the host name capability.
const MAX_NAME: usize = 64;

fn counted(name: &str) -> Vec<u8> {
    let name = &name[..name.floor_char_boundary(MAX_NAME)];
    [&[u8::try_from(name.len()).unwrap_or_default()], name.as_bytes()].concat()
}

fn host_name(value: &[u8]) -> Option<Capability> {
    let mut reader = Reader::new(value);
    let mut name = || {
        let length = reader.u8()?;
        let name = reader.take(length.into())?;
        Some(String::from_utf8_lossy(name).into_owned())
    };
    let (host, domain) = (name()?, name()?);
    // A value that would not be encoded to the same bytes is kept as an unknown one.
    let whole = Capability::HostName { host, domain };
    (whole.value() == value).then_some(whole)
}
