//! Names of interfaces, and notifications from the kernel that interfaces or the forwarding of packets have changed. What has
//! changed is read anew where it matters.

use std::{
    collections::HashMap,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use nix::{
    net::if_::if_indextoname,
    sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket},
};

/// Bits of the groups of rtnetlink(7): interfaces, and forwarding of either family.
const GROUPS: u32 = group(1) | group(24) | group(25);

/// How long the name of an interface is cached.
const NAMES_KEPT: Duration = Duration::from_secs(1);

const fn group(number: u32) -> u32 {
    1 << (number - 1)
}

/// A subscription; its descriptor is readable when there is news. Needs no capability.
pub(super) struct News(OwnedFd);

impl AsFd for News {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl News {
    pub(super) fn subscribe() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUPS))?;
        Ok(Self(socket))
    }

    /// Takes all notifications that have come. Those lost for lack of memory count as well.
    pub(super) fn take(&self) {
        // The kernel cuts longer messages; their content is not read.
        let mut buffer = [0; 64];
        while let Ok(_) | Err(nix::Error::ENOBUFS) = recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {}
    }
}

/// Names of interfaces by index.
#[derive(Default)]
pub(super) struct Names {
    known: HashMap<u32, String>,
    until: Option<Instant>,
}

impl Names {
    /// The name of an interface, empty if it has none.
    pub(super) fn of(&mut self, index: u32, now: Instant) -> &str {
        if self.until.is_none_or(|until| until <= now) {
            self.known.clear();
            self.until = Some(now + NAMES_KEPT);
        }
        self.known.entry(index).or_insert_with(|| {
            let name = if_indextoname(index).ok();
            name.and_then(|name| name.into_string().ok()).unwrap_or_default()
        })
    }
}
