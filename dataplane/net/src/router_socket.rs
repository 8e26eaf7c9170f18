//! Raw ICMPv6: router solicitations and advertisements of one interface (RFC 4861).

use std::{
    io,
    net::{Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket as Plain},
};

use metallb_l2::Instruction;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use crate::packet_socket::{OpenError, attach, permission};

/// What is sent and taken has crossed no router (RFC 4861 §6.1).
const HOP_LIMIT: u32 = 255;
/// Takes solicitations (133) and advertisements (134) with hop limit 255. The packet begins with the ICMPv6 header; the
/// IPv6 header is at the kernel's special offset `SKF_NET_OFF`.
const FILTER: [Instruction; 7] = [
    instruction(0x30, 0, 0, 0xfff0_0007),
    instruction(0x15, 0, 4, HOP_LIMIT),
    instruction(0x30, 0, 0, 0),
    instruction(0x15, 1, 0, 134),
    instruction(0x15, 0, 1, 133),
    instruction(0x06, 0, 0, 0xffff),
    instruction(0x06, 0, 0, 0),
];

const fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> Instruction {
    Instruction { code, jt, jf, k }
}

/// A socket for router solicitations and advertisements on one interface.
#[derive(Debug)]
pub struct RouterSocket {
    /// Knows nothing of UDP: the socket calls are those that raw sockets have, too.
    socket: UdpSocket,
    index: u32,
}

impl RouterSocket {
    /// Opens a socket on an interface, in the group `ff02::2` of all routers. Needs a tokio runtime.
    ///
    /// # Errors
    /// Without CAP_NET_RAW, or if there is no such interface.
    pub fn open(name: &str, index: u32) -> Result<Self, OpenError> {
        let kind = Type::RAW.nonblocking().cloexec();
        let socket = Socket::new(Domain::IPV6, kind, Some(Protocol::ICMPV6)).map_err(permission)?;
        attach(&socket, &FILTER)?;
        socket.bind_device(Some(name.as_bytes())).map_err(permission)?;
        socket.set_multicast_hops_v6(HOP_LIMIT)?;
        socket.set_unicast_hops_v6(HOP_LIMIT)?;
        socket.set_multicast_if_v6(index)?;
        socket.set_multicast_loop_v6(false)?;
        socket.join_multicast_v6(&Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2), index)?;
        let socket = Plain::from(socket);
        // What came in before the filter was there.
        while socket.recv_from(&mut [0]).is_ok() {}
        let socket = UdpSocket::from_std(socket)?;
        Ok(Self { socket, index })
    }

    /// Waits for the next packet and copies it, from its ICMPv6 header on; returns its length and its source. Cancel-safe.
    ///
    /// # Errors
    /// Those of `recvfrom`.
    pub async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Ipv6Addr)> {
        match self.socket.recv_from(buffer).await? {
            (length, SocketAddr::V6(from)) => Ok((length, *from.ip())),
            (_, SocketAddr::V4(_)) => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// Sends an ICMPv6 packet, whose checksum the kernel computes; never waits.
    ///
    /// # Errors
    /// Those of `sendto`.
    pub fn send(&self, to: Ipv6Addr, packet: &[u8]) -> io::Result<()> {
        let to = SocketAddrV6::new(to, 0, 0, self.index);
        self.socket.try_send_to(packet, to.into()).map(|_| ())
    }
}
