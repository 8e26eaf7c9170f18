//! IP families and what a Service wants of them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IP family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    #[default]
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both, in the order in which addresses are written to a Service.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The family of an address.
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::V4 => Self::V6,
            Self::V6 => Self::V4,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// The families of a Service, known from its cluster addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Families {
    /// One family.
    Single(Family),
    /// Both.
    Dual,
}

impl Families {
    /// The families of a list of one or two addresses; `None` if it is no such list.
    #[must_use]
    pub fn of(ips: &[IpAddr]) -> Option<Self> {
        match ips {
            [one] => Some(Self::Single(Family::of(*one))),
            [a, b] if a.is_ipv4() != b.is_ipv4() => Some(Self::Dual),
            _ => None,
        }
    }

    /// Tells whether the family is among them.
    #[must_use]
    pub fn includes(self, family: Family) -> bool {
        match self {
            Self::Single(own) => own == family,
            Self::Dual => true,
        }
    }
}

impl fmt::Display for Families {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Single(family) => family.fmt(f),
            Self::Dual => f.write_str("IPv4 and IPv6"),
        }
    }
}

impl Default for Families {
    fn default() -> Self {
        Self::Single(Family::V4)
    }
}

/// `spec.ipFamilyPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FamilyPolicy {
    /// One address.
    #[default]
    SingleStack,
    /// Two if they can be had.
    PreferDualStack,
    /// Two or none.
    RequireDualStack,
}

/// The address as a number.
pub(crate) fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The number as an address.
pub(crate) fn address(family: Family, bits: u128) -> IpAddr {
    match (family, u32::try_from(bits)) {
        (Family::V4, Ok(bits)) => IpAddr::V4(Ipv4Addr::from_bits(bits)),
        _ => IpAddr::V6(Ipv6Addr::from_bits(bits)),
    }
}
