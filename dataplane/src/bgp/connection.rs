//! A TCP connection to a peer: dialling, and a queue of bytes to send that blocks nothing.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6},
    os::fd::AsFd,
};

use bytes::{Buf, Bytes};
use ipnet::IpNet;
use metallb_bgp::{LinkAddresses, PeerConfig};
use nix::ifaddrs::InterfaceAddress;
use tokio::net::{TcpSocket, TcpStream};

use super::unnumbered::Found;

/// TTL towards an external peer several hops away (`ebgpMultiHop`), and what GTSM sends and wants (RFC 5082); otherwise
/// the system's default of 64 stays.
const MAX_TTL: u8 = 255;
/// TTL towards a router that was found on the link.
const LINK_TTL: u8 = 1;
/// How many queued messages go into one system call.
const BATCH: usize = 64;

/// A connection with the bytes that wait for it.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    queue: VecDeque<Bytes>,
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            queue: VecDeque::new(),
        }
    }

    pub(super) fn queue(&mut self, bytes: Bytes) {
        self.queue.push_back(bytes);
    }

    /// Waits until bytes arrive or queued ones can go. Cancel-safe: nothing is read or written here.
    pub(super) async fn ready(&self) -> io::Result<Ready> {
        if self.queue.is_empty() {
            return self.stream.readable().await.map(|()| Ready::Read);
        }
        // Both arms only observe readiness.
        tokio::select! {
            ready = self.stream.readable() => ready.map(|()| Ready::Read),
            ready = self.stream.writable() => ready.map(|()| Ready::Write),
        }
    }

    /// Reads what has arrived; `None` if nothing has.
    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self.stream.try_read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            result => result.map(Some),
        }
    }

    /// Writes as much of the queue as the kernel takes at once; returns how many octets.
    pub(super) fn write(&mut self) -> io::Result<usize> {
        if self.queue.is_empty() {
            return Ok(0);
        }
        let slices: Vec<_> = self.queue.iter().take(BATCH).map(|bytes| IoSlice::new(bytes)).collect();
        let written = match self.stream.try_write_vectored(&slices) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            result => result?,
        };
        let mut rest = written;
        while let Some(front) = self.queue.front_mut() {
            let part = rest.min(front.len());
            front.advance(part);
            rest -= part;
            if !front.is_empty() {
                break;
            }
            self.queue.pop_front();
        }
        Ok(written)
    }

    /// Sends what needs no waiting, then closes.
    ///
    /// Unread input is taken off first: closing with some left makes the kernel send RST, which may overtake the
    /// NOTIFICATION that says why.
    pub(super) fn close(mut self) {
        let mut sink = [0; 16 * 1024];
        while matches!(self.write(), Ok(1..)) && !self.queue.is_empty() {}
        for _ in 0..64 {
            if !matches!(self.stream.try_read(&mut sink), Ok(1..)) {
                break;
            }
        }
        // Fails if the peer has closed already, which is fine.
        let _ = socket2::SockRef::from(&self.stream).shutdown(std::net::Shutdown::Write);
    }
}

/// What a connection is ready for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ready {
    /// Bytes, or the end, can be read.
    Read,
    /// Bytes can be written.
    Write,
}

/// Why dialling failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    #[error("cannot set up a TCP socket: {0}")]
    Socket(#[source] io::Error),
    #[error("cannot find interface {name}: {source}")]
    Interface { name: String, source: io::Error },
    #[error("cannot bind to device {name}: {source}")]
    Device { name: String, source: io::Error },
    #[error("cannot set the TCP-MD5 key: {0}")]
    Md5(#[source] io::Error),
    #[error("cannot set the TTL: {0}")]
    Ttl(#[source] io::Error),
    #[error("cannot use source address {address}: {source}")]
    Source { address: IpAddr, source: io::Error },
    #[error("source address {0} is of another address family than the peer")]
    SourceFamily(IpAddr),
    #[error("{0}")]
    NoRouter(String),
    #[error("{0}")]
    Connect(#[source] io::Error),
}

/// Dials a peer, an unnumbered one at the address that was found; returns our addresses on that link as well.
pub(super) async fn dial(config: &PeerConfig, found: Option<Found>) -> Result<(TcpStream, LinkAddresses), DialError> {
    let address = match found {
        Some(found) => found.map_err(DialError::NoRouter)?.into(),
        None => config.address,
    };
    let target = with_zone(address, config.port, config.zone.as_deref())?;
    let stream = socket(config, address)?
        .connect(target)
        .await
        .map_err(DialError::Connect)?;
    // UPDATEs are packed already; waiting for more only delays them.
    stream.set_nodelay(true).map_err(DialError::Socket)?;
    let local = stream.local_addr().map_err(DialError::Socket)?.ip();
    Ok((stream, link_addresses(local, address, config.zone.as_deref())))
}

/// Prepares a connection that the peer has opened; returns our addresses on that link.
pub(super) fn adopt(config: &PeerConfig, stream: &TcpStream) -> Result<LinkAddresses, DialError> {
    let remote = stream.peer_addr().map_err(DialError::Socket)?.ip().to_canonical();
    stream.set_nodelay(true).map_err(DialError::Socket)?;
    set_ttl(stream, config, remote.is_ipv4()).map_err(DialError::Ttl)?;
    // The key may have changed since the listening socket passed it on.
    if let Some(key) = &config.password {
        metallb_net::set_tcp_md5(stream, remote, key.expose()).map_err(DialError::Md5)?;
    }
    let local = stream.local_addr().map_err(DialError::Socket)?.ip();
    Ok(link_addresses(local, remote, config.zone.as_deref()))
}

fn socket(config: &PeerConfig, address: IpAddr) -> Result<TcpSocket, DialError> {
    let ipv4 = address.is_ipv4();
    let socket = if ipv4 { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.map_err(DialError::Socket)?;
    if let Some(name) = &config.device {
        let bound = socket.bind_device(Some(name.as_bytes()));
        bound.map_err(|source| DialError::Device {
            name: name.clone(),
            source,
        })?;
    }
    if let Some(key) = &config.password {
        metallb_net::set_tcp_md5(&socket, address, key.expose()).map_err(DialError::Md5)?;
    }
    set_ttl(&socket, config, ipv4).map_err(DialError::Ttl)?;
    if let Some(address) = config.source {
        if address.is_ipv4() != ipv4 {
            return Err(DialError::SourceFamily(address));
        }
        let source = with_zone(address, 0, config.zone.as_deref())?;
        socket
            .bind(source)
            .map_err(|source| DialError::Source { address, source })?;
    }
    Ok(socket)
}

/// Sets the TTL of segments that are sent, and the least TTL of those that are accepted.
fn set_ttl(socket: &impl AsFd, config: &PeerConfig, ipv4: bool) -> io::Result<()> {
    let ttl = if config.ttl_security || config.ebgp_multihop {
        MAX_TTL
    } else if config.is_unnumbered() {
        LINK_TTL
    } else {
        return Ok(());
    };
    let options = socket2::SockRef::from(socket);
    if ipv4 {
        options.set_ttl_v4(ttl.into())?;
    } else {
        options.set_unicast_hops_v6(ttl.into())?;
    }
    if config.ttl_security {
        metallb_net::set_minimum_ttl(socket, ipv4, MAX_TTL)?;
    }
    Ok(())
}

/// Adds the interface index, which a link-local address needs.
fn with_zone(address: IpAddr, port: u16, zone: Option<&str>) -> Result<SocketAddr, DialError> {
    match (address, zone) {
        (IpAddr::V6(address), Some(name)) if address.is_unicast_link_local() => {
            let index = nix::net::if_::if_nametoindex(name).map_err(|error| DialError::Interface {
                name: name.to_owned(),
                source: error.into(),
            })?;
            Ok(SocketAddrV6::new(address, port, 0, index).into())
        }
        _ => Ok(SocketAddr::new(address, port)),
    }
}

/// Lists our addresses on the interface that holds the local end of a connection.
fn link_addresses(local: IpAddr, remote: IpAddr, zone: Option<&str>) -> LinkAddresses {
    // Without the list the session still works for its own family.
    let all: Vec<_> = nix::ifaddrs::getifaddrs().map(Iterator::collect).unwrap_or_default();
    select_addresses(
        local,
        remote,
        zone,
        &all.iter().filter_map(interface_address).collect::<Vec<_>>(),
    )
}

fn interface_address(entry: &InterfaceAddress) -> Option<(String, IpNet)> {
    let (address, mask) = (entry.address.as_ref()?, entry.netmask.as_ref()?);
    let (address, mask) = if let (Some(address), Some(mask)) = (address.as_sockaddr_in(), mask.as_sockaddr_in()) {
        (IpAddr::from(address.ip()), IpAddr::from(mask.ip()))
    } else {
        (
            IpAddr::from(address.as_sockaddr_in6()?.ip()),
            IpAddr::from(mask.as_sockaddr_in6()?.ip()),
        )
    };
    let prefix = IpNet::with_netmask(address, mask).ok()?;
    Some((entry.interface_name.clone(), prefix))
}

fn select_addresses(local: IpAddr, remote: IpAddr, zone: Option<&str>, all: &[(String, IpNet)]) -> LinkAddresses {
    let holds = |name: &str, prefix: &IpNet| prefix.addr() == local && zone.is_none_or(|zone| zone == name);
    // Every interface may have the same link-local address.
    let holder = all
        .iter()
        .find(|(name, prefix)| holds(name, prefix))
        .map(|(name, _)| name);
    let on_link: Vec<_> = all
        .iter()
        .filter(|(name, _)| Some(name) == holder)
        .map(|(_, prefix)| prefix)
        .collect();
    let ipv4 = |prefix: &&IpNet| match prefix.addr() {
        IpAddr::V4(address) if !address.is_loopback() => Some(address),
        _ => None,
    };
    let ipv6 = |wanted: fn(&Ipv6Addr) -> bool| {
        let mut addresses = on_link.iter().filter_map(|prefix| match prefix.addr() {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => None,
        });
        addresses.find(wanted)
    };
    let neighbour = is_link_local(remote) || on_link.iter().any(|prefix| prefix.contains(&remote));
    LinkAddresses {
        local,
        ipv4: on_link.iter().find_map(ipv4),
        ipv6: ipv6(|address| !address.is_unicast_link_local() && !address.is_loopback()),
        link_local: ipv6(Ipv6Addr::is_unicast_link_local).filter(|_| neighbour),
    }
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses() -> Vec<(String, IpNet)> {
        [
            ("lo", "127.0.0.1/8"),
            ("lo", "::1/128"),
            ("eth0", "10.0.0.1/24"),
            ("eth0", "fd00::1/64"),
            ("eth0", "fe80::1/64"),
            ("eth1", "10.1.0.1/24"),
        ]
        .map(|(name, prefix)| (name.to_owned(), prefix.parse().unwrap()))
        .to_vec()
    }

    #[test]
    fn addresses_come_from_the_interface_of_the_connection() {
        let link = select_addresses(
            "fd00::1".parse().unwrap(),
            "fd00::2".parse().unwrap(),
            None,
            &addresses(),
        );
        assert_eq!(link.ipv4, Some("10.0.0.1".parse().unwrap()));
        assert_eq!(link.ipv6, Some("fd00::1".parse().unwrap()));
        assert_eq!(link.link_local, Some("fe80::1".parse().unwrap()));
        let other = select_addresses(
            "10.1.0.1".parse().unwrap(),
            "10.1.0.2".parse().unwrap(),
            None,
            &addresses(),
        );
        assert_eq!((other.ipv6, other.link_local), (None, None));
    }

    #[test] // BGP-41
    fn of_equal_link_local_addresses_the_zone_says_which() {
        let mut all = addresses();
        all.push(("eth1".to_owned(), "fe80::1/64".parse().unwrap()));
        let (local, remote) = ("fe80::1".parse().unwrap(), "fe80::2".parse().unwrap());
        let link = select_addresses(local, remote, Some("eth1"), &all);
        assert_eq!(link.ipv4, Some("10.1.0.1".parse().unwrap()));
        assert_eq!(link.ipv6, None);
    }

    #[test] // BGP-61
    fn link_local_next_hop_is_only_offered_to_neighbours() {
        let link = select_addresses(
            "fd00::1".parse().unwrap(),
            "fd99::2".parse().unwrap(),
            None,
            &addresses(),
        );
        assert_eq!(link.link_local, None);
    }

    #[tokio::test] // BGP-76
    async fn ttl_is_the_systems_unless_the_peer_is_hops_away() {
        let config = PeerConfig::new(
            "r",
            64500,
            metallb_bgp::RemoteAs::Asn(64501),
            "127.0.0.1".parse().unwrap(),
        );
        let ttl = |config: &PeerConfig| {
            let socket = socket(config, config.address).unwrap();
            socket2::SockRef::from(&socket).ttl_v4().unwrap()
        };
        assert_eq!(ttl(&config), 64);
        assert_eq!(
            ttl(&PeerConfig {
                ebgp_multihop: true,
                ..config.clone()
            }),
            255
        );
        let six = PeerConfig {
            address: "::1".parse().unwrap(),
            ebgp_multihop: true,
            ..config
        };
        assert_eq!(
            socket2::SockRef::from(&socket(&six, six.address).unwrap())
                .unicast_hops_v6()
                .unwrap(),
            255
        );
        let found = PeerConfig::unnumbered("r", 64500, metallb_bgp::RemoteAs::External, "lo");
        let link_local = "fe80::2".parse().unwrap();
        let hops = |config: &PeerConfig| {
            let socket = socket(config, link_local).unwrap();
            socket2::SockRef::from(&socket).unicast_hops_v6().unwrap()
        };
        assert_eq!(hops(&found), 1);
        assert_eq!(
            hops(&PeerConfig {
                ttl_security: true,
                ..found
            }),
            255
        );
    }
}
