//! Neighbour discovery as bytes: RFC 4861 §4.3 and §4.4 over Ethernet.
//!
//! ```text
//!  0            6         12     14      18     20   21    22        38          54     58       62       78
//!  +------------+---------+------+-------+------+----+-----+---------+-----------+------+--------+--------+---------+
//!  | destination| source  | 86dd | 6 ... | len  | 58 | 255 | from    | to        |135/6 | flags  | target | options |
//!  +------------+---------+------+-------+------+----+-----+---------+-----------+------+--------+--------+---------+
//! ```

use std::net::Ipv6Addr;

use smoltcp::{
    phy::ChecksumCapabilities,
    wire::{
        EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr, Icmpv6Packet, Icmpv6Repr, IpProtocol,
        Ipv6Packet, Ipv6Repr, NdiscNeighborFlags, NdiscRepr,
    },
};

use crate::{frame::Frame, responder::DropReason};

/// Offset of the IPv6 header's next header, which must be [`NEXT_HEADER_ICMP`]; absolute in the frame, as the kernel
/// filter sees it.
pub(crate) const NEXT_HEADER: u32 = 20;
/// Offset of the hop limit, which must be [`HOP_LIMIT`].
pub(crate) const HOP_LIMIT_AT: u32 = 21;
/// Offset of the ICMPv6 type.
pub(crate) const TYPE: u32 = 54;
/// Offset of the last 32 bits of the target.
pub(crate) const TARGET_END: u32 = 74;

/// ICMPv6.
pub(crate) const NEXT_HEADER_ICMP: u8 = 58;
/// Proves that no router has passed the message on (RFC 4861 §7.1).
pub(crate) const HOP_LIMIT: u8 = 255;
/// Type of a neighbour solicitation.
pub(crate) const SOLICITATION: u8 = 135;
/// Type of a neighbour advertisement.
pub(crate) const ADVERTISEMENT: u8 = 136;

const IPV6_HEADER: usize = 14;
const ICMP_HEADER: usize = 54;
/// A message without options.
const SHORTEST: usize = 24;
/// What Ethernet carries.
const LONGEST_FRAME: usize = 1514;
const SOURCE_LINK_LAYER: u8 = 1;
const TARGET_LINK_LAYER: u8 = 2;

/// The Ethernet address of [`ALL_NODES`] (RFC 2464 §7).
const EVERYBODY: EthernetAddress = EthernetAddress([0x33, 0x33, 0, 0, 0, 1]);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Solicitation,
    Advertisement,
}

/// What matters in a received message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ndp {
    pub(crate) destination: EthernetAddress,
    pub(crate) source: EthernetAddress,
    pub(crate) kind: Kind,
    /// Unspecified: the sender asks whether the target is free (duplicate address detection).
    pub(crate) from: Ipv6Addr,
    pub(crate) target: Ipv6Addr,
    /// As its link-layer option says; without one the Ethernet source.
    pub(crate) sender: EthernetAddress,
}

impl Ndp {
    /// Reads a frame that says that it is IPv6, if it is what RFC 4861 §7.1 calls a valid solicitation or advertisement.
    pub(crate) fn parse(frame: &[u8]) -> Result<Self, DropReason> {
        if frame.len() > LONGEST_FRAME {
            return Err(DropReason::Oversize);
        }
        let ethernet = EthernetFrame::new_checked(frame).map_err(|_| DropReason::Truncated)?;
        let ip = Ipv6Packet::new_checked(ethernet.payload()).map_err(|_| DropReason::Truncated)?;
        let icmp = check_header(&ip)?;
        let (kind, wanted) = match icmp[0] {
            SOLICITATION => (Kind::Solicitation, SOURCE_LINK_LAYER),
            ADVERTISEMENT => (Kind::Advertisement, TARGET_LINK_LAYER),
            _ => return Err(DropReason::MessageType),
        };
        let (from, to) = (ip.src_addr(), ip.dst_addr());
        let target = Ipv6Addr::from(*icmp[8..].first_chunk::<16>().ok_or(DropReason::Truncated)?);
        if icmp[1] != 0 || target.is_multicast() || from.is_multicast() {
            return Err(DropReason::Malformed);
        }
        let told = link_layer(&icmp[SHORTEST..], wanted).ok_or(DropReason::Options)?;
        // A probe has no hardware address to answer to, and goes to the group of its target.
        let probe = kind == Kind::Solicitation && from.is_unspecified();
        if probe && told.is_some() {
            return Err(DropReason::Options);
        }
        if probe && to != solicited_node(target) {
            return Err(DropReason::Malformed);
        }
        Ok(Self {
            destination: ethernet.dst_addr(),
            source: ethernet.src_addr(),
            kind,
            from,
            target,
            sender: told.unwrap_or_else(|| ethernet.src_addr()),
        })
    }

    /// Says whether somebody asks whether the target is free.
    pub(crate) fn is_probe(&self) -> bool {
        self.kind == Kind::Solicitation && self.from.is_unspecified()
    }
}

/// The ICMPv6 message of a packet from a neighbour, long enough and unspoilt.
fn check_header<'a>(ip: &Ipv6Packet<&'a [u8]>) -> Result<&'a [u8], DropReason> {
    if ip.version() != 6 || ip.next_header() != IpProtocol::Icmpv6 {
        return Err(DropReason::Malformed);
    }
    if ip.hop_limit() != HOP_LIMIT {
        return Err(DropReason::HopLimit);
    }
    let icmp = ip.payload();
    if icmp.len() < SHORTEST {
        return Err(DropReason::Truncated);
    }
    let packet = Icmpv6Packet::new_unchecked(icmp);
    if !packet.verify_checksum(&ip.src_addr(), &ip.dst_addr()) {
        return Err(DropReason::Checksum);
    }
    Ok(icmp)
}

/// The hardware address in the options, if they have it; `None` if they are malformed.
fn link_layer(mut options: &[u8], wanted: u8) -> Option<Option<EthernetAddress>> {
    let mut found = None;
    while let [kind, eights, ..] = *options {
        let length = usize::from(eights) * 8;
        if length == 0 {
            return None;
        }
        let (option, rest) = options.split_at_checked(length)?;
        if kind == wanted {
            let bytes: [u8; 6] = option[2..].try_into().ok()?;
            found = Some(EthernetAddress(bytes));
        }
        options = rest;
    }
    // One byte is left of something.
    options.is_empty().then_some(found)
}

/// The group in which a node hears questions about its address (RFC 4291 §2.7.1).
pub(crate) fn solicited_node(ip: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = ip.octets();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]))
}

/// Builds an unsolicited advertisement of `ip` at `mac`, to all nodes.
pub(crate) fn unsolicited(mac: EthernetAddress, from: Ipv6Addr, ip: Ipv6Addr) -> Frame {
    advertisement(mac, EVERYBODY, from, ALL_NODES, NdiscNeighborFlags::OVERRIDE, ip)
}

/// Builds the answer to `question`: its target is at `mac`. A probe is answered to all nodes.
///
/// Upstream: without the override flag, so that it never corrects an old entry.
pub(crate) fn answer(mac: EthernetAddress, from: Ipv6Addr, question: &Ndp) -> Frame {
    if question.is_probe() {
        return unsolicited(mac, from, question.target);
    }
    let flags = NdiscNeighborFlags::SOLICITED | NdiscNeighborFlags::OVERRIDE;
    advertisement(mac, question.sender, from, question.from, flags, question.target)
}

/// Builds the question who has `ip`, to its solicited-node group.
pub(crate) fn solicitation(mac: EthernetAddress, from: Ipv6Addr, ip: Ipv6Addr) -> Frame {
    let group = solicited_node(ip);
    let [.., a, b, c, d] = group.octets();
    let destination = EthernetAddress([0x33, 0x33, a, b, c, d]);
    let message = NdiscRepr::NeighborSolicit {
        target_addr: ip,
        lladdr: Some(mac.into()),
    };
    emit(mac, destination, from, group, message)
}

fn advertisement(
    mac: EthernetAddress,
    destination: EthernetAddress,
    from: Ipv6Addr,
    to: Ipv6Addr,
    flags: NdiscNeighborFlags,
    target: Ipv6Addr,
) -> Frame {
    let message = NdiscRepr::NeighborAdvert {
        flags,
        target_addr: target,
        lladdr: Some(mac.into()),
    };
    emit(mac, destination, from, to, message)
}

fn emit(
    mac: EthernetAddress,
    destination: EthernetAddress,
    from: Ipv6Addr,
    to: Ipv6Addr,
    message: NdiscRepr<'_>,
) -> Frame {
    let message = Icmpv6Repr::Ndisc(message);
    let ip = Ipv6Repr {
        src_addr: from,
        dst_addr: to,
        next_header: IpProtocol::Icmpv6,
        payload_len: message.buffer_len(),
        hop_limit: HOP_LIMIT,
    };
    let ethernet = EthernetRepr {
        src_addr: mac,
        dst_addr: destination,
        ethertype: EthernetProtocol::Ipv6,
    };
    let mut bytes = Frame::zeroed(ICMP_HEADER + message.buffer_len());
    ethernet.emit(&mut EthernetFrame::new_unchecked(&mut bytes[..]));
    ip.emit(&mut Ipv6Packet::new_unchecked(&mut bytes[IPV6_HEADER..]));
    let mut packet = Icmpv6Packet::new_unchecked(&mut bytes[ICMP_HEADER..]);
    message.emit(&from, &to, &mut packet, &ChecksumCapabilities::default());
    bytes
}

/// Makes a neighbour discovery message of a frame as far as that goes without touching its body: EtherType, header, length
/// and checksum.
pub(crate) fn mend(frame: &mut [u8]) {
    let Some(icmp_len) = frame.len().checked_sub(ICMP_HEADER + SHORTEST) else {
        return;
    };
    let Ok(len) = u16::try_from(icmp_len + SHORTEST) else {
        return;
    };
    frame[12..14].copy_from_slice(&[0x86, 0xdd]);
    frame[IPV6_HEADER] = 0x60;
    frame[IPV6_HEADER + 4..IPV6_HEADER + 6].copy_from_slice(&len.to_be_bytes());
    frame[IPV6_HEADER + 6..IPV6_HEADER + 8].copy_from_slice(&[NEXT_HEADER_ICMP, HOP_LIMIT]);
    let ip = Ipv6Packet::new_unchecked(&frame[IPV6_HEADER..]);
    let (from, to) = (ip.src_addr(), ip.dst_addr());
    Icmpv6Packet::new_unchecked(&mut frame[ICMP_HEADER..]).fill_checksum(&from, &to);
}

#[cfg(test)]
pub(crate) mod tests;
