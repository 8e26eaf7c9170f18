//! What the core is told, and what it wants.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv6Addr},
};

use smoltcp::wire::EthernetAddress;

use crate::{
    conflicts::Conflict,
    filter::Instruction,
    frame::Frame,
    interfaces::{Interfaces, Selection},
    responder::{DropReason, PacketType},
};

/// What the core is told.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// A frame came in.
    Frame {
        /// On the interface with this index.
        ifindex: u32,
        /// How the kernel classified it.
        packet_type: PacketType,
        /// The Ethernet frame.
        bytes: &'a [u8],
    },
    /// These are now the interfaces of the node.
    Links(Selection),
    /// The addresses are announced from now on, in this order, on these interfaces; `None` = withdrawn.
    Changed(Vec<(IpAddr, Option<Interfaces>)>),
    /// Another node takes these addresses over: each is answered until that one is heard, for a second at most, and nothing
    /// is said of it unasked. It is withdrawn at once if another host has claimed it within the last second, if it is
    /// yielded, or if it is announced on no interface that can be used.
    Release(Vec<IpAddr>),
    /// Every address gets a burst, as after the merge of a parted membership.
    Reannounce,
    /// The node is about to stop: an address is answered until another host claims it, and nothing is said unasked. Later
    /// announcements are ignored.
    HandOver,
    /// Who has this address, which is not announced here? Asked on all interfaces; an answer is [`Action::Found`].
    Probe(IpAddr),
    /// Another speaker has a better right to the address: it is not answered and nothing is said about it until
    /// [`Event::Resume`] or [`Event::Defend`], or until it is withdrawn. Its claimant is asked whether it is still there.
    Yield(IpAddr),
    /// A yielded address is answered again, and told as a new one.
    Resume(IpAddr),
    /// One announcement in request form now and one after 1.1 s, then for claims at most every ten seconds while the
    /// conflict lasts. May be told again and again.
    Defend(IpAddr),
    /// The caller, which decides about conflicts, is alive. Must be repeated within two seconds. Otherwise an address
    /// that another speaker is heard to announce is left to that one: as with [`Event::Yield`], until the caller says
    /// otherwise or the other has been silent for three seconds.
    Attended,
    /// The hardware addresses of the other speakers.
    Peers(BTreeSet<EthernetAddress>),
    /// The deadline has come.
    Tick,
}

/// How the hardware address of a neighbour is found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// ARP, for IPv4 (RFC 826).
    Arp,
    /// Neighbour discovery, for IPv6 (RFC 4861).
    Ndp,
}

impl Protocol {
    /// The one that serves `ip`.
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(_) => Self::Arp,
            IpAddr::V6(_) => Self::Ndp,
        }
    }
}

/// What a frame is sent for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It answers a question.
    Answer {
        /// Who asked.
        to: EthernetAddress,
    },
    /// It tells the segment unasked.
    Gratuitous,
    /// It asks.
    Probe,
}

/// Something to add to a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// A frame was not answered.
    Dropped {
        /// Why.
        reason: DropReason,
        /// On which interface it came, by index.
        ifindex: u32,
    },
    /// Another host claimed an announced address.
    Claims {
        /// The address.
        ip: IpAddr,
        /// In so many frames.
        frames: u64,
        /// Whether the other host is a speaker.
        peer: bool,
    },
}

/// What the shell must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send a frame.
    Send {
        /// On the interface with this index.
        ifindex: u32,
        /// About this address.
        ip: IpAddr,
        /// What for.
        purpose: Purpose,
        /// The Ethernet frame.
        frame: Frame,
    },
    /// Let the kernel show the frames of the protocol that this program takes, and no others. At first it must show none.
    Filter {
        /// Which.
        protocol: Protocol,
        /// The program.
        program: Vec<Instruction>,
    },
    /// Become a member of a multicast group.
    Join {
        /// On the interface with this index.
        ifindex: u32,
        /// Which.
        group: Ipv6Addr,
    },
    /// Be a member no longer. The interface may be gone already.
    Leave {
        /// On the interface with this index.
        ifindex: u32,
        /// Which.
        group: Ipv6Addr,
    },
    /// Tell that another host claims an announced or yielded address; at most once a second for an address and a host.
    Conflict(Conflict),
    /// Nobody else has claimed the address for three seconds, nor answered for it if it is yielded.
    ClaimsEnded(IpAddr),
    /// Another host has the address that was asked about.
    Found {
        /// The address.
        ip: IpAddr,
        /// Hardware address of the host.
        mac: EthernetAddress,
    },
    /// Count.
    Count(Count),
}
