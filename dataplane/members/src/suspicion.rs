//! How long a suspect member may still refute, by Lifeguard: the more others suspect it on their own, the shorter.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

/// A suspicion and who has confirmed it.
#[derive(Clone, Debug)]
pub(crate) struct Suspicion {
    from: BTreeSet<String>,
    /// How many confirmations shorten it as far as possible.
    wanted: u32,
    min: Duration,
    max: Duration,
    start: Instant,
}

impl Suspicion {
    /// Begins it by the word of `from`.
    pub(crate) fn new(from: String, wanted: u32, min: Duration, max: Duration, start: Instant) -> Self {
        Self {
            from: BTreeSet::from([from]),
            wanted,
            min,
            max,
            start,
        }
    }

    /// Counts a confirmation; false if it is none, or none is wanted any more.
    pub(crate) fn confirm(&mut self, from: &str) -> bool {
        self.confirmations() < self.wanted && self.from.insert(from.to_owned())
    }

    fn confirmations(&self) -> u32 {
        u32::try_from(self.from.len()).unwrap_or(u32::MAX) - 1
    }

    /// When the member is dead unless it has refuted.
    pub(crate) fn deadline(&self) -> Instant {
        self.start + self.timeout()
    }

    /// In whole milliseconds, as upstream has it.
    fn timeout(&self) -> Duration {
        if self.wanted == 0 {
            return self.min;
        }
        let part = f64::from(self.confirmations() + 1).ln() / f64::from(self.wanted + 1).ln();
        let shortened = self.max.as_secs_f64() - part * (self.max.as_secs_f64() - self.min.as_secs_f64());
        let milliseconds = (shortened * 1000.0).floor() / 1000.0;
        Duration::try_from_secs_f64(milliseconds).map_or(self.min, |timeout| timeout.max(self.min))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "an Instant cannot be made otherwise; its value does not matter"
    )]
    fn confirmations_by_others_shorten_it() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut suspicion = Suspicion::new("a".into(), 2, 4 * second, 24 * second, start);
        assert_eq!(suspicion.deadline(), start + 24 * second);
        assert!(!suspicion.confirm("a"), "its own word again");
        assert!(suspicion.confirm("b"));
        assert_eq!(suspicion.deadline(), start + Duration::from_millis(11_381));
        assert!(suspicion.confirm("c"));
        assert_eq!(suspicion.deadline(), start + 4 * second);
        assert!(!suspicion.confirm("d"), "nothing is left to shorten");
    }
}
