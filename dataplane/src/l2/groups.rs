//! Memberships of multicast groups. Joining waits for the kernel's lock over its interfaces, so that the thread that
//! answers leaves it to a task.

use std::{io, net::Ipv6Addr};

use socket2::{Domain, Socket, Type};
use tokio::{sync::mpsc, task};

/// A change of a membership on the interface with that index.
#[derive(Clone, Copy, Debug)]
pub(super) enum Membership {
    Join(u32, Ipv6Addr),
    Leave(u32, Ipv6Addr),
}

/// Carries out what is asked for, in order, until the other side is gone.
pub(super) async fn run(mut wanted: mpsc::UnboundedReceiver<Membership>) {
    let mut groups = Groups::default();
    while let Some(membership) = wanted.recv().await {
        match membership {
            Membership::Join(ifindex, group) => groups.join(ifindex, group),
            Membership::Leave(ifindex, group) => groups.leave(ifindex, group),
        }
        // There may be ten thousand, and other tasks.
        task::yield_now().await;
    }
}

/// Sockets that only hold memberships.
#[derive(Default)]
struct Groups(Vec<Socket>);

impl Groups {
    /// Lets interface and switches pass what is sent to `group` (RFC 3810 tells the switches).
    fn join(&mut self, ifindex: u32, group: Ipv6Addr) {
        if let Err(error) = self.try_join(ifindex, group) {
            tracing::warn!(ifindex, %group, %error, "cannot join the group in which neighbours ask");
        }
    }

    /// The kernel limits the memberships of one socket (`net.core.optmem_max`).
    fn try_join(&mut self, ifindex: u32, group: Ipv6Addr) -> io::Result<()> {
        match self.0.last().map(|socket| socket.join_multicast_v6(&group, ifindex)) {
            Some(Err(error)) if is_full(&error) => {}
            Some(joined) => return joined,
            None => {}
        }
        let socket = Socket::new(Domain::IPV6, Type::DGRAM.cloexec(), None)?;
        socket.join_multicast_v6(&group, ifindex)?;
        self.0.push(socket);
        Ok(())
    }

    fn leave(&self, ifindex: u32, group: Ipv6Addr) {
        let left = |socket: &Socket| socket.leave_multicast_v6(&group, ifindex).is_ok();
        if !self.0.iter().any(left) {
            tracing::debug!(ifindex, %group, "was no member of the group");
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(nix::libc::ENOBUFS | nix::libc::ENOMEM))
}
