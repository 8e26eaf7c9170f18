//! Counters of one session, read by a metrics scrape while the session runs.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use metallb_bgp::{Prefixes, wire::MessageType};

/// Counts the messages and prefixes of one peer since it was configured.
#[derive(Debug, Default)]
pub struct Counters {
    sent: [AtomicU64; 6],
    received: [AtomicU64; 6],
    advertised: AtomicU64,
    desired: AtomicU64,
    unsendable: AtomicU64,
    failures: AtomicU64,
}

impl Counters {
    /// Returns how many messages of a type went out.
    #[must_use]
    pub fn sent(&self, kind: MessageType) -> u64 {
        self.sent[usize::from(kind.code())].load(Relaxed)
    }

    /// Returns how many messages of a type came in.
    #[must_use]
    pub fn received(&self, kind: MessageType) -> u64 {
        self.received[usize::from(kind.code())].load(Relaxed)
    }

    /// Returns how many messages went out.
    #[must_use]
    pub fn total_sent(&self) -> u64 {
        self.sent.iter().map(|count| count.load(Relaxed)).sum()
    }

    /// Returns how many messages came in.
    #[must_use]
    pub fn total_received(&self) -> u64 {
        self.received.iter().map(|count| count.load(Relaxed)).sum()
    }

    /// Returns how many prefixes the peer knows now.
    #[must_use]
    pub fn advertised(&self) -> u64 {
        self.advertised.load(Relaxed)
    }

    /// Returns how many prefixes the peer should know and can be told (upstream's "pending"): more than it knows only
    /// while the session is down, or the peer slow.
    #[must_use]
    pub fn desired(&self) -> u64 {
        self.desired.load(Relaxed)
    }

    /// Returns how many prefixes the peer should know and cannot be told: the session lacks their address family, or
    /// their attributes fit no message.
    #[must_use]
    pub fn unsendable(&self) -> u64 {
        self.unsendable.load(Relaxed)
    }

    /// Returns how often the task of the session failed and was started anew.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    /// Counts one encoded message; its type is the octet after marker and length.
    pub(super) fn count_sent(&self, message: &[u8]) {
        let kind = message.get(18).copied().and_then(MessageType::from_code);
        if let Some(kind) = kind {
            self.sent[usize::from(kind.code())].fetch_add(1, Relaxed);
        }
    }

    pub(super) fn count_received(&self, kind: MessageType) {
        self.received[usize::from(kind.code())].fetch_add(1, Relaxed);
    }

    pub(super) fn set_prefixes(&self, prefixes: &Prefixes) {
        let store = |counter: &AtomicU64, count| counter.store(u64::try_from(count).unwrap_or(u64::MAX), Relaxed);
        store(&self.advertised, prefixes.advertised);
        store(&self.desired, prefixes.desired);
        store(&self.unsendable, prefixes.unsendable);
    }

    /// Counts a failure, which took the session and its prefixes with it; returns how many there were.
    pub(super) fn count_failure(&self) -> u64 {
        self.set_prefixes(&Prefixes::default());
        self.failures.fetch_add(1, Relaxed) + 1
    }
}
