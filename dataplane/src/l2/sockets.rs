//! The sockets of layer 2: one for ARP, one for neighbour discovery.

use std::io;

use metallb_l2::{Instruction, Protocol, TAKE_ALL};
use metallb_net::{ETHERTYPE_ARP, ETHERTYPE_IPV6, FrameSocket, OpenError};

pub(super) struct Sockets {
    pub(super) arp: FrameSocket,
    /// Open once there is an IPv6 address to announce: the kernel runs its filter for every IPv6 packet.
    pub(super) ndp: Option<FrameSocket>,
}

impl Sockets {
    pub(super) fn open() -> Result<Self, OpenError> {
        Ok(Self {
            arp: FrameSocket::open(ETHERTYPE_ARP)?,
            ndp: None,
        })
    }

    pub(super) fn get(&self, protocol: Protocol) -> Option<&FrameSocket> {
        match protocol {
            Protocol::Arp => Some(&self.arp),
            Protocol::Ndp => self.ndp.as_ref(),
        }
    }

    pub(super) fn send(&self, protocol: Protocol, ifindex: u32, frame: &[u8]) -> io::Result<()> {
        let socket = self.get(protocol).ok_or(io::ErrorKind::NotConnected)?;
        socket.send(ifindex, frame)
    }

    pub(super) fn set_filter(&mut self, protocol: Protocol, program: &[Instruction]) {
        let set = match protocol {
            Protocol::Arp => self.set_arp_filter(program),
            Protocol::Ndp => self.set_ndp_filter(program),
        };
        if let Err(error) = set {
            tracing::error!(?protocol, %error, "cannot set the filter, requests may stay unanswered");
        }
    }

    /// Small values of `net.core.optmem_max` refuse a long program; seeing all ARP frames then costs only time.
    fn set_arp_filter(&self, program: &[Instruction]) -> io::Result<()> {
        self.arp.set_filter(program).or_else(|error| {
            tracing::warn!(%error, instructions = program.len(), "exact ARP filter refused, taking all ARP frames");
            self.arp.set_filter(&TAKE_ALL)
        })
    }

    fn set_ndp_filter(&mut self, program: &[Instruction]) -> io::Result<()> {
        let socket = match self.ndp.take() {
            Some(socket) => socket,
            None => FrameSocket::open(ETHERTYPE_IPV6).map_err(io::Error::other)?,
        };
        self.ndp.insert(socket).set_filter(program)
    }
}
