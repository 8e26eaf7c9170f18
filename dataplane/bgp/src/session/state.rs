//! States and events of the state machine (RFC 4271 §8).

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use bytes::Bytes;
use ipnet::IpNet;

use super::Negotiated;
use crate::{
    DownReason, PeerRoute, Posture, StopReason,
    wire::{Frame, Message},
};

/// Where a session stands (RFC 4271 §8.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Stopped, or waits after a session that failed.
    Idle,
    /// Waits for TCP.
    Connect,
    /// Waits before the next attempt at TCP, or for the peer to connect.
    Active,
    /// Has sent its OPEN and waits for the peer's.
    OpenSent,
    /// Has accepted the peer's OPEN and waits for its KEEPALIVE.
    OpenConfirm,
    /// Exchanges routes.
    Established,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Names one connection of a session, or one attempt at it.
///
/// An event that names a connection that the session no longer has came too late, and has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub(super) u64);

/// What happens to a session.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// Bring the session up and keep it up.
    Start,
    /// End the session for good. The text goes to the peer's administrators (RFC 9003); none is sent if it is empty.
    Stop(StopReason, &'a str),
    /// End the session for this reason and begin another one at once.
    Reset(StopReason),
    /// Keep the session up, and announce its routes in this way from now on.
    Show(Posture),
    /// TCP is up, dialled or accepted.
    Connected(ConnectionId, LinkAddresses),
    /// TCP did not come up.
    ConnectFailed(ConnectionId, String),
    /// Bytes arrived, however TCP sliced them.
    Received(ConnectionId, &'a [u8]),
    /// That many of the bytes to send went into the kernel.
    Written(ConnectionId, usize),
    /// The connection is gone, with the operating system's reason if there is one.
    Closed(ConnectionId, Option<String>),
    /// The peer should know this from now on; prefixes not listed stay as they are.
    ///
    /// The first such event means that the table is complete, even if it lists nothing.
    RoutesChanged(&'a [PeerRoute]),
    /// [`super::Session::next_deadline`] has passed.
    Tick,
}

/// What the shell must do, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Dial the peer; answer with [`Event::Connected`] or [`Event::ConnectFailed`].
    Connect(ConnectionId),
    /// Send these bytes, exactly one message, after those before it.
    Send(Bytes),
    /// Send these bytes on the second connection, which the peer has dialled.
    SendOn(ConnectionId, Bytes),
    /// The second connection takes the place of the first one, which is closed.
    Promote(ConnectionId),
    /// Send what is queued as far as that needs no waiting, then close; also ends an attempt to connect.
    Close(ConnectionId),
    /// The session is established.
    Up(Box<Negotiated>),
    /// A session, or an attempt at one, has ended.
    Down(DownReason),
    /// The peer sent this message, which is not an UPDATE.
    Received(Message),
    /// The peer sent an UPDATE. Received routes are not kept, so only its lengths were checked; the negotiated codec can
    /// decode it.
    Update(Frame),
    /// These prefixes cannot be announced on this session: their attributes are too long for one message.
    Oversized(Vec<IpNet>),
}

/// Counts the prefixes of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prefixes {
    /// Those that should be advertised and can be, or could be as far as is known while the session is down.
    pub desired: usize,
    /// Those that the peer knows.
    pub advertised: usize,
    /// Those that should be advertised and cannot be: the session lacks their family, or they fit no message.
    pub unsendable: usize,
}

/// Lists our addresses as a connection sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkAddresses {
    /// The local address of the connection.
    pub local: IpAddr,
    /// An IPv4 address of the interface that holds `local`.
    pub ipv4: Option<Ipv4Addr>,
    /// A global IPv6 address of the interface that holds `local`.
    pub ipv6: Option<Ipv6Addr>,
    /// The link-local address of that interface, if the peer is on the link.
    pub link_local: Option<Ipv6Addr>,
}

impl LinkAddresses {
    /// Makes a list of nothing but the local address of the connection.
    pub fn only(local: IpAddr) -> Self {
        Self {
            local,
            ipv4: None,
            ipv6: None,
            link_local: None,
        }
    }
}
