//! What others may cost us: nobody has proven anything before a whole message was read.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Most streams that others have open at a time; more wait in the kernel.
const MAX_STREAMS: usize = 64;
/// Most of them from one address; more are closed.
const MAX_STREAMS_EACH: usize = 8;
/// Most bytes of all messages that are not whole yet. One may have 20 MiB.
const MAX_BYTES: usize = 64 << 20;

/// The streams that others have open, and what has been read of all.
#[derive(Clone, Debug, Default)]
pub(super) struct Limits(Arc<Mutex<Used>>);

#[derive(Debug, Default)]
struct Used {
    streams: HashMap<IpAddr, usize>,
    bytes: usize,
}

impl Limits {
    fn used(&self) -> MutexGuard<'_, Used> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says whether another stream may be accepted.
    pub(super) fn have_room(&self) -> bool {
        self.used().streams.values().sum::<usize>() < MAX_STREAMS
    }

    /// Counts a stream from an address, unless it has too many.
    pub(super) fn stream(&self, from: IpAddr) -> Option<Slot> {
        let mut used = self.used();
        let count = used.streams.entry(from).or_default();
        if *count >= MAX_STREAMS_EACH {
            return None;
        }
        *count += 1;
        Some(Slot {
            limits: self.clone(),
            from,
        })
    }

    /// A message that is read piece by piece.
    pub(super) fn message(&self) -> Message {
        Message {
            limits: self.clone(),
            bytes: 0,
        }
    }
}

/// A stream that is counted as long as this lives.
#[derive(Debug)]
pub(super) struct Slot {
    limits: Limits,
    from: IpAddr,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut used = self.limits.used();
        if let Some(count) = used.streams.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                used.streams.remove(&self.from);
            }
        }
    }
}

/// Bytes that are counted as long as this lives.
#[derive(Debug)]
pub(super) struct Message {
    limits: Limits,
    bytes: usize,
}

impl Message {
    /// Says that the message has so many bytes by now; false if that is too much, with all others together.
    pub(super) fn grows_to(&mut self, bytes: usize) -> bool {
        let mut used = self.limits.used();
        used.bytes = used.bytes - self.bytes + bytes;
        self.bytes = bytes;
        used.bytes <= MAX_BYTES
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        self.limits.used().bytes -= self.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_take_all_streams() {
        let limits = Limits::default();
        let address = |last| IpAddr::from([192, 0, 2, last]);
        let mut slots: Vec<_> = (0..MAX_STREAMS_EACH)
            .filter_map(|_| limits.stream(address(1)))
            .collect();
        assert!(limits.stream(address(1)).is_none());
        assert!(limits.stream(address(2)).is_some());
        slots.pop();
        assert!(limits.stream(address(1)).is_some());
        let others = 2..u8::try_from(MAX_STREAMS / MAX_STREAMS_EACH).unwrap() + 1;
        slots.extend(others.flat_map(|last| {
            (0..MAX_STREAMS_EACH)
                .filter_map(|_| limits.stream(address(last)))
                .collect::<Vec<_>>()
        }));
        assert!(limits.have_room());
        slots.extend(limits.stream(address(1)));
        assert!(!limits.have_room());
        drop(slots);
        assert!(limits.used().streams.is_empty());
    }

    #[test]
    fn all_messages_together_are_limited() {
        let limits = Limits::default();
        let (mut one, mut other) = (limits.message(), limits.message());
        assert!(one.grows_to(MAX_BYTES - 1000));
        assert!(other.grows_to(1000));
        assert!(!other.grows_to(1001));
        drop(one);
        assert!(other.grows_to(2000));
        drop(other);
        assert_eq!(limits.used().bytes, 0);
    }
}
