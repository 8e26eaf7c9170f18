//! All pools: which one owns an address, and which ones a namespace may choose from.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use foldhash::HashMap;
use metallb_config::Namespaces;

use crate::family::{Families, Family, bits};
use crate::key::PoolName;
use crate::pool::{PoolState, Spec};
use crate::space::Slot;

#[derive(Debug)]
struct Row {
    first: u128,
    last: u128,
    /// Place in `Catalog::pools`.
    pool: usize,
    entry: u32,
}

#[derive(Clone, Copy, Debug)]
struct Free {
    v4: bool,
    v6: bool,
}

impl Free {
    fn of(pool: &PoolState) -> Self {
        Self {
            v4: pool.first_free(Family::V4).is_some(),
            v6: pool.first_free(Family::V6).is_some(),
        }
    }

    fn includes_any(self, families: Families) -> bool {
        (self.v4 && families.includes(Family::V4)) || (self.v6 && families.includes(Family::V6))
    }
}

/// The pools, indexed.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    /// In the order of names.
    pools: Vec<PoolState>,
    /// Places of pools in that list; so are the numbers in the lists below.
    places: HashMap<PoolName, usize>,
    v4: Vec<Row>,
    v6: Vec<Row>,
    /// For each place, whether the pool has free addresses: a dense list, so that full pools are passed over quickly.
    free: Vec<Free>,
    /// Pools without `serviceAllocation`, by name.
    generic: Vec<usize>,
    /// Pinned pools open to every namespace, by priority and name.
    anywhere: Vec<usize>,
    /// For each namespace that a pool names: those pools and the ones above, by priority and name.
    pinned: HashMap<String, Vec<usize>>,
}

impl Catalog {
    /// The pools that these definitions add, change or remove.
    pub(crate) fn changes(&self, specs: &BTreeMap<PoolName, Spec>) -> BTreeSet<PoolName> {
        let removed = self.places.keys().filter(|name| !specs.contains_key(*name));
        let changed = specs
            .iter()
            .filter(|(name, spec)| self.get(name).is_none_or(|pool| pool.spec != **spec));
        removed.chain(changed.map(|(name, _)| name)).cloned().collect()
    }

    /// Puts new definitions in force; unchanged pools keep their state.
    pub(crate) fn set(&mut self, specs: BTreeMap<PoolName, Spec>) {
        let old = std::mem::take(&mut self.pools);
        let mut old: HashMap<_, _> = old.into_iter().map(|pool| (pool.name.clone(), pool)).collect();
        for (name, spec) in specs {
            let kept = old.remove(&name).filter(|state| state.spec == spec);
            self.pools.push(kept.unwrap_or_else(|| PoolState::new(name, spec)));
        }
        let places = self.pools.iter().enumerate();
        self.places = places.map(|(place, pool)| (pool.name.clone(), place)).collect();
        self.free = self.pools.iter().map(Free::of).collect();
        self.v4 = rows(&self.pools, Family::V4);
        self.v6 = rows(&self.pools, Family::V6);
        self.list_candidates();
    }

    fn list_candidates(&mut self) {
        let allocation = |place: usize| self.pools[place].spec.allocation.as_ref();
        let mut places: Vec<_> = (0..self.pools.len())
            .filter(|place| self.pools[*place].spec.auto_assign)
            .collect();
        // Lowest number first; 0 means unset and comes last. Equal ones stay in the order of names.
        places.sort_by_key(|place| {
            let priority = allocation(*place).map_or(0, |allocation| allocation.priority);
            (priority == 0, priority)
        });
        let open = |place: usize, namespace: Option<&str>| match allocation(place).map(|own| &own.namespaces) {
            None => false,
            Some(Namespaces::Any) => true,
            Some(Namespaces::Only(names)) => namespace.is_some_and(|namespace| names.contains(namespace)),
        };
        let open_to = |namespace| places.iter().copied().filter(|place| open(*place, namespace)).collect();
        let mut named = BTreeSet::new();
        for place in &places {
            if let Some(Namespaces::Only(names)) = allocation(*place).map(|own| &own.namespaces) {
                named.extend(names);
            }
        }
        let pinned = named
            .into_iter()
            .map(|name| (name.clone(), open_to(Some(name.as_str()))))
            .collect();
        let generic = places
            .iter()
            .copied()
            .filter(|place| allocation(*place).is_none())
            .collect();
        (self.anywhere, self.pinned, self.generic) = (open_to(None), pinned, generic);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pools.is_empty()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&PoolState> {
        self.pools.get(*self.places.get(name)?)
    }

    /// Changes a pool; `None` if there is none of that name.
    pub(crate) fn change<T>(&mut self, name: &str, change: impl FnOnce(&mut PoolState) -> T) -> Option<T> {
        let place = *self.places.get(name)?;
        let pool = self.pools.get_mut(place)?;
        let result = change(pool);
        self.free[place] = Free::of(pool);
        Some(result)
    }

    /// All pools in the order of their names.
    pub(crate) fn by_name(&self) -> &[PoolState] {
        &self.pools
    }

    /// The pool of an address that may be handed out, and its place there.
    pub(crate) fn locate(&self, ip: IpAddr) -> Option<(&PoolState, Slot)> {
        self.find(ip)
            .filter(|(pool, slot)| pool.half(Family::of(ip)).space.usable(*slot))
    }

    /// The pool that has an address and never hands it out.
    pub(crate) fn avoiding(&self, ip: IpAddr) -> Option<&PoolName> {
        let (pool, slot) = self.find(ip)?;
        (!pool.half(Family::of(ip)).space.usable(slot)).then_some(&pool.name)
    }

    fn find(&self, ip: IpAddr) -> Option<(&PoolState, Slot)> {
        let family = Family::of(ip);
        let bits = bits(ip);
        let rows = match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        };
        let row = rows.get(rows.partition_point(|row| row.last < bits))?;
        let slot = Slot { entry: row.entry, bits };
        let pool = self.pools.get(row.pool)?;
        (row.first <= bits).then_some((pool, slot))
    }

    /// Pinned pools to choose from in this namespace; labels are still to be checked.
    pub(crate) fn pinned(&self, namespace: &str) -> impl Iterator<Item = &PoolState> + Clone {
        let places = self.pinned.get(namespace).unwrap_or(&self.anywhere);
        places.iter().map(|place| &self.pools[*place])
    }

    /// Pools open to all.
    pub(crate) fn generic(&self) -> impl Iterator<Item = &PoolState> + Clone {
        self.generic.iter().map(|place| &self.pools[*place])
    }

    /// Pools open to all that have a free address of one of the families.
    pub(crate) fn generic_with_room(&self, families: Families) -> impl Iterator<Item = &PoolState> + Clone {
        let roomy = move |place: &&usize| self.free[**place].includes_any(families);
        self.generic.iter().filter(roomy).map(|place| &self.pools[*place])
    }
}

/// Ranges of a family over all pools, ascending. Should two ever overlap in spite of the parser,
/// the later one is cut out, so that no address has two owners.
fn rows(pools: &[PoolState], family: Family) -> Vec<Row> {
    let all = pools
        .iter()
        .enumerate()
        .flat_map(|(place, pool)| rows_of(place, pool, family));
    let mut rows: Vec<_> = all.collect();
    rows.sort_by_key(|row| (row.first, Reverse(row.last)));
    let mut end = None;
    rows.retain(|row| {
        let disjoint = end.is_none_or(|end| row.first > end);
        debug_assert!(disjoint, "pool {} overlaps another", pools[row.pool].name);
        if disjoint {
            end = Some(row.last);
        }
        disjoint
    });
    rows
}

fn rows_of(place: usize, pool: &PoolState, family: Family) -> impl Iterator<Item = Row> + use<'_> {
    let own = pool.spec.entries.iter().enumerate();
    let own = own.filter(move |(_, range)| range.is_ipv4() == (family == Family::V4));
    own.map(move |(entry, range)| Row {
        first: bits(range.first()),
        last: bits(range.last()),
        pool: place,
        entry: u32::try_from(entry).unwrap_or(u32::MAX),
    })
}
