//! What the layer-2 shell counts: written by the thread that answers, which takes no lock for it, and read by scrapes.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use metallb_l2::DropReason;

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

/// The counters of one address while it is announced or counted on.
#[derive(Debug, Default)]
pub(super) struct Address {
    pub(super) requests_received: AtomicU64,
    pub(super) responses_sent: AtomicU64,
    pub(super) gratuitous_sent: AtomicU64,
    pub(super) conflicts: AtomicU64,
    pub(super) peer_conflicts: AtomicU64,
}

impl Address {
    fn read(&self) -> AddressCounters {
        AddressCounters {
            requests_received: self.requests_received.load(Relaxed),
            responses_sent: self.responses_sent.load(Relaxed),
            gratuitous_sent: self.gratuitous_sent.load(Relaxed),
            conflicts: self.conflicts.load(Relaxed),
            peer_conflicts: self.peer_conflicts.load(Relaxed),
        }
    }
}

/// Ignored frames of one interface, by reason.
type Drops = [AtomicU64; DropReason::ALL.len()];

/// What scrapes read. Locked by the thread that answers only when there is something new to count.
#[derive(Debug, Default)]
pub(super) struct Counters {
    addresses: Mutex<BTreeMap<IpAddr, Arc<Address>>>,
    drops: Mutex<BTreeMap<String, Arc<Drops>>>,
}

impl Counters {
    pub(super) fn addresses(&self) -> BTreeMap<IpAddr, AddressCounters> {
        let addresses = locked(&self.addresses);
        addresses.iter().map(|(ip, counters)| (*ip, counters.read())).collect()
    }

    pub(super) fn drops(&self) -> DropCounters {
        let drops = locked(&self.drops);
        let of_interface = drops.iter().flat_map(|(interface, counts)| {
            let counts = DropReason::ALL.iter().zip(counts.iter());
            counts.map(move |(reason, count)| ((reason.as_str(), interface.clone()), count.load(Relaxed)))
        });
        of_interface.filter(|(_, count)| *count > 0).collect()
    }
}

/// Counters stay meaningful if a holder panicked.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the thread that answers counts with.
#[derive(Debug, Default)]
pub(super) struct Tally {
    shared: Arc<Counters>,
    addresses: BTreeMap<IpAddr, Arc<Address>>,
    /// By index of the interface.
    drops: BTreeMap<u32, Arc<Drops>>,
}

impl Tally {
    pub(super) fn new(shared: Arc<Counters>) -> Self {
        Self {
            shared,
            ..Self::default()
        }
    }

    /// Adds to one of the counters of `ip`.
    pub(super) fn count(&mut self, ip: IpAddr, counter: impl FnOnce(&Address) -> &AtomicU64, by: u64) {
        let shared = &self.shared.addresses;
        let make = || Arc::clone(locked(shared).entry(ip).or_default());
        let counters = self.addresses.entry(ip).or_insert_with(make);
        counter(counters).fetch_add(by, Relaxed);
    }

    /// Counts a frame that was ignored on the interface with that index, called `name`.
    pub(super) fn dropped<'a>(&mut self, reason: DropReason, ifindex: u32, name: impl FnOnce() -> &'a str) {
        let shared = &self.shared.drops;
        let make = || Arc::clone(locked(shared).entry(name().to_owned()).or_default());
        let drops = self.drops.entry(ifindex).or_insert_with(make);
        drops[reason as usize].fetch_add(1, Relaxed);
    }

    /// Interfaces may be called otherwise from now on.
    pub(super) fn forget_names(&mut self) {
        self.drops.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_outlives_a_change_of_names_and_zeros_are_not_told() {
        let shared = Arc::<Counters>::default();
        let mut tally = Tally::new(Arc::clone(&shared));
        for (index, name) in [(1, "eth0"), (1, "eth0"), (2, "eth1")] {
            tally.dropped(DropReason::Truncated, index, || name);
        }
        tally.forget_names();
        tally.dropped(DropReason::Own, 1, || "eth1");
        tally.dropped(DropReason::Truncated, 1, || "eth1");
        let told = |reason: &'static str, interface: &str| (reason, interface.to_owned());
        let expected = [
            (told("own", "eth1"), 1),
            (told("truncated", "eth0"), 2),
            (told("truncated", "eth1"), 2),
        ];
        assert_eq!(shared.drops(), expected.into());
    }

    #[test]
    fn every_address_has_its_own_counters() {
        let shared = Arc::<Counters>::default();
        let mut tally = Tally::new(Arc::clone(&shared));
        let [one, two] = ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse::<IpAddr>().unwrap());
        tally.count(one, |address| &address.conflicts, 3);
        tally.count(two, |address| &address.responses_sent, 1);
        tally.count(one, |address| &address.conflicts, 1);
        let counted = shared.addresses();
        assert_eq!((counted[&one].conflicts, counted[&two].responses_sent), (4, 1));
        assert_eq!((counted[&one].responses_sent, counted[&two].conflicts), (0, 0));
    }
}
