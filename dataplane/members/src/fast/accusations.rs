//! The accused, whom all rank last: accusations by this node and by others.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::packet::{Accused, Stamp};

/// How long an accused member must answer before the accusation is lifted; doubles with each further accusation.
const PROBATION: Duration = Duration::from_secs(10);
const LONGEST_PROBATION: Duration = Duration::from_secs(600);
/// Each such time without an accusation lowers the level by one, which halves the next probation.
const QUIET: Duration = Duration::from_secs(3600);
/// Accusations by another member lapse when it is not heard for this long.
const LEASE: Duration = Duration::from_secs(10);
/// Relayed accusations lapse sooner: every packet repeats them, so their absence means that they may have been lifted.
const RELAYED: Duration = Duration::from_secs(1);
/// Marks an accusation that is relayed to the accused.
const RELAY: u8 = 0;
/// How long an accusation is kept after the node was heard last, in case it returns.
const KEPT: Duration = Duration::from_secs(600);
/// Highest level that makes a difference.
const MAX_LEVEL: u8 = 7;
/// Highest number of members whose history is kept.
const REMEMBERED: usize = 1024;

/// An accusation by this node.
#[derive(Debug)]
struct Own {
    level: u8,
    /// Since when the member answers again.
    answers_since: Option<Instant>,
    /// It has answered a ping since. Pings carry the accusation, so it knows.
    aware: bool,
    heard: Instant,
}

impl Own {
    fn lifted_at(&self) -> Option<Instant> {
        self.answers_since.map(|since| since + probation(self.level))
    }
}

/// How often a node was accused lately, by any member.
#[derive(Debug)]
struct History {
    level: u8,
    last: Instant,
}

impl History {
    fn level(&self, now: Instant) -> u8 {
        let hours = now.saturating_duration_since(self.last).as_secs() / QUIET.as_secs();
        self.level.saturating_sub(u8::try_from(hours).unwrap_or(u8::MAX))
    }
}

#[derive(Debug)]
struct Told {
    stamp: Stamp,
    at: Instant,
    accused: Accused,
}

/// All accusations.
#[derive(Debug, Default)]
pub(super) struct Accusations {
    own: BTreeMap<String, Own>,
    others: BTreeMap<String, Told>,
    history: BTreeMap<String, History>,
}

fn probation(level: u8) -> Duration {
    let factor = 1 << level.saturating_sub(1).min(MAX_LEVEL);
    PROBATION.saturating_mul(factor).min(LONGEST_PROBATION)
}

impl Accusations {
    /// Accuses a member that is silent.
    pub(super) fn accuse(&mut self, name: &str, now: Instant) {
        let others = self.others.values().filter_map(|told| told.accused.get(name));
        // If others already accuse it, it is for the same silence, which must not count twice.
        let level = others.max().copied().unwrap_or_else(|| {
            let known = self.history.get(name).map_or(0, |history| history.level(now));
            known.saturating_add(1)
        });
        let level = level.clamp(1, MAX_LEVEL);
        self.remember(name, level, now);
        let own = Own {
            level,
            answers_since: None,
            aware: false,
            heard: now,
        };
        self.own.insert(name.to_owned(), own);
    }

    fn remember(&mut self, name: &str, level: u8, now: Instant) {
        if self.history.len() >= REMEMBERED {
            self.history.retain(|_, history| history.level(now) > 0);
        }
        if self.history.len() < REMEMBERED || self.history.contains_key(name) {
            self.history.insert(name.to_owned(), History { level, last: now });
        }
    }

    /// A member has answered; says whether it is accused and has been silent until now.
    pub(super) fn heard(&mut self, name: &str, now: Instant) -> bool {
        let Some(own) = self.own.get_mut(name) else {
            return false;
        };
        own.heard = now;
        own.answers_since.replace(own.answers_since.unwrap_or(now)).is_none()
    }

    /// A member has answered a ping: it knows that it is accused.
    pub(super) fn answered(&mut self, name: &str) {
        if let Some(own) = self.own.get_mut(name) {
            own.aware = true;
        }
    }

    pub(super) fn accuses(&self, name: &str) -> bool {
        self.own.contains_key(name)
    }

    /// Says whether this node accuses a member that answers again.
    pub(super) fn is_on_probation(&self, name: &str) -> bool {
        self.own.get(name).is_some_and(|own| own.answers_since.is_some())
    }

    /// The accusations by this node.
    pub(super) fn told(&self) -> Accused {
        self.own.iter().map(|(name, own)| (name.clone(), own.level)).collect()
    }

    /// The same for one recipient; if others accuse it, relays that, as they may not reach it.
    pub(super) fn told_to(&self, accused: &str) -> Accused {
        let mut told = self.told();
        let mut others = self.others.iter().filter(|(accuser, _)| *accuser != accused);
        if others.any(|(_, told)| told.accused.contains_key(accused)) {
            told.entry(accused.to_owned()).or_insert(RELAY);
        }
        told
    }

    pub(super) fn is_accuser(&self) -> bool {
        !self.own.is_empty()
    }

    /// Replaces the accusations by another member, unless a later packet of it was seen.
    pub(super) fn learn(&mut self, accuser: &str, stamp: Stamp, accused: Accused, now: Instant) {
        let known = self.others.get(accuser);
        if known.is_some_and(|told| told.stamp.boot == stamp.boot && told.stamp.sequence > stamp.sequence) {
            return;
        }
        let before = known.map(|told| told.accused.clone()).unwrap_or_default();
        for (name, level) in accused.iter().filter(|(name, _)| !before.contains_key(*name)) {
            let known = self.history.get(name).map_or(0, |history| history.level(now));
            self.remember(name, known.max((*level).min(MAX_LEVEL)), now);
        }
        if accused.is_empty() && before.is_empty() {
            return;
        }
        self.others.insert(
            accuser.to_owned(),
            Told {
                stamp,
                at: now,
                accused,
            },
        );
    }

    /// Takes over the accusations by members that have left; returns whether this node accuses more than before. Otherwise
    /// new members would not learn of them while old ones still applied them. Relayed accusations are not taken over: the
    /// accuser itself may still be a member and may have lifted its accusation.
    pub(super) fn inherit(&mut self, is_member: impl Fn(&String) -> bool, now: Instant) -> bool {
        let before = self.own.len();
        let gone = self.others.extract_if(.., |accuser, _| !is_member(accuser));
        let accused = gone.flat_map(|(_, told)| told.accused);
        for (name, level) in accused.filter(|(_, level)| *level > RELAY) {
            self.own.entry(name).or_insert(Own {
                level,
                answers_since: None,
                aware: false,
                heard: now,
            });
        }
        self.own.len() > before
    }

    /// Removes what has lapsed; returns whether this node accuses fewer than before. The probation of a member that answered
    /// and was then silent for `silence` starts again.
    pub(super) fn expire(&mut self, now: Instant, silence: Duration) -> bool {
        let before = self.own.len();
        for own in self.own.values_mut() {
            if own.heard + silence <= now {
                own.answers_since = None;
                own.aware = false;
            }
        }
        self.own.retain(|_, own| {
            let lifted = own.lifted_at().is_some_and(|at| at <= now);
            !lifted && now.saturating_duration_since(own.heard) < KEPT
        });
        for told in self.others.values_mut().filter(|told| told.at + RELAYED <= now) {
            told.accused.retain(|_, level| *level > RELAY);
        }
        self.others
            .retain(|_, told| now.saturating_duration_since(told.at) < LEASE);
        self.own.len() < before
    }

    /// When [`Self::expire`] has something to do next.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let own = self.own.values();
        let own = own.map(|own| own.lifted_at().unwrap_or(own.heard + KEPT));
        let others = self.others.values().map(|told| {
            let relayed = told.accused.values().any(|level| *level == RELAY);
            told.at + if relayed { RELAYED } else { LEASE }
        });
        own.chain(others).min()
    }

    /// All members that anybody accuses.
    pub(super) fn suspects(&self) -> BTreeSet<String> {
        let others = self.others.values().flat_map(|told| told.accused.keys());
        self.own.keys().chain(others).cloned().collect()
    }

    /// Members that this node accuses and that have not answered it since.
    pub(super) fn unaware(&self) -> BTreeSet<String> {
        let unaware = self.own.iter().filter(|(_, own)| !own.aware);
        unaware.map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn clear(&mut self) {
        self.own.clear();
        self.others.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[expect(clippy::disallowed_methods, reason = "its value does not matter")]
    fn start() -> Instant {
        Instant::now()
    }

    fn stamp(sequence: u64) -> Stamp {
        Stamp { boot: 1, sequence }
    }

    /// Seconds from an accusation at `at` until it is lifted, of a member that answers all the time.
    fn seconds(accusations: &mut Accusations, at: Instant) -> u64 {
        accusations.accuse("b", at);
        for second in 0..1000 {
            let now = at + SECOND * u32::try_from(second).unwrap();
            accusations.heard("b", now);
            accusations.expire(now, SECOND);
            if !accusations.accuses("b") {
                return second;
            }
        }
        panic!("never lifted");
    }

    #[test]
    fn each_accusation_doubles_the_probation_and_a_quiet_hour_halves_it() {
        let (mut accusations, start) = (Accusations::default(), start());
        let minute = |minutes: u32| start + 60 * minutes * SECOND;
        let waits: Vec<u64> = [0, 10, 20, 30].map(|at| seconds(&mut accusations, minute(at))).to_vec();
        assert_eq!(waits, [10, 20, 40, 80]);
        assert_eq!(seconds(&mut accusations, minute(30 + 60)), 80);
        assert_eq!(seconds(&mut accusations, minute(90 + 10 * 60)), 10);
        let many: Vec<u64> = (0..9)
            .map(|at| seconds(&mut accusations, minute(1000 + 20 * at)))
            .collect();
        assert_eq!(many[8], 600);
    }

    #[test]
    fn who_falls_silent_again_starts_its_probation_anew() {
        let (mut accusations, start) = (Accusations::default(), start());
        accusations.accuse("b", start);
        accusations.heard("b", start + SECOND);
        accusations.expire(start + 5 * SECOND, SECOND);
        accusations.heard("b", start + 9 * SECOND);
        accusations.heard("b", start + 18 * SECOND);
        accusations.expire(start + 18 * SECOND, SECOND);
        assert!(accusations.accuses("b"));
        accusations.heard("b", start + 19 * SECOND);
        accusations.expire(start + 19 * SECOND, SECOND);
        assert!(!accusations.accuses("b"));
    }

    #[test]
    fn what_another_accuses_lapses_without_it_and_an_old_packet_changes_nothing() {
        let (mut accusations, start) = (Accusations::default(), start());
        let accused = || Accused::from([("b".to_owned(), 1)]);
        accusations.learn("a", stamp(2), accused(), start);
        accusations.learn("a", stamp(1), Accused::new(), start);
        assert_eq!(accusations.suspects(), BTreeSet::from(["b".to_owned()]));
        accusations.learn("a", stamp(3), Accused::new(), start);
        assert!(accusations.suspects().is_empty());
        accusations.learn("a", stamp(2), accused(), start);
        assert!(accusations.suspects().is_empty(), "an old packet");
        accusations.learn("a", stamp(4), accused(), start);
        accusations.expire(start + LEASE, SECOND);
        assert!(accusations.suspects().is_empty());
    }

    // Found by tests/simulation, seed 5914.
    #[test]
    fn what_is_passed_on_lapses_when_whoever_did_so_is_silent() {
        let (mut accuser, mut accused, start) = (Accusations::default(), Accusations::default(), start());
        accuser.learn("c", stamp(1), Accused::from([("b".to_owned(), 3)]), start);
        assert!(accuser.told().is_empty(), "others are not told what it was told");
        let told = accuser.told_to("b");
        accused.learn("a", stamp(1), told, start);
        assert_eq!(accused.suspects(), BTreeSet::from(["b".to_owned()]));
        assert_eq!(accused.next_deadline(), Some(start + RELAYED));
        accused.expire(start + RELAYED, SECOND);
        assert!(accused.suspects().is_empty());
        accuser.learn("b", stamp(1), Accused::from([("b".to_owned(), 1)]), start);
        accuser.learn("c", stamp(2), Accused::new(), start);
        assert!(accuser.told_to("b").is_empty(), "it says so itself");
    }

    // Found by tests/simulation, seeds 1024 and 1166.
    #[test]
    fn who_was_accused_by_a_member_that_is_gone_is_accused_by_the_others() {
        let (mut accusations, start) = (Accusations::default(), start());
        accusations.learn("a", stamp(1), Accused::from([("b".to_owned(), 1)]), start);
        assert!(!accusations.inherit(|_| true, start) && accusations.told().is_empty());
        assert!(accusations.inherit(|name| name != "a", start));
        assert_eq!(accusations.told(), Accused::from([("b".to_owned(), 1)]));
        accusations.heard("b", start);
        accusations.expire(start + PROBATION, 2 * PROBATION);
        assert!(accusations.suspects().is_empty(), "it has answered for long enough");
    }

    #[test]
    fn what_a_member_that_is_gone_had_only_passed_on_is_not_inherited() {
        let (mut accusations, start) = (Accusations::default(), start());
        let told = Accused::from([("b".to_owned(), RELAY), ("c".to_owned(), 2)]);
        accusations.learn("a", stamp(1), told, start);
        assert!(accusations.inherit(|name| name != "a", start));
        assert_eq!(accusations.told(), Accused::from([("c".to_owned(), 2)]));
        assert_eq!(accusations.suspects(), BTreeSet::from(["c".to_owned()]));
    }

    #[test]
    fn a_successor_of_the_accuser_knows_how_often_it_was() {
        let (mut accusations, start) = (Accusations::default(), start());
        accusations.learn("a", stamp(1), Accused::from([("b".to_owned(), 3)]), start);
        assert_eq!(seconds(&mut accusations, start), 40, "it is the same silence");
        accusations.learn("a", stamp(2), Accused::new(), start);
        assert_eq!(seconds(&mut accusations, start), 80);
    }
}
