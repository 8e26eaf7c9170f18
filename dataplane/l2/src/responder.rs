//! Decides about each received frame.

use std::net::IpAddr;

use smoltcp::wire::{ArpOperation, EthernetAddress};

use crate::{
    arp::{self, Arp},
    frame::{Frame, Message},
    interfaces::Link,
    ndp::{self, Ndp},
    table::{Place, Table},
};

/// How the kernel classified a frame (`sll_pkttype`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketType {
    /// For this host.
    Host,
    /// For everybody.
    Broadcast,
    /// For a multicast group.
    Multicast,
    /// For others, or our own; also frames of a VLAN that has no interface here.
    Other,
}

/// Why a frame is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropReason {
    /// Not for this host.
    PacketType,
    /// Came in on an interface that does not announce.
    Interface,
    /// Cut short, or shorter than it says.
    Truncated,
    /// Longer than any honest one.
    Oversize,
    /// With a VLAN tag that no interface here takes off.
    VlanTag,
    /// Neither ARP for IPv4 over Ethernet nor valid neighbour discovery.
    Malformed,
    /// Neighbour discovery that a router has passed on (RFC 4861 §7.1).
    HopLimit,
    /// Neighbour discovery with a wrong checksum.
    Checksum,
    /// Neighbour discovery with an option that has no length, is too long, or is not allowed there.
    Options,
    /// Sent by the interface's own hardware address: a loop in the segment, or a forgery.
    Own,
    /// Not an ARP request.
    ArpReply,
    /// Not a neighbour solicitation.
    MessageType,
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
    /// The address is yielded to another speaker, or it is not known yet whether another host has it.
    Silent,
}

impl DropReason {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 18] = [
        Self::PacketType,
        Self::Interface,
        Self::Truncated,
        Self::Oversize,
        Self::VlanTag,
        Self::Malformed,
        Self::HopLimit,
        Self::Checksum,
        Self::Options,
        Self::Own,
        Self::ArpReply,
        Self::MessageType,
        Self::EthernetDestination,
        Self::SenderAddress,
        Self::Announcement,
        Self::AnnounceIp,
        Self::NotMatchInterface,
        Self::Silent,
    ];

    /// The reason as it appears in logs and metric labels; upstream's words where it has one.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PacketType => "packetType",
            Self::Interface => "interface",
            Self::Truncated => "truncated",
            Self::Oversize => "oversize",
            Self::VlanTag => "vlanTag",
            Self::Malformed => "malformed",
            Self::HopLimit => "hopLimit",
            Self::Checksum => "checksum",
            Self::Options => "options",
            Self::Own => "own",
            Self::ArpReply => "arpReply",
            Self::MessageType => "messageType",
            Self::EthernetDestination => "ethernetDestination",
            Self::SenderAddress => "senderAddress",
            Self::Announcement => "announcement",
            Self::AnnounceIp => "announceIP",
            Self::NotMatchInterface => "notMatchInterface",
            Self::Silent => "silent",
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
    pub(crate) frame: Frame,
}

/// A frame in which another host claims an address that is announced here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) ip: IpAddr,
    pub(crate) mac: EthernetAddress,
    pub(crate) stage: Stage,
}

/// How far the other host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It asks whether the address is free (RFC 4862 §5.4).
    Probes,
    /// It says that the address is its own (RFC 5227 §2.4, RFC 4861 §4.4).
    Uses,
}

/// All that follows from one frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) answer: Result<Answer, DropReason>,
    pub(crate) claim: Option<Claim>,
}

/// The interface on which a frame came in, and what it says, if anybody may hear it.
pub(crate) fn read<'a>(
    table: &'a Table,
    ifindex: u32,
    packet_type: PacketType,
    frame: &[u8],
) -> Result<(&'a Link, Message), DropReason> {
    if packet_type == PacketType::Other {
        return Err(DropReason::PacketType);
    }
    let link = table.link(ifindex).ok_or(DropReason::Interface)?;
    let message = Message::parse(frame)?;
    let (source, sender) = match &message {
        Message::Arp(_) if packet_type == PacketType::Multicast => return Err(DropReason::PacketType),
        Message::Arp(arp) => (arp.source, arp.sender),
        Message::Ndp(message) => (message.source, message.sender),
    };
    if source == link.mac || sender == link.mac {
        return Err(DropReason::Own);
    }
    if !is_host(source) || !is_host(sender) {
        return Err(DropReason::SenderAddress);
    }
    Ok((link, message))
}

/// Judges what has come in on `link`.
pub(crate) fn judge(table: &Table, link: &Link, message: &Message) -> Heard {
    match message {
        Message::Arp(arp) => Heard {
            answer: answer_arp(table, link, arp),
            claim: claim(table, link, arp.sender_ip.into(), arp.sender, Stage::Uses),
        },
        Message::Ndp(message) => judge_ndp(table, link, message),
    }
}

fn answer_arp(table: &Table, link: &Link, arp: &Arp) -> Result<Answer, DropReason> {
    if arp.operation != ArpOperation::Request {
        return Err(DropReason::ArpReply);
    }
    if !arp.destination.is_broadcast() && arp.destination != link.mac {
        return Err(DropReason::EthernetDestination);
    }
    if arp.sender_ip == arp.target_ip {
        return Err(DropReason::Announcement);
    }
    let ip = arp.target_ip.into();
    check_announced(table, link, ip)?;
    Ok(Answer {
        ip,
        to: arp.sender,
        frame: arp::reply(link.mac, arp),
    })
}

fn judge_ndp(table: &Table, link: &Link, message: &Ndp) -> Heard {
    let stage = match message.kind {
        ndp::Kind::Advertisement => Some(Stage::Uses),
        ndp::Kind::Solicitation => message.is_probe().then_some(Stage::Probes),
    };
    let target = message.target.into();
    Heard {
        answer: answer_ndp(table, link, message),
        claim: stage.and_then(|stage| claim(table, link, target, message.sender, stage)),
    }
}

fn answer_ndp(table: &Table, link: &Link, message: &Ndp) -> Result<Answer, DropReason> {
    if message.kind != ndp::Kind::Solicitation {
        return Err(DropReason::MessageType);
    }
    if message.destination.is_unicast() && message.destination != link.mac {
        return Err(DropReason::EthernetDestination);
    }
    let ip = message.target.into();
    check_announced(table, link, ip)?;
    let from = link.link_local.ok_or(DropReason::NotMatchInterface)?;
    Ok(Answer {
        ip,
        to: message.sender,
        frame: ndp::answer(link.mac, from, message),
    })
}

fn is_host(mac: EthernetAddress) -> bool {
    mac.is_unicast() && mac.as_bytes() != [0; 6]
}

fn check_announced(table: &Table, link: &Link, ip: IpAddr) -> Result<(), DropReason> {
    match table.place(ip, link) {
        Place::Here => Ok(()),
        Place::Silent => Err(DropReason::Silent),
        Place::Elsewhere => Err(DropReason::NotMatchInterface),
        Place::Unknown => Err(DropReason::AnnounceIp),
    }
}

fn claim(table: &Table, link: &Link, ip: IpAddr, mac: EthernetAddress, stage: Stage) -> Option<Claim> {
    let ours = matches!(table.place(ip, link), Place::Here | Place::Silent);
    let foreign = ours && !table.is_own(mac);
    foreign.then_some(Claim { ip, mac, stage })
}

#[cfg(test)]
mod tests;
