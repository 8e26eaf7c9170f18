//! AF_PACKET without the header of the link: whole IP packets and the link addresses they come from and go to.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

use metallb_l2::{Instruction, PacketType};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::packet_socket::{self, DROP_ALL, OpenError, address, attach, packet_type, permission};

/// A neighbour on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkAddress {
    /// The interface.
    pub ifindex: u32,
    octets: [u8; 8],
    /// None on links without addresses, such as tunnels.
    len: u8,
}

impl LinkAddress {
    fn for_kernel(&self, ethertype: u16) -> SockAddr {
        address(self.ifindex, ethertype, &self.octets[..usize::from(self.len)])
    }
}

/// What is known about a received packet besides its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkReceived {
    /// Length of the packet, at most the length of the buffer.
    pub len: usize,
    /// Who has sent it last.
    pub from: LinkAddress,
    /// How the kernel classified it.
    pub packet_type: PacketType,
}

/// A non-blocking packet socket for one EtherType on every interface.
#[derive(Debug)]
pub struct LinkSocket {
    socket: Socket,
    ethertype: u16,
}

impl AsFd for LinkSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl LinkSocket {
    /// Opens a socket that receives what the filter takes, which sees packets from their IP header on.
    ///
    /// # Errors
    /// Without CAP_NET_RAW, or if the kernel has no resources or does not like the filter.
    pub fn open(ethertype: u16, filter: &[Instruction]) -> Result<Self, OpenError> {
        // Protocol 0 receives nothing, so that no packet can come in before the filter is there.
        let socket = Socket::new(Domain::PACKET, Type::DGRAM.nonblocking().cloexec(), None).map_err(permission)?;
        attach(&socket, &[DROP_ALL])?;
        socket.bind(&address(0, ethertype, &[]))?;
        attach(&socket, filter)?;
        Ok(Self { socket, ethertype })
    }

    /// The next packet, cut to the length of `buffer`; `None` if there is none.
    ///
    /// # Errors
    /// Those of `recvfrom`.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<LinkReceived>> {
        let (len, from) = match packet_socket::receive(&self.socket, buffer) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Some(LinkReceived {
            len,
            from: LinkAddress {
                ifindex: from.sll_ifindex.cast_unsigned(),
                octets: from.sll_addr,
                len: from.sll_halen.min(8),
            },
            packet_type: packet_type(from.sll_pkttype),
        }))
    }

    /// Sends an IP packet to a neighbour; never waits.
    ///
    /// # Errors
    /// Those of `sendto`; `WouldBlock` if the send buffer is full.
    pub fn send(&self, to: &LinkAddress, packet: &[u8]) -> io::Result<()> {
        let sent = self.socket.send_to(packet, &to.for_kernel(self.ethertype))?;
        if sent == packet.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::WriteZero.into())
        }
    }
}
