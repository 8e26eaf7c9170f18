//! Asking who has an address before it is announced for the first time, in the manner of RFC 5227 §2.1. Off by default:
//! it costs the time of the questions.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::{Duration, Instant},
};

/// So often it is asked before silence is believed. RFC 5227 asks as often and takes seconds for it.
const QUESTIONS: u8 = 3;
/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_millis(50);
/// After an answer it is asked again.
const RETRY: Duration = Duration::from_secs(10);

/// What is to be done about an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Ask(IpAddr),
    /// Nobody has it.
    Announce(IpAddr),
}

#[derive(Clone, Copy, Debug)]
struct Check {
    asked: u8,
    due: Instant,
}

/// The addresses that are asked about, or were found to be another's.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    pub(crate) on: bool,
    pending: BTreeMap<IpAddr, Check>,
    timers: BTreeSet<(Instant, IpAddr)>,
}

impl Checks {
    /// Has `ip` asked about from now on.
    pub(crate) fn begin(&mut self, now: Instant, ip: IpAddr) {
        self.set(ip, Check { asked: 0, due: now });
    }

    /// Ends the check of `ip`; says whether there was one.
    pub(crate) fn end(&mut self, ip: IpAddr) -> bool {
        let check = self.pending.remove(&ip);
        check.is_some_and(|check| self.timers.remove(&(check.due, ip)))
    }

    /// Another host has `ip`: it is asked again later.
    pub(crate) fn answered(&mut self, now: Instant, ip: IpAddr) {
        if self.pending.contains_key(&ip) {
            let due = now + RETRY;
            self.set(ip, Check { asked: 0, due });
        }
    }

    pub(crate) fn contains(&self, ip: IpAddr) -> bool {
        self.pending.contains_key(&ip)
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// The next step that is due.
    pub(crate) fn step(&mut self, now: Instant) -> Option<Step> {
        let &(_, ip) = self.timers.first().filter(|(due, _)| *due <= now)?;
        let asked = self.pending.get(&ip).map_or(QUESTIONS, |check| check.asked);
        if asked == QUESTIONS {
            self.end(ip);
            return Some(Step::Announce(ip));
        }
        let (asked, due) = (asked + 1, now + PATIENCE);
        self.set(ip, Check { asked, due });
        Some(Step::Ask(ip))
    }

    fn set(&mut self, ip: IpAddr, check: Check) {
        if let Some(old) = self.pending.insert(ip, check) {
            self.timers.remove(&(old.due, ip));
        }
        self.timers.insert((check.due, ip));
    }
}

#[cfg(test)]
mod tests;
