//! The sockets that packets are received on: one for each port, family and VRF.

use std::{
    collections::BTreeMap,
    io::{self, IoSliceMut},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd, AsRawFd, BorrowedFd},
};

use metallb_bfd::{Hops, SessionKey};
use nix::{
    cmsg_space,
    libc::{in_pktinfo, in6_pktinfo},
    net::if_::if_nametoindex,
    sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt},
};
use socket2::{Domain, Protocol, Socket, Type};

/// A packet has 24 octets, and more if it is authenticated.
const PACKET_LEN: usize = 128;
/// For what arrives while the thread cannot run.
const BUFFER_LEN: usize = 4 << 20;

/// The UDP port of control packets (RFC 5881 §4, RFC 5883 §5).
pub(super) fn control_port(hops: Hops) -> u16 {
    match hops {
        Hops::Single => 3784,
        Hops::Multi => 4784,
    }
}

/// What a socket receives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Port {
    /// `None`, which is everything that is in no VRF, sorts first, see [`open`].
    pub(super) device: Option<String>,
    pub(super) hops: Hops,
    pub(super) v6: bool,
}

impl Port {
    /// Where a session receives.
    pub(super) fn of(key: &SessionKey) -> Self {
        Self {
            device: key.device.clone(),
            hops: key.hops,
            v6: key.peer.is_ipv6(),
        }
    }
}

/// A packet and how it arrived.
pub(super) struct Received<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) peer: IpAddr,
    pub(super) local: IpAddr,
    pub(super) interface: u32,
    pub(super) ttl: u8,
}

/// Where packets are copied to.
pub(super) struct Buffers {
    packet: [u8; PACKET_LEN],
    control: Vec<u8>,
}

impl Default for Buffers {
    fn default() -> Self {
        Self {
            packet: [0; PACKET_LEN],
            control: cmsg_space!(in_pktinfo, in6_pktinfo, i32, i32),
        }
    }
}

/// A socket that receives.
pub(super) struct Inlet {
    socket: Socket,
    /// The device that it is bound to, if to any: another one that takes its name is another device.
    device: Option<u32>,
}

impl AsFd for Inlet {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Inlet {
    /// Opens the socket of a port.
    ///
    /// Another daemon that has the port is an error: packets would go to either. Our own sockets share it, that of no VRF
    /// with those of the VRFs, which is allowed once the first one is bound.
    fn open(port: &Port) -> io::Result<Self> {
        let domain = if port.v6 { Domain::IPV6 } else { Domain::IPV4 };
        let socket = Socket::new(domain, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))?;
        if port.v6 {
            socket.set_only_v6(true)?;
            setsockopt(&socket, sockopt::Ipv6RecvHopLimit, &true)?;
            setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        } else {
            setsockopt(&socket, sockopt::Ipv4RecvTtl, &true)?;
            setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        }
        // Less is granted where more is not allowed.
        socket.set_recv_buffer_size(BUFFER_LEN)?;
        let device = port.device.as_deref().map(index).transpose()?;
        if let Some(device) = &port.device {
            socket
                .bind_device(Some(device.as_bytes()))
                .map_err(|error| named(device, &error))?;
            socket.set_reuse_address(true)?;
        }
        let any: IpAddr = if port.v6 {
            Ipv6Addr::UNSPECIFIED.into()
        } else {
            Ipv4Addr::UNSPECIFIED.into()
        };
        socket.bind(&SocketAddr::new(any, control_port(port.hops)).into())?;
        socket.set_reuse_address(true)?;
        Ok(Self { socket, device })
    }

    /// The next packet, if there is one.
    pub(super) fn receive<'a>(&self, buffers: &'a mut Buffers) -> io::Result<Option<Received<'a>>> {
        let Buffers { packet, control } = buffers;
        let (len, peer, arrival) = {
            let mut slices = [IoSliceMut::new(packet)];
            let message = recvmsg::<SockaddrStorage>(
                self.socket.as_raw_fd(),
                &mut slices,
                Some(control),
                MsgFlags::MSG_DONTWAIT,
            );
            let message = match message {
                Err(nix::Error::EAGAIN) => return Ok(None),
                message => message?,
            };
            let peer = message.address.as_ref().and_then(source);
            (message.bytes, peer, Arrival::of(message.cmsgs()?))
        };
        let Some(peer) = peer else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        Ok(Some(Received {
            bytes: &packet[..len],
            peer,
            local: arrival.local,
            interface: arrival.interface,
            ttl: arrival.ttl,
        }))
    }
}

fn index(device: &str) -> io::Result<u32> {
    if_nametoindex(device).map_err(|error| named(device, &error.into()))
}

/// Adds the name of the device to an error.
pub(super) fn named(device: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("VRF {device}: {error}"))
}

fn source(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|address| address.ip().into());
    v4.or_else(|| address.as_sockaddr_in6().map(|address| address.ip().into()))
}

/// The control messages of a packet. One that is missing makes the packet refused: no interface has index 0, and a TTL of
/// 0 is too low.
struct Arrival {
    local: IpAddr,
    interface: u32,
    ttl: u8,
}

impl Arrival {
    fn of(messages: impl Iterator<Item = ControlMessageOwned>) -> Self {
        let mut arrival = Self {
            local: Ipv4Addr::UNSPECIFIED.into(),
            interface: 0,
            ttl: 0,
        };
        for message in messages {
            match message {
                ControlMessageOwned::Ipv4PacketInfo(info) => {
                    arrival.local = Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr)).into();
                    arrival.interface = info.ipi_ifindex.cast_unsigned();
                }
                ControlMessageOwned::Ipv6PacketInfo(info) => {
                    arrival.local = Ipv6Addr::from(info.ipi6_addr.s6_addr).into();
                    arrival.interface = info.ipi6_ifindex;
                }
                ControlMessageOwned::Ipv4Ttl(ttl) | ControlMessageOwned::Ipv6HopLimit(ttl) => {
                    arrival.ttl = u8::try_from(ttl).unwrap_or_default();
                }
                _ => {}
            }
        }
        arrival
    }
}

/// All sockets that receive.
#[derive(Default)]
pub(super) struct Ports {
    pub(super) open: BTreeMap<Port, Inlet>,
    /// Those that are needed and cannot be opened, with the reason.
    pub(super) failed: BTreeMap<Port, String>,
}

impl Ports {
    /// Closes those of devices that are gone, or that others have replaced under the same name: they receive nothing more.
    pub(super) fn close_stale(&mut self) {
        self.open.retain(|port, inlet| {
            let now = port.device.as_deref().and_then(|device| index(device).ok());
            inlet.device == now
        });
    }

    /// Opens the sockets that are needed and not open, and closes those that are no longer needed.
    pub(super) fn need<'a>(&mut self, keys: impl Iterator<Item = &'a SessionKey>) {
        let needed: BTreeMap<Port, ()> = keys
            .flat_map(|key| {
                let port = Port::of(key);
                // Before a socket of a VRF the one of none must be bound.
                let first = Port {
                    device: None,
                    ..port.clone()
                };
                [(first, ()), (port, ())]
            })
            .collect();
        self.open.retain(|port, _| needed.contains_key(port));
        self.failed.clear();
        for port in needed.into_keys() {
            if self.open.contains_key(&port) {
                continue;
            }
            match Inlet::open(&port) {
                Ok(inlet) => drop(self.open.insert(port, inlet)),
                Err(error) => {
                    let text = format!("cannot listen on UDP port {}: {error}", control_port(port.hops));
                    self.failed.insert(port, text);
                }
            }
        }
    }
}
