//! The least TTL that is taken (GTSM, RFC 5082): `IP_MINTTL`, see ip(7).

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
};

/// Drops TCP segments of this socket's peer that arrive with a lower TTL or hop limit.
///
/// # Errors
/// Those of `setsockopt`.
pub fn set_minimum_ttl(socket: &impl AsFd, ipv4: bool, ttl: u8) -> io::Result<()> {
    let (level, option) = if ipv4 {
        (libc::IPPROTO_IP, libc::IP_MINTTL)
    } else {
        (libc::IPPROTO_IPV6, libc::IPV6_MINHOPCOUNT)
    };
    let value = libc::c_int::from(ttl);
    let length = libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap_or_default();
    // SAFETY: the descriptor is open for as long as `socket` is borrowed; the kernel reads `length` octets from a live
    // integer of exactly that size and keeps no pointer to it.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            length,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
