//! Bidirectional forwarding detection, sans-IO: RFC 5880, over one hop (RFC 5881) and over several (RFC 5883).
//!
//! Asynchronous mode with the echo function, in the active or the passive role. It never asks for demand mode, and has no
//! authentication: packets with an authentication section are refused. It opens no socket, reads no clock and draws no
//! random numbers.
//!
//! The shell that owns the sockets drives a [`Bfd`] like this:
//!
//! ```text
//! for action in bfd.handle(now, event) {
//!     match action {
//!         Action::Opened { id, key }  => open a socket for the session, with a source port of its own
//!         Action::Send { id, bytes }  => send on that socket, TTL 255, to port 3784 or 4784
//!         Action::Echo { id, bytes }  => send to ourselves through the peer, to port 3785
//!         Action::Changed { .. } | Action::Agreed { .. } => report
//!         Action::Closed { id }       => close the socket
//!         Action::Accepted(id) | Action::Echoed(id) | Action::Refused(reason) => count
//!     }
//! }
//! sleep until bfd.next_deadline(), or a packet arrives (Control, Echo), or the configuration changes (Sessions)
//! ```
//!
//! Before [`Event::Tick`] the shell feeds whatever has arrived: a peer is not silent because this node was busy.
#![deny(missing_docs)]

mod bfd;
mod config;
pub mod datagram;
mod echo;
mod packet;
mod random;
mod refusal;
mod session;
mod status;

#[doc(hidden)]
pub mod fuzz;

pub use bfd::{Action, Arrival, Bfd, Event, SessionId};
pub use config::{Hops, SessionConfig, SessionKey};
pub use echo::{ECHO_LEN, ECHO_TTL_MIN};
pub use packet::{CONTROL_LEN, Control, Diagnostic, State};
pub use refusal::Refusal;
pub use status::Status;

#[cfg(test)]
mod tests;
