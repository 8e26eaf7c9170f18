//! ARP and neighbour discovery for announced addresses, sans-IO.
//!
//! [`Core`] decides which frames are answered and how, when gratuitous frames are sent, which frames the kernel filters
//! out, and who else claims an announced address. [`select`] says which interfaces of the
//! node announce. The crate opens no socket, reads no clock and does not know why an address is announced.
//!
//! ```text
//! for action in core.handle(now, Event::Links(select(&facts, &exclude))) { .. }            // whenever netlink tells of a change
//! for action in core.handle(now, Event::Changed(vec![(ip, Some(Interfaces::All))])) { .. } // an address comes or goes
//! for action in core.handle(now, Event::Frame { ifindex, packet_type, bytes }) { .. }      // for every frame received
//! for action in core.handle(now, Event::Probe(ip)) { .. }                                  // does anybody answer for an address?
//! for action in core.handle(now, Event::Tick) { .. }                                       // when next_deadline() has come
//! ```

#![deny(missing_docs)]

mod arp;
mod attention;
mod backlog;
mod checks;
mod conflicts;
mod cover;
mod deadlines;
mod event;
mod filter;
mod frame;
pub mod fuzz;
mod gratuitous;
mod interfaces;
mod layer2;
mod ndp;
mod probes;
mod responder;
mod table;

pub use arp::{Form, gratuitous};
pub use conflicts::{Conflict, Report};
pub use event::{Action, Count, Event, Protocol, Purpose};
pub use filter::{Instruction, TAKE_ALL};
pub use frame::Frame;
pub use interfaces::{Interfaces, Link, LinkFacts, Selection, Unusable, select};
pub use layer2::Core;
pub use responder::{DropReason, PacketType};
pub use smoltcp::wire::EthernetAddress;
