//! Silence, from the first doubt to the accusation.

use std::{collections::BTreeSet, time::Duration};

use super::Detector;
use crate::fast::{Action, Question, packet::Kind, peer::Doubt};

/// Beyond the intervals of silence, for the second opinions.
pub(super) const CONFIRMATION: Duration = Duration::from_millis(30);
/// Between two rounds of questions about a doubted member.
pub(super) const ROUND: Duration = Duration::from_millis(20);
/// Answers by others count only if they are this old, so that the doubted member had the same chance to answer.
const CHANCE: Duration = Duration::from_millis(25);
/// How long to wait for more answers to the roll.
const PATIENCE: Duration = Duration::from_millis(60);
/// How many others are asked in each round.
const HELPERS: usize = 3;
/// The segment is asked in every other round up to this one: three times, so that one lost frame decides nothing.
const SEGMENT_ROUNDS: usize = 5;

impl Detector {
    pub(super) fn on_tick(&mut self) {
        let now = self.now;
        let interval = self.config.pace.interval;
        let late = now.saturating_duration_since(self.next_deadline().unwrap_or(now));
        // This node was paused or busy, so silence of others means nothing.
        if late > interval * self.config.pace.multiplier {
            self.peers.values_mut().for_each(|peer| peer.start_anew(now));
        } else if late > interval / 2 {
            self.peers.values_mut().for_each(|peer| peer.wait_longer(late, now));
        }
        self.judge_self();
        if self.accusations.expire(now, interval * self.config.pace.multiplier) {
            self.news_now();
        }
        self.pause = interval - self.random.part_of(interval / 4);
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

    /// Judges the silence of one member; adds the members to ping to `pinged`.
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
            let answers = |name: &&String| !self.accusations.accuses(name) || self.accusations.is_on_probation(name);
            pinged.extend(self.watched.iter().filter(answers).cloned());
            self.ask(name, round);
        }
        let Some(peer) = self.peers.get(name) else { return };
        let verdict_at = self.verdict_at(peer);
        if now < verdict_at {
            return;
        }
        if self.is_connected(name) {
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
        if round.is_multiple_of(2) {
            return;
        }
        if round <= SEGMENT_ROUNDS {
            self.actions.push(Action::Ask(Question::Member(name.to_owned())));
        }
        // Until the verdict, or until it has answered; of the roll the first round knows nothing yet.
        let needed = self.peers.len() == 1 || round > 1 && !self.is_heard_by_enough(name);
        if needed && !self.is_witnessed(name) {
            self.actions.push(Action::Ask(Question::Witness));
        }
    }

    /// Says whether this node is not the one that is cut off: it was heard by enough others while it doubted `name`, or by
    /// a witness on the segment, where `name` was asked, too.
    fn is_connected(&self, name: &str) -> bool {
        self.is_heard_by_enough(name) || self.is_witnessed(name)
    }

    /// Says whether the witness has answered while this node doubted `name`.
    fn is_witnessed(&self, name: &str) -> bool {
        let doubt = self.peers.get(name).and_then(|peer| peer.doubt.as_ref());
        doubt.is_some_and(|doubt| self.witness.is_some_and(|at| at >= doubt.since))
    }

    /// Says whether half of those that it watches have answered while it doubted `name`, and that one could have, too. Of
    /// two members the other never has.
    fn is_heard_by_enough(&self, name: &str) -> bool {
        let Some(doubt) = self.peers.get(name).and_then(|peer| peer.doubt.as_ref()) else {
            return false;
        };
        let answered = |name: &&String| doubt.roll.get(*name).is_some_and(|at| *at + CHANCE <= self.now);
        // That an accused one does not answer is nothing new; that it does shows that this node is not cut off.
        let counted = self
            .watched
            .iter()
            .filter(|name| !self.accusations.accuses(name) || answered(name));
        self.peers.len() > 1 && 2 * counted.clone().filter(answered).count() >= counted.count()
    }

    fn accuse(&mut self, name: &str) {
        self.accusations.accuse(name, self.now);
        if let Some(peer) = self.peers.get_mut(name) {
            peer.doubt = None;
        }
        self.news_now();
    }
}
