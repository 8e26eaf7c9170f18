//! Writing again what somebody else has undone, not faster than that does good.

use std::collections::HashMap;
use std::time::Duration;

use metallb_ipam::Key;

/// Wait before the second write; twice as long before each of the next.
const FIRST: Duration = Duration::from_millis(500);
/// Longest wait: fewer than twenty writes a minute, and soon enough when the other one has ceased.
const LONGEST: Duration = Duration::from_millis(4_500);
/// After so long without one, the next write is the first again.
const PEACE: Duration = Duration::from_secs(60);
/// One hand in the status is a mistake, three in a row are somebody who means it.
const TELLING: u32 = 3;

#[derive(Debug)]
struct Rivalry {
    /// Writes so far.
    writes: u32,
    last: Duration,
    told: bool,
}

/// What to do.
pub(super) struct Step {
    /// Wait so long, and look again; none to write now.
    pub(super) later: Option<Duration>,
    /// Whether the user is to be told.
    pub(super) told: bool,
}

/// Services whose status others overwrite.
#[derive(Debug, Default)]
pub(super) struct Rivalries(HashMap<Key, Rivalry>);

impl Rivalries {
    /// Somebody has undone what we wrote.
    pub(super) fn restore(&mut self, key: &Key, now: Duration) -> Step {
        let fresh = || Rivalry {
            writes: 0,
            last: now,
            told: false,
        };
        let own = self.0.entry(key.clone()).or_insert_with(fresh);
        let passed = now.saturating_sub(own.last);
        if passed >= PEACE {
            *own = fresh();
        }
        let wait = match own.writes.checked_sub(1) {
            None => Duration::ZERO,
            Some(before) => FIRST.saturating_mul(2_u32.saturating_pow(before)).min(LONGEST),
        };
        let later = wait.checked_sub(passed).filter(|left| !left.is_zero());
        if later.is_none() {
            own.writes += 1;
            own.last = now;
        }
        let told = own.writes >= TELLING && !own.told;
        own.told |= told;
        Step { later, told }
    }

    /// The Service is gone.
    pub(super) fn forget(&mut self, key: &Key) {
        self.0.remove(key);
    }
}
