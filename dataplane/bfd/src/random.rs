//! Randomness, supplied by the caller: a pure core has none of its own.

use std::{fmt, time::Duration};

/// Fills buffers.
type Source = Box<dyn FnMut(&mut [u8]) + Send>;

/// Draws from the caller's source.
pub(crate) struct Random(Source);

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Random")
    }
}

impl Random {
    pub(crate) fn new(source: impl FnMut(&mut [u8]) + Send + 'static) -> Self {
        Self(Box::new(source))
    }

    pub(crate) fn bytes<const LEN: usize>(&mut self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        (self.0)(&mut bytes);
        bytes
    }

    /// Part of a time.
    pub(crate) fn part_of(&mut self, whole: Duration) -> Duration {
        let drawn = u32::from_le_bytes(self.bytes());
        whole.mul_f64(f64::from(drawn) / f64::from(u32::MAX))
    }

    /// The time to the next packet: 75 to 100 % of the interval, or at most 90 % where every single packet counts
    /// (RFC 5880 §6.8.7).
    pub(crate) fn jittered(&mut self, interval: Duration, multiplier: u8) -> Duration {
        let span = if multiplier == 1 { 15 } else { 25 };
        interval * 3 / 4 + self.part_of(interval * span / 100)
    }
}
