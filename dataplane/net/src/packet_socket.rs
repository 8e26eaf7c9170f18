//! AF_PACKET: whole Ethernet frames of one EtherType, on all interfaces.

use std::{
    io, mem,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
};

use libc::{AF_PACKET, sockaddr_ll};
use metallb_l2::{Instruction, PacketType};
use socket2::{Domain, SockAddr, SockAddrStorage, SockFilter, Socket, Type};
use tokio::io::{Interest, unix::AsyncFd};

/// EtherType of ARP.
pub const ETHERTYPE_ARP: u16 = 0x0806;
/// EtherType of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// EtherType of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;

/// Room for frames that come in while nobody reads, in bytes.
const RECEIVE_BUFFER: usize = 4 << 20;

/// Takes nothing.
pub(crate) const DROP_ALL: Instruction = Instruction {
    code: 0x06,
    jt: 0,
    jf: 0,
    k: 0,
};

/// What is known about a received frame besides its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Length of the frame, at most the length of the buffer.
    pub len: usize,
    /// The interface that finally got the frame (the VLAN device, not its parent).
    pub ifindex: u32,
    /// How the kernel classified it.
    pub packet_type: PacketType,
}

/// Why a packet socket cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The process lacks CAP_NET_RAW.
    #[error("needs capability NET_RAW: cannot open a packet socket: {0}")]
    NotPermitted(#[source] io::Error),
    /// Anything else.
    #[error("cannot open a packet socket: {0}")]
    Io(#[from] io::Error),
}

/// A packet socket for one EtherType on every interface, which never waits.
///
/// Bound to no interface, it sees each frame once, with the device that it finally belongs to. A socket bound to a
/// VLAN's parent would see the VLAN's frames too, and answer them untagged.
#[derive(Debug)]
pub struct FrameSocket {
    socket: Socket,
    ethertype: u16,
}

impl FrameSocket {
    /// Opens a socket that receives nothing before a filter is set.
    ///
    /// # Errors
    /// Without CAP_NET_RAW, or if the kernel has no resources.
    pub fn open(ethertype: u16) -> Result<Self, OpenError> {
        // Protocol 0 receives nothing, so that no frame can come in before the filter and the binding are there.
        let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking().cloexec(), None).map_err(permission)?;
        attach(&socket, &[DROP_ALL])?;
        // The kernel takes what its limit allows, which is twice as much as it gives unasked.
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        socket.bind(&address(0, ethertype, &[0; 6]))?;
        Ok(Self { socket, ethertype })
    }

    /// Replaces the kernel filter at once; frames already received stay in the buffer.
    ///
    /// # Errors
    /// If the program is invalid or larger than the kernel allows (`net.core.optmem_max`).
    pub fn set_filter(&self, program: &[Instruction]) -> io::Result<()> {
        attach(&self.socket, program)
    }

    /// Copies a frame that has come in to `buffer`, cut to its length.
    ///
    /// # Errors
    /// `WouldBlock` if there is none; else those of `recvfrom`.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        let (len, from) = receive(&self.socket, buffer)?;
        Ok(Received {
            len,
            ifindex: from.sll_ifindex.cast_unsigned(),
            packet_type: packet_type(from.sll_pkttype),
        })
    }

    /// Sends an Ethernet frame on an interface.
    ///
    /// # Errors
    /// `WouldBlock` if the send buffer is full; else those of `sendto`.
    pub fn send(&self, ifindex: u32, frame: &[u8]) -> io::Result<()> {
        let destination = frame.first_chunk::<6>().ok_or(io::ErrorKind::InvalidInput)?;
        let address = address(ifindex, self.ethertype, destination);
        if self.socket.send_to(frame, &address)? == frame.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::WriteZero.into())
        }
    }
}

impl AsFd for FrameSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for FrameSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// A [`FrameSocket`] that tokio waits for.
#[derive(Debug)]
pub struct PacketSocket(AsyncFd<FrameSocket>);

impl PacketSocket {
    /// Opens a socket that receives nothing before a filter is set. Needs a tokio runtime.
    ///
    /// # Errors
    /// Without CAP_NET_RAW, or if the kernel has no resources.
    pub fn open(ethertype: u16) -> Result<Self, OpenError> {
        let socket = FrameSocket::open(ethertype)?;
        // SAFETY: the socket owns its descriptor and returns the same one until it is dropped, which `AsyncFd` does last.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }.map_err(io::Error::from)?;
        Ok(Self(socket))
    }

    /// As [`FrameSocket::set_filter`].
    ///
    /// # Errors
    /// As there.
    pub fn set_filter(&self, program: &[Instruction]) -> io::Result<()> {
        self.0.get_ref().set_filter(program)
    }

    /// Waits for a frame and copies it to `buffer`, cut to its length. Cancel-safe.
    ///
    /// # Errors
    /// Those of `recvfrom`.
    pub async fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        self.0
            .async_io(Interest::READABLE, |socket| socket.receive(buffer))
            .await
    }

    /// As [`FrameSocket::send`].
    ///
    /// # Errors
    /// As there.
    pub fn send(&self, ifindex: u32, frame: &[u8]) -> io::Result<()> {
        self.0.get_ref().send(ifindex, frame)
    }
}

pub(crate) fn permission(error: io::Error) -> OpenError {
    match error.kind() {
        io::ErrorKind::PermissionDenied => OpenError::NotPermitted(error),
        _ => OpenError::Io(error),
    }
}

pub(crate) fn attach(socket: &Socket, program: &[Instruction]) -> io::Result<()> {
    // The length travels as 16 bits; a longer program would be cut and could mean anything.
    if u16::try_from(program.len()).is_err() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let program: Vec<SockFilter> = program
        .iter()
        .map(|i| SockFilter::new(i.code, i.jt, i.jf, i.k))
        .collect();
    socket.attach_filter(&program)
}

/// The address of a neighbour on an interface, whose hardware address has at most 8 bytes.
pub(crate) fn address(ifindex: u32, ethertype: u16, neighbour: &[u8]) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: the storage is zeroed, at least as large and as aligned as every socket address, and for
    // `sockaddr_ll`, made of integers only, any content is valid.
    let link: &mut sockaddr_ll = unsafe { storage.view_as() };
    link.sll_family = family();
    link.sll_protocol = ethertype.to_be();
    link.sll_ifindex = ifindex.cast_signed();
    let len = neighbour.len().min(link.sll_addr.len());
    link.sll_halen = u8::try_from(len).unwrap_or_default();
    link.sll_addr[..len].copy_from_slice(&neighbour[..len]);
    let length = libc::socklen_t::try_from(mem::size_of::<sockaddr_ll>()).expect("a socket address is small");
    // SAFETY: the storage holds an initialised `sockaddr_ll`, as its family says, and `length` is its size.
    unsafe { SockAddr::new(storage, length) }
}

fn family() -> libc::sa_family_t {
    libc::sa_family_t::try_from(AF_PACKET).expect("address families fit their type")
}

/// Copies what has come in to `buffer`, cut to its length; how long it was, and where it came from.
pub(crate) fn receive(socket: &Socket, buffer: &mut [u8]) -> io::Result<(usize, sockaddr_ll)> {
    // SAFETY: `sockaddr_ll` consists of integers, for which all zeros is a valid value.
    let mut from: sockaddr_ll = unsafe { mem::zeroed() };
    let mut from_len = libc::socklen_t::try_from(mem::size_of::<sockaddr_ll>()).expect("a socket address is small");
    // SAFETY: the descriptor is open as long as `socket` is borrowed; the buffer is writable for its whole length;
    // `from` is writable for `from_len` bytes; the kernel keeps no pointer after the call.
    let len = unsafe {
        libc::recvfrom(
            socket.as_raw_fd(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            0,
            (&raw mut from).cast(),
            &raw mut from_len,
        )
    };
    let len = usize::try_from(len).map_err(|_| io::Error::last_os_error())?;
    Ok((len, from))
}

pub(crate) fn packet_type(kernel: u8) -> PacketType {
    match kernel {
        libc::PACKET_HOST => PacketType::Host,
        libc::PACKET_BROADCAST => PacketType::Broadcast,
        libc::PACKET_MULTICAST => PacketType::Multicast,
        _ => PacketType::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_socket_names_the_capability() {
        let error = permission(io::Error::from_raw_os_error(libc::EPERM));
        assert!(error.to_string().starts_with("needs capability NET_RAW:"), "{error}");
    }

    #[test]
    fn the_socket_address_carries_interface_protocol_and_destination() {
        let address = address(7, ETHERTYPE_ARP, &[2, 0, 0, 0, 0, 9]);
        assert_eq!(address.family(), family());
        assert_eq!(address.len() as usize, mem::size_of::<sockaddr_ll>());
    }
}
