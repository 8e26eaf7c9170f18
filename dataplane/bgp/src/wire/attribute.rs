//! Path attributes (RFC 4271 §4.3 and §5, RFC 4760, RFC 6793, RFC 1997, RFC 8092).
//!
//! ```text
//!   0 1 2 3 4 5 6 7
//! +-+-+-+-+-+-+-+-+---------------+---------------+--------
//! |O|T|P|E|   0   |     Type      | Length (8/16) | Value
//! +-+-+-+-+-+-+-+-+---------------+---------------+--------
//! O optional, T transitive, P partial, E length has 16 bits
//!
//! MP_REACH_NLRI (RFC 4760 §3)
//! +-------------------------------+---------------+---------------+
//! |              AFI              |     SAFI      | Next hop len  |
//! +-------------------------------+---------------+---------------+
//! |  Next hop (4, 16 or 32)       |   reserved 0  |  prefixes
//! +-------------------------------+---------------+---------------
//! ```

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::{
    Codec, Family, nlri,
    reader::{self, Reader},
    two_octets,
};
use crate::LargeCommunity;

const OPTIONAL: u8 = 0x80;
const TRANSITIVE: u8 = 0x40;
const PARTIAL: u8 = 0x20;
const EXTENDED: u8 = 0x10;
/// Well-known attributes.
const WELL_KNOWN: u8 = TRANSITIVE;
const OPTIONAL_TRANSITIVE: u8 = OPTIONAL | TRANSITIVE;

/// One path attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// ORIGIN, type 1.
    Origin(Origin),
    /// AS_PATH, type 2.
    AsPath(AsPath),
    /// NEXT_HOP, type 3.
    NextHop(Ipv4Addr),
    /// MULTI_EXIT_DISC, type 4.
    MultiExitDisc(u32),
    /// LOCAL_PREF, type 5.
    LocalPref(u32),
    /// ATOMIC_AGGREGATE, type 6.
    AtomicAggregate,
    /// AGGREGATOR, type 7.
    Aggregator(Aggregator),
    /// COMMUNITIES, type 8.
    Communities(Vec<u32>),
    /// MP_REACH_NLRI, type 14.
    MpReach(MpReach),
    /// MP_UNREACH_NLRI, type 15.
    MpUnreach(MpUnreach),
    /// EXTENDED COMMUNITIES, type 16.
    ExtendedCommunities(Vec<[u8; 8]>),
    /// AS4_PATH, type 17: 4-octet numbers past a speaker that does not know them.
    As4Path(AsPath),
    /// LARGE_COMMUNITY, type 32.
    LargeCommunities(Vec<LargeCommunity>),
    /// Not known here.
    Unknown {
        /// The flags optional, transitive and partial.
        flags: u8,
        /// The type.
        code: u8,
        /// The value as it came.
        value: Vec<u8>,
    },
    /// Known, but wrong in flags, length or value; the rest of the message can still be read (RFC 7606).
    Malformed {
        /// The type, 0 when even that is missing.
        code: u8,
    },
}

/// The origin of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Interior to the originating AS.
    Igp,
    /// Learned by EGP.
    Egp,
    /// Learned otherwise.
    Incomplete,
}

/// The list of AS numbers that a route went through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AsPath(
    /// Lists the segments, latest first.
    pub Vec<Segment>,
);

impl AsPath {
    /// Makes a path of one sequence; an empty one has no segment at all.
    pub fn sequence(asns: impl Into<Vec<u32>>) -> Self {
        let asns = asns.into();
        Self(if asns.is_empty() {
            vec![]
        } else {
            vec![Segment {
                kind: SegmentKind::Sequence,
                asns,
            }]
        })
    }

    /// Tells whether a number in the path needs more than 16 bits.
    pub fn needs_four_octets(&self) -> bool {
        self.0
            .iter()
            .flat_map(|segment| &segment.asns)
            .any(|asn| u16::try_from(*asn).is_err())
    }
}

/// A part of an AS path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// How the numbers are ordered.
    pub kind: SegmentKind,
    /// Lists the AS numbers, at most 255.
    pub asns: Vec<u32>,
}

/// How a path segment is ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentKind {
    /// Unordered (1).
    Set,
    /// Ordered (2).
    Sequence,
    /// Ordered, inside a confederation (3).
    ConfedSequence,
    /// Unordered, inside a confederation (4).
    ConfedSet,
}

/// The speaker that aggregated a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aggregator {
    /// Its AS.
    pub asn: u32,
    /// Its BGP identifier.
    pub router_id: Ipv4Addr,
}

/// Announces prefixes of any family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MpReach {
    /// The family of the prefixes.
    pub family: Family,
    /// Where to send packets.
    pub next_hop: NextHop,
    /// Lists the prefixes.
    pub announced: Vec<IpNet>,
}

/// Withdraws prefixes of any family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MpUnreach {
    /// The family of the prefixes.
    pub family: Family,
    /// Lists the prefixes.
    pub withdrawn: Vec<IpNet>,
}

/// Where to send packets for a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextHop {
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address.
    V6(Ipv6Addr),
    /// An IPv6 address and the link-local one on a shared link (RFC 2545 §3).
    V6Pair(Ipv6Addr, Ipv6Addr),
}

impl Attribute {
    fn code(&self) -> u8 {
        match self {
            Self::Origin(_) => 1,
            Self::AsPath(_) => 2,
            Self::NextHop(_) => 3,
            Self::MultiExitDisc(_) => 4,
            Self::LocalPref(_) => 5,
            Self::AtomicAggregate => 6,
            Self::Aggregator(_) => 7,
            Self::Communities(_) => 8,
            Self::MpReach(_) => 14,
            Self::MpUnreach(_) => 15,
            Self::ExtendedCommunities(_) => 16,
            Self::As4Path(_) => 17,
            Self::LargeCommunities(_) => 32,
            Self::Unknown { code, .. } | Self::Malformed { code } => *code,
        }
    }

    fn flags(&self) -> u8 {
        match self {
            Self::Unknown { flags, .. } => flags & (OPTIONAL_TRANSITIVE | PARTIAL),
            // FRR and BIRD always write the long form here; so do we, so that captures can be compared.
            Self::MpReach(_) => OPTIONAL | EXTENDED,
            other => expected_flags(other.code()).unwrap_or(OPTIONAL_TRANSITIVE),
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>, codec: &Codec) {
        if matches!(self, Self::Malformed { .. }) {
            return; // Never re-sent.
        }
        let mut value = Vec::new();
        self.write_value(&mut value, codec);
        let (flags, code) = (self.flags(), self.code());
        match u8::try_from(value.len()) {
            Ok(length) if flags & EXTENDED == 0 => out.extend_from_slice(&[flags, code, length]),
            _ => {
                let length = u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes();
                out.extend_from_slice(&[flags | EXTENDED, code, length[0], length[1]]);
            }
        }
        out.extend_from_slice(&value);
    }

    fn write_value(&self, out: &mut Vec<u8>, codec: &Codec) {
        match self {
            Self::Origin(origin) => out.push(*origin as u8),
            Self::AsPath(path) => path.encode(out, codec.as4),
            Self::As4Path(path) => path.encode(out, true),
            Self::NextHop(address) => out.extend_from_slice(&address.octets()),
            Self::MultiExitDisc(value) | Self::LocalPref(value) => out.extend_from_slice(&value.to_be_bytes()),
            Self::AtomicAggregate | Self::Malformed { .. } => {}
            Self::Aggregator(aggregator) => aggregator.encode(out, codec.as4),
            Self::Communities(values) => out.extend(values.iter().flat_map(|value| value.to_be_bytes())),
            Self::ExtendedCommunities(values) => out.extend(values.iter().flatten()),
            Self::LargeCommunities(values) => values.iter().for_each(|value| write_large(out, value)),
            Self::MpReach(reach) => reach.encode(out),
            Self::MpUnreach(unreach) => unreach.encode(out),
            Self::Unknown { value, .. } => out.extend_from_slice(value),
        }
    }

    /// Reads all attributes of a message; one whose length is wrong takes the rest with it (RFC 7606 §4).
    pub(super) fn decode_all(attributes: &[u8], codec: &Codec) -> Vec<Self> {
        let mut reader = Reader::new(attributes);
        let mut decoded = Vec::new();
        while !reader.is_empty() {
            let code = reader.rest().get(1).copied().unwrap_or_default();
            let Some((flags, value)) = split(&mut reader) else {
                decoded.push(Self::Malformed { code });
                break;
            };
            decoded.push(Self::decode(flags, code, value, codec));
        }
        decoded
    }

    fn decode(flags: u8, code: u8, value: &[u8], codec: &Codec) -> Self {
        let Some(expected) = expected_flags(code) else {
            return Self::Unknown {
                // The other flags have no meaning (RFC 4271 §4.3).
                flags: flags & (OPTIONAL_TRANSITIVE | PARTIAL),
                code,
                value: value.to_vec(),
            };
        };
        // The partial bit is about the path of the route, not about the attribute.
        if (flags ^ expected) & OPTIONAL_TRANSITIVE & !PARTIAL != 0 {
            return Self::Malformed { code };
        }
        Self::read_value(code, value, codec).unwrap_or(Self::Malformed { code })
    }

    fn read_value(code: u8, value: &[u8], codec: &Codec) -> Option<Self> {
        let mut reader = Reader::new(value);
        let attribute = match code {
            1 => Self::Origin(Origin::from_code(reader.u8()?)?),
            2 => return AsPath::decode(value, codec.as4).map(Self::AsPath),
            3 => Self::NextHop(reader.ipv4()?),
            4 => Self::MultiExitDisc(reader.u32()?),
            5 => Self::LocalPref(reader.u32()?),
            6 => Self::AtomicAggregate,
            7 => Self::Aggregator(Aggregator::read(&mut reader, codec.as4)?),
            8 => return reader::all(value, Reader::u32).map(Self::Communities),
            14 => return read_reach(reader).or_else(|| unspoken(code, value)),
            15 => return read_unreach(reader).or_else(|| unspoken(code, value)),
            16 => return reader::all(value, Reader::array).map(Self::ExtendedCommunities),
            17 => return AsPath::decode(value, true).map(Self::As4Path),
            32 => return reader::all(value, read_large).map(Self::LargeCommunities),
            _ => return None,
        };
        reader.is_empty().then_some(attribute)
    }
}

/// Returns the flags that RFC 4271 §5 and its followers fix for a type; `None` if the type is not known here.
fn expected_flags(code: u8) -> Option<u8> {
    match code {
        1 | 2 | 3 | 5 | 6 => Some(WELL_KNOWN),
        4 | 14 | 15 => Some(OPTIONAL),
        7 | 8 | 16 | 17 | 32 => Some(OPTIONAL_TRANSITIVE),
        _ => None,
    }
}

/// Takes one attribute off the reader.
fn split<'a>(reader: &mut Reader<'a>) -> Option<(u8, &'a [u8])> {
    let flags = reader.u8()?;
    reader.u8()?;
    let length = if flags & EXTENDED == 0 {
        reader.u8()?.into()
    } else {
        reader.u16()?
    };
    Some((flags, reader.take(length.into())?))
}

/// Keeps a multiprotocol attribute of an unsupported family as it is, instead of calling it malformed.
fn unspoken(code: u8, value: &[u8]) -> Option<Attribute> {
    let mut reader = Reader::new(value);
    let family = Family {
        afi: reader.u16()?,
        safi: reader.u8()?,
    };
    let spoken = matches!(family, Family::IPV4_UNICAST | Family::IPV6_UNICAST);
    (!spoken).then(|| Attribute::Unknown {
        flags: OPTIONAL,
        code,
        value: value.to_vec(),
    })
}

impl Origin {
    fn from_code(code: u8) -> Option<Self> {
        [Self::Igp, Self::Egp, Self::Incomplete].get(usize::from(code)).copied()
    }
}

impl AsPath {
    fn encode(&self, out: &mut Vec<u8>, as4: bool) {
        for segment in &self.0 {
            out.extend_from_slice(&[
                segment.kind as u8 + 1,
                u8::try_from(segment.asns.len()).unwrap_or(u8::MAX),
            ]);
            for asn in segment.asns.iter().take(u8::MAX.into()) {
                if as4 {
                    out.extend_from_slice(&asn.to_be_bytes());
                } else {
                    out.extend_from_slice(&two_octets(*asn).to_be_bytes());
                }
            }
        }
    }

    fn decode(value: &[u8], as4: bool) -> Option<Self> {
        reader::all(value, |reader| {
            let kind = SegmentKind::from_code(reader.u8()?)?;
            let count = reader.u8()?;
            let asn = |reader: &mut Reader<'_>| if as4 { reader.u32() } else { reader.u16().map(u32::from) };
            let asns = (0..count).map(|_| asn(reader)).collect::<Option<Vec<_>>>()?;
            // RFC 7606 §7.2: a segment without numbers is malformed.
            (!asns.is_empty()).then_some(Segment { kind, asns })
        })
        .map(Self)
    }
}

impl SegmentKind {
    fn from_code(code: u8) -> Option<Self> {
        let kinds = [Self::Set, Self::Sequence, Self::ConfedSequence, Self::ConfedSet];
        kinds.get(usize::from(code).checked_sub(1)?).copied()
    }
}

impl Aggregator {
    fn encode(&self, out: &mut Vec<u8>, as4: bool) {
        if as4 {
            out.extend_from_slice(&self.asn.to_be_bytes());
        } else {
            out.extend_from_slice(&two_octets(self.asn).to_be_bytes());
        }
        out.extend_from_slice(&self.router_id.octets());
    }

    fn read(reader: &mut Reader<'_>, as4: bool) -> Option<Self> {
        let asn = if as4 { reader.u32()? } else { reader.u16()?.into() };
        Some(Self {
            asn,
            router_id: reader.ipv4()?,
        })
    }
}

fn write_large(out: &mut Vec<u8>, value: &LargeCommunity) {
    for part in [value.global, value.data1, value.data2] {
        out.extend_from_slice(&part.to_be_bytes());
    }
}

fn read_large(reader: &mut Reader<'_>) -> Option<LargeCommunity> {
    Some(LargeCommunity {
        global: reader.u32()?,
        data1: reader.u32()?,
        data2: reader.u32()?,
    })
}

impl NextHop {
    fn octets(&self) -> Vec<u8> {
        match self {
            Self::V4(address) => address.octets().to_vec(),
            Self::V6(address) => address.octets().to_vec(),
            Self::V6Pair(global, link_local) => [global.octets(), link_local.octets()].concat(),
        }
    }

    fn read(octets: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(octets);
        Some(match octets.len() {
            4 => Self::V4(reader.ipv4()?),
            16 => Self::V6(reader.ipv6()?),
            32 => Self::V6Pair(reader.ipv6()?, reader.ipv6()?),
            _ => return None,
        })
    }
}

impl MpReach {
    fn encode(&self, out: &mut Vec<u8>) {
        let next_hop = self.next_hop.octets();
        out.extend_from_slice(&self.family.afi.to_be_bytes());
        out.push(self.family.safi);
        out.push(u8::try_from(next_hop.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(&next_hop);
        out.push(0);
        self.announced.iter().for_each(|prefix| nlri::encode(out, prefix));
    }
}

impl MpUnreach {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.family.afi.to_be_bytes());
        out.push(self.family.safi);
        self.withdrawn.iter().for_each(|prefix| nlri::encode(out, prefix));
    }
}

fn read_reach(mut reader: Reader<'_>) -> Option<Attribute> {
    let family = Family {
        afi: reader.u16()?,
        safi: reader.u8()?,
    };
    let length = reader.u8()?;
    let next_hop = NextHop::read(reader.take(length.into())?)?;
    reader.u8()?;
    Some(Attribute::MpReach(MpReach {
        family,
        next_hop,
        announced: nlri::decode(family, reader.rest())?,
    }))
}

fn read_unreach(mut reader: Reader<'_>) -> Option<Attribute> {
    let family = Family {
        afi: reader.u16()?,
        safi: reader.u8()?,
    };
    Some(Attribute::MpUnreach(MpUnreach {
        family,
        withdrawn: nlri::decode(family, reader.rest())?,
    }))
}
