//! The sockets: datagrams and streams on one port.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::net::{TcpListener, UdpSocket};

/// How often another port is tried, when any will do and the stream's is taken.
const TRIES: u32 = 10;

/// Both sockets, on the same address and port.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) datagrams: UdpSocket,
    pub(super) streams: TcpListener,
}

/// Which of them could not be had.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) protocol: &'static str,
    pub(super) source: io::Error,
}

impl Sockets {
    pub(super) fn listen(address: SocketAddr) -> Result<Self, Refused> {
        let mut tries = if address.port() == 0 { TRIES } else { 1 };
        loop {
            tries -= 1;
            match Self::try_listen(address) {
                Err(refused) if tries > 0 && refused.source.kind() == io::ErrorKind::AddrInUse => {}
                result => return result,
            }
        }
    }

    fn try_listen(address: SocketAddr) -> Result<Self, Refused> {
        let refused = |protocol| move |source| Refused { protocol, source };
        let datagrams = datagrams(address).map_err(refused("UDP"))?;
        let address = datagrams.local_addr().map_err(refused("UDP"))?;
        let streams = streams(address).map_err(refused("TCP"))?;
        Ok(Self { datagrams, streams })
    }
}

fn datagrams(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

fn streams(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = std::net::TcpListener::bind(address)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket)
}

/// Where others reach what listens on `local`: if that is every address, the one that the kernel would send from.
pub(super) fn advertised(local: SocketAddr) -> io::Result<SocketAddr> {
    if !local.ip().is_unspecified() {
        return Ok(local);
    }
    // Of documentation: only the route counts, nothing is sent.
    let elsewhere: IpAddr = match local.ip() {
        IpAddr::V4(_) => Ipv4Addr::new(203, 0, 113, 1).into(),
        IpAddr::V6(_) => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
    };
    let socket = std::net::UdpSocket::bind((local.ip(), 0))?;
    socket.connect((elsewhere, 9))?;
    Ok(SocketAddr::new(socket.local_addr()?.ip(), local.port()))
}
