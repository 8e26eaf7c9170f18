//! Which speakers are alive, sans-IO, in the protocol of `github.com/hashicorp/memberlist` v0.5.1.
//!
//! Members probe each other, tell each other by gossip who came and went, and now and then exchange all they know over
//! TCP. A member that does not answer is suspect until it refutes that or is dead. Upstream's speakers and ours are members
//! of one membership. It opens no socket and finds no peers: the caller names them.
//!
//! ```text
//! for action in members.handle(now, Event::Peers(peers)) { .. }             // who the others should be
//! for action in members.handle(now, Event::Datagram { from, bytes }) { .. } // what came in
//! for action in members.handle(now, Event::Request { id, from, bytes }) { .. } // over TCP; Action::Answer, or none
//! for action in members.handle(now, Event::Reply { id, bytes }) { .. }      // to an Action::Exchange
//! for action in members.handle(now, Event::Tick) { .. }                     // when next_deadline() has come
//! for action in members.handle(now, Event::Leave) { .. }                    // before the end
//! ```

#![deny(missing_docs)]

mod broadcast;
mod exchange;
pub mod fast;
mod gossip;
mod keyring;
mod members;
pub mod metadata;
mod probe;
mod random;
mod state;
mod suspicion;
mod timing;
mod wire;

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

pub use keyring::Keyring;
pub use members::{CAPABILITY, Config, Members, SETTLE};
pub use timing::Timing;
pub use wire::{Refusal, message::MAX_META, stream::Framing};

#[doc(hidden)]
pub mod fuzz;

/// Names a stream: one of ours to another member, or one of theirs.
pub type StreamId = u64;

/// What the membership is told.
#[derive(Clone, Debug)]
pub enum Event {
    /// These are now the other speakers: node name and where their membership listens. Those that are not members are
    /// asked to join, again and again. Members that are not among them stay.
    Peers(BTreeMap<String, SocketAddr>),
    /// A datagram came in.
    Datagram {
        /// Who sent it.
        from: SocketAddr,
        /// Its content.
        bytes: Vec<u8>,
    },
    /// Somebody has opened a stream and sent a whole message, see [`Framing`].
    Request {
        /// Names the stream in the answer.
        id: StreamId,
        /// Who opened it.
        from: SocketAddr,
        /// The message.
        bytes: Vec<u8>,
    },
    /// The answer to an exchange.
    Reply {
        /// The exchange's.
        id: StreamId,
        /// A whole message.
        bytes: Vec<u8>,
    },
    /// An exchange that ended without an answer.
    Failed {
        /// The exchange's.
        id: StreamId,
    },
    /// This node has something else to say about itself, see [`Config::meta`]. All are told at once.
    Meta(Vec<u8>),
    /// The keys have changed. So that nobody is lost, all members have to know a new one before any encrypts with it.
    Keyring(Keyring),
    /// This node is going to stop.
    Leave,
    /// The deadline has come.
    Tick,
}

/// Why a node is no longer alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It did not answer, nor refute that.
    Silent,
    /// It said that it leaves.
    Left,
}

/// What the shell must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send a datagram.
    Send {
        /// Where to.
        to: SocketAddr,
        /// Its content.
        bytes: Vec<u8>,
    },
    /// Open a stream, write the request, read a whole message, and tell it by [`Event::Reply`]; or by [`Event::Failed`]
    /// that there is none.
    Exchange {
        /// Names the exchange in that event.
        id: StreamId,
        /// Whom to connect to.
        to: SocketAddr,
        /// What to write.
        request: Vec<u8>,
        /// How long all of that may take.
        timeout: Duration,
    },
    /// Write to the stream of a request, and close it.
    Answer {
        /// The request's.
        id: StreamId,
        /// What to write.
        bytes: Vec<u8>,
    },
    /// A node is alive from now on.
    Up(String),
    /// A node that is alive says something else about itself than before.
    Updated(String),
    /// The node, which may be this one, was cut off without having left. Both sides may have announced meanwhile, so the
    /// owner of an address should announce it again.
    Returned(String),
    /// A node is no longer alive.
    Down(String, Cause),
    /// Something that came in was not accepted.
    Refused {
        /// Who sent it.
        from: SocketAddr,
        /// Why.
        reason: Refusal,
    },
}

#[cfg(test)]
mod tests;
