//! Address families and prefixes (RFC 4271 §4.3, RFC 4760 §5).
//!
//! ```text
//! +---------------+---------------------------
//! | Length (bits) |  Prefix (0..16 octets)
//! +---------------+---------------------------
//! ```

use std::{fmt, net::IpAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::reader::{self, Reader};

/// An address family with its subsequent family, as IANA numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Family {
    /// The address family: 1 for IPv4, 2 for IPv6.
    pub afi: u16,
    /// The subsequent address family: 1 for unicast.
    pub safi: u8,
}

impl Family {
    /// IPv4 unicast.
    pub const IPV4_UNICAST: Self = Self { afi: 1, safi: 1 };
    /// IPv6 unicast.
    pub const IPV6_UNICAST: Self = Self { afi: 2, safi: 1 };
    /// The families that this crate supports.
    pub const UNICAST: [Self; 2] = [Self::IPV4_UNICAST, Self::IPV6_UNICAST];

    /// Returns the unicast family of an address.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::IPV4_UNICAST,
            IpAddr::V6(_) => Self::IPV6_UNICAST,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::IPV4_UNICAST => f.write_str("ipv4-unicast"),
            Self::IPV6_UNICAST => f.write_str("ipv6-unicast"),
            Self { afi, safi } => write!(f, "afi {afi} safi {safi}"),
        }
    }
}

/// Returns how many octets a prefix takes.
pub(crate) fn encoded_len(prefix: &IpNet) -> usize {
    1 + usize::from(prefix.prefix_len().div_ceil(8))
}

pub(super) fn encode(out: &mut Vec<u8>, prefix: &IpNet) {
    let octets = encoded_len(prefix) - 1;
    out.push(prefix.prefix_len());
    match prefix.network() {
        IpAddr::V4(network) => out.extend_from_slice(&network.octets()[..octets]),
        IpAddr::V6(network) => out.extend_from_slice(&network.octets()[..octets]),
    }
}

pub(super) fn decode_ipv4(bytes: &[u8]) -> Option<Vec<Ipv4Net>> {
    reader::all(bytes, ipv4)
}

/// Tells whether [`decode_ipv4`] would read these, without keeping any.
pub(super) fn check_ipv4(bytes: &[u8]) -> bool {
    let mut reader = Reader::new(bytes);
    while !reader.is_empty() {
        if ipv4(&mut reader).is_none() {
            return false;
        }
    }
    true
}

fn ipv4(reader: &mut Reader<'_>) -> Option<Ipv4Net> {
    let (octets, length) = prefix::<4>(reader)?;
    Some(Ipv4Net::new(octets.into(), length).ok()?.trunc())
}

pub(super) fn decode_ipv6(bytes: &[u8]) -> Option<Vec<Ipv6Net>> {
    reader::all(bytes, |reader| {
        let (octets, length) = prefix::<16>(reader)?;
        Some(Ipv6Net::new(octets.into(), length).ok()?.trunc())
    })
}

/// Reads the prefixes of one family; `None` if malformed, or of another family than those of [`Family::UNICAST`].
pub(super) fn decode(family: Family, bytes: &[u8]) -> Option<Vec<IpNet>> {
    match family {
        Family::IPV4_UNICAST => Some(decode_ipv4(bytes)?.into_iter().map(IpNet::from).collect()),
        Family::IPV6_UNICAST => Some(decode_ipv6(bytes)?.into_iter().map(IpNet::from).collect()),
        _ => None,
    }
}

fn prefix<const N: usize>(reader: &mut Reader<'_>) -> Option<([u8; N], u8)> {
    let length = reader.u8()?;
    let significant = reader.take(length.div_ceil(8).into())?;
    let mut octets = [0; N];
    octets.get_mut(..significant.len())?.copy_from_slice(significant);
    Some((octets, length))
}
