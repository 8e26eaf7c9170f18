//! Randomness, which the caller supplies: a pure core has none of its own.

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

    /// A number below `limit`, or zero.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        let drawn = u64::from_le_bytes(self.bytes());
        let limit = u64::try_from(limit).unwrap_or(u64::MAX).max(1);
        usize::try_from(drawn % limit).unwrap_or_default()
    }

    /// Part of a time.
    pub(crate) fn part_of(&mut self, whole: Duration) -> Duration {
        let drawn = u32::from_le_bytes(self.bytes());
        whole.mul_f64(f64::from(drawn) / f64::from(u32::MAX))
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, self.below(end + 1));
        }
    }

    /// At most `count` of `items`, in random order.
    pub(crate) fn choose<T>(&mut self, count: usize, mut items: Vec<T>) -> Vec<T> {
        let count = count.min(items.len());
        for start in 0..count {
            let chosen = start + self.below(items.len() - start);
            items.swap(start, chosen);
        }
        items.truncate(count);
        items
    }
}
