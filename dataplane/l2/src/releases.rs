//! Addresses that another node takes over: answered until that one is heard.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::{Duration, Instant},
};

/// Whoever takes over has announced by then, or does not take over at all.
const LIMIT: Duration = Duration::from_secs(1);

/// Released addresses, by when their answers end.
#[derive(Debug, Default)]
pub(crate) struct Releases {
    ends: BTreeMap<IpAddr, Instant>,
    timers: BTreeSet<(Instant, IpAddr)>,
}

impl Releases {
    pub(crate) fn begin(&mut self, now: Instant, ip: IpAddr) {
        self.end(ip);
        let end = now + LIMIT;
        self.ends.insert(ip, end);
        self.timers.insert((end, ip));
    }

    pub(crate) fn end(&mut self, ip: IpAddr) {
        if let Some(end) = self.ends.remove(&ip) {
            self.timers.remove(&(end, ip));
        }
    }

    pub(crate) fn contains(&self, ip: IpAddr) -> bool {
        self.ends.contains_key(&ip)
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.timers.first().map(|(end, _)| *end)
    }

    /// One whose time is over, if there is any.
    pub(crate) fn due(&self, now: Instant) -> Option<IpAddr> {
        let (_, ip) = self.timers.first().filter(|(end, _)| *end <= now)?;
        Some(*ip)
    }
}
