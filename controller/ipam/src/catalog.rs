//! All pools: which one owns an address, and which ones a namespace may choose from.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use metallb_config::Namespaces;

use crate::family::{Family, bits};
use crate::key::PoolName;
use crate::pool::{PoolState, Spec};
use crate::space::Slot;

#[derive(Debug)]
struct Row {
    first: u128,
    last: u128,
    pool: PoolName,
    entry: u32,
}

/// The pools, indexed.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    pools: HashMap<PoolName, PoolState>,
    v4: Vec<Row>,
    v6: Vec<Row>,
    /// Pools without `serviceAllocation`, by name.
    generic: Vec<PoolName>,
    /// Pinned pools open to every namespace, by priority and name.
    anywhere: Vec<PoolName>,
    /// For each namespace that a pool names: those pools and the ones above, by priority and name.
    pinned: HashMap<String, Vec<PoolName>>,
}

impl Catalog {
    /// The pools that these definitions add, change or remove.
    pub(crate) fn changes(&self, specs: &BTreeMap<PoolName, Spec>) -> BTreeSet<PoolName> {
        let removed = self.pools.keys().filter(|name| !specs.contains_key(*name));
        let changed = specs
            .iter()
            .filter(|(name, spec)| self.get(name).is_none_or(|pool| pool.spec != **spec));
        removed.chain(changed.map(|(name, _)| name)).cloned().collect()
    }

    /// Puts new definitions in force; unchanged pools keep their state.
    pub(crate) fn set(&mut self, specs: BTreeMap<PoolName, Spec>) {
        let mut old = std::mem::take(&mut self.pools);
        for (name, spec) in specs {
            let kept = old.remove(&name).filter(|state| state.spec == spec);
            let state = kept.unwrap_or_else(|| PoolState::new(name.clone(), spec));
            self.pools.insert(name, state);
        }
        self.index();
    }

    fn index(&mut self) {
        let mut pools: Vec<_> = self.pools.values().collect();
        // Lowest positive number first; 0 means unset and comes last.
        pools.sort_by_key(|pool| {
            let priority = pool
                .spec
                .allocation
                .as_ref()
                .map_or(0, |allocation| allocation.priority);
            (priority == 0, priority, pool.name.clone())
        });
        self.v4 = rows(&pools, Family::V4);
        self.v6 = rows(&pools, Family::V6);
        let automatic: Vec<_> = pools.iter().filter(|pool| pool.spec.auto_assign).collect();
        self.generic.clear();
        self.anywhere.clear();
        self.pinned.clear();
        let mut named = BTreeSet::new();
        for pool in &automatic {
            match pool.spec.allocation.as_ref().map(|allocation| &allocation.namespaces) {
                None => self.generic.push(pool.name.clone()),
                Some(Namespaces::Any) => self.anywhere.push(pool.name.clone()),
                Some(Namespaces::Only(names)) => named.extend(names),
            }
        }
        for namespace in named {
            let fits = |pool: &&&&PoolState| match pool.spec.allocation.as_ref().map(|a| &a.namespaces) {
                None => false,
                Some(Namespaces::Any) => true,
                Some(Namespaces::Only(names)) => names.contains(namespace),
            };
            let names = automatic.iter().filter(fits).map(|pool| pool.name.clone()).collect();
            self.pinned.insert(namespace.clone(), names);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pools.is_empty()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&PoolState> {
        self.pools.get(name)
    }

    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut PoolState> {
        self.pools.get_mut(name)
    }

    /// All pools in the order of their names.
    pub(crate) fn by_name(&self) -> Vec<&PoolState> {
        let mut pools: Vec<_> = self.pools.values().collect();
        pools.sort_by(|a, b| a.name.cmp(&b.name));
        pools
    }

    /// The pool of an address that may be handed out, and its place there.
    pub(crate) fn locate(&self, ip: IpAddr) -> Option<(&PoolState, Slot)> {
        let family = Family::of(ip);
        let bits = bits(ip);
        let rows = match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        };
        let row = rows.get(rows.partition_point(|row| row.last < bits))?;
        let slot = Slot { entry: row.entry, bits };
        let pool = self.pools.get(&row.pool)?;
        (row.first <= bits && pool.half(family).space.usable(slot)).then_some((pool, slot))
    }

    /// Pinned pools to choose from in this namespace; labels are still to be checked.
    pub(crate) fn pinned(&self, namespace: &str) -> impl Iterator<Item = &PoolState> {
        let names = self.pinned.get(namespace).unwrap_or(&self.anywhere);
        names.iter().filter_map(|name| self.pools.get(name))
    }

    /// Pools open to all.
    pub(crate) fn generic(&self) -> impl Iterator<Item = &PoolState> {
        self.generic.iter().filter_map(|name| self.pools.get(name))
    }
}

/// Ranges of a family over all pools, ascending. Should two ever overlap in spite of the parser,
/// the later one is cut out, so that no address has two owners.
fn rows(pools: &[&PoolState], family: Family) -> Vec<Row> {
    let mut rows: Vec<_> = pools.iter().flat_map(|pool| rows_of(pool, family)).collect();
    rows.sort_by_key(|row| (row.first, Reverse(row.last)));
    let mut end = None;
    rows.retain(|row| {
        let disjoint = end.is_none_or(|end| row.first > end);
        debug_assert!(disjoint, "pool {} overlaps another", row.pool);
        if disjoint {
            end = Some(row.last);
        }
        disjoint
    });
    rows
}

fn rows_of(pool: &PoolState, family: Family) -> impl Iterator<Item = Row> + use<'_> {
    let own = pool.spec.entries.iter().enumerate();
    own.filter(move |(_, range)| range.is_ipv4() == (family == Family::V4))
        .map(|(entry, range)| Row {
            first: bits(range.first()),
            last: bits(range.last()),
            pool: pool.name.clone(),
            entry: u32::try_from(entry).unwrap_or(u32::MAX),
        })
}
