//! Clocks of hosts, which go a little wrong.

use std::time::{Duration, Instant};

const MILLION: u64 = 1_000_000;

/// A host's clock: what it shows at a virtual time, which counts from the start of the simulation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    base: Instant,
    /// What it counts while a million nanoseconds pass.
    rate: u64,
}

impl Clock {
    /// `drift` in millionths; positive is fast.
    pub(crate) fn new(base: Instant, drift: i32) -> Self {
        Self {
            base,
            rate: MILLION.saturating_add_signed(drift.into()),
        }
    }

    /// What it shows at `time`.
    pub(crate) fn at(self, time: Duration) -> Instant {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / MILLION / 2);
        self.base + Duration::from_nanos(nanoseconds * self.rate / MILLION)
    }

    /// The first time at which it shows `instant`.
    pub(crate) fn reaches(self, instant: Instant) -> Duration {
        let shown = instant.saturating_duration_since(self.base).as_nanos();
        let shown = u64::try_from(shown).unwrap_or(u64::MAX / MILLION / 2);
        Duration::from_nanos((shown * MILLION).div_ceil(self.rate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_reached_when_the_clock_shows_it_and_not_before() {
        let base = Instant::now();
        for drift in [-20_000, -7, 0, 13, 20_000] {
            let clock = Clock::new(base, drift);
            for nanoseconds in [0, 1, 999_999, 1_234_567_891, 600_000_000_007] {
                let deadline = base + Duration::from_nanos(nanoseconds);
                let reached = clock.reaches(deadline);
                assert!(clock.at(reached) >= deadline);
                assert!(reached.is_zero() || clock.at(reached - Duration::from_nanos(1)) < deadline);
            }
        }
    }
}
