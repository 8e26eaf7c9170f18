//! Which speakers are alive, sans-IO.
//!
//! Every node sends every other a signed sign of life four times a second, and takes a node for dead after a second of
//! silence. A node that starts is known after one exchange; one that stops says so. It does not find peers (the caller
//! names them), does not gossip, and opens no socket.
//!
//! ```text
//! for action in members.handle(now, Event::Peers(peers)) { .. }             // who the others are
//! for action in members.handle(now, Event::Datagram { from, bytes }) { .. } // what came in
//! for action in members.handle(now, Event::Tick) { .. }                     // when next_deadline() has come
//! for action in members.handle(now, Event::Leave) { .. }                    // before the end
//! ```

#![deny(missing_docs)]

mod wire;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::{Duration, Instant},
};

pub use wire::Refusal;
use wire::{Key, Kind, MAX_NAME, Message};

/// Between two signs of life.
pub const INTERVAL: Duration = Duration::from_millis(250);
/// Silence after which a node counts as dead.
pub const DEAD_AFTER: Duration = Duration::from_secs(1);
/// How long a fresh node waits for signs of life of all others before it believes that those that are silent are dead.
pub const SETTLE: Duration = Duration::from_secs(3);
/// A leave is sent so often, because nobody repeats it when it gets lost.
const LEAVES: usize = 2;

/// What the membership is told.
#[derive(Clone, Debug)]
pub enum Event {
    /// These are now the other speakers: node name and where their membership listens.
    Peers(BTreeMap<String, SocketAddr>),
    /// A datagram came in.
    Datagram {
        /// Who sent it, for logs.
        from: SocketAddr,
        /// Its content.
        bytes: Vec<u8>,
    },
    /// This node is going to stop.
    Leave,
    /// The deadline has come.
    Tick,
}

/// Why a node is no longer alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It was silent for too long.
    Silent,
    /// It said that it leaves.
    Left,
    /// It is no longer one of the peers.
    Removed,
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
    /// A node is alive from now on.
    Up(String),
    /// The node, which may be this one, was silent for a while without having left. Both sides may have announced
    /// meanwhile, so the owner of an address should announce it again.
    Returned(String),
    /// A node is no longer alive.
    Down(String, Cause),
    /// A datagram was not accepted.
    Refused {
        /// Who sent it.
        from: SocketAddr,
        /// Why.
        reason: Refusal,
    },
}

#[derive(Debug)]
struct Peer {
    address: SocketAddr,
    /// Incarnation and sequence of the last datagram accepted.
    last: (u64, u64),
    presence: Presence,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    /// Not heard yet, or it has left.
    Absent,
    /// Alive, and heard last at this time.
    Alive(Instant),
    /// Dead for its silence: it may have announced meanwhile.
    Lost,
}

impl Peer {
    /// When it was heard last, while it is alive.
    fn heard(&self) -> Option<Instant> {
        match self.presence {
            Presence::Alive(heard) => Some(heard),
            Presence::Absent | Presence::Lost => None,
        }
    }

    fn is_alive(&self) -> bool {
        self.heard().is_some()
    }
}

/// The membership as this node sees it.
#[derive(Debug)]
pub struct Members {
    node: String,
    key: Key,
    incarnation: u64,
    sequence: u64,
    peers: BTreeMap<String, Peer>,
    next_beat: Option<Instant>,
    settle_by: Option<Instant>,
    settled: bool,
    left: bool,
}

impl Members {
    /// Creates the membership of `node`. `incarnation` must be greater than at its last start (wall-clock time will
    /// do; peers correct it when the clock was set back); `secret` is empty if there is none.
    #[must_use]
    pub fn new(node: String, secret: &[u8], incarnation: u64) -> Self {
        Self {
            node,
            key: Key::new(secret),
            incarnation: incarnation.max(1),
            sequence: 0,
            peers: BTreeMap::new(),
            next_beat: None,
            settle_by: None,
            settled: false,
            left: false,
        }
    }

    /// Feeds one event; returns what the shell must do, in order.
    pub fn handle(&mut self, now: Instant, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Peers(peers) => self.on_peers(now, peers, &mut actions),
            Event::Datagram { from, bytes } => {
                if let Err(reason) = self.on_datagram(now, &bytes, &mut actions) {
                    actions.push(Action::Refused { from, reason });
                }
            }
            Event::Leave => self.on_leave(&mut actions),
            Event::Tick => self.on_tick(now, &mut actions),
        }
        self.settled |= self.settle_by.is_some_and(|by| by <= now || self.all_heard());
        actions
    }

    /// When `handle` wants `Event::Tick` next, if at all.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let deaths = self.peers.values().filter_map(|peer| Some(peer.heard()? + DEAD_AFTER));
        let settle = self.settle_by.filter(|_| !self.settled);
        deaths.chain(self.next_beat).chain(settle).min()
    }

    /// Names of the nodes that are alive, the own one included.
    #[must_use]
    pub fn alive(&self) -> BTreeSet<String> {
        let others = self.peers.iter().filter(|(_, peer)| peer.is_alive());
        others
            .map(|(name, _)| name.clone())
            .chain([self.node.clone()])
            .collect()
    }

    /// Says whether the alive set can be trusted after the start: all others were heard, or [`SETTLE`] has passed. Stays
    /// true.
    #[must_use]
    pub fn settled(&self) -> bool {
        self.settled
    }

    /// A set that lacks one that is alive would take over what that one owns.
    fn all_heard(&self) -> bool {
        self.peers.values().all(Peer::is_alive)
    }

    fn on_peers(&mut self, now: Instant, addresses: BTreeMap<String, SocketAddr>, actions: &mut Vec<Action>) {
        let gone: Vec<String> = self
            .peers
            .keys()
            .filter(|name| !addresses.contains_key(*name))
            .cloned()
            .collect();
        for name in gone {
            if self.peers.remove(&name).is_some_and(|peer| peer.is_alive()) {
                actions.push(Action::Down(name, Cause::Removed));
            }
        }
        for (name, address) in addresses {
            if name != self.node && name.len() <= MAX_NAME {
                self.add_peer(&name, address, actions);
            }
        }
        self.settle_by.get_or_insert(now + SETTLE);
        if !self.left {
            self.next_beat = if self.peers.is_empty() {
                None
            } else {
                self.next_beat.or(Some(now + INTERVAL))
            };
        }
    }

    /// A new peer or address is greeted; the node behind a known name keeps its state when it moves.
    fn add_peer(&mut self, name: &str, address: SocketAddr, actions: &mut Vec<Action>) {
        let known = self.peers.get_mut(name);
        if known.as_ref().is_some_and(|peer| peer.address == address) {
            return;
        }
        match known {
            Some(peer) => peer.address = address,
            None => drop(self.peers.insert(
                name.to_owned(),
                Peer {
                    address,
                    last: (0, 0),
                    presence: Presence::Absent,
                },
            )),
        }
        actions.extend(self.message(Kind::Hello, name));
    }

    fn on_datagram(&mut self, now: Instant, bytes: &[u8], actions: &mut Vec<Action>) -> Result<(), Refusal> {
        let message = Message::open(&self.key, bytes)?;
        if message.to != self.node {
            return Err(Refusal::Misdirected);
        }
        let peer = self.peers.get_mut(&message.from).ok_or(Refusal::UnknownSender)?;
        let number = (message.incarnation, message.sequence);
        if number <= peer.last {
            return Err(Refusal::Replay);
        }
        peer.last = number;
        if message.echo > self.incarnation {
            self.rejuvenate(message.echo, actions);
            return Ok(());
        }
        // A recording from before our start cannot know our incarnation.
        let fresh = message.echo == self.incarnation;
        match (message.kind, fresh) {
            (Kind::Leave, true) => self.mark_dead(&message.from, Cause::Left, actions),
            (Kind::Leave, false) => {}
            (Kind::Beat, true) => self.heard(now, &message.from, actions),
            (Kind::Hello, true) => {
                self.heard(now, &message.from, actions);
                actions.extend(self.message(Kind::Beat, &message.from));
            }
            (Kind::Hello | Kind::Beat, false) => actions.extend(self.message(Kind::Hello, &message.from)),
        }
        Ok(())
    }

    /// Others know a later incarnation of this node than the clock has given it: it was set back since.
    fn rejuvenate(&mut self, known: u64, actions: &mut Vec<Action>) {
        self.incarnation = known.saturating_add(1);
        self.send_to_all(|_| Kind::Hello, actions);
    }

    fn heard(&mut self, now: Instant, name: &str, actions: &mut Vec<Action>) {
        if self.left {
            return;
        }
        let Some(peer) = self.peers.get_mut(name) else { return };
        let before = std::mem::replace(&mut peer.presence, Presence::Alive(now));
        if !matches!(before, Presence::Alive(_)) {
            actions.push(Action::Up(name.to_owned()));
        }
        if before == Presence::Lost {
            actions.push(Action::Returned(name.to_owned()));
        }
    }

    fn mark_dead(&mut self, name: &str, cause: Cause, actions: &mut Vec<Action>) {
        if let Some(peer) = self.peers.get_mut(name)
            && peer.is_alive()
        {
            peer.presence = match cause {
                Cause::Silent => Presence::Lost,
                Cause::Left | Cause::Removed => Presence::Absent,
            };
            actions.push(Action::Down(name.to_owned(), cause));
        }
    }

    fn on_leave(&mut self, actions: &mut Vec<Action>) {
        self.left = true;
        self.next_beat = None;
        for _ in 0..LEAVES {
            self.send_to_all(|_| Kind::Leave, actions);
        }
    }

    fn on_tick(&mut self, now: Instant, actions: &mut Vec<Action>) {
        self.forgive_pause(now, actions);
        let silent = |peer: &Peer| peer.heard().is_some_and(|heard| heard + DEAD_AFTER <= now);
        let dead: Vec<String> = self
            .peers
            .iter()
            .filter(|(_, peer)| silent(peer))
            .map(|(name, _)| name.clone())
            .collect();
        for name in dead {
            self.mark_dead(&name, Cause::Silent, actions);
        }
        if let Some(due) = self.next_beat.filter(|due| *due <= now) {
            self.send_to_all(|peer| if peer.is_alive() { Kind::Beat } else { Kind::Hello }, actions);
            let next = due + INTERVAL;
            self.next_beat = Some(if next > now { next } else { now + INTERVAL });
        }
    }

    /// After a pause of this process, the silence of that time says nothing about the others. They may have counted this
    /// node as dead meanwhile.
    fn forgive_pause(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let late = self
            .next_beat
            .map_or(Duration::ZERO, |due| now.saturating_duration_since(due));
        if late <= INTERVAL {
            return;
        }
        for peer in self.peers.values_mut() {
            if let Presence::Alive(heard) = &mut peer.presence {
                *heard = (*heard + late).min(now);
            }
        }
        if late + INTERVAL >= DEAD_AFTER {
            actions.push(Action::Returned(self.node.clone()));
        }
    }

    fn send_to_all(&mut self, kind: impl Fn(&Peer) -> Kind, actions: &mut Vec<Action>) {
        let all: Vec<(String, Kind)> = self
            .peers
            .iter()
            .map(|(name, peer)| (name.clone(), kind(peer)))
            .collect();
        for (name, kind) in all {
            actions.extend(self.message(kind, &name));
        }
    }

    fn message(&mut self, kind: Kind, to: &str) -> Option<Action> {
        if self.left && kind != Kind::Leave {
            return None;
        }
        let peer = self.peers.get(to)?;
        self.sequence += 1;
        let message = Message {
            kind,
            incarnation: self.incarnation,
            sequence: self.sequence,
            echo: peer.last.0,
            from: self.node.clone(),
            to: to.to_owned(),
        };
        Some(Action::Send {
            to: peer.address,
            bytes: message.seal(&self.key),
        })
    }
}

#[cfg(test)]
mod tests;
