//! Decides about each received ARP frame.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
};

use smoltcp::wire::{ArpOperation, EthernetAddress};

use crate::{
    arp::{self, Arp},
    interfaces::{Interfaces, Link},
};

/// Whom the kernel takes a frame to be for (`sll_pkttype`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketType {
    /// For this host.
    Host,
    /// For everybody.
    Broadcast,
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

/// A reply to send on the interface on which the request came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The address asked for.
    pub ip: IpAddr,
    /// Who asked.
    pub to: EthernetAddress,
    /// The Ethernet frame.
    pub frame: Vec<u8>,
}

/// What to do with a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Answer it.
    Reply(Reply),
    /// Leave it.
    Ignore(DropReason),
}

/// Another host claims an address that we announce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The address.
    pub ip: IpAddr,
    /// The interface on which it was heard, by index.
    pub ifindex: u32,
    /// Who claims it.
    pub mac: EthernetAddress,
}

/// All that follows from one frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whether to answer.
    pub verdict: Verdict,
    /// Whether it proves a conflict.
    pub conflict: Option<Conflict>,
}

/// Answers ARP requests for the announced addresses.
#[derive(Clone, Debug, Default)]
pub struct Responder {
    links: BTreeMap<u32, Link>,
    own_macs: BTreeSet<EthernetAddress>,
    announced: BTreeMap<Ipv4Addr, Interfaces>,
}

impl Responder {
    /// Replaces the announcing interfaces and the set of the node's own hardware addresses.
    pub fn set_links(&mut self, links: &[Link], own_macs: BTreeSet<EthernetAddress>) {
        self.links = links.iter().map(|link| (link.index, link.clone())).collect();
        self.own_macs = own_macs;
    }

    /// Replaces the announced addresses; takes effect with the next frame.
    pub fn set_announced(&mut self, announced: BTreeMap<Ipv4Addr, Interfaces>) {
        self.announced = announced;
    }

    /// Judges a frame that came in on the interface with index `ifindex`.
    #[must_use]
    pub fn on_frame(&self, ifindex: u32, packet_type: PacketType, frame: &[u8]) -> Outcome {
        let ignore = |reason| Outcome {
            verdict: Verdict::Ignore(reason),
            conflict: None,
        };
        if packet_type == PacketType::Other {
            return ignore(DropReason::PacketType);
        }
        let Some(link) = self.links.get(&ifindex) else {
            return ignore(DropReason::Interface);
        };
        let Some(arp) = Arp::parse(frame) else {
            return ignore(DropReason::Malformed);
        };
        if arp.sender == link.mac {
            return ignore(DropReason::Own);
        }
        let verdict = self.judge(link, &arp).map_or_else(Verdict::Ignore, Verdict::Reply);
        Outcome {
            verdict,
            conflict: self.conflict(link, &arp),
        }
    }

    fn judge(&self, link: &Link, arp: &Arp) -> Result<Reply, DropReason> {
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
        let interfaces = self.announced.get(&arp.target_ip).ok_or(DropReason::AnnounceIp)?;
        if !interfaces.contains(&link.name) {
            return Err(DropReason::NotMatchInterface);
        }
        Ok(Reply {
            ip: arp.target_ip.into(),
            to: arp.sender,
            frame: arp::reply(link.mac, arp),
        })
    }

    /// Any ARP frame whose sender address is ours but whose sender is not (RFC 5227 §2.4).
    fn conflict(&self, link: &Link, arp: &Arp) -> Option<Conflict> {
        let interfaces = self.announced.get(&arp.sender_ip)?;
        let foreign = interfaces.contains(&link.name) && !self.own_macs.contains(&arp.sender);
        foreign.then(|| Conflict {
            ip: arp.sender_ip.into(),
            ifindex: link.index,
            mac: arp.sender,
        })
    }
}

#[cfg(test)]
mod tests;
