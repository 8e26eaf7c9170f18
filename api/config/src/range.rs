//! Address ranges: the grammar of `spec.addresses`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, IpSubnets, Ipv4Net, Ipv4Subnets, Ipv6Net, Ipv6Subnets};
use thiserror::Error;

/// Why an entry of `spec.addresses` is not understood.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AddressError {
    /// Neither `address/length` nor `first-last`.
    #[error("invalid CIDR \"{0}\"")]
    Cidr(String),
    /// More than one dash.
    #[error("invalid IP range \"{0}\"")]
    Range(String),
    /// The left side of the dash.
    #[error("invalid IP range \"{range}\": invalid start IP \"{ip}\"")]
    Start {
        /// The whole entry.
        range: String,
        /// The part that is no address.
        ip: String,
    },
    /// The right side of the dash.
    #[error("invalid IP range \"{range}\": invalid end IP \"{ip}\"")]
    End {
        /// The whole entry.
        range: String,
        /// The part that is no address.
        ip: String,
    },
    /// First address above the last.
    #[error("invalid IP range \"{range}\": start IP \"{first}\" is after the end IP \"{last}\"")]
    Order {
        /// The whole entry.
        range: String,
        /// First address.
        first: IpAddr,
        /// Last address.
        last: IpAddr,
    },
    /// One address of each family.
    ///
    /// Upstream: accepted, and the pool silently has no addresses (W-16).
    #[error("invalid IP range \"{0}\": start and end IP must be of the same family (IPv4 or IPv6)")]
    MixedFamilies(String),
    /// An IPv4-mapped prefix that reaches out of the mapped space.
    ///
    /// Upstream: handled as IPv4 with a mask of 128 bits (W-17).
    #[error("invalid CIDR \"{0}\": an IPv4-mapped IPv6 prefix must be /96 or longer, write it as IPv4")]
    Mapped(String),
}

/// A range of addresses of one family, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressRange {
    first: IpAddr,
    last: IpAddr,
}

/// Family (IPv6 or not), first and last address: what ranges are sorted by, as numbers.
pub(crate) type RangeKey = (bool, u128, u128);

impl AddressRange {
    pub(crate) fn key(&self) -> RangeKey {
        (!self.is_ipv4(), to_bits(self.first), to_bits(self.last))
    }

    /// Not less than the key of any range that has an address up to the end of this one.
    pub(crate) fn end_key(&self) -> RangeKey {
        (!self.is_ipv4(), to_bits(self.last), u128::MAX)
    }

    /// The length of the widest prefix that fits into the range.
    pub(crate) fn widest_prefix(&self) -> u8 {
        let (_, first, last) = self.key();
        let width: u32 = if self.is_ipv4() { 32 } else { 128 };
        if first == 0 && last == u128::MAX {
            return 0;
        }
        // A block of half the size of the largest power of two always fits, however the range is aligned.
        let bits = (last - first + 1).ilog2();
        let fits = |bits: u32| {
            let size = 1u128 << bits;
            let start = first.checked_add(size - 1).map(|end| end & !(size - 1));
            start
                .and_then(|start| start.checked_add(size - 1))
                .is_some_and(|end| end <= last)
        };
        let bits = (bits.saturating_sub(1)..=bits)
            .rev()
            .find(|&bits| fits(bits))
            .unwrap_or(0);
        u8::try_from(width - bits).unwrap_or(u8::MAX)
    }

    /// Builds a range; `None` unless both ends are of one family and in order.
    #[must_use]
    pub fn new(first: IpAddr, last: IpAddr) -> Option<Self> {
        let range = Self {
            first: first.to_canonical(),
            last: last.to_canonical(),
        };
        (range.first.is_ipv4() == range.last.is_ipv4() && range.first <= range.last).then_some(range)
    }

    /// Understands `address/length` or `first-last`.
    ///
    /// IPv4-mapped IPv6 addresses become IPv4, host bits are cleared.
    ///
    /// # Errors
    /// Says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        match text.split_once('-') {
            Some((first, last)) => Self::parse_range(text, first, last),
            None => Self::parse_cidr(text),
        }
    }

    fn parse_range(text: &str, first: &str, last: &str) -> Result<Self, AddressError> {
        let range = || text.to_owned();
        if last.contains('-') {
            return Err(AddressError::Range(range()));
        }
        let (first, last) = (first.trim(), last.trim());
        let start = parse_ip(first).ok_or_else(|| AddressError::Start {
            range: range(),
            ip: first.to_owned(),
        })?;
        let end = parse_ip(last).ok_or_else(|| AddressError::End {
            range: range(),
            ip: last.to_owned(),
        })?;
        if start.is_ipv4() != end.is_ipv4() {
            return Err(AddressError::MixedFamilies(range()));
        }
        Self::new(start, end).ok_or_else(|| AddressError::Order {
            range: range(),
            first: start,
            last: end,
        })
    }

    fn parse_cidr(text: &str) -> Result<Self, AddressError> {
        let error = || AddressError::Cidr(text.to_owned());
        let (address, length) = text.split_once('/').ok_or_else(error)?;
        // Go's parser takes digits only, leading zeros included.
        if length.is_empty() || !length.bytes().all(|b| b.is_ascii_digit()) {
            return Err(error());
        }
        let length = length.trim_start_matches('0');
        let length: u8 = if length.is_empty() {
            0
        } else {
            length.parse().map_err(|_| error())?
        };
        let net = match IpAddr::from_str(address).map_err(|_| error())? {
            IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
                Some(v4) if (96..=128).contains(&length) => {
                    IpNet::V4(Ipv4Net::new(v4, length - 96).map_err(|_| error())?)
                }
                Some(_) if length < 96 => return Err(AddressError::Mapped(text.to_owned())),
                _ => IpNet::V6(Ipv6Net::new(v6, length).map_err(|_| error())?),
            },
            IpAddr::V4(v4) => IpNet::V4(Ipv4Net::new(v4, length).map_err(|_| error())?),
        };
        Ok(net.into())
    }

    /// The first address.
    #[must_use]
    pub fn first(&self) -> IpAddr {
        self.first
    }

    /// The last address.
    #[must_use]
    pub fn last(&self) -> IpAddr {
        self.last
    }

    /// Tells whether the range is IPv4.
    #[must_use]
    pub fn is_ipv4(&self) -> bool {
        self.first.is_ipv4()
    }

    /// Tells whether the address lies in the range; IPv4-mapped addresses count as IPv4.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip.is_ipv4() == self.is_ipv4() && self.first <= ip && ip <= self.last
    }

    /// Tells whether the two ranges share an address.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.is_ipv4() == other.is_ipv4() && self.first <= other.last && other.first <= self.last
    }

    /// The number of addresses; `::/0` counts as `u128::MAX`.
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // a range is never empty
    pub fn len(&self) -> u128 {
        (to_bits(self.last) - to_bits(self.first)).saturating_add(1)
    }

    /// The fewest prefixes that make up the range, in order.
    #[must_use]
    pub fn cidrs(&self) -> Vec<IpNet> {
        match (self.first, self.last) {
            (IpAddr::V4(a), IpAddr::V4(b)) => IpSubnets::from(Ipv4Subnets::new(a, b, 0)).collect(),
            (IpAddr::V6(a), IpAddr::V6(b)) => IpSubnets::from(Ipv6Subnets::new(a, b, 0)).collect(),
            _ => Vec::new(),
        }
    }

    /// The addresses in order.
    pub fn addresses(&self) -> impl DoubleEndedIterator<Item = IpAddr> + use<> {
        let v4 = self.is_ipv4();
        (to_bits(self.first)..=to_bits(self.last)).map(move |bits| from_bits(bits, v4))
    }
}

impl From<IpNet> for AddressRange {
    fn from(net: IpNet) -> Self {
        Self {
            first: net.network(),
            last: net.broadcast(),
        }
    }
}

impl FromStr for AddressRange {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text)
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cidrs().as_slice() {
            [net] => net.fmt(f),
            _ => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

/// Understands an address as Go's `net.ParseIP` does: no zone, no leading zeros, mapped means IPv4.
pub(crate) fn parse_ip(text: &str) -> Option<IpAddr> {
    IpAddr::from_str(text).ok().map(|ip| ip.to_canonical())
}

fn to_bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn from_bits(bits: u128, v4: bool) -> IpAddr {
    match u32::try_from(bits) {
        Ok(bits) if v4 => IpAddr::V4(Ipv4Addr::from_bits(bits)),
        _ => IpAddr::V6(Ipv6Addr::from_bits(bits)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest] // the table of the address grammar, P-2 and P-3
    #[case("10.0.0.5/24", "10.0.0.0/24")]
    #[case("10.0.0.1/32", "10.0.0.1/32")]
    #[case("10.0.0.0/024", "10.0.0.0/24")]
    #[case("10.0.0.0/00", "0.0.0.0/0")]
    #[case("10.0.0.0-10.0.0.255", "10.0.0.0/24")]
    #[case("10.0.0.7 - 10.0.0.9", "10.0.0.7-10.0.0.9")]
    #[case("10.0.0.7-10.0.0.7", "10.0.0.7/32")]
    #[case("fc00:f853:ccd:e799::/124", "fc00:f853:ccd:e799::/124")]
    #[case("fc00::1-fc00::5", "fc00::1-fc00::5")]
    #[case("::ffff:10.0.0.1-10.0.0.9", "10.0.0.1-10.0.0.9")]
    #[case("::ffff:10.0.0.0/120", "10.0.0.0/24")] // W-17
    #[case("0.0.0.0/0", "0.0.0.0/0")]
    #[case("::/0", "::/0")]
    fn accepted_forms_are_normalised(#[case] text: &str, #[case] printed: &str) {
        assert_eq!(AddressRange::parse(text).unwrap().to_string(), printed);
    }

    #[rstest]
    #[case("010.0.0.0/24")]
    #[case("10.0.0.1")]
    #[case(" 10.0.0.0/24")]
    #[case("10.0.0.0/33")]
    #[case("fc00::/129")]
    #[case("10.0.0.0/+24")]
    #[case("10.0.0.0/")]
    #[case("10.0.0.0/999999999999")]
    #[case("")]
    #[case("-")]
    #[case("10.0.0.1-")]
    #[case("10.0.0.1-10.0.0.2-10.0.0.3")]
    #[case("10.0.0.0/24-10.0.1.0/24")]
    #[case("fe80::1%eth0-fe80::2%eth0")]
    #[case("fe80::1%eth0/64")]
    #[case("10.0.0.9-10.0.0.1")] // P-3
    #[case("10.0.0.1-fc00::1")] // W-16
    #[case("fc00::1-10.0.0.1")]
    #[case("::ffff:10.0.0.0/64")] // W-17
    fn everything_else_is_refused(#[case] text: &str) {
        assert!(AddressRange::parse(text).is_err());
    }

    #[test]
    fn errors_quote_the_entry_and_say_what_is_wrong() {
        let error = |text| AddressRange::parse(text).unwrap_err().to_string();
        assert_eq!(error("10.0.0.0/33"), "invalid CIDR \"10.0.0.0/33\"");
        assert_eq!(
            error("x-10.0.0.1"),
            "invalid IP range \"x-10.0.0.1\": invalid start IP \"x\""
        );
        assert!(error("10.0.0.9-10.0.0.1").contains("is after the end IP"));
        assert!(error("10.0.0.1-fc00::1").contains("same family"));
    }

    #[test]
    fn membership_looks_through_mapped_addresses() {
        let range = AddressRange::parse("10.0.0.0/24").unwrap();
        assert!(range.contains("::ffff:10.0.0.7".parse().unwrap()));
        assert!(!range.contains("10.0.1.0".parse().unwrap()));
        assert!(!range.contains("::a00:7".parse().unwrap()));
    }

    #[rstest]
    #[case("10.0.0.0/24", 256)]
    #[case("10.0.0.3-10.0.0.5", 3)]
    #[case("0.0.0.0/0", 1 << 32)]
    #[case("::/0", u128::MAX)]
    #[case("fc00::/64", 1 << 64)]
    fn len_counts_the_addresses(#[case] text: &str, #[case] count: u128) {
        assert_eq!(AddressRange::parse(text).unwrap().len(), count);
    }

    fn ranges() -> impl Strategy<Value = AddressRange> {
        let v4 = any::<(u32, u32)>().prop_map(|(a, b)| {
            (
                Ipv4Addr::from_bits(a.min(b)).into(),
                Ipv4Addr::from_bits(a.max(b)).into(),
            )
        });
        let v6 = any::<(u128, u128)>().prop_map(|(a, b)| {
            (
                Ipv6Addr::from_bits(a.min(b)).into(),
                Ipv6Addr::from_bits(a.max(b)).into(),
            )
        });
        prop_oneof![v4, v6].prop_filter_map("mapped on one side only", |(a, b)| AddressRange::new(a, b))
    }

    proptest! {
        #[test]
        fn parsing_what_was_printed_changes_nothing(range in ranges()) {
            prop_assert_eq!(AddressRange::parse(&range.to_string()), Ok(range));
        }

        #[test]
        fn the_widest_prefix_is_that_of_the_widest_block(range in ranges()) {
            let widest = range.cidrs().iter().map(IpNet::prefix_len).min().unwrap();
            prop_assert_eq!(range.widest_prefix(), widest);
        }

        #[test]
        fn the_widest_prefix_of_a_short_range_is_right_too(first in 0u32..2000, length in 0u32..600) {
            let ends = [first, first + length].map(|bits| IpAddr::from(Ipv4Addr::from_bits(bits)));
            let range = AddressRange::new(ends[0], ends[1]).unwrap();
            let widest = range.cidrs().iter().map(IpNet::prefix_len).min().unwrap();
            prop_assert_eq!(range.widest_prefix(), widest);
        }

        #[test]
        fn cidrs_cover_the_range_without_gap_or_overlap(range in ranges()) {
            let nets: Vec<AddressRange> = range.cidrs().into_iter().map(Into::into).collect();
            prop_assert_eq!(nets.first().unwrap().first(), range.first());
            prop_assert_eq!(nets.last().unwrap().last(), range.last());
            for pair in nets.windows(2) {
                prop_assert_eq!(to_bits(pair[0].last()) + 1, to_bits(pair[1].first()));
            }
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "[0-9a-f:./% +-]{0,40}") {
            let _ = AddressRange::parse(&text);
        }
    }
}
