//! Buffered randomness.

use ring::rand::{SecureRandom, SystemRandom};

/// How many octets are drawn at a time.
const STOCK: usize = 256;

/// Randomness for many packets at a time: each of them needs some, and each draw is a system call.
pub(super) struct Reserve {
    random: SystemRandom,
    bytes: [u8; STOCK],
    used: usize,
}

impl Reserve {
    pub(super) fn new() -> Self {
        Self {
            random: SystemRandom::new(),
            bytes: [0; STOCK],
            used: STOCK,
        }
    }

    pub(super) fn fill(&mut self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(STOCK) {
            if STOCK - self.used < chunk.len() {
                self.random
                    .fill(&mut self.bytes)
                    .expect("a kernel that runs programs has randomness");
                self.used = 0;
            }
            let next = &mut self.bytes[self.used..][..chunk.len()];
            chunk.copy_from_slice(next);
            // Used bytes must not be found in memory later.
            next.fill(0);
            self.used += chunk.len();
        }
    }

    /// A random port of the whole range; the caller maps it.
    pub(super) fn port(&mut self) -> u16 {
        let mut bytes = [0; 2];
        self.fill(&mut bytes);
        u16::from_ne_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn nothing_is_drawn_twice() {
        let mut reserve = Reserve::new();
        let mut draw = || {
            let mut bytes = [0; 12];
            reserve.fill(&mut bytes);
            bytes
        };
        let drawn: BTreeSet<_> = std::iter::repeat_with(&mut draw).take(1000).collect();
        assert_eq!(drawn.len(), 1000);
        let mut long = [0; 1000];
        Reserve::new().fill(&mut long);
        let words: BTreeSet<_> = long.chunks(8).collect();
        assert_eq!(words.len(), 125);
    }
}
