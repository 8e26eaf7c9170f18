//! What the layer-2 shell counts.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Counters of one address; they only grow and outlive the announcement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddressCounters {
    /// Requests for the address on an interface where it is announced.
    pub requests_received: u64,
    /// Replies that were sent.
    pub responses_sent: u64,
    /// Gratuitous frames that were sent; two per round and interface.
    pub gratuitous_sent: u64,
    /// Frames in which another host that is no speaker claimed the address.
    pub conflicts: u64,
    /// Frames in which another speaker claimed the address.
    pub peer_conflicts: u64,
}

/// Unanswered frames by (reason, interface).
pub type DropCounters = BTreeMap<(&'static str, String), u64>;

/// Written by the one layer-2 task, read by scrapes; the lock is held for a map access only.
#[derive(Debug, Default)]
pub(crate) struct Counters(Mutex<Tables>);

#[derive(Debug, Default)]
struct Tables {
    addresses: BTreeMap<IpAddr, AddressCounters>,
    drops: DropCounters,
}

impl Counters {
    pub(crate) fn addresses(&self) -> BTreeMap<IpAddr, AddressCounters> {
        self.tables().addresses.clone()
    }

    pub(crate) fn drops(&self) -> DropCounters {
        self.tables().drops.clone()
    }

    pub(crate) fn count(&self, ip: IpAddr, add: impl FnOnce(&mut AddressCounters)) {
        add(self.tables().addresses.entry(ip).or_default());
    }

    pub(crate) fn dropped(&self, reason: &'static str, interface: &str) {
        let mut tables = self.tables();
        *tables.drops.entry((reason, interface.to_owned())).or_default() += 1;
    }

    /// Counters stay meaningful if a holder panicked between two increments.
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
