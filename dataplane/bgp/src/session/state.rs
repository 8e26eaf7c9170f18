//! States and events of the state machine (RFC 4271 §8).

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use bytes::Bytes;
use ipnet::IpNet;

use super::Negotiated;
use crate::{DownReason, Route, StopReason, wire::Message};

/// Is where a session stands (RFC 4271 §8.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Is stopped, or waits after a session that failed.
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

/// Is what happens to a session.
///
/// Events of a connection that an [`Action::Close`] ended must not be fed any more.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// The session shall come up and stay up.
    Start,
    /// The session shall end for good.
    Stop(StopReason),
    /// TCP is up, dialled or accepted.
    Connected(LinkAddresses),
    /// TCP did not come up.
    ConnectFailed(String),
    /// Bytes arrived, however TCP sliced them.
    Received(&'a [u8]),
    /// That many of the bytes to send went into the kernel.
    Written(usize),
    /// The connection is gone, with the operating system's reason if there is one.
    Closed(Option<String>),
    /// This is the whole set of routes that the peer should know from now on.
    RoutesChanged(&'a [Route]),
    /// [`super::Session::next_deadline`] has passed.
    Tick,
}

/// Is what the shell must do, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Dial the peer; answer with [`Event::Connected`] or [`Event::ConnectFailed`].
    Connect,
    /// Send these bytes, exactly one message, after those before it.
    Send(Bytes),
    /// Send what is queued as far as that needs no waiting, then close; also ends an attempt to connect.
    Close,
    /// The session is established.
    Up(Box<Negotiated>),
    /// A session, or an attempt at one, has ended.
    Down(DownReason),
    /// The peer sent this; routes are not kept anywhere, so the shell may count them or drop them.
    Received(Message),
    /// These prefixes cannot be announced on this session: no next hop for their family, or too many communities.
    Unsendable(Vec<IpNet>),
}

/// Lists our addresses as a connection sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkAddresses {
    /// Is the local address of the connection.
    pub local: IpAddr,
    /// Is an IPv4 address of the interface that holds `local`.
    pub ipv4: Option<Ipv4Addr>,
    /// Is a global IPv6 address of the interface that holds `local`.
    pub ipv6: Option<Ipv6Addr>,
    /// Is the link-local address of that interface, if the peer is on the link.
    pub link_local: Option<Ipv6Addr>,
}

impl LinkAddresses {
    /// Knows nothing but the connection itself.
    pub fn only(local: IpAddr) -> Self {
        Self {
            local,
            ipv4: None,
            ipv6: None,
            link_local: None,
        }
    }
}
