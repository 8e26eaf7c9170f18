//! Ethernet frames: those that we send, and what is common to those that come in.

use std::{
    fmt,
    ops::{Deref, DerefMut},
};

use smoltcp::wire::{EthernetFrame, EthernetProtocol};

use crate::{arp::Arp, ndp::Ndp, responder::DropReason};

/// A frame to send. It keeps its bytes in place, so that an answer allocates nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    bytes: [u8; Self::LONGEST],
    len: usize,
}

impl Frame {
    /// A neighbour advertisement with its option; ARP needs less.
    const LONGEST: usize = 86;

    /// A frame of zeros, at most of [`Self::LONGEST`] bytes.
    pub(crate) fn zeroed(len: usize) -> Self {
        Self {
            bytes: [0; Self::LONGEST],
            len: len.min(Self::LONGEST),
        }
    }
}

impl Deref for Frame {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl DerefMut for Frame {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

const ETHERNET_HEADER: usize = 14;
const VLAN_TAG: u16 = 0x8100;
const SERVICE_VLAN_TAG: u16 = 0x88a8;

/// What a received frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    Arp(Arp),
    Ndp(Ndp),
}

impl Message {
    /// Reads a frame.
    pub(crate) fn parse(frame: &[u8]) -> Result<Self, DropReason> {
        if frame.len() < ETHERNET_HEADER {
            return Err(DropReason::Truncated);
        }
        match EthernetFrame::new_unchecked(frame).ethertype() {
            EthernetProtocol::Arp => Arp::parse(frame).map(Self::Arp),
            EthernetProtocol::Ipv6 => Ndp::parse(frame).map(Self::Ndp),
            EthernetProtocol::Unknown(VLAN_TAG | SERVICE_VLAN_TAG) => Err(DropReason::VlanTag),
            _ => Err(DropReason::Malformed),
        }
    }
}
