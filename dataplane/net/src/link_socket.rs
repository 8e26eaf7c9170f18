//! AF_PACKET without the header of the link: whole IP packets and the link addresses they come from and go to.

use std::{
    io, mem,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
};

use libc::sockaddr_ll;
use metallb_l2::{Instruction, PacketType};
use socket2::{Domain, SockAddr, SockAddrStorage, Socket, Type};

use crate::packet_socket::{DROP_ALL, OpenError, attach, family, packet_type, permission};

/// A neighbour on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkAddress {
    /// The interface.
    pub ifindex: u32,
    octets: [u8; 8],
    /// None on links without addresses, such as tunnels.
    len: u8,
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
        let everywhere = LinkAddress {
            ifindex: 0,
            octets: [0; 8],
            len: 0,
        };
        socket.bind(&address(&everywhere, ethertype))?;
        attach(&socket, filter)?;
        Ok(Self { socket, ethertype })
    }

    /// The next packet, cut to the length of `buffer`; `None` if there is none.
    ///
    /// # Errors
    /// Those of `recvfrom`.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<LinkReceived>> {
        // SAFETY: `sockaddr_ll` consists of integers, for which all zeros is a valid value.
        let mut from: sockaddr_ll = unsafe { mem::zeroed() };
        let mut from_len = libc::socklen_t::try_from(mem::size_of::<sockaddr_ll>()).expect("a socket address is small");
        // SAFETY: the descriptor is open as long as `self` is borrowed; the buffer is writable for its whole length;
        // `from` is writable for `from_len` bytes; the kernel keeps no pointer after the call.
        let len = unsafe {
            libc::recvfrom(
                self.socket.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                0,
                (&raw mut from).cast(),
                &raw mut from_len,
            )
        };
        let Ok(len) = usize::try_from(len) else {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::WouldBlock {
                Ok(None)
            } else {
                Err(error)
            };
        };
        let from_address = LinkAddress {
            ifindex: from.sll_ifindex.cast_unsigned(),
            octets: from.sll_addr,
            len: from.sll_halen.min(8),
        };
        Ok(Some(LinkReceived {
            len,
            from: from_address,
            packet_type: packet_type(from.sll_pkttype),
        }))
    }

    /// Sends an IP packet to a neighbour; never waits.
    ///
    /// # Errors
    /// Those of `sendto`; `WouldBlock` if the send buffer is full.
    pub fn send(&self, to: &LinkAddress, packet: &[u8]) -> io::Result<()> {
        let sent = self.socket.send_to(packet, &address(to, self.ethertype))?;
        if sent == packet.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::WriteZero.into())
        }
    }
}

fn address(to: &LinkAddress, ethertype: u16) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: the storage is zeroed, at least as large and as aligned as every socket address, and for
    // `sockaddr_ll`, made of integers only, any content is valid.
    let link: &mut sockaddr_ll = unsafe { storage.view_as() };
    link.sll_family = family();
    link.sll_protocol = ethertype.to_be();
    link.sll_ifindex = to.ifindex.cast_signed();
    link.sll_halen = to.len;
    link.sll_addr = to.octets;
    let length = libc::socklen_t::try_from(mem::size_of::<sockaddr_ll>()).expect("a socket address is small");
    // SAFETY: the storage holds an initialised `sockaddr_ll`, as its family says, and `length` is its size.
    unsafe { SockAddr::new(storage, length) }
}
