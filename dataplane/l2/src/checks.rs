//! Asking who has an address before it is announced for the first time, in the manner of RFC 5227 §2.1. Off by default:
//! it costs the time of the questions.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use crate::deadlines::Deadlines;

/// Number of questions without an answer after which the address counts as free; as in RFC 5227, but faster.
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

/// The addresses that are asked about, or were found to be another's.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    pub(crate) on: bool,
    /// Number of questions about each since the last answer.
    asked: BTreeMap<IpAddr, u8>,
    timers: Deadlines,
}

impl Checks {
    /// Has `ip` asked about from now on.
    pub(crate) fn begin(&mut self, now: Instant, ip: IpAddr) {
        self.set(ip, 0, now);
    }

    /// Ends the check of `ip`; says whether there was one.
    pub(crate) fn end(&mut self, ip: IpAddr) -> bool {
        self.asked.remove(&ip);
        self.timers.remove(ip)
    }

    /// Another host has `ip`: it is asked again later.
    pub(crate) fn answered(&mut self, now: Instant, ip: IpAddr) {
        if self.contains(ip) {
            self.set(ip, 0, now + RETRY);
        }
    }

    pub(crate) fn contains(&self, ip: IpAddr) -> bool {
        self.timers.contains(ip)
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// The next step that is due.
    pub(crate) fn step(&mut self, now: Instant) -> Option<Step> {
        let ip = self.timers.due(now)?;
        let asked = self.asked.get(&ip).copied().unwrap_or(QUESTIONS);
        if asked == QUESTIONS {
            self.end(ip);
            return Some(Step::Announce(ip));
        }
        self.set(ip, asked + 1, now + PATIENCE);
        Some(Step::Ask(ip))
    }

    fn set(&mut self, ip: IpAddr, asked: u8, due: Instant) {
        self.asked.insert(ip, asked);
        self.timers.set(ip, due);
    }
}

#[cfg(test)]
mod tests;
