//! The detector's state, and how events change it.

mod hear;
mod judge;
mod tell;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{
    Action, Config, Event, Question, Suspects, accusations::Accusations, packet::Ciphers, peer::Peer, ring::ring,
};
use crate::{Refusal, random::Random};
use hear::Relay;
use judge::{CONFIRMATION, ROUND};
use tell::News;

/// Number of members up to which everybody watches everybody.
const SMALL: usize = 16;
/// In larger clusters: how many are watched on either side of the ring, and how many partners besides.
const NEIGHBOURS: usize = 4;
const PARTNERS: usize = 4;

/// Finds out within a third of a second which members are silent, and keeps the accusations.
#[derive(Debug)]
pub struct Detector {
    config: Config,
    ciphers: Ciphers,
    random: Random,
    peers: BTreeMap<String, Peer>,
    active: bool,
    fit: bool,
    partners: BTreeSet<String>,
    watched: BTreeSet<String>,
    relays: BTreeMap<u64, Relay>,
    accusations: Accusations,
    news: Option<News>,
    suspects: Suspects,
    witness: Option<Instant>,
    sequence: u64,
    /// Time until the next ping. All members pinged together get the same, so that they stay together.
    pause: Duration,
    /// The time of the current event, and the actions it leads to.
    now: Instant,
    actions: Vec<Action>,
}

impl Detector {
    /// Creates a detector that knows of nobody. `random` fills buffers; it only spreads load.
    #[must_use]
    pub fn new(config: Config, now: Instant, random: impl FnMut(&mut [u8]) + Send + 'static) -> Self {
        Self {
            ciphers: Ciphers::new(config.keys.clone(), config.boot),
            pause: config.pace.interval,
            config,
            random: Random::new(random),
            peers: BTreeMap::new(),
            active: false,
            fit: true,
            partners: BTreeSet::new(),
            watched: BTreeSet::new(),
            relays: BTreeMap::new(),
            accusations: Accusations::default(),
            news: None,
            suspects: Suspects::default(),
            witness: None,
            sequence: 0,
            now,
            actions: Vec::new(),
        }
    }

    /// Feeds one event; returns what the shell must do, in order.
    ///
    /// # Errors
    /// If a datagram was not accepted.
    pub fn handle(&mut self, now: Instant, event: Event) -> Result<Vec<Action>, Refusal> {
        self.now = self.now.max(now);
        match event {
            Event::Members { peers, active } => self.on_members(peers, active),
            Event::Partners(partners) => {
                self.partners = partners;
                self.choose();
            }
            Event::Datagram(bytes) => {
                let packet = self.ciphers.decode(&bytes)?;
                self.on_packet(packet);
            }
            Event::Fit(fit) => {
                self.fit = fit;
                self.judge_self();
                if fit && self.accusations.is_accuser() {
                    // Nobody heard what was sent without a carrier.
                    self.news_now();
                }
            }
            Event::Answered(Question::Member(name)) => self.hear(&name, None),
            Event::Answered(Question::Witness) => self.witness = Some(self.now),
            Event::Keys(keys) => self.ciphers.set_keys(keys),
            Event::Tick => self.on_tick(),
        }
        self.tell_suspects();
        Ok(std::mem::take(&mut self.actions))
    }

    /// When a member was heard last. For one that is not watched: as if it had just become silent for long enough to be
    /// accused.
    #[must_use]
    pub fn last_heard(&self, name: &str) -> Option<Instant> {
        let peer = self.peers.get(name)?;
        if self.watched.contains(name) {
            return Some(peer.heard);
        }
        let silence = self.config.pace.interval * self.config.pace.multiplier + CONFIRMATION;
        self.now.checked_sub(silence)
    }

    /// When `handle` wants `Event::Tick` next, if at all.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let watched = self
            .watched
            .iter()
            .filter_map(|name| Some((name, self.peers.get(name)?)));
        let pings = watched.clone().map(|(_, peer)| peer.ping_at);
        let judged = watched.filter(|(name, peer)| peer.is_judged() && !self.accusations.accuses(name));
        let verdicts = judged.map(|(_, peer)| match &peer.doubt {
            Some(doubt) => doubt.next.min(self.verdict_at(peer).max(self.now + ROUND / 4)),
            None => peer.heard + self.doubtful(),
        });
        let news = self.news.as_ref().map(|news| news.at);
        pings
            .chain(verdicts)
            .chain(self.accusations.next_deadline())
            .chain(news)
            .min()
    }

    /// The silence after which a member is doubted.
    fn doubtful(&self) -> Duration {
        self.config.pace.interval * 9 / 4
    }

    fn verdict_at(&self, peer: &Peer) -> Instant {
        peer.heard + self.config.pace.interval * self.config.pace.multiplier + CONFIRMATION
    }

    fn on_members(&mut self, mut members: BTreeMap<String, SocketAddr>, active: bool) {
        members.remove(&self.config.node);
        self.peers
            .retain(|name, peer| members.get(name).is_some_and(|address| *address == peer.address));
        for (name, address) in members {
            self.peers.entry(name).or_insert_with(|| Peer::new(address, self.now));
        }
        if self.accusations.inherit(|name| self.peers.contains_key(name), self.now) {
            self.news_now();
        }
        self.active = active;
        if !active {
            self.accusations.clear();
            self.news = None;
        }
        self.choose();
        self.judge_self();
    }

    /// A node that cannot announce accuses itself at once.
    fn judge_self(&mut self) {
        let node = &self.config.node;
        if self.fit {
            self.accusations.heard(node, self.now);
        } else if self.active && !self.accusations.accuses(node) {
            self.accusations.accuse(node, self.now);
            self.news_now();
        }
    }

    /// Chooses whom to watch. Silence of newly watched members counts from now on.
    fn choose(&mut self) {
        let before = std::mem::take(&mut self.watched);
        if !self.active {
            return;
        }
        if self.peers.len() < SMALL {
            self.watched = self.peers.keys().cloned().collect();
        } else {
            let ring = ring(&self.config.node, self.peers.keys());
            let neighbours = ring.iter().take(NEIGHBOURS).chain(ring.iter().rev().take(NEIGHBOURS));
            let between = ring
                .iter()
                .skip(NEIGHBOURS)
                .take(ring.len().saturating_sub(2 * NEIGHBOURS));
            let partners = between.filter(|name| self.partners.contains(**name)).take(PARTNERS);
            let accused = self.peers.keys().filter(|name| self.accusations.accuses(name));
            self.watched = neighbours.chain(partners).copied().chain(accused).cloned().collect();
        }
        let together = self.now + self.random.part_of(self.config.pace.interval / 4);
        for name in self.watched.difference(&before) {
            if let Some(peer) = self.peers.get_mut(name) {
                peer.start_anew(self.now);
                peer.ping_at = together;
            }
        }
    }

    /// Reports a change of the suspects. It is the first action, so that a takeover does not wait for datagrams.
    fn tell_suspects(&mut self) {
        let mut suspects = Suspects {
            names: self.accusations.suspects(),
            unaware: self.accusations.unaware(),
        };
        suspects.unaware.remove(&self.config.node);
        let silence = self.config.pace.interval * self.config.pace.multiplier;
        let silent = suspects.names.iter().filter(|name| {
            let peer = self.peers.get(*name).filter(|_| self.watched.contains(*name));
            !self.accusations.accuses(name) && peer.is_some_and(|peer| peer.silence(self.now) >= silence)
        });
        suspects.unaware.extend(silent.cloned());
        if suspects == self.suspects {
            return;
        }
        for name in suspects.names.symmetric_difference(&self.suspects.names) {
            // Pings relay the accusation, or its end, to the accused at once.
            if let Some(peer) = self.peers.get_mut(name).filter(|_| self.watched.contains(name)) {
                peer.ping_at = self.now;
            }
        }
        self.suspects.clone_from(&suspects);
        self.actions.insert(0, Action::Suspects(suspects));
    }

    #[cfg(test)]
    pub(super) fn watched(&self) -> Vec<String> {
        self.watched.iter().cloned().collect()
    }
}
