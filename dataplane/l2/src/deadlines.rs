//! Deadlines by address.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Instant,
};

/// At most one deadline for each address.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    by_address: BTreeMap<IpAddr, Instant>,
    in_order: BTreeSet<(Instant, IpAddr)>,
}

impl Deadlines {
    /// Sets the deadline of `ip`, in place of an earlier one.
    pub(crate) fn set(&mut self, ip: IpAddr, at: Instant) {
        if let Some(before) = self.by_address.insert(ip, at) {
            self.in_order.remove(&(before, ip));
        }
        self.in_order.insert((at, ip));
    }

    /// Removes the deadline of `ip`; tells whether there was one.
    pub(crate) fn remove(&mut self, ip: IpAddr) -> bool {
        let at = self.by_address.remove(&ip);
        at.is_some_and(|at| self.in_order.remove(&(at, ip)))
    }

    pub(crate) fn contains(&self, ip: IpAddr) -> bool {
        self.by_address.contains_key(&ip)
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.in_order.first().map(|(at, _)| *at)
    }

    /// An address whose deadline has come.
    pub(crate) fn due(&self, now: Instant) -> Option<IpAddr> {
        let (_, ip) = self.in_order.first().filter(|(at, _)| *at <= now)?;
        Some(*ip)
    }
}
