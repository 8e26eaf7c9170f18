//! Decides about each received frame.

use std::net::IpAddr;

use smoltcp::wire::{ArpOperation, EthernetAddress};

use crate::{
    arp::{self, Arp},
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
    /// Neither ARP for IPv4 over Ethernet nor valid neighbour discovery, or cut short.
    Malformed,
    /// Sent by the interface's own hardware address.
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
    /// The reason as it appears in logs and metric labels; upstream's words where it has one.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PacketType => "packetType",
            Self::Interface => "interface",
            Self::Malformed => "malformed",
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
    pub(crate) frame: Vec<u8>,
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

impl From<DropReason> for Heard {
    fn from(reason: DropReason) -> Self {
        Self {
            answer: Err(reason),
            claim: None,
        }
    }
}

/// Judges a frame that came in on the interface with index `ifindex`.
pub(crate) fn judge(table: &Table, ifindex: u32, packet_type: PacketType, frame: &[u8]) -> Heard {
    if packet_type == PacketType::Other {
        return DropReason::PacketType.into();
    }
    let Some(link) = table.link(ifindex) else {
        return DropReason::Interface.into();
    };
    let heard = Arp::parse(frame).map(|arp| judge_arp(table, link, packet_type, &arp));
    let heard = heard.or_else(|| Ndp::parse(frame).map(|message| judge_ndp(table, link, &message)));
    heard.unwrap_or_else(|| DropReason::Malformed.into())
}

fn judge_arp(table: &Table, link: &Link, packet_type: PacketType, arp: &Arp) -> Heard {
    if packet_type == PacketType::Multicast {
        return DropReason::PacketType.into();
    }
    if arp.sender == link.mac {
        return DropReason::Own.into();
    }
    Heard {
        answer: answer_arp(table, link, arp),
        claim: claim(table, link, arp.sender_ip.into(), arp.sender, Stage::Uses),
    }
}

fn answer_arp(table: &Table, link: &Link, arp: &Arp) -> Result<Answer, DropReason> {
    if arp.operation != ArpOperation::Request {
        return Err(DropReason::ArpReply);
    }
    if !arp.destination.is_broadcast() && arp.destination != link.mac {
        return Err(DropReason::EthernetDestination);
    }
    check_sender(arp.sender)?;
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
    if message.sender == link.mac {
        return DropReason::Own.into();
    }
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
    check_sender(message.sender)?;
    let ip = message.target.into();
    check_announced(table, link, ip)?;
    let from = link.link_local.ok_or(DropReason::NotMatchInterface)?;
    Ok(Answer {
        ip,
        to: message.sender,
        frame: ndp::answer(link.mac, from, message),
    })
}

fn check_sender(sender: EthernetAddress) -> Result<(), DropReason> {
    let is_host = sender.is_unicast() && sender.as_bytes() != [0; 6];
    is_host.then_some(()).ok_or(DropReason::SenderAddress)
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
    let foreign = ours && !table.is_own(mac) && check_sender(mac).is_ok();
    foreign.then_some(Claim { ip, mac, stage })
}

#[cfg(test)]
mod tests;
