//! The sockets of layer 2: one for ARP, one for neighbour discovery, and some that only hold memberships.

use std::{io, net::Ipv6Addr};

use metallb_l2::{Instruction, Protocol, TAKE_ALL};
use metallb_net::{ETHERTYPE_ARP, ETHERTYPE_IPV6, OpenError, PacketSocket, Received};
use socket2::{Domain, Socket, Type};

/// An ARP frame has 60 bytes; what follows does not matter.
const ARP_LEN: usize = 128;
/// A whole frame, since the checksum of a neighbour discovery message covers all of it.
const NDP_LEN: usize = 1514;

/// Where received frames are copied to.
pub(super) struct Buffers {
    arp: [u8; ARP_LEN],
    ndp: [u8; NDP_LEN],
}

impl Default for Buffers {
    fn default() -> Self {
        Self {
            arp: [0; ARP_LEN],
            ndp: [0; NDP_LEN],
        }
    }
}

pub(super) struct Sockets {
    arp: PacketSocket,
    /// Open once there is an IPv6 address to announce: the kernel runs its filter for every IPv6 packet.
    ndp: Option<PacketSocket>,
    groups: Vec<Socket>,
}

impl Sockets {
    pub(super) fn open() -> Result<Self, OpenError> {
        Ok(Self {
            arp: PacketSocket::open(ETHERTYPE_ARP)?,
            ndp: None,
            groups: Vec::new(),
        })
    }

    /// Waits for a frame. Cancel-safe.
    pub(super) async fn receive<'a>(&self, buffers: &'a mut Buffers) -> io::Result<(Received, &'a [u8])> {
        let Buffers { arp, ndp } = buffers;
        let second = async {
            match &self.ndp {
                Some(socket) => socket.receive(ndp).await,
                None => std::future::pending().await,
            }
        };
        let (received, buffer): (_, &[u8]) = tokio::select! {
            received = self.arp.receive(arp) => (received?, arp),
            received = second => (received?, ndp),
        };
        Ok((received, &buffer[..received.len]))
    }

    pub(super) fn send(&self, protocol: Protocol, ifindex: u32, frame: &[u8]) -> io::Result<()> {
        let socket = match protocol {
            Protocol::Arp => Some(&self.arp),
            Protocol::Ndp => self.ndp.as_ref(),
        };
        socket.ok_or(io::ErrorKind::NotConnected)?.send(ifindex, frame)
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
            None => PacketSocket::open(ETHERTYPE_IPV6).map_err(io::Error::other)?,
        };
        self.ndp.insert(socket).set_filter(program)
    }

    /// Lets interface and switches pass what is sent to `group` (RFC 3810 tells the switches).
    pub(super) fn join(&mut self, ifindex: u32, group: Ipv6Addr) {
        if let Err(error) = self.try_join(ifindex, group) {
            tracing::warn!(ifindex, %group, %error, "cannot join the group in which neighbours ask");
        }
    }

    /// The kernel limits the memberships of one socket (`net.core.optmem_max`).
    fn try_join(&mut self, ifindex: u32, group: Ipv6Addr) -> io::Result<()> {
        match self
            .groups
            .last()
            .map(|socket| socket.join_multicast_v6(&group, ifindex))
        {
            Some(Err(error)) if is_full(&error) => {}
            Some(joined) => return joined,
            None => {}
        }
        let socket = Socket::new(Domain::IPV6, Type::DGRAM.cloexec(), None)?;
        socket.join_multicast_v6(&group, ifindex)?;
        self.groups.push(socket);
        Ok(())
    }

    pub(super) fn leave(&self, ifindex: u32, group: Ipv6Addr) {
        let left = |socket: &Socket| socket.leave_multicast_v6(&group, ifindex).is_ok();
        if !self.groups.iter().any(left) {
            tracing::debug!(ifindex, %group, "was no member of the group");
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(nix::libc::ENOBUFS | nix::libc::ENOMEM))
}
