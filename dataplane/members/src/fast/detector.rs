//! The state, and what each event does to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    ops::Bound,
    time::{Duration, Instant},
};

use super::{
    Action, Config, Event, Question,
    accusations::Accusations,
    packet::{Kind, Packet, Stamp},
    peer::{Doubt, Peer},
};
use crate::{Refusal, random::Random};

/// Up to so many members everybody watches everybody.
const SMALL: usize = 16;
/// Otherwise one watches at most and at least so many.
const MOST_WATCHED: usize = 32;
const LEAST_WATCHED: usize = 8;
/// Beyond the intervals of silence, for the second opinions.
const CONFIRMATION: Duration = Duration::from_millis(30);
/// Between two rounds of questions about a doubted member.
const ROUND: Duration = Duration::from_millis(20);
/// Who answers the roll must have done so before this, so that the doubted one had as good a chance.
const CHANCE: Duration = Duration::from_millis(25);
/// How long it is waited for more to answer the roll.
const PATIENCE: Duration = Duration::from_millis(60);
/// How many others are asked in each round.
const HELPERS: usize = 3;
/// In these rounds the segment is asked.
const SEGMENT_ROUNDS: [usize; 2] = [1, 3];
/// Pings for others that are on their way.
const MAX_RELAYS: usize = 256;
const RELAY_LIMIT: Duration = Duration::from_millis(500);
/// Accusations are told to all as often and as fast when they change, and otherwise again after this.
const NEWS_AT_ONCE: u8 = 3;
const NEWS_AGAIN: Duration = Duration::from_secs(1);

/// A ping for another member.
#[derive(Debug)]
struct Relay {
    asker: String,
    ask: Stamp,
    at: Instant,
}

/// When everybody is told of the accusations next, and how often at once.
#[derive(Debug)]
struct News {
    at: Instant,
    left: u8,
}

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

    fn on_packet(&mut self, packet: Packet) {
        let Packet {
            stamp,
            sender,
            kind,
            accused,
        } = packet;
        let Some(peer) = self.peers.get_mut(&sender) else {
            return;
        };
        if let Kind::Ack(ping) = kind
            && ping.boot == self.config.boot
            && peer.acked(ping.sequence)
        {
            self.hear(&sender, Some(stamp.boot));
            self.relay(&sender, ping.sequence);
        }
        if kind == Kind::Ping {
            self.send(&sender, Kind::Ack(stamp));
        }
        let Some(peer) = self.peers.get_mut(&sender) else {
            return;
        };
        if !peer.is_new(stamp.boot, stamp.sequence) {
            // Perhaps of a run that is not known yet, perhaps a recorded one: its answer will tell.
            if peer.boot != Some(stamp.boot) && self.active {
                self.ping(&sender);
            }
            return;
        }
        self.hear(&sender, None);
        if self.active {
            self.accusations.learn(&sender, stamp, accused, self.now);
        }
        match kind {
            Kind::Ask(name) => self.on_ask(&sender, stamp, &name),
            Kind::Vouch(ask) if ask.boot == self.config.boot => self.on_vouch(ask.sequence),
            Kind::Ping | Kind::Ack(_) | Kind::Vouch(_) | Kind::News => {}
        }
    }

    /// A member is there; `boot` names the run that has proven it.
    fn hear(&mut self, name: &str, boot: Option<u64>) {
        let now = self.now;
        let Some(peer) = self.peers.get_mut(name) else { return };
        peer.hear(boot, now);
        self.accusations.heard(name, now);
        for peer in self.peers.values_mut() {
            if let Some(doubt) = &mut peer.doubt {
                doubt.roll.entry(name.to_owned()).or_insert(now);
            }
        }
    }

    fn on_ask(&mut self, asker: &str, ask: Stamp, name: &str) {
        let now = self.now;
        self.relays
            .retain(|_, relay| now.saturating_duration_since(relay.at) < RELAY_LIMIT);
        if self.relays.len() >= MAX_RELAYS {
            return;
        }
        if let Some(sequence) = self.ping(name) {
            let relay = Relay {
                asker: asker.to_owned(),
                ask,
                at: now,
            };
            self.relays.insert(sequence, relay);
        }
    }

    fn relay(&mut self, name: &str, sequence: u64) {
        if let Some(relay) = self.relays.remove(&sequence)
            && relay.asker != name
        {
            self.send(&relay.asker, Kind::Vouch(relay.ask));
        }
    }

    fn on_vouch(&mut self, sequence: u64) {
        let asked =
            |(_, peer): &(&String, &Peer)| peer.doubt.as_ref().is_some_and(|doubt| doubt.asks.contains(&sequence));
        let vouched = self.peers.iter().find(asked).map(|(name, _)| name.clone());
        if let Some(name) = vouched {
            self.hear(&name, None);
        }
    }

    fn on_tick(&mut self) {
        let now = self.now;
        let interval = self.config.pace.interval;
        let due = self.next_deadline().unwrap_or(now);
        if now.saturating_duration_since(due) > interval / 2 {
            // Whatever was not heard may be this node's own fault.
            self.peers.values_mut().for_each(|peer| peer.start_anew(now));
        }
        self.judge_self();
        if self.accusations.expire(now, interval * self.config.pace.multiplier) {
            self.news_now();
        }
        let mut pinged = BTreeSet::new();
        for name in self.watched.clone() {
            if self.peers.get(&name).is_some_and(|peer| peer.ping_at <= now) {
                pinged.insert(name.clone());
            }
            if !self.accusations.accuses(&name) {
                self.judge(&name, &mut pinged);
            }
        }
        for name in pinged {
            self.ping(&name);
        }
        self.spread_news();
    }

    /// Looks at the silence of one member; adds whom to ping for it.
    fn judge(&mut self, name: &str, pinged: &mut BTreeSet<String>) {
        let (now, doubtful) = (self.now, self.doubtful());
        let Some(peer) = self.peers.get_mut(name) else { return };
        if !peer.is_judged() || peer.silence(now) < doubtful {
            return;
        }
        let doubt = peer.doubt.get_or_insert_with(|| Doubt::new(now));
        if doubt.next <= now {
            doubt.next = now + ROUND;
            doubt.rounds += 1;
            let round = doubt.rounds;
            pinged.extend(
                self.watched
                    .iter()
                    .filter(|name| !self.accusations.accuses(name))
                    .cloned(),
            );
            self.ask(name, round);
        }
        let Some(peer) = self.peers.get(name) else { return };
        let verdict_at = self.verdict_at(peer);
        if now < verdict_at {
            return;
        }
        if self.is_heard_by_enough(name) {
            self.accuse(name);
        } else if now >= verdict_at + PATIENCE
            && let Some(peer) = self.peers.get_mut(name)
        {
            peer.give_up();
        }
    }

    /// One round of second opinions.
    fn ask(&mut self, name: &str, round: usize) {
        let others = self.watched.iter();
        let others = others.filter(|other| *other != name && !self.accusations.accuses(other));
        for helper in self.random.choose(HELPERS, others.cloned().collect()) {
            let sequence = self.send(&helper, Kind::Ask(name.to_owned()));
            let doubt = self.peers.get_mut(name).and_then(|peer| peer.doubt.as_mut());
            if let Some((doubt, sequence)) = doubt.zip(sequence) {
                doubt.asks.push(sequence);
            }
        }
        if SEGMENT_ROUNDS.contains(&round) {
            self.actions.push(Action::Ask(Question::Member(name.to_owned())));
            if self.peers.len() == 1 {
                self.actions.push(Action::Ask(Question::Witness));
            }
        }
    }

    /// Says whether this node is not the one that is cut off: half of those it watches have answered while it doubted
    /// `name`, and that one could have, too.
    fn is_heard_by_enough(&self, name: &str) -> bool {
        let Some(doubt) = self.peers.get(name).and_then(|peer| peer.doubt.as_ref()) else {
            return false;
        };
        if self.peers.len() == 1 {
            return self.witness.is_some_and(|at| at >= doubt.since);
        }
        let counted = self.watched.iter().filter(|name| !self.accusations.accuses(name));
        let answered = |name: &&String| doubt.roll.get(*name).is_some_and(|at| *at + CHANCE <= self.now);
        2 * counted.clone().filter(answered).count() >= counted.count()
    }

    fn accuse(&mut self, name: &str) {
        self.accusations.accuse(name, self.now);
        if let Some(peer) = self.peers.get_mut(name) {
            peer.doubt = None;
        }
        self.news_now();
    }

    fn news_now(&mut self) {
        self.news = Some(News {
            at: self.now,
            left: NEWS_AT_ONCE,
        });
    }

    /// Tells everybody whom this node accuses, if it is time.
    fn spread_news(&mut self) {
        let Some(news) = self.news.as_mut().filter(|news| news.at <= self.now) else {
            return;
        };
        news.left = news.left.saturating_sub(1);
        if news.left > 0 {
            news.at = self.now + ROUND;
        } else if self.accusations.is_accuser() {
            news.at = self.now + NEWS_AGAIN;
        } else {
            self.news = None;
        }
        for name in self.peers.keys().cloned().collect::<Vec<_>>() {
            self.send(&name, Kind::News);
        }
    }

    /// Pings a member; returns the sequence of the ping.
    fn ping(&mut self, name: &str) -> Option<u64> {
        let part = self.random.part_of(self.config.pace.interval / 4);
        let sequence = self.send(name, Kind::Ping)?;
        let peer = self.peers.get_mut(name)?;
        peer.pinged(sequence);
        peer.ping_at = self.now + self.config.pace.interval - part;
        Some(sequence)
    }

    fn send(&mut self, name: &str, kind: Kind) -> Option<u64> {
        let to = self.peers.get(name)?.address;
        self.sequence += 1;
        let packet = Packet {
            stamp: Stamp {
                boot: self.config.boot,
                sequence: self.sequence,
            },
            sender: self.config.node.clone(),
            kind,
            accused: self.accusations.told(),
        };
        let bytes = packet.encode(&self.config.keys);
        self.actions.push(Action::Send { to, bytes });
        Some(self.sequence)
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
