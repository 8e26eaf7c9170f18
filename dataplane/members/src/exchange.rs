//! Streams: joining, push/pulls, and pings where datagrams fail.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use crate::{
    Action, Members, Refusal, StreamId,
    state::Node,
    wire::{
        message::Alive,
        stream::{self, RemoteNode, State, StreamMessage},
    },
};

/// Between two tries to join peers that are not members: before the start is settled, and later, when they are down or cut
/// off. Upstream: a minute.
const JOIN_SOON: Duration = Duration::from_millis(500);
const JOIN_AGAIN: Duration = Duration::from_secs(5);
/// Number of peers asked at a time; those that answer tell of the others.
const MAX_JOINS: usize = 8;
/// Time limit for such an exchange.
const JOIN_LIMIT: Duration = Duration::from_secs(3);

/// How many members send a new one their whole state, and within which time.
const GREETERS: usize = 8;
const GREETING: Duration = Duration::from_millis(500);

/// What an exchange is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To learn and tell everything; of a peer that should join if it is named.
    PushPull(SocketAddr, Option<String>),
    /// To find out whether the member of the probe with this number is there.
    Ping(u32),
}

impl Members {
    pub(crate) fn exchange(&mut self, to: SocketAddr, message: &StreamMessage, timeout: Duration, purpose: Purpose) {
        self.last_exchange += 1;
        let id = self.last_exchange;
        self.exchanges.insert(id, purpose);
        let request = self.seal(message);
        self.actions.push(Action::Exchange {
            id,
            to,
            request,
            timeout,
        });
    }

    fn seal(&mut self, message: &StreamMessage) -> Vec<u8> {
        let nonce = self.random.bytes();
        stream::seal(&self.config.keyring, nonce, message.encode())
    }

    fn open(&self, bytes: &[u8]) -> Result<StreamMessage, Refusal> {
        let plain = stream::open(&self.config.keyring, bytes)?;
        StreamMessage::decode(&plain, self.config.address.port())
    }

    /// The whole state of this node.
    fn state(&self, join: bool) -> StreamMessage {
        let node = |node: &Node| RemoteNode {
            state: node.state,
            node: Alive::clone(&node.alive),
        };
        StreamMessage::PushPull {
            nodes: self.nodes.values().map(node).collect(),
            join,
        }
    }

    /// Exchanges the whole state with a random member.
    pub(crate) fn push_pull(&mut self) {
        let own = &self.config.node;
        let others = self.nodes.iter();
        let others = others.filter(|(name, node)| *name != own && node.state == State::Alive);
        let addresses = others.map(|(_, node)| node.alive.address).collect();
        for to in self.random.choose(1, addresses) {
            self.push_pull_with(to);
        }
        self.push_pull_at = self.now + self.config.timing.push_pull_every(self.nodes.len());
    }

    fn push_pull_with(&mut self, to: SocketAddr) {
        let timeout = self.config.timing.tcp_timeout;
        self.exchange(to, &self.state(false), timeout, Purpose::PushPull(to, None));
    }

    /// A new member may have come too late for the gossip about another, and would miss it until its next push/pull: some of
    /// us tell it everything.
    ///
    /// Upstream: it waits for the next push/pull, half a minute.
    pub(crate) fn will_greet(&mut self, name: &str) {
        if self.random.below(self.nodes.len()) < GREETERS {
            let at = self.now + GREETING / 2 + self.random.part_of(GREETING / 2);
            self.greetings.insert(name.to_owned(), at);
        }
    }

    /// Sends new members the whole state when it is time.
    pub(crate) fn greet(&mut self) {
        let now = self.now;
        for (name, _) in self.greetings.extract_if(.., |_, at| *at <= now).collect::<Vec<_>>() {
            let node = self.nodes.get(&name).filter(|node| node.is_present());
            if let Some(to) = node.map(|node| node.alive.address) {
                self.push_pull_with(to);
            }
        }
    }

    pub(crate) fn on_peers(&mut self, mut peers: BTreeMap<String, SocketAddr>) {
        peers.remove(&self.config.node);
        self.peers = peers;
        self.join();
    }

    /// Asks peers that are not members to join.
    pub(crate) fn join(&mut self) {
        let asked = |name: &String| {
            let purpose = |purpose: &Purpose| matches!(purpose, Purpose::PushPull(_, Some(peer)) if peer == name);
            self.exchanges.values().any(purpose)
        };
        let missing = self.peers.iter();
        let missing = missing.filter(|(name, _)| !self.is_present(name) && !asked(name));
        let missing: Vec<(String, SocketAddr)> = missing.map(|(name, to)| (name.clone(), *to)).collect();
        let running = self.exchanges.values();
        let running = running.filter(|purpose| matches!(purpose, Purpose::PushPull(_, Some(_))));
        let free = MAX_JOINS.saturating_sub(running.count());
        for (name, to) in self.random.choose(free, missing) {
            let timeout = self.config.timing.tcp_timeout.min(JOIN_LIMIT);
            self.exchange(to, &self.state(true), timeout, Purpose::PushPull(to, Some(name)));
        }
        let again = self.now + if self.settled { JOIN_AGAIN } else { JOIN_SOON };
        self.join_at = (!self.peers.is_empty()).then_some(again);
    }

    /// Answers a stream of another member.
    pub(crate) fn on_request(&mut self, id: StreamId, bytes: &[u8]) -> Result<(), Refusal> {
        match self.open(bytes)? {
            StreamMessage::PushPull { nodes, join } => {
                let state = self.state(join);
                self.answer(id, &state);
                self.merge(nodes)
            }
            StreamMessage::Ping(ping) if self.is_meant(&ping.node) => {
                self.answer(id, &StreamMessage::Ack(ping.sequence));
                Ok(())
            }
            StreamMessage::Ping(_) => Err(Refusal::Misdirected),
            StreamMessage::User => Ok(()),
            StreamMessage::Ack(_) | StreamMessage::Error(_) => Err(Refusal::UnknownType),
        }
    }

    fn answer(&mut self, id: StreamId, message: &StreamMessage) {
        let bytes = self.seal(message);
        self.actions.push(Action::Answer { id, bytes });
    }

    /// What came back of an exchange.
    pub(crate) fn on_reply(&mut self, id: StreamId, bytes: &[u8]) {
        let Some(purpose) = self.exchanges.remove(&id) else {
            return;
        };
        let message = self.open(bytes);
        match (purpose, message) {
            (Purpose::PushPull(from, _), Ok(StreamMessage::PushPull { nodes, .. })) => {
                let merged = self.merge(nodes);
                self.refused(from, merged);
            }
            (Purpose::Ping(sequence), Ok(StreamMessage::Ack(acked))) if sequence == acked => self.on_contact(sequence),
            (Purpose::PushPull(from, _), message) => {
                self.refused(from, Err(message.err().unwrap_or(Refusal::UnknownType)));
            }
            (Purpose::Ping(_), _) => {}
        }
    }
}
