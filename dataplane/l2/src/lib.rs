//! ARP responder and gratuitous ARP, sans-IO.
//!
//! Holds what is decided about layer-2 frames: which interfaces announce ([`select`]), which frames are answered and
//! how ([`Responder`]), when the segment is told unasked ([`Gratuitous`]), and which frames the kernel need not show
//! us ([`filter`]). It opens no socket, reads no clock and does not know why an address is announced.
//!
//! ```text
//! selection = select(&facts, &exclude);             // at start and whenever netlink reports a change
//! responder.set_links(&selection.links, selection.own_macs);
//! send(gratuitous.handle(now, Event::Links(selection.links)));
//!
//! attach(filter(&vips));                            // whenever the announced addresses change
//! responder.set_announced(announced.clone());
//! send(gratuitous.handle(now, Event::Announced(announced)));
//!
//! responder.on_frame(ifindex, packet_type, &frame); // for every frame received
//! send(gratuitous.handle(now, Event::Tick));        // when gratuitous.next_deadline() has come
//! ```

#![deny(missing_docs)]

mod arp;
mod filter;
mod gratuitous;
mod interfaces;
mod responder;

pub use arp::{Form, gratuitous};
pub use filter::{Instruction, all_arp, filter};
pub use gratuitous::{Action, Event, Gratuitous};
pub use interfaces::{Interfaces, Link, LinkFacts, Selection, Unusable, select};
pub use responder::{Conflict, DropReason, Outcome, PacketType, Reply, Responder, Verdict};
pub use smoltcp::wire::EthernetAddress;
