//! When changes are sent: the first at once, those that follow within milliseconds together.

use std::time::{Duration, Instant};

/// How long changes are gathered after a flush. With the time to the wire, this keeps within the five milliseconds that any
/// change may take.
const BATCH: Duration = Duration::from_millis(2);

/// Decides when changed routes are handed to a session.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Until then, changes are gathered.
    busy_until: Option<Instant>,
    waiting: bool,
}

impl Pace {
    /// Notes a change; tells whether it may go now.
    pub(super) fn changed(&mut self, now: Instant) -> bool {
        self.waiting = true;
        self.due(now)
    }

    /// Tells whether what was gathered may go now; the caller must then send it.
    pub(super) fn due(&mut self, now: Instant) -> bool {
        let free = self.busy_until.is_none_or(|until| until <= now);
        let due = self.waiting && free;
        if due {
            self.waiting = false;
            self.busy_until = Some(now + BATCH);
        }
        due
    }

    /// Tells whether something is gathered.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting
    }

    /// Returns when something gathered may go.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.busy_until.filter(|_| self.waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_goes_at_once_and_its_followers_together() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let at = |micros| start + Duration::from_micros(micros);
        assert!(pace.changed(at(0)));
        assert_eq!(pace.deadline(), None);
        assert!(!pace.changed(at(1)) && !pace.changed(at(1999)));
        assert_eq!(pace.deadline(), Some(at(2000)));
        assert!(pace.due(at(2000)) && !pace.due(at(2000)));
        assert!(!pace.changed(at(3999)));
        assert!(pace.due(at(4000)));
        assert!(!pace.due(at(20_000)));
        assert!(pace.changed(at(20_000)));
    }

    #[test]
    fn a_burst_takes_one_flush_for_each_two_milliseconds() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let at = |n: u64| start + Duration::from_micros(10 * n);
        let flushes = (0..5000).filter(|n| pace.changed(at(*n))).count();
        assert_eq!(flushes, 25, "in fifty milliseconds");
    }
}
