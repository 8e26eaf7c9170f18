//! Deadlines of a session, the pause between attempts, and jitter (RFC 4271 §10).

use std::time::{Duration, Instant};

/// One of the timers of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// Dials after the pause.
    Retry,
    /// Ends an attempt to connect that takes too long.
    Connect,
    /// Ends the session with a peer that was silent for the hold time.
    Hold,
    /// Sends a KEEPALIVE.
    Keepalive,
    /// Ends the session with a peer that does not read (RFC 9687).
    SendHold,
}

impl Timer {
    const ALL: [Self; 5] = [Self::Retry, Self::Connect, Self::Hold, Self::Keepalive, Self::SendHold];
}

/// A small table of deadlines.
#[derive(Clone, Debug, Default)]
pub(super) struct Timers([Option<Instant>; Timer::ALL.len()]);

impl Timers {
    pub(super) fn set(&mut self, timer: Timer, at: Option<Instant>) {
        self.0[timer as usize] = at;
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn is_set(&self, timer: Timer) -> bool {
        self.0[timer as usize].is_some()
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.0.iter().flatten().min().copied()
    }

    /// Takes one timer that has expired, the earliest kind first.
    pub(super) fn expired(&mut self, now: Instant) -> Option<Timer> {
        let timer = Timer::ALL
            .into_iter()
            .find(|timer| self.0[*timer as usize].is_some_and(|at| at <= now))?;
        self.set(timer, None);
        Some(timer)
    }
}

/// Paces attempts: at once after the loss of a session, then 1, 2, 4 .. 120 seconds, or a fixed time.
#[derive(Clone, Debug)]
pub(super) struct Retry {
    fixed: Option<Duration>,
    pauses: u32,
}

/// How an attempt ended, as far as the next one depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// A session that was up was lost, and the peer did not refuse another: the first time it is dialled at once.
    Lost,
    /// The peer was not reached, or refused the session and would refuse another one made at once.
    Refused,
}

impl Retry {
    const CAP: Duration = Duration::from_secs(120);

    pub(super) fn new(fixed: Option<Duration>) -> Self {
        Self { fixed, pauses: 0 }
    }

    pub(super) fn reset(&mut self) {
        self.pauses = 0;
    }

    /// Returns the pause before the next attempt.
    pub(super) fn pause(&mut self, ending: Ending, dice: &mut Dice) -> Duration {
        if self.pauses == 0 && ending == Ending::Lost {
            self.pauses = 1;
            return Duration::ZERO;
        }
        let pauses = self.pauses.max(1);
        self.pauses = pauses.saturating_add(1);
        self.fixed.unwrap_or_else(|| {
            let doubled = Duration::from_secs(1 << (pauses - 1).min(7)).min(Self::CAP);
            doubled.mul_f64(dice.between(0.75, 1.25))
        })
    }
}

/// A seeded random number generator (SplitMix64): jitter needs no better one, and a run can be repeated.
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number in `low..high`.
    pub(super) fn between(&mut self, low: f64, high: f64) -> f64 {
        let unit = f64::from(u32::try_from(self.next() >> 32).unwrap_or(u32::MAX)) / (f64::from(u32::MAX) + 1.0);
        low + unit * (high - low)
    }
}
