//! Gossip: packs messages into datagrams.

use std::{net::SocketAddr, time::Duration};

use crate::{
    Action, Members, keyring,
    state::Node,
    wire::{
        message::Message,
        packet::{COMPOUND_OVERHEAD, compound},
        stream::State,
    },
};

/// How long messages wait for others to share a datagram; upstream: until the next round.
const BATCH: Duration = Duration::from_millis(10);

impl Members {
    /// Has `message`, which is about a node, told to all.
    pub(crate) fn broadcast(&mut self, message: Message) {
        let bytes = message.encode();
        let node = match message {
            Message::Alive(alive) => alive.node,
            Message::Suspect(accusation) | Message::Dead(accusation) => accusation.node,
            _ => return,
        };
        self.queue.put(node, bytes);
        let soon = self.now + BATCH.min(self.config.timing.gossip_interval);
        self.gossip_at.get_or_insert(soon);
    }

    /// Sends a message, and with it what is to be told anyway.
    pub(crate) fn send(&mut self, to: SocketAddr, message: &Message) {
        let message = message.encode();
        let room = self.room().saturating_sub(message.len());
        let mut parts = vec![message];
        parts.extend(self.take(room));
        self.send_alone(to, compound(parts));
    }

    /// Sends the content of a datagram as it is.
    pub(crate) fn send_alone(&mut self, to: SocketAddr, content: Vec<u8>) {
        let bytes = if self.config.keyring.encrypts() {
            let nonce = self.random.bytes();
            self.config.keyring.seal(nonce, content, b"")
        } else {
            content
        };
        self.actions.push(Action::Send { to, bytes });
    }

    /// One round: tells some members, and some of those that died lately, for they may not have.
    pub(crate) fn gossip(&mut self) {
        let (now, own) = (self.now, &self.config.node);
        let dead_time = self.config.timing.gossip_to_the_dead_time;
        let wanted = |node: &Node| match node.state {
            State::Alive | State::Suspect => true,
            State::Dead => now.saturating_duration_since(node.changed) <= dead_time,
            State::Left => false,
        };
        let others = self.nodes.iter().filter(|(name, node)| *name != own && wanted(node));
        let addresses = others.map(|(_, node)| node.alive.address).collect();
        for to in self.random.choose(self.config.timing.gossip_nodes, addresses) {
            let parts = self.take(self.room());
            if parts.is_empty() {
                break;
            }
            self.send_alone(to, compound(parts));
        }
        let again = self.now + self.config.timing.gossip_interval;
        self.gossip_at = (!self.queue.is_empty()).then_some(again);
    }

    fn take(&mut self, room: usize) -> Vec<Vec<u8>> {
        let limit = self.config.timing.retransmit_limit(self.nodes.len());
        self.queue.take(COMPOUND_OVERHEAD, room, limit)
    }

    /// What a datagram holds.
    fn room(&self) -> usize {
        let encryption = if self.config.keyring.encrypts() {
            keyring::OVERHEAD
        } else {
            0
        };
        let size = self.config.timing.udp_buffer_size;
        size.saturating_sub(COMPOUND_OVERHEAD + encryption)
    }
}
