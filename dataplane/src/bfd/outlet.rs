//! The socket that a session sends from (RFC 5881 §4 and §5).

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
};

use metallb_bfd::{Hops, SessionKey};
use nix::net::if_::if_nametoindex;
use socket2::{Domain, Protocol, Socket, Type};

use super::ports::{control_port, named};

/// Source ports must be among these (RFC 5881 §4).
const SOURCE_PORTS: std::ops::RangeInclusive<u16> = 49152..=65535;
/// How many random ports are tried.
const ATTEMPTS: usize = 64;
/// RFC 5881 §5.
const TTL: u32 = 255;
/// Internetwork control (RFC 2474 §4.2.2.1), as FRR has it: the last to be dropped when a link is full.
const TRAFFIC_CLASS: u32 = 0xc0;

/// Sends the packets of one session, always from the same port.
pub(super) struct Outlet {
    open: Option<(Socket, SocketAddr)>,
    port: Option<u16>,
}

impl Outlet {
    pub(super) fn new() -> Self {
        Self { open: None, port: None }
    }

    /// Sends; opens the socket anew after an error, as addresses and interfaces come and go.
    pub(super) fn send(
        &mut self,
        key: &SessionKey,
        bytes: &[u8],
        random: &mut impl FnMut() -> u16,
    ) -> Result<(), String> {
        let (socket, target) = match self.open.take() {
            Some(open) => open,
            None => self.open(key, random)?,
        };
        let sent = socket.send_to(bytes, &target.into());
        match sent {
            Ok(_) => {}
            // The next one may go out.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(format!("cannot send to {target}: {error}")),
        }
        self.open = Some((socket, target));
        Ok(())
    }

    fn open(&mut self, key: &SessionKey, random: &mut impl FnMut() -> u16) -> Result<(Socket, SocketAddr), String> {
        let scope = match &key.zone {
            Some(zone) => {
                if_nametoindex(zone.as_str()).map_err(|error| format!("cannot find interface {zone}: {error}"))?
            }
            None => 0,
        };
        let address = |ip: IpAddr, port| match ip {
            IpAddr::V4(ip) => SocketAddr::from((ip, port)),
            IpAddr::V6(ip) => SocketAddrV6::new(ip, port, 0, if ip.is_unicast_link_local() { scope } else { 0 }).into(),
        };
        let target = address(key.peer, control_port(key.hops));
        let socket = prepare(key).map_err(|error| format!("cannot open a UDP socket: {error}"))?;
        let unspecified = match key.peer {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let local = key.local.unwrap_or(unspecified);
        let port = self.bind(&socket, |port| address(local, port), random);
        self.port = Some(port.map_err(|error| format!("cannot use source address {local}: {error}"))?);
        Ok((socket, target))
    }

    /// Binds to the port that the session has already, or else to a free one.
    fn bind(
        &self,
        socket: &Socket,
        local: impl Fn(u16) -> SocketAddr,
        random: &mut impl FnMut() -> u16,
    ) -> io::Result<u16> {
        let span = SOURCE_PORTS.end() - SOURCE_PORTS.start();
        let drawn = std::iter::repeat_with(|| SOURCE_PORTS.start() + random() % (span + 1)).take(ATTEMPTS);
        let mut last = io::Error::from(io::ErrorKind::AddrInUse);
        for port in self.port.into_iter().chain(drawn) {
            match socket.bind(&local(port).into()) {
                Ok(()) => return Ok(port),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }
}

fn prepare(key: &SessionKey) -> io::Result<Socket> {
    let domain = if key.peer.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))?;
    if let Some(link) = key.zone.as_ref().filter(|_| key.hops == Hops::Single) {
        socket.bind_device(Some(link.as_bytes()))?;
    } else if let Some(device) = &key.device {
        let bound = socket.bind_device(Some(device.as_bytes()));
        bound.map_err(|error| named(device, &error))?;
    }
    if key.peer.is_ipv4() {
        socket.set_ttl_v4(TTL)?;
        socket.set_tos_v4(TRAFFIC_CLASS)?;
    } else {
        socket.set_only_v6(true)?;
        socket.set_unicast_hops_v6(TTL)?;
        socket.set_tclass_v6(TRAFFIC_CLASS)?;
    }
    // Nothing is received here.
    socket.set_recv_buffer_size(0)?;
    Ok(socket)
}
