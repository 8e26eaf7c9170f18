//! BGP wire format, session state machine and Adj-RIB-Out, sans-IO.
//!
//! The crate speaks RFC 4271 with 4-octet AS numbers (RFC 6793), multiprotocol routes (RFC 4760), large communities
//! (RFC 8092), extended messages (RFC 8654), graceful restart (RFC 4724, RFC 8538), route refresh (RFC 2918, RFC 7313) and
//! the send hold timer (RFC 9687). It announces routes; it does *not* keep
//! a table of what it receives, open sockets, read a clock or draw random numbers.
//!
//! The shell that owns the socket drives a [`Session`] like this:
//!
//! ```text
//! for action in session.handle(now, event) {
//!     match action {
//!         Action::Connect(id)  => dial, later feed Connected or ConnectFailed
//!         Action::Send(bytes)  => queue bytes, feed Written(n) as the kernel takes them
//!         Action::SendOn(id, bytes), Action::Promote(id) => the same for a second connection, which the peer has dialled
//!         Action::Close(id)    => flush what is queued, then close
//!         Action::Up(..) | Action::Down(..) | Action::Received(..) | Action::Update(..) | Action::Oversized(..) => log, count
//!     }
//! }
//! sleep until session.next_deadline(), or bytes arrive (Received), or the routes change (RoutesChanged)
//! ```
//!
//! The routes of all sessions come from one [`RouteTable`].
#![deny(missing_docs)]

mod config;
mod discovery;
#[doc(hidden)]
pub mod fuzz;
mod reason;
mod restart;
mod rib_out;
mod route;
mod session;
mod table;
pub mod wire;

pub use config::{Dialing, Offer, Password, PeerConfig, RemoteAs};
pub use discovery::{Discovery, DiscoveryAction, DiscoveryEvent, DiscoveryLink};
pub use reason::{DownReason, StopReason};
pub use restart::{Agreed, GracefulRestart};
pub use rib_out::{Egress, Flush, Listed, Posture, RibOut};
pub use route::{Attributes, LargeCommunity, Path, RouteChange};
pub use session::{
    Action, ConnectionId, Event, LinkAddresses, Negotiated, NextHops, Prefixes, Reach, Session, State, hashed_router_id,
};
pub use table::{PeerRoute, ReaderId, RouteTable};
