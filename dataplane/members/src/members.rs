//! The membership as this node sees it: what it holds, what it hears, when it is due.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::{
    Action, Event, Framing, Refusal, StreamId,
    broadcast::Queue,
    exchange::Purpose,
    keyring::Keyring,
    metadata::Metadata,
    probe::{Probe, Relay},
    random::Random,
    state::Node,
    timing::Timing,
    wire::{
        message::{Accusation, Alive, MAX_META, Message, VERSIONS},
        packet,
        stream::State,
    },
};

/// How long a fresh node that hears few others waits before it believes that the rest is dead.
pub const SETTLE: Duration = Duration::from_secs(3);
/// How the metadata of our own members begin. Upstream's have none, and ignore those of others.
pub const CAPABILITY: &[u8] = b"mlbr/1;";
/// A leave is sent so often to everybody, besides the gossip of those who hear it.
const LEAVES: usize = 2;

/// How this node takes part.
#[derive(Debug)]
pub struct Config {
    /// Own name.
    pub node: String,
    /// Where the others reach this node.
    pub address: SocketAddr,
    /// How often and how long.
    pub timing: Timing,
    /// The keys; none means that nothing is encrypted.
    pub keyring: Keyring,
    /// What this node says about itself, at most 512 bytes; ours is a [`Metadata`].
    pub meta: Vec<u8>,
}

/// The membership as this node sees it.
#[derive(Debug)]
pub struct Members {
    pub(crate) config: Config,
    pub(crate) random: Random,
    /// All nodes that are known, this one and the dead included.
    pub(crate) nodes: BTreeMap<String, Node>,
    /// Nodes that were dead without having left, and have not returned.
    pub(crate) lost: BTreeSet<String>,
    pub(crate) incarnation: u32,
    pub(crate) sequence: u32,
    /// How slow this node seems to be; 0 is healthy.
    pub(crate) awareness: u32,
    pub(crate) queue: Queue,
    pub(crate) gossip_at: Option<Instant>,
    /// The order in which nodes are probed, and who is next.
    pub(crate) order: Vec<String>,
    pub(crate) next_in_order: usize,
    pub(crate) probe_at: Instant,
    pub(crate) probe: Option<Probe>,
    pub(crate) relays: BTreeMap<u32, Relay>,
    pub(crate) push_pull_at: Instant,
    /// Members that have just come, and when this node tells them everything.
    pub(crate) greetings: BTreeMap<String, Instant>,
    pub(crate) peers: BTreeMap<String, SocketAddr>,
    pub(crate) join_at: Option<Instant>,
    pub(crate) exchanges: BTreeMap<StreamId, Purpose>,
    pub(crate) last_exchange: StreamId,
    settle_by: Option<Instant>,
    /// When the last member came.
    pub(crate) up_at: Option<Instant>,
    pub(crate) settled: bool,
    pub(crate) left: bool,
    /// The time of the event that is handled, and what is to be done for it.
    pub(crate) now: Instant,
    pub(crate) actions: Vec<Action>,
}

impl Members {
    /// Creates the membership of a node that is alone so far. `random` fills buffers; where there are keys it must be
    /// cryptographically secure.
    #[must_use]
    pub fn new(mut config: Config, now: Instant, random: impl FnMut(&mut [u8]) + Send + 'static) -> Self {
        let mut random = Random::new(random);
        config.meta.truncate(MAX_META);
        let alive = Alive {
            incarnation: 1,
            node: config.node.clone(),
            address: config.address,
            meta: config.meta.clone(),
            versions: VERSIONS.to_vec(),
        };
        // All members should not be busy at the same time.
        let probe_at = now + random.part_of(config.timing.probe_interval);
        let push_pull_at = now + config.timing.push_pull_interval + random.part_of(config.timing.push_pull_interval);
        let mut members = Self {
            nodes: BTreeMap::from([(config.node.clone(), Node::alive(alive.clone(), now))]),
            lost: BTreeSet::new(),
            order: vec![config.node.clone()],
            config,
            random,
            incarnation: 1,
            sequence: 0,
            awareness: 0,
            queue: Queue::default(),
            gossip_at: None,
            next_in_order: 0,
            probe_at,
            probe: None,
            relays: BTreeMap::new(),
            push_pull_at,
            greetings: BTreeMap::new(),
            peers: BTreeMap::new(),
            join_at: None,
            exchanges: BTreeMap::new(),
            last_exchange: 0,
            settle_by: None,
            up_at: None,
            settled: false,
            left: false,
            now,
            actions: Vec::new(),
        };
        members.broadcast(Message::Alive(alive));
        members
    }

    /// Feeds one event; returns what the shell must do, in order.
    pub fn handle(&mut self, now: Instant, event: Event) -> Vec<Action> {
        self.now = self.now.max(now);
        if !self.left {
            self.on_event(event);
            self.settled |= self.settles_at().is_some_and(|at| at <= self.now);
        }
        std::mem::take(&mut self.actions)
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Peers(peers) => {
                self.settle_by.get_or_insert(self.now + SETTLE);
                self.on_peers(peers);
            }
            Event::Datagram { from, bytes } => self.on_datagram(from, &bytes),
            Event::Request { id, from, bytes } => {
                let result = self.on_request(id, &bytes);
                self.refused(from, result);
            }
            Event::Reply { id, bytes } => self.on_reply(id, &bytes),
            Event::Failed { id } => drop(self.exchanges.remove(&id)),
            Event::Meta(meta) => self.on_meta(meta),
            Event::Keyring(keyring) => self.config.keyring = keyring,
            Event::Leave => self.on_leave(),
            Event::Tick => self.on_tick(),
        }
    }

    /// When `handle` wants `Event::Tick` next, if at all.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.left {
            return None;
        }
        let suspicions = self.nodes.values().filter_map(Node::deadline);
        let relays = self.relays.values().map(Relay::next_deadline);
        let probe = self.probe.as_ref().map_or(self.probe_at, Probe::next_deadline);
        let settle = self.settles_at().filter(|_| !self.settled);
        suspicions
            .chain(relays)
            .chain([probe, self.push_pull_at])
            .chain(self.greetings.values().copied())
            .chain(self.gossip_at)
            .chain(self.join_at)
            .chain(settle)
            .min()
    }

    /// Names of the nodes that are alive or suspect, the own one included.
    #[must_use]
    pub fn alive(&self) -> BTreeSet<String> {
        let present = self.nodes.iter().filter(|(_, node)| node.is_present());
        present
            .map(|(name, _)| name.clone())
            .chain([self.config.node.clone()])
            .collect()
    }

    /// When a node gave its last sign of life, if it is known.
    #[must_use]
    pub fn last_heard(&self, name: &str) -> Option<Instant> {
        self.nodes.get(name).map(|node| node.heard)
    }

    /// The other nodes that are alive or suspect, and where they listen.
    #[must_use]
    pub fn others(&self) -> BTreeMap<String, SocketAddr> {
        let others = self.nodes.iter();
        let others = others.filter(|(name, node)| **name != self.config.node && node.is_present());
        others.map(|(name, node)| (name.clone(), node.alive.address)).collect()
    }

    /// What the nodes that are alive or suspect say of themselves, this one included; `None` = nothing, see
    /// [`Metadata::decode`].
    #[must_use]
    pub fn metadata(&self) -> BTreeMap<String, Option<Metadata>> {
        let present = self.nodes.iter().filter(|(_, node)| node.is_present());
        present
            .map(|(name, node)| (name.clone(), Metadata::decode(&node.alive.meta)))
            .collect()
    }

    /// Says whether the metadata of every node that is alive or suspect begin like this.
    #[must_use]
    pub fn all_say(&self, what: &[u8]) -> bool {
        let mut present = self.nodes.values().filter(|node| node.is_present());
        present.all(|node| node.alive.meta.starts_with(what))
    }

    /// Says whether the alive set can be trusted after the start: all peers are members, or half of them are and no more have
    /// come for half a probe timeout, or [`SETTLE`] has passed. Stays true.
    #[must_use]
    pub fn settled(&self) -> bool {
        self.settled
    }

    /// How whole messages are found in streams.
    #[must_use]
    pub fn framing(&self) -> Framing {
        Framing {
            encrypted: self.config.keyring.encrypts(),
        }
    }

    /// When the alive set can be trusted: one that lacks a node that is alive would take over what that one owns. But the
    /// others already count on this node, so that it must not wait for those that are down: what half of the peers know, and
    /// nobody adds to, is complete.
    fn settles_at(&self) -> Option<Instant> {
        let by = self.settle_by?;
        let heard = self.peers.keys().filter(|name| self.is_present(name)).count();
        if heard == self.peers.len() {
            return Some(self.now);
        }
        let half = self.up_at.filter(|_| 2 * heard >= self.peers.len());
        let quiet = half.map(|up| up + self.config.timing.probe_timeout / 2);
        Some(quiet.map_or(by, |quiet| quiet.min(by)))
    }

    pub(crate) fn is_present(&self, name: &str) -> bool {
        self.nodes.get(name).is_some_and(Node::is_present)
    }

    pub(crate) fn refused(&mut self, from: SocketAddr, result: Result<(), Refusal>) {
        if let Err(reason) = result {
            self.actions.push(Action::Refused { from, reason });
        }
    }

    fn on_datagram(&mut self, from: SocketAddr, bytes: &[u8]) {
        let opened = match bytes.first() {
            Some(&crate::wire::kind::LABEL) => Err(Refusal::Label),
            _ if self.config.keyring.encrypts() => self.config.keyring.open(bytes, b""),
            _ => Ok(bytes.to_vec()),
        };
        let messages = match opened {
            Ok(plain) => packet::read(&plain, self.config.address.port()),
            Err(refusal) => vec![Err(refusal)],
        };
        for message in messages {
            let result = message.and_then(|message| self.on_message(from, message));
            self.refused(from, result);
        }
    }

    fn on_message(&mut self, from: SocketAddr, message: Message) -> Result<(), Refusal> {
        match message {
            Message::Ping(ping) => return self.on_ping(from, &ping),
            Message::IndirectPing(ping) => self.on_indirect_ping(from, ping),
            Message::Ack(sequence) => self.on_ack(sequence),
            Message::Nack(sequence) => self.on_nack(sequence),
            Message::Suspect(accusation) => self.suspect(accusation),
            Message::Alive(alive) => return self.on_alive(alive),
            Message::Dead(accusation) => self.dead(accusation),
            Message::User => {}
        }
        Ok(())
    }

    /// Tells everybody at once, as who owns what may depend on it; those who hear it gossip it.
    fn on_meta(&mut self, mut meta: Vec<u8>) {
        meta.truncate(MAX_META);
        self.incarnation = self.incarnation.saturating_add(1);
        let incarnation = self.incarnation;
        self.config.meta.clone_from(&meta);
        let Some(own) = self.nodes.get_mut(&self.config.node) else {
            return;
        };
        own.alive.incarnation = incarnation;
        own.alive.meta = meta;
        let alive = Message::Alive(own.alive.clone());
        for to in self.others().into_values() {
            self.send_alone(to, alive.encode());
        }
        self.broadcast(alive);
        self.actions.push(Action::Updated(self.config.node.clone()));
    }

    /// Tells everybody at once, so that nobody waits for gossip; those who hear it gossip it.
    fn on_leave(&mut self) {
        self.left = true;
        let own = &self.config.node;
        let leave = Message::Dead(Accusation {
            incarnation: self.incarnation,
            node: own.clone(),
            from: own.clone(),
        });
        let others = self
            .nodes
            .iter()
            .filter(|(name, node)| *name != own && node.is_present());
        let addresses: Vec<SocketAddr> = others.map(|(_, node)| node.alive.address).collect();
        for _ in 0..LEAVES {
            for to in &addresses {
                self.send_alone(*to, leave.encode());
            }
        }
        if let Some(own) = self.nodes.get_mut(&self.config.node) {
            own.state = State::Left;
        }
    }

    fn on_tick(&mut self) {
        self.after_pause();
        self.end_suspicions();
        self.advance_probe();
        self.end_relays();
        if self.gossip_at.is_some_and(|at| at <= self.now) {
            self.gossip();
        }
        if self.push_pull_at <= self.now {
            self.push_pull();
        }
        self.greet();
        if self.join_at.is_some_and(|at| at <= self.now) {
            self.join();
        }
    }

    /// After a pause of this process the others may have counted this node as dead, and what it knows is old.
    fn after_pause(&mut self) {
        let due = self.next_deadline().unwrap_or(self.now);
        let late = self.now.saturating_duration_since(due);
        if late >= self.config.timing.suspicion_min(self.nodes.len()) {
            self.actions.push(Action::Returned(self.config.node.clone()));
            self.push_pull_at = self.now;
        }
    }
}
