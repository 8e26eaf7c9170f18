//! Since when addresses are answered, and who else claims them: what only the looking glass tells.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use metallb_config::Interfaces;
use metallb_dataplane::l2;
use metallb_inspect::layer2::Conflict;

use crate::sessions::rfc3339;

/// Hosts that are remembered for an address: whoever claims it under many names is not to fill the memory.
const CLAIMANTS: usize = 16;

/// An address that is announced.
#[derive(Clone, Debug)]
pub(super) struct Page {
    pub(super) since: SystemTime,
    /// The last to claim it is the last one.
    pub(super) conflicts: Vec<Conflict>,
}

/// One page for each address that is announced; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Book(Arc<Mutex<BTreeMap<IpAddr, Page>>>);

impl Book {
    /// Addresses are announced from now on, or not any more.
    pub(crate) fn changed(&self, changes: &[(IpAddr, Option<Interfaces>)]) {
        let since = SystemTime::now();
        let mut pages = self.pages();
        for (ip, interfaces) in changes {
            match interfaces {
                Some(_) => drop(pages.entry(*ip).or_insert_with(|| Page {
                    since,
                    conflicts: Vec::new(),
                })),
                None => drop(pages.remove(ip)),
            }
        }
    }

    /// Other nodes take addresses over.
    pub(crate) fn handed_over(&self, ips: &[IpAddr]) {
        let mut pages = self.pages();
        for ip in ips {
            pages.remove(ip);
        }
    }

    /// Another host has claimed an address.
    pub(crate) fn claimed(&self, conflict: &l2::Conflict) {
        let now = rfc3339(SystemTime::now());
        let mac = mac(conflict.mac.0);
        let mut pages = self.pages();
        let Some(Page { conflicts, .. }) = pages.get_mut(&conflict.ip) else {
            return;
        };
        let known = conflicts
            .iter()
            .position(|own| own.mac == mac && own.interface == conflict.interface);
        let known = known.map(|at| conflicts.remove(at));
        conflicts.push(Conflict {
            mac,
            interface: conflict.interface.clone(),
            first: known.as_ref().map_or_else(|| now.clone(), |known| known.first.clone()),
            last: now,
            count: known.map_or(0, |known| known.count) + 1,
        });
        if conflicts.len() > CLAIMANTS {
            conflicts.remove(0);
        }
    }

    pub(super) fn pages(&self) -> MutexGuard<'_, BTreeMap<IpAddr, Page>> {
        // Times stay true if a holder panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A hardware address as `ip link` prints it.
pub(super) fn mac(bytes: [u8; 6]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_counted_by_host_and_forgotten_with_the_address() {
        let book = Book::default();
        let ip: IpAddr = "192.0.2.1".parse().unwrap();
        let claim = |last| l2::Conflict {
            ip,
            interface: "eth0".to_owned(),
            mac: l2::EthernetAddress([0, 0, 0x5e, 0, 0x53, last]),
            report: l2::Report::First,
        };
        book.claimed(&claim(1));
        assert!(book.pages().is_empty(), "nobody announces it");
        book.changed(&[(ip, Some(Interfaces::All))]);
        let since = book.pages()[&ip].since;
        for last in [1, 2, 1] {
            book.claimed(&claim(last));
        }
        book.changed(&[(ip, Some(Interfaces::All))]);
        let page = book.pages()[&ip].clone();
        assert_eq!(page.since, since, "other interfaces are no other time");
        let told: Vec<_> = page.conflicts.iter().map(|own| (own.mac.as_str(), own.count)).collect();
        assert_eq!(told, [("00:00:5e:00:53:02", 1), ("00:00:5e:00:53:01", 2)]);
        (0..100).for_each(|last| book.claimed(&claim(last)));
        assert_eq!(book.pages()[&ip].conflicts.len(), CLAIMANTS);
        book.handed_over(&[ip]);
        assert!(book.pages().is_empty());
    }
}
