//! One address that others claim.
//!
//! ```text
//!  claim ──► report at once, then at most once a second
//!    └─ 1 s: confirmed ──► for users, counted; defended, then for a claim at most every 10 s
//!  nobody heard for 2.0, 2.4, 2.8 s: asked, if yielded ── 3 s ──► ended ── 60 s ──► forgotten
//!  nobody heard since it was yielded for 0.1, 0.3, 0.5 s: asked ── 0.7 s ──► ended
//! ```

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use smoltcp::wire::EthernetAddress;

use super::{Confirmed, Conflict, Outcome, Report};
use crate::responder::{Claim, Stage};

/// When an address moves, its new owner may be heard before this node is told to withdraw it.
const MOVE: Duration = Duration::from_secs(1);
/// A claimant is reported so often at most.
const REPEAT: Duration = Duration::from_secs(1);
/// An address is defended so often at most (RFC 5227 §1.1).
pub(super) const DEFEND_INTERVAL: Duration = Duration::from_secs(10);
/// Between the first two announcements against another speaker: Linux ignores a change within a second of the last.
const AGAIN: Duration = Duration::from_millis(1100);
/// After so much silence nobody claims the address any more.
const SILENCE: Duration = Duration::from_secs(3);
/// In the silence the claimant of a yielded address is asked whether it is still there. The last answer has 200 ms.
const ASKED: [Duration; 3] = [
    Duration::from_millis(2000),
    Duration::from_millis(2400),
    Duration::from_millis(2800),
];
/// As much when the address was yielded and the claimant not heard since: it may have withdrawn it in the same moment.
const SILENCE_FIRST: Duration = Duration::from_millis(700);
const ASKED_FIRST: [Duration; 3] = [
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_millis(500),
];
/// A claimant that is heard again sooner goes on with the same conflict: hosts may be silent for as long as their
/// neighbour tables last.
const EPISODE: Duration = Duration::from_secs(60);
/// Hosts that are told apart for one address; a forger of hardware addresses must not fill our memory.
const CLAIMANTS: usize = 4;

#[derive(Debug)]
struct Claimant {
    mac: EthernetAddress,
    ifindex: u32,
    peer: bool,
    heard: Instant,
    reported: Instant,
    /// Frames that are not counted yet, since they may be a move.
    held: u64,
    /// Whether it says that the address is its own, and does not only ask.
    uses: bool,
    /// When it will be confirmed; `None` = it is.
    confirm_at: Option<Instant>,
}

impl Claimant {
    fn due(&self) -> Instant {
        self.confirm_at.unwrap_or(self.heard + EPISODE)
    }
}

#[derive(Debug)]
pub(super) struct Dispute {
    ip: IpAddr,
    claimants: Vec<Claimant>,
    yielded: bool,
    /// Since when nobody was heard; `None` = told.
    silent_since: Option<Instant>,
    asked: usize,
    /// It was yielded, and nobody heard since.
    untried: bool,
    /// Whether it is defended against another speaker.
    insists: bool,
    defended: Option<Instant>,
    defend_again: Option<Instant>,
    confirmed: Option<Instant>,
    due: Instant,
}

impl Dispute {
    pub(super) fn new(now: Instant, ip: IpAddr) -> Self {
        Self {
            ip,
            claimants: Vec::new(),
            yielded: false,
            silent_since: Some(now),
            asked: 0,
            untried: false,
            insists: false,
            defended: None,
            defend_again: None,
            confirmed: None,
            due: now + SILENCE,
        }
    }

    /// When there is something to do.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Says whether there is nothing more to do.
    pub(super) fn is_over(&self) -> bool {
        self.claimants.is_empty() && self.silent_since.is_none() && self.defend_again.is_none()
    }

    /// Says whether a host says that the address is its own, and was heard within the time that a move takes.
    pub(super) fn is_claimed(&self, now: Instant) -> bool {
        let claims = |claimant: &Claimant| claimant.uses && now < claimant.heard + MOVE;
        self.claimants.iter().any(claims)
    }

    /// Says whether another speaker says that the address is its own, and goes on doing so as far as is known.
    pub(super) fn is_claimed_by_peer(&self, now: Instant) -> bool {
        let claims = |claimant: &Claimant| claimant.peer && claimant.uses && now < claimant.heard + SILENCE;
        self.claimants.iter().any(claims)
    }

    pub(super) fn hear(&mut self, now: Instant, ifindex: u32, claim: Claim, peer: bool, outcomes: &mut Vec<Outcome>) {
        self.silent_since = Some(now);
        self.asked = 0;
        self.untried = false;
        match self.claimants.iter().position(|claimant| claimant.mac == claim.mac) {
            Some(at) => self.hear_again(now, at, claim.stage, outcomes),
            None => self.hear_first(now, ifindex, claim, peer, outcomes),
        }
        self.schedule();
    }

    fn hear_first(&mut self, now: Instant, ifindex: u32, claim: Claim, peer: bool, outcomes: &mut Vec<Outcome>) {
        if !self.has_room(now) {
            // So many at once are no move.
            outcomes.push(self.count(1, peer));
            return;
        }
        let claimant = Claimant {
            mac: claim.mac,
            ifindex,
            peer,
            heard: now,
            reported: now,
            held: 1,
            uses: claim.stage == Stage::Uses,
            confirm_at: Some(now + MOVE),
        };
        outcomes.push(self.report(&claimant, Report::First));
        self.claimants.push(claimant);
    }

    /// A claimant that has fallen silent makes room for a new one.
    fn has_room(&mut self, now: Instant) -> bool {
        if self.claimants.len() < CLAIMANTS {
            return true;
        }
        let silent = |claimant: &Claimant| now >= claimant.heard + REPEAT;
        let oldest = (0..CLAIMANTS).min_by_key(|at| self.claimants[*at].heard);
        let Some(oldest) = oldest.filter(|at| silent(&self.claimants[*at])) else {
            return false;
        };
        self.claimants.swap_remove(oldest);
        true
    }

    fn hear_again(&mut self, now: Instant, at: usize, stage: Stage, outcomes: &mut Vec<Outcome>) {
        let claimant = &mut self.claimants[at];
        claimant.heard = now;
        claimant.held += 1;
        claimant.uses |= stage == Stage::Uses;
        if now >= claimant.reported + REPEAT {
            claimant.reported = now;
            outcomes.push(self.report(&self.claimants[at], Report::Repeated));
        }
        if self.claimants[at].confirm_at.is_none() {
            self.count_held(at, outcomes);
            self.answer_claim(now, at, outcomes);
        }
    }

    fn report(&self, claimant: &Claimant, report: Report) -> Outcome {
        Outcome::Report(Conflict {
            ip: self.ip,
            ifindex: claimant.ifindex,
            mac: claimant.mac,
            report,
        })
    }

    fn count(&self, frames: u64, peer: bool) -> Outcome {
        Outcome::Count {
            ip: self.ip,
            frames,
            peer: peer || self.yielded || self.insists,
        }
    }

    fn count_held(&mut self, at: usize, outcomes: &mut Vec<Outcome>) {
        let frames = std::mem::take(&mut self.claimants[at].held);
        outcomes.push(self.count(frames, self.claimants[at].peer));
    }

    /// Defends the address against a claim, seldom enough that two hosts cannot fight with frames. Whether it is
    /// defended against another speaker is not decided here. Who only asks has had its answer.
    fn answer_claim(&mut self, now: Instant, at: usize, outcomes: &mut Vec<Outcome>) {
        let claimant = &self.claimants[at];
        let wanted = claimant.uses && !self.yielded && (self.insists || !claimant.peer);
        let may = self.defended.is_none_or(|last| now >= last + DEFEND_INTERVAL);
        if wanted && may {
            self.announce(now, outcomes);
        }
    }

    fn announce(&mut self, now: Instant, outcomes: &mut Vec<Outcome>) {
        self.defended = Some(now);
        outcomes.push(Outcome::Announce(self.ip));
    }

    pub(super) fn set_yielded(&mut self, now: Instant, yielded: bool) {
        if self.yielded == yielded {
            return;
        }
        self.yielded = yielded;
        self.silent_since = yielded.then_some(now);
        self.asked = 0;
        self.untried = yielded;
        self.insists = false;
        self.defend_again = None;
        self.schedule();
    }

    pub(super) fn defend(&mut self, now: Instant, outcomes: &mut Vec<Outcome>) {
        if self.insists {
            return;
        }
        self.insists = true;
        self.silent_since.get_or_insert(now);
        self.defend_again = Some(now + AGAIN);
        self.announce(now, outcomes);
        self.schedule();
    }

    /// Does what is due.
    pub(super) fn work(&mut self, now: Instant, confirmed: &mut Confirmed, outcomes: &mut Vec<Outcome>) {
        for at in 0..self.claimants.len() {
            if self.claimants[at].confirm_at.is_some_and(|at| at <= now) {
                self.confirm(now, at, confirmed, outcomes);
            }
        }
        self.claimants.retain(|claimant| claimant.due() > now);
        if self.defend_again.is_some_and(|at| at <= now) {
            self.defend_again = None;
            self.announce(now, outcomes);
        }
        if let Some(since) = self.silent_since {
            self.wait(now, since, outcomes);
        }
        self.schedule();
    }

    /// Two speakers settle it between them, without troubling anybody.
    fn confirm(&mut self, now: Instant, at: usize, confirmed: &mut Confirmed, outcomes: &mut Vec<Outcome>) {
        if !self.yielded && !self.claimants[at].peer {
            let next = self.confirmed.map(|last| last + DEFEND_INTERVAL);
            if let Some(later) = next.filter(|next| *next > now) {
                self.claimants[at].confirm_at = Some(later);
                return;
            }
            if !confirmed.admit(now, DEFEND_INTERVAL) {
                self.claimants[at].confirm_at = Some(now + DEFEND_INTERVAL);
                return;
            }
            self.confirmed = Some(now);
            outcomes.push(self.report(&self.claimants[at], Report::Confirmed));
        }
        self.claimants[at].confirm_at = None;
        self.count_held(at, outcomes);
        self.answer_claim(now, at, outcomes);
    }

    fn wait(&mut self, now: Instant, since: Instant, outcomes: &mut Vec<Outcome>) {
        let (silence, asked) = self.patience();
        if now >= since + silence {
            outcomes.push(Outcome::Ended(self.ip));
            self.insists = false;
            self.asked = 0;
            self.untried = false;
            if self.yielded {
                // Whoever has withdrawn sooner than a move takes has no claim to be confirmed.
                for claimant in &mut self.claimants {
                    (claimant.confirm_at, claimant.held) = (None, 0);
                }
            }
            self.silent_since = self.yielded.then_some(now);
        } else if self.yielded && asked.get(self.asked).is_some_and(|after| now >= since + *after) {
            self.asked += 1;
            self.ask(outcomes);
        }
    }

    /// After how much silence nobody claims the address any more, and when in it the claimant is asked.
    fn patience(&self) -> (Duration, &'static [Duration]) {
        if self.untried {
            (SILENCE_FIRST, &ASKED_FIRST)
        } else {
            (SILENCE, &ASKED)
        }
    }

    fn ask(&self, outcomes: &mut Vec<Outcome>) {
        let ip = self.ip;
        let known = self.claimants.iter().map(|claimant| (claimant.ifindex, claimant.mac));
        outcomes.extend(known.map(|whom| Outcome::Ask { ip, whom: Some(whom) }));
        if self.claimants.is_empty() {
            outcomes.push(Outcome::Ask { ip, whom: None });
        }
    }

    fn schedule(&mut self) {
        let silence = self.silent_since.map(|since| {
            let (silence, asked) = self.patience();
            let next = asked.get(self.asked).filter(|_| self.yielded);
            since + *next.unwrap_or(&silence)
        });
        let claimants = self.claimants.iter().map(Claimant::due);
        let parts = claimants.chain(silence).chain(self.defend_again);
        self.due = parts.min().unwrap_or(self.due);
    }
}
