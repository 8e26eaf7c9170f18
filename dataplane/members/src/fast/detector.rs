//! The state, and what each event does to it.

mod hear;
mod judge;
mod tell;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    ops::Bound,
    time::{Duration, Instant},
};

use super::{Action, Config, Event, Question, accusations::Accusations, packet::Packet, peer::Peer};
use crate::{Refusal, random::Random};
use hear::Relay;
use judge::{CONFIRMATION, ROUND};
use tell::News;

/// Up to so many members everybody watches everybody.
const SMALL: usize = 16;
/// Otherwise one watches at most and at least so many.
const MOST_WATCHED: usize = 32;
const LEAST_WATCHED: usize = 8;

/// Finds out within a third of a second which members are silent, and keeps the accusations.
#[derive(Debug)]
pub struct Detector {
    config: Config,
    random: Random,
    peers: BTreeMap<String, Peer>,
    active: bool,
    fit: bool,
    partners: BTreeSet<String>,
    watched: BTreeSet<String>,
    relays: BTreeMap<u64, Relay>,
    accusations: Accusations,
    news: Option<News>,
    suspects: BTreeSet<String>,
    witness: Option<Instant>,
    sequence: u64,
    /// The time of the event that is handled, and what is to be done for it.
    now: Instant,
    actions: Vec<Action>,
}

impl Detector {
    /// Creates a detector that knows of nobody. `random` fills buffers; it only spreads load.
    #[must_use]
    pub fn new(config: Config, now: Instant, random: impl FnMut(&mut [u8]) + Send + 'static) -> Self {
        Self {
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
            suspects: BTreeSet::new(),
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
                let packet = Packet::decode(&bytes, &self.config.keys)?;
                self.on_packet(packet);
            }
            Event::Fit(fit) => {
                self.fit = fit;
                self.judge_self();
                if fit && self.accusations.is_accuser() {
                    // What was said while it had no carrier was heard by nobody.
                    self.news_now();
                }
            }
            Event::Answered(Question::Member(name)) => self.hear(&name, None),
            Event::Answered(Question::Witness) => self.witness = Some(self.now),
            Event::Keys(keys) => self.config.keys = keys,
            Event::Tick => self.on_tick(),
        }
        self.tell_suspects();
        Ok(std::mem::take(&mut self.actions))
    }

    /// When a member gave its last sign of life, if it is watched.
    #[must_use]
    pub fn last_heard(&self, name: &str) -> Option<Instant> {
        let peer = self.peers.get(name).filter(|_| self.watched.contains(name));
        peer.map(|peer| peer.heard)
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

    /// Who knows that it cannot announce need not be found out.
    fn judge_self(&mut self) {
        let node = &self.config.node;
        if self.fit {
            self.accusations.heard(node, self.now);
        } else if self.active && !self.accusations.accuses(node) {
            self.accusations.accuse(node, self.now);
            self.news_now();
        }
    }

    /// Chooses whom to watch. Who is watched only from now on is expected to answer from now on.
    fn choose(&mut self) {
        let before = std::mem::take(&mut self.watched);
        if !self.active {
            return;
        }
        if self.peers.len() < SMALL {
            self.watched = self.peers.keys().cloned().collect();
        } else {
            let accused = self.peers.keys().filter(|name| self.accusations.accuses(name));
            let partners = self.partners.iter().filter(|name| self.peers.contains_key(*name));
            self.watched = accused.chain(partners).take(MOST_WATCHED).cloned().collect();
            let own = self.config.node.as_str();
            let after = self.peers.range::<str, _>((Bound::Excluded(own), Bound::Unbounded));
            let ring = after.chain(self.peers.range::<str, _>((Bound::Unbounded, Bound::Excluded(own))));
            for (name, _) in ring {
                if self.watched.len() >= LEAST_WATCHED {
                    break;
                }
                self.watched.insert(name.clone());
            }
        }
        for name in self.watched.difference(&before) {
            if let Some(peer) = self.peers.get_mut(name) {
                peer.start_anew(self.now);
                // Not all at the same time.
                peer.ping_at = self.now + self.random.part_of(self.config.pace.interval / 4);
            }
        }
    }

    /// First of all: whoever stands in shall not wait for datagrams.
    fn tell_suspects(&mut self) {
        let suspects = self.accusations.suspects();
        if suspects != self.suspects {
            self.suspects.clone_from(&suspects);
            self.actions.insert(0, Action::Suspects(suspects));
        }
    }

    #[cfg(test)]
    pub(super) fn watched(&self) -> Vec<String> {
        self.watched.iter().cloned().collect()
    }
}
