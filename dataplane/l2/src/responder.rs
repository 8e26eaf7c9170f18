//! Decides about each received ARP frame.

use std::net::IpAddr;

use smoltcp::wire::{ArpOperation, EthernetAddress};

use crate::{
    arp::{self, Arp},
    interfaces::Link,
    table::Table,
};

/// How the kernel classified a frame (`sll_pkttype`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketType {
    /// For this host.
    Host,
    /// For everybody.
    Broadcast,
    /// For others, for a multicast group, or our own; also frames of a VLAN that has no interface here.
    Other,
}

/// Why a frame is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropReason {
    /// Not for this host.
    PacketType,
    /// Came in on an interface that does not announce.
    Interface,
    /// Not ARP for IPv4 over Ethernet, or cut short.
    Malformed,
    /// Sent by the interface's own hardware address.
    Own,
    /// Not a request.
    ArpReply,
    /// Sent to the hardware address of somebody else.
    EthernetDestination,
    /// The sender's hardware address is not that of a host.
    SenderAddress,
    /// A gratuitous announcement by another host, which asks for nothing.
    Announcement,
    /// The address asked for is not announced.
    AnnounceIp,
    /// The address is announced, but not on this interface.
    NotMatchInterface,
}

impl DropReason {
    /// The reason as it appears in logs and metric labels; upstream's words where it has one.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PacketType => "packetType",
            Self::Interface => "interface",
            Self::Malformed => "malformed",
            Self::Own => "own",
            Self::ArpReply => "arpReply",
            Self::EthernetDestination => "ethernetDestination",
            Self::SenderAddress => "senderAddress",
            Self::Announcement => "announcement",
            Self::AnnounceIp => "announceIP",
            Self::NotMatchInterface => "notMatchInterface",
        }
    }
}

/// An answer to send on the interface on which the question came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The address asked for.
    pub(crate) ip: IpAddr,
    /// Who asked.
    pub(crate) to: EthernetAddress,
    /// The Ethernet frame.
    pub(crate) frame: Vec<u8>,
}

/// A frame whose sender address is announced here although its sender is not this node (RFC 5227 §2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) ip: IpAddr,
    pub(crate) mac: EthernetAddress,
}

/// All that follows from one frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) answer: Result<Answer, DropReason>,
    pub(crate) claim: Option<Claim>,
}

/// Judges a frame that came in on the interface with index `ifindex`.
pub(crate) fn judge(table: &Table, ifindex: u32, packet_type: PacketType, frame: &[u8]) -> Heard {
    match read(table, ifindex, packet_type, frame) {
        Ok((link, arp)) => Heard {
            answer: answer(table, link, &arp),
            claim: claim(table, link, &arp),
        },
        Err(reason) => Heard {
            answer: Err(reason),
            claim: None,
        },
    }
}

fn read<'a>(
    table: &'a Table,
    ifindex: u32,
    packet_type: PacketType,
    frame: &[u8],
) -> Result<(&'a Link, Arp), DropReason> {
    if packet_type == PacketType::Other {
        return Err(DropReason::PacketType);
    }
    let link = table.link(ifindex).ok_or(DropReason::Interface)?;
    let arp = Arp::parse(frame).ok_or(DropReason::Malformed)?;
    if arp.sender == link.mac {
        return Err(DropReason::Own);
    }
    Ok((link, arp))
}

fn answer(table: &Table, link: &Link, arp: &Arp) -> Result<Answer, DropReason> {
    if arp.operation != ArpOperation::Request {
        return Err(DropReason::ArpReply);
    }
    if !arp.destination.is_broadcast() && arp.destination != link.mac {
        return Err(DropReason::EthernetDestination);
    }
    if !arp.sender.is_unicast() || arp.sender.as_bytes() == [0; 6] {
        return Err(DropReason::SenderAddress);
    }
    if arp.sender_ip == arp.target_ip {
        return Err(DropReason::Announcement);
    }
    let ip = arp.target_ip.into();
    let interfaces = table.get(ip).ok_or(DropReason::AnnounceIp)?;
    if !interfaces.contains(&link.name) {
        return Err(DropReason::NotMatchInterface);
    }
    Ok(Answer {
        ip,
        to: arp.sender,
        frame: arp::reply(link.mac, arp),
    })
}

fn claim(table: &Table, link: &Link, arp: &Arp) -> Option<Claim> {
    let ip = arp.sender_ip.into();
    let foreign = table.announces(ip, link) && !table.is_own(arp.sender);
    foreign.then_some(Claim { ip, mac: arp.sender })
}

#[cfg(test)]
mod tests;
