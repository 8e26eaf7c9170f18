//! The state of one pool.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use foldhash::HashMap;
use metallb_config::{AddressRange, Pool, ServiceAllocation};

use crate::family::{Family, address, bits};
use crate::key::PoolName;
use crate::request::Sharing;
use crate::space::{Slot, Space};

/// The part of a pool that matters here; a change of anything else touches no Service.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Spec {
    pub(crate) entries: Vec<AddressRange>,
    pub(crate) auto_assign: bool,
    pub(crate) avoid_buggy_ips: bool,
    pub(crate) allocation: Option<ServiceAllocation>,
}

impl From<&Pool> for Spec {
    fn from(pool: &Pool) -> Self {
        Self {
            entries: pool.entries.clone(),
            auto_assign: pool.auto_assign,
            avoid_buggy_ips: pool.avoid_buggy_ips,
            allocation: pool.allocation.clone(),
        }
    }
}

/// One family of a pool.
#[derive(Debug, Default)]
pub(crate) struct Half {
    pub(crate) space: Space,
    /// Addresses in use that others may join, by what they must agree on.
    pub(crate) shared: HashMap<Sharing, BTreeSet<Slot>>,
    in_use: u128,
}

/// A pool with its free and shared addresses.
#[derive(Debug)]
pub(crate) struct PoolState {
    pub(crate) name: PoolName,
    pub(crate) spec: Spec,
    v4: Half,
    v6: Half,
    pub(crate) services: u64,
}

/// Numbers of one pool; they saturate when exported as `i64`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Usable IPv4 addresses.
    pub capacity_v4: u128,
    /// Usable IPv6 addresses.
    pub capacity_v6: u128,
    /// IPv4 addresses that at least one Service has.
    pub in_use_v4: u128,
    /// IPv6 addresses that at least one Service has.
    pub in_use_v6: u128,
    /// Services with addresses of this pool.
    pub services: u64,
}

impl Counters {
    /// IPv4 addresses that nobody has.
    #[must_use]
    pub fn available_v4(&self) -> u128 {
        self.capacity_v4.saturating_sub(self.in_use_v4)
    }

    /// IPv6 addresses that nobody has.
    #[must_use]
    pub fn available_v6(&self) -> u128 {
        self.capacity_v6.saturating_sub(self.in_use_v6)
    }

    /// Usable addresses of both families.
    #[must_use]
    pub fn capacity(&self) -> u128 {
        self.capacity_v4.saturating_add(self.capacity_v6)
    }

    /// Addresses of both families that at least one Service has.
    #[must_use]
    pub fn in_use(&self) -> u128 {
        self.in_use_v4.saturating_add(self.in_use_v6)
    }

    /// The number as status fields and gauges show it.
    #[must_use]
    pub fn export(number: u128) -> i64 {
        i64::try_from(number).unwrap_or(i64::MAX)
    }
}

impl PoolState {
    pub(crate) fn new(name: PoolName, spec: Spec) -> Self {
        let ranges = |family| {
            let own = spec.entries.iter().enumerate();
            own.filter(move |(_, range)| range.is_ipv4() == (family == Family::V4))
                .map(|(entry, range)| {
                    let entry = u32::try_from(entry).unwrap_or(u32::MAX);
                    (entry, bits(range.first()), bits(range.last()))
                })
        };
        let half = |space| Half {
            space,
            ..Half::default()
        };
        let v4 = half(Space::new(ranges(Family::V4), spec.avoid_buggy_ips));
        let v6 = half(Space::new(ranges(Family::V6), false));
        Self {
            name,
            spec,
            v4,
            v6,
            services: 0,
        }
    }

    pub(crate) fn half(&self, family: Family) -> &Half {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }

    fn half_mut(&mut self, family: Family) -> &mut Half {
        match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        }
    }

    /// Tells whether the pool has usable addresses of the family, taken or not.
    pub(crate) fn has(&self, family: Family) -> bool {
        self.half(family).space.capacity() > 0
    }

    /// Tells whether the pool has addresses of the family, and none of them may be handed out.
    pub(crate) fn avoids_all(&self, family: Family) -> bool {
        let listed = |range: &&AddressRange| range.is_ipv4() == (family == Family::V4);
        !self.has(family) && self.spec.entries.iter().any(|range| listed(&range))
    }

    /// Tells whether a Service may have addresses from here.
    pub(crate) fn allows(&self, namespace: &str, labels: &BTreeMap<String, String>) -> bool {
        let allocation = self.spec.allocation.as_ref();
        allocation.is_none_or(|allocation| allocation.allows(namespace, labels))
    }

    /// The first free address of the family.
    pub(crate) fn first_free(&self, family: Family) -> Option<IpAddr> {
        let slot = self.half(family).space.first_free()?;
        Some(address(family, slot.bits))
    }

    /// Addresses in use that this kind of Service may join, in the order of choice.
    pub(crate) fn joinable(&self, family: Family, sharing: &Sharing) -> impl Iterator<Item = IpAddr> + use<'_> {
        let slots = self.half(family).shared.get(sharing).into_iter().flatten();
        slots.map(move |slot| address(family, slot.bits))
    }

    /// Marks a free address as used.
    pub(crate) fn take(&mut self, family: Family, slot: Slot) {
        let half = self.half_mut(family);
        let taken = half.space.take(slot);
        debug_assert!(taken, "{slot:?} is taken twice");
        half.in_use += 1;
    }

    /// Marks a used address as free.
    pub(crate) fn give(&mut self, family: Family, slot: Slot) {
        let half = self.half_mut(family);
        half.space.give(slot);
        half.in_use = half.in_use.saturating_sub(1);
    }

    /// Enters or removes an address that can be shared.
    pub(crate) fn offer(&mut self, family: Family, slot: Slot, sharing: &Sharing, offered: bool) {
        let shared = &mut self.half_mut(family).shared;
        if offered {
            shared.entry(sharing.clone()).or_default().insert(slot);
        } else if let Some(slots) = shared.get_mut(sharing) {
            slots.remove(&slot);
            if slots.is_empty() {
                shared.remove(sharing);
            }
        }
    }

    pub(crate) fn counters(&self) -> Counters {
        Counters {
            capacity_v4: self.v4.space.capacity(),
            capacity_v6: self.v6.space.capacity(),
            in_use_v4: self.v4.in_use,
            in_use_v6: self.v6.in_use,
            services: self.services,
        }
    }
}
