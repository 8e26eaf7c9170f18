//! UDP in IPv4 or IPv6, as far as echoes need it. They bypass this node's routing table, so that the kernel neither writes
//! nor reads their headers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const UDP: u8 = 17;
const UDP_LEN: usize = 8;
const IPV4_LEN: usize = 20;
const IPV6_LEN: usize = 40;
/// Internetwork control (RFC 2474 §4.2.2.1).
const TRAFFIC_CLASS: u8 = 0xc0;
const DONT_FRAGMENT: u16 = 0x4000;
/// More fragments follow, or this is not the first one.
const FRAGMENT: u16 = 0x3fff;

/// A UDP datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// The source address.
    pub source: IpAddr,
    /// The destination address.
    pub destination: IpAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// The source port.
    pub source_port: u16,
    /// The destination port.
    pub destination_port: u16,
    /// Its content.
    pub payload: &'a [u8],
}

impl<'a> Datagram<'a> {
    /// Reads a packet that begins with its IP header; `None` if it is not a whole UDP datagram. The checksum of UDP, which
    /// may be left to the hardware, is not checked.
    #[must_use]
    pub fn decode(packet: &'a [u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => Self::decode_v4(packet),
            6 => Self::decode_v6(packet),
            _ => None,
        }
    }

    fn decode_v4(packet: &'a [u8]) -> Option<Self> {
        let header = packet.first_chunk::<IPV4_LEN>()?;
        let header_len = usize::from(header[0] & 0xf) * 4;
        let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let fragment = u16::from_be_bytes([header[6], header[7]]) & FRAGMENT;
        if header[9] != UDP || fragment != 0 || header_len < IPV4_LEN {
            return None;
        }
        let address = |at: usize| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]).into();
        Self::decode_udp(address(12), address(16), header[8], packet.get(header_len..total)?)
    }

    fn decode_v6(packet: &'a [u8]) -> Option<Self> {
        let (header, rest) = packet.split_first_chunk::<IPV6_LEN>()?;
        let len = usize::from(u16::from_be_bytes([header[4], header[5]]));
        if header[6] != UDP {
            return None;
        }
        let address = |at: usize| {
            header[at..]
                .first_chunk::<16>()
                .map(|octets| Ipv6Addr::from(*octets).into())
        };
        Self::decode_udp(address(8)?, address(24)?, header[7], rest.get(..len)?)
    }

    fn decode_udp(source: IpAddr, destination: IpAddr, ttl: u8, udp: &'a [u8]) -> Option<Self> {
        let header = udp.first_chunk::<UDP_LEN>()?;
        let len = usize::from(u16::from_be_bytes([header[4], header[5]]));
        Some(Self {
            source,
            destination,
            ttl,
            source_port: u16::from_be_bytes([header[0], header[1]]),
            destination_port: u16::from_be_bytes([header[2], header[3]]),
            payload: udp.get(UDP_LEN..len)?,
        })
    }

    /// Writes the packet, from its IP header on; `None` if the families of the addresses differ or it is too long.
    #[must_use]
    pub fn encode(&self) -> Option<Vec<u8>> {
        let len = u16::try_from(UDP_LEN + self.payload.len()).ok()?;
        let mut packet = match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => self.header_v4(source, destination, len)?,
            (IpAddr::V6(source), IpAddr::V6(destination)) => self.header_v6(source, destination, len),
            _ => return None,
        };
        let start = packet.len();
        packet.extend(self.source_port.to_be_bytes());
        packet.extend(self.destination_port.to_be_bytes());
        packet.extend(len.to_be_bytes());
        packet.extend([0, 0]);
        packet.extend(self.payload);
        // The addresses are the last octets of either header, and are part of the pseudo header (RFC 768, RFC 8200 §8.1).
        let addresses = if self.source.is_ipv4() { 8 } else { 32 };
        let pseudo = u32::from(UDP) + u32::from(len);
        let sum = match checksum(pseudo, &packet[start - addresses..]) {
            0 => 0xffff,
            sum => sum,
        };
        packet[start + 6..start + 8].copy_from_slice(&sum.to_be_bytes());
        Some(packet)
    }

    fn header_v4(&self, source: Ipv4Addr, destination: Ipv4Addr, len: u16) -> Option<Vec<u8>> {
        let total = len.checked_add(IPV4_LEN as u16)?;
        let mut header = vec![0x45, TRAFFIC_CLASS];
        header.extend(total.to_be_bytes());
        header.extend([0, 0]);
        header.extend(DONT_FRAGMENT.to_be_bytes());
        header.extend([self.ttl, UDP, 0, 0]);
        header.extend(source.octets());
        header.extend(destination.octets());
        let sum = checksum(0, &header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        Some(header)
    }

    fn header_v6(&self, source: Ipv6Addr, destination: Ipv6Addr, len: u16) -> Vec<u8> {
        let mut header = vec![0x60 | TRAFFIC_CLASS >> 4, TRAFFIC_CLASS << 4, 0, 0];
        header.extend(len.to_be_bytes());
        header.extend([UDP, self.ttl]);
        header.extend(source.octets());
        header.extend(destination.octets());
        header
    }
}

/// The Internet checksum (RFC 1071).
fn checksum(start: u32, bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| match *pair {
        [high, low] => u32::from(u16::from_be_bytes([high, low])),
        [high] => u32::from(high) << 8,
        _ => 0,
    });
    let mut sum: u32 = words.fold(start, u32::wrapping_add);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
