//! Fast failover: who stands in for a member that is silent, within a third of a second, long before memberlist is sure.
//!
//! ```text
//!            silent for 2¼ t                      silent for 3 t + 30 ms, while half of the others are heard
//!   heard ───────────────────► doubted ──────────────────────────────────────────► accused: all rank it last
//!     ▲ ◄── an answer: of it, ────┘ asks it, the others and the segment every 20 ms         │
//!     │     through another, or on the segment                                             │ answers again
//!     └──────────────────────────── 10 s, 20 s … 10 min later ◄─────────────────────────────┘
//! ```
//! - **Who watches whom.** Up to 16 members everybody watches everybody. Beyond that each watches its four neighbours on
//!   either side of a ring, in which hashes of names order the nodes, so that those of one rack are not beside each other;
//!   and four of those more that it may have to stand in for or that may stand in for it (its [`Event::Partners`]). All are
//!   told of what one has found out.
//! - **Probe.** Every 100 ms a ping, to be answered at once. A ping is a sign of life itself: whoever hears one pings only
//!   if the next does not come. A run counts once it has answered a ping, and each of its packets once, so that nothing
//!   recorded keeps a dead member alive. It has a socket, a key and a thread of its own, beside memberlist's.
//! - **Second opinion.** Who doubts asks others to ping, and the caller to ask on the segment ([`Action::Ask`]) by ARP or a
//!   neighbour solicitation for an address of the doubted one. One answer is enough.
//! - **Self-guard.** Who doubts calls the roll of all it watches. Unless half of them answer it accuses nobody, and leaves
//!   that to memberlist; of two members, the survivor needs a witness on the segment ([`Question::Witness`]). One that is
//!   accused counts if it answers. Who comes late to its own deadlines, as after a pause, starts to listen anew.
//! - **Accusation.** Told to everybody, the accused included, at once and again every second, and with every packet. All rank
//!   an accused member behind the others, it itself too, so that one that was only paused gives up what is another's now.
//!   Where all are accused the order is the usual one: somebody answers. The accuser lifts it when the member has answered
//!   for 10 s, and for twice as long each further time, which is halved in every quiet hour. If the accuser is not heard
//!   for 10 s it lapses.
//! - **Own health.** A node that can announce on no interface any more accuses itself, at once, and is on probation when
//!   it can again.
//! - **Mixed clusters.** While one member lacks the capability ([`CAPABILITY`]) nobody watches, accuses or believes.
//!
//! A node that is cut off from all others goes on announcing what it owns, as upstream's do: a failure of the members'
//! network shall not become one of the Services.

mod accusations;
mod detector;
mod packet;
mod peer;
mod ring;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

pub use detector::Detector;
pub use packet::{FIRST_BYTE, Keys, MAX_LEN};

/// How the metadata of members that take part begin.
pub const CAPABILITY: &[u8] = b"mlbr/1;fast;";

/// How fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Between two pings of a member.
    pub interval: Duration,
    /// A member is accused after so many intervals of silence, and 30 ms.
    pub multiplier: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(100),
            multiplier: 3,
        }
    }
}

/// How this node takes part.
#[derive(Debug)]
pub struct Config {
    /// Own name.
    pub node: String,
    /// Differs between two runs of a node, and is hard to guess.
    pub boot: u64,
    /// How fast.
    pub pace: Pace,
    /// What packets are encrypted with.
    pub keys: Keys,
}

/// What the detector is told.
#[derive(Clone, Debug)]
pub enum Event {
    /// These are now the other members.
    Members {
        /// By node name, and where their membership listens.
        peers: BTreeMap<String, SocketAddr>,
        /// Whether all of them take part; otherwise nobody does.
        active: bool,
    },
    /// The nodes for which this one may have to stand in, and those that may stand in for it.
    Partners(BTreeSet<String>),
    /// A datagram came in.
    Datagram(Vec<u8>),
    /// Whether this node can announce at all. One that cannot accuses itself, and nobody has to find out.
    Fit(bool),
    /// Somebody has answered an [`Action::Ask`].
    Answered(Question),
    /// The secrets have changed.
    Keys(Keys),
    /// The deadline has come, and all that has come in before it was told.
    Tick,
}

/// Nodes that others stand in for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suspects {
    /// All of them, among which may be this one.
    pub names: BTreeSet<String>,
    /// Those among them that this node accuses and that have not answered it since, or that others do and that it does not hear:
    /// as far as it knows they have not heard of it, and may go on announcing.
    pub unaware: BTreeSet<String>,
}

/// What is asked on the segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Whether the node of this name answers for an address that it owns.
    Member(String),
    /// Whether the default gateway is there.
    Witness,
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
    /// Ask on the segment, and tell an answer by [`Event::Answered`].
    Ask(Question),
    /// These nodes are ranked behind all others from now on.
    Suspects(Suspects),
    /// A member that this node has accused answers again. Until it knows, it may have gone on announcing, and others may
    /// have heard that last.
    Returned(String),
}

/// Reads a datagram of the fast path; what was understood is the same when it is written and read again.
pub(crate) fn check(bytes: &[u8]) {
    let mut ciphers = packet::Ciphers::new(Keys::default(), 0);
    if let Ok(packet) = ciphers.decode(bytes) {
        let again = ciphers.decode(&ciphers.encode(&packet));
        // Of more accusations than fit only the first are written.
        assert!(again.is_ok_and(|again| again.stamp == packet.stamp && again.kind == packet.kind));
    }
}

#[cfg(test)]
mod tests;
