//! Since when each address is announced, and who else claims it. Only the looking glass shows this.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use metallb_config::Interfaces;
use metallb_dataplane::l2;
use metallb_inspect::layer2::Conflict;

use crate::sessions::rfc3339;

/// Most claimants kept per address, so that one host with many hardware addresses cannot fill the memory.
const CLAIMANTS: usize = 16;

/// What is known of an announced address.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) since: SystemTime,
    /// Oldest claim first.
    pub(super) conflicts: Vec<Conflict>,
}

/// A record per announced address; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Records(Arc<Mutex<BTreeMap<IpAddr, Record>>>);

impl Records {
    /// Addresses are announced from now on, or not any more.
    pub(crate) fn changed(&self, changes: &[(IpAddr, Option<Interfaces>)]) {
        let since = SystemTime::now();
        let mut records = self.all();
        for (ip, interfaces) in changes {
            match interfaces {
                Some(_) => drop(records.entry(*ip).or_insert_with(|| Record {
                    since,
                    conflicts: Vec::new(),
                })),
                None => drop(records.remove(ip)),
            }
        }
    }

    /// Other nodes take addresses over.
    pub(crate) fn handed_over(&self, ips: &[IpAddr]) {
        let mut records = self.all();
        for ip in ips {
            records.remove(ip);
        }
    }

    /// Another host has claimed an address.
    pub(crate) fn claimed(&self, conflict: &l2::Conflict) {
        let now = rfc3339(SystemTime::now());
        let mac = mac(conflict.mac.0);
        let mut records = self.all();
        let Some(Record { conflicts, .. }) = records.get_mut(&conflict.ip) else {
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

    pub(super) fn all(&self) -> MutexGuard<'_, BTreeMap<IpAddr, Record>> {
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
        let records = Records::default();
        let ip: IpAddr = "192.0.2.1".parse().unwrap();
        let claim = |last| l2::Conflict {
            ip,
            interface: "eth0".to_owned(),
            mac: l2::EthernetAddress([0, 0, 0x5e, 0, 0x53, last]),
            report: l2::Report::First,
        };
        records.claimed(&claim(1));
        assert!(records.all().is_empty(), "nobody announces it");
        records.changed(&[(ip, Some(Interfaces::All))]);
        let since = records.all()[&ip].since;
        for last in [1, 2, 1] {
            records.claimed(&claim(last));
        }
        records.changed(&[(ip, Some(Interfaces::All))]);
        let record = records.all()[&ip].clone();
        assert_eq!(record.since, since, "other interfaces are no other time");
        let told: Vec<_> = record
            .conflicts
            .iter()
            .map(|own| (own.mac.as_str(), own.count))
            .collect();
        assert_eq!(told, [("00:00:5e:00:53:02", 1), ("00:00:5e:00:53:01", 2)]);
        (0..100).for_each(|last| records.claimed(&claim(last)));
        assert_eq!(records.all()[&ip].conflicts.len(), CLAIMANTS);
        records.handed_over(&[ip]);
        assert!(records.all().is_empty());
    }
}
