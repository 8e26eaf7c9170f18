//! What a new configuration changes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use metallb_config::{Config, L2Advertisement, Pool};

/// What separates two configurations, as far as Services are concerned.
#[derive(Debug, Default)]
pub(crate) struct Difference<'a> {
    /// Pools whose Services must be judged again.
    pools: BTreeSet<&'a str>,
    /// Nodes that became candidates somewhere, are none any more, or are preferred differently.
    pub(crate) nodes: BTreeSet<&'a str>,
}

impl<'a> Difference<'a> {
    /// Compares, for decisions that are made on the node called `own`.
    pub(crate) fn new(before: &'a Config, after: &'a Config, own: &str) -> Self {
        let mut difference = Self::default();
        for (name, pool) in &after.pools {
            let known = before.pools.get(name);
            if known == Some(pool) {
                continue;
            }
            match known.and_then(|known| moved_nodes(known, pool, own)) {
                Some(nodes) => difference.nodes.extend(nodes),
                None => drop(difference.pools.insert(name)),
            }
        }
        difference
    }

    /// Tells whether an address has another pool than before, or one that changed.
    pub(crate) fn concerns(&self, before: &Config, after: &Config, ip: IpAddr) -> bool {
        let name = |config: &Config| config.pool_of(ip).map(|pool| pool.name.clone());
        let now = name(after);
        now.as_ref().is_some_and(|now| self.pools.contains(now.as_str())) || now != name(before)
    }
}

/// The nodes that make the difference between two versions of a pool, if nothing else does: a Node that joins a large
/// cluster is in every advertisement, and must not have every Service judged again.
fn moved_nodes<'a>(before: &'a Pool, after: &'a Pool, own: &str) -> Option<BTreeSet<&'a str>> {
    let mut like = before.clone();
    for (ad, now) in like.l2.iter_mut().zip(&after.l2) {
        ad.nodes.clone_from(&now.nodes);
        ad.preferred.clone_from(&now.preferred);
    }
    for (ad, now) in like.bgp.iter_mut().zip(&after.bgp) {
        ad.nodes.clone_from(&now.nodes);
    }
    let is_same_here = |before: &BTreeSet<String>, now: &BTreeSet<String>| before.contains(own) == now.contains(own);
    let same_here = before
        .l2
        .iter()
        .zip(&after.l2)
        .all(|(a, b)| is_same_here(&a.nodes, &b.nodes))
        && before
            .bgp
            .iter()
            .zip(&after.bgp)
            .all(|(a, b)| is_same_here(&a.nodes, &b.nodes));
    if like != *after || !same_here {
        return None;
    }
    Some(before.l2.iter().zip(&after.l2).flat_map(|(a, b)| moved(a, b)).collect())
}

fn moved<'a>(before: &'a L2Advertisement, after: &'a L2Advertisement) -> BTreeSet<&'a str> {
    let weights = |of: &'a BTreeMap<String, i64>, other: &'a BTreeMap<String, i64>| {
        let differs = |(node, weight): &(&String, &i64)| other.get(*node) != Some(*weight);
        of.iter().filter(differs).map(|(node, _)| node)
    };
    let nodes = before.nodes.symmetric_difference(&after.nodes);
    nodes
        .chain(weights(&before.preferred, &after.preferred))
        .chain(weights(&after.preferred, &before.preferred))
        .map(String::as_str)
        .collect()
}
