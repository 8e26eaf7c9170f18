//! TCP-MD5 signatures (RFC 2385): `TCP_MD5SIG`, see tcp(7).

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, AsRawFd},
};

use ipnet::IpNet;

/// The longest key that the kernel takes (`TCP_MD5SIG_MAXKEYLEN`).
pub const MD5_KEY_MAX: usize = 80;

/// `struct tcp_md5sig` of linux/tcp.h.
#[repr(C)]
struct TcpMd5Sig {
    address: libc::sockaddr_storage,
    flags: u8,
    prefix_len: u8,
    key_len: u16,
    ifindex: i32,
    key: [u8; MD5_KEY_MAX],
}

/// `TCP_MD5SIG_EXT` of linux/tcp.h.
const TCP_MD5SIG_EXT: libc::c_int = 32;
/// `TCP_MD5SIG_FLAG_PREFIX`.
const FLAG_PREFIX: u8 = 1;

/// Signs all segments to `peer` on this socket, and drops those from it that are not signed with `key`.
///
/// Must be called before the socket connects, so that already the SYN is signed.
///
/// # Errors
/// When the key is empty or longer than [`MD5_KEY_MAX`], or the kernel refuses (no `CONFIG_TCP_MD5SIG`, FIPS mode).
pub fn set_tcp_md5(socket: &impl AsFd, peer: IpAddr, key: &[u8]) -> io::Result<()> {
    check(key)?;
    set(socket, peer, None, key)
}

/// The same for all peers of a network, on a socket that listens: the sockets of those that connect have the key, too.
///
/// # Errors
/// As [`set_tcp_md5`].
pub fn set_tcp_md5_of(socket: &impl AsFd, network: IpNet, key: &[u8]) -> io::Result<()> {
    check(key)?;
    set(socket, network.network(), Some(network.prefix_len()), key)
}

/// Takes the key of a network off a socket that listens.
///
/// # Errors
/// If it has none, or those of `setsockopt`.
pub fn remove_tcp_md5(socket: &impl AsFd, network: IpNet) -> io::Result<()> {
    set(socket, network.network(), Some(network.prefix_len()), &[])
}

fn check(key: &[u8]) -> io::Result<()> {
    if key.is_empty() || key.len() > MD5_KEY_MAX {
        let text = format!("TCP-MD5 key has {} octets, 1 to {MD5_KEY_MAX} are possible", key.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(())
}

fn set(socket: &impl AsFd, address: IpAddr, prefix: Option<u8>, key: &[u8]) -> io::Result<()> {
    let (name, flags) = match prefix {
        Some(_) => (TCP_MD5SIG_EXT, FLAG_PREFIX),
        None => (libc::TCP_MD5SIG, 0),
    };
    let mut option = TcpMd5Sig {
        address: storage(address),
        flags,
        prefix_len: prefix.unwrap_or_default(),
        key_len: u16::try_from(key.len()).unwrap_or_default(),
        ifindex: 0,
        key: [0; MD5_KEY_MAX],
    };
    option.key[..key.len()].copy_from_slice(key);
    let length = libc::socklen_t::try_from(size_of::<TcpMd5Sig>()).unwrap_or_default();
    // SAFETY: the descriptor is open for as long as `socket` is borrowed; the kernel reads `length` octets from a live,
    // fully initialised structure of exactly that size and keeps no pointer to it.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            name,
            (&raw const option).cast(),
            length,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn storage(address: IpAddr) -> libc::sockaddr_storage {
    let mut storage = socket2::SockAddr::from(SocketAddr::new(address, 0)).as_storage();
    // SAFETY: the type is the one that socket2 wraps on Linux, so size and layout are those that `view_as` demands.
    unsafe { *storage.view_as::<libc::sockaddr_storage>() }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn key_length_is_checked_before_the_kernel_is_asked() {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        for key in [&b""[..], &[b'k'; 81]] {
            let error = set_tcp_md5(&socket, Ipv4Addr::LOCALHOST.into(), key).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
    }
}
