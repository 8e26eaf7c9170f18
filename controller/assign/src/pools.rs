//! From custom resources to the pools in force.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube::ResourceExt;
use metallb_announce::NodeView;
use metallb_announce::reach::{Reach, Surroundings};
use metallb_config::{Backend, ObjectRef, Options, Parsed, Pool, Refused, Resources, Rule, View, Warning, parse};

use crate::engine::{Accepted, Reaches};

/// Kinds that only speakers use. What is wrong with them is in their states.
const OF_SPEAKERS: [&str; 4] = ["L2Advertisement", "BGPAdvertisement", "BGPPeer", "BFDProfile"];
/// Longest text about doubts, in bytes; a condition takes twice as much.
const DOUBTS_LIMIT: usize = 16 * 1024;

/// Parses pools, and remembers what was good.
#[derive(Debug, Default)]
pub struct Pools {
    backend: Backend,
    /// Speakers announce from nodes with the exclude label, or may do so.
    ignore_exclude_label: bool,
    accepted: Accepted,
    loaded: bool,
    /// The pools of the latest objects.
    existing: BTreeSet<String>,
    /// Pools that have existed, and of which there is no object any more.
    gone: BTreeSet<String>,
}

/// What came out of the latest objects.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// The pools to use from now on; nothing before the first usable configuration.
    pub accepted: Option<Accepted>,
    /// How the Services of pools may be announced; nothing as long as that is not known.
    pub reaches: Option<Arc<Reaches>>,
    /// What is refused, in the order of kind and name.
    pub refused: Vec<Refused>,
    /// What is in force and does something else than it says, in the order of kind and name.
    pub doubts: Vec<Warning>,
}

impl Verdict {
    /// What is refused, in one text; empty if nothing is.
    #[must_use]
    pub fn message(&self) -> String {
        if self.refused.is_empty() {
            return String::new();
        }
        let all: Vec<_> = self.refused.iter().map(Refused::summary).collect();
        format!("configuration error: {}", all.join("\n"))
    }

    /// The doubts, a line each; if they are too many, the first and how many more there are.
    #[must_use]
    pub fn doubts(&self) -> String {
        let mut text = String::new();
        for (place, doubt) in self.doubts.iter().enumerate() {
            let line = line(doubt);
            if text.len() + line.len() > DOUBTS_LIMIT {
                text += &format!("\nand {} more", self.doubts.len() - place);
                break;
            }
            if place > 0 {
                text.push('\n');
            }
            text += &line;
        }
        text
    }
}

/// How a doubt is written, in a single line.
#[must_use]
pub fn line(doubt: &Warning) -> String {
    doubt.to_string().replace('\n', " ")
}

impl Pools {
    /// A parser for this back-end. `ignore_exclude_label` says that speakers run with `--ignore-exclude-lb`, or that
    /// nobody knows.
    #[must_use]
    pub fn new(backend: Backend, ignore_exclude_label: bool) -> Self {
        Self {
            backend,
            ignore_exclude_label,
            ..Self::default()
        }
    }

    /// Parses the objects of now.
    ///
    /// A pool that became illegible stays as it last was, so that no Service loses its address by
    /// a typo. Upstream: the whole configuration stays as it was (W16). So does a pool that is gone, until it is
    /// [dropped](Self::drop_gone).
    pub fn load(&mut self, resources: &Resources) -> Verdict {
        let options = Options {
            backend: self.backend,
            view: View::Load { node: None },
            ..Options::default()
        };
        let parsed = parse(resources, &options);
        let reaches = self.reaches(resources, &parsed);
        let mut pools = parsed.config.pools;
        for pool in pools.values_mut() {
            // Who announces is nothing to the allocator.
            (pool.l2, pool.bgp) = (Vec::new(), Vec::new());
        }
        self.follow_names(existing(resources));
        let unusable = self.keep(&mut pools);
        // Nothing usable at the start says nothing about the addresses in use.
        if self.loaded || !pools.is_empty() || unusable.is_empty() {
            self.loaded = true;
            self.accepted = Accepted { pools, unusable };
        }
        Verdict {
            accepted: self.loaded.then(|| self.accepted.clone()),
            reaches: reaches.map(Arc::new),
            refused: parsed.refused.into_iter().filter(is_ours).collect(),
            doubts: parsed.warnings.into_iter().filter(is_to_be_told).collect(),
        }
    }

    /// The pools that are as they last were although they are gone.
    #[must_use]
    pub fn gone(&self) -> &BTreeSet<String> {
        &self.gone
    }

    /// Lets go of these pools with the next load, if they are still gone: it is known that what may have replaced them is
    /// among the objects by then.
    pub fn drop_gone(&mut self, names: &BTreeSet<String>) {
        self.gone.retain(|name| !names.contains(name));
    }

    /// Adds those pools as they last were that are not legible or gone; returns the others of them.
    fn keep(&self, pools: &mut BTreeMap<String, Pool>) -> BTreeSet<String> {
        let names = self.existing.union(&self.gone);
        let lacking: Vec<_> = names.filter(|name| !pools.contains_key(*name)).cloned().collect();
        let mut unusable = BTreeSet::new();
        for name in lacking {
            let last = self.accepted.pools.get(&name);
            match last.filter(|last| pools.values().all(|pool| !overlap(pool, last))) {
                Some(last) => drop(pools.insert(name, last.clone())),
                None => drop(unusable.insert(name)),
            }
        }
        unusable
    }

    fn follow_names(&mut self, existing: BTreeSet<String>) {
        self.gone.append(&mut self.existing);
        self.gone.retain(|name| !existing.contains(name));
        self.existing = existing;
    }

    /// How the Services of pools may be announced. Nothing is known without any Node, nor of a pool of which something was
    /// refused: a speaker may use the last good version of that.
    fn reaches(&self, resources: &Resources, parsed: &Parsed) -> Option<Reaches> {
        let mut unclear = BTreeSet::new();
        for refused in parsed.refused.iter().filter(|refused| tells_who_announces(refused)) {
            let concerned = pools_of(refused);
            if concerned.is_empty() {
                return None;
            }
            unclear.extend(concerned);
        }
        let nodes: BTreeMap<Arc<str>, NodeView> = resources
            .nodes
            .iter()
            .map(|node| (node.name_any().into(), NodeView::from(node)))
            .collect();
        let peers = resources.peers.iter().map(ResourceExt::name_any).collect();
        let around = Surroundings {
            nodes: &nodes,
            peers: &peers,
            ignore_exclude_label: self.ignore_exclude_label,
        };
        let pools = parsed.config.pools.iter();
        let clear = pools.filter(|(name, _)| !unclear.contains(name.as_str()));
        let reaches = clear.map(|(name, pool)| (name.clone(), Reach::new(pool, around)));
        (!nodes.is_empty()).then(|| reaches.collect())
    }
}

fn is_ours(refused: &Refused) -> bool {
    !OF_SPEAKERS.contains(&refused.object.kind.as_str())
}

/// Of a peer that runs nowhere no speaker knows; of all others each tells on its own, Secrets and all.
fn is_to_be_told(warning: &Warning) -> bool {
    let of_a_peer = ["BGPPeer", "BFDProfile"].contains(&warning.object.kind.as_str());
    warning.is_doubt() && (!of_a_peer || warning.rule == Rule::W10)
}

/// Peers count by their names, and an alias by the advertisement that is refused for want of it.
fn tells_who_announces(refused: &Refused) -> bool {
    !["BGPPeer", "BFDProfile", "Community"].contains(&refused.object.kind.as_str())
}

/// The pools that lose something by a refusal; none if it may be any.
fn pools_of(refused: &Refused) -> Vec<&str> {
    let is_pool = |object: &ObjectRef| ["IPAddressPool", "AddressPool"].contains(&object.kind.as_str());
    if is_pool(&refused.object) {
        return vec![refused.object.name.as_str()];
    }
    let pools = refused.involves.iter().filter(|object| is_pool(object));
    pools.map(|object| object.name.as_str()).collect()
}

fn existing(resources: &Resources) -> BTreeSet<String> {
    let ours = |meta: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta| {
        meta.namespace
            .as_ref()
            .is_none_or(|namespace| *namespace == resources.namespace)
    };
    let current = resources.pools.iter().map(|pool| &pool.metadata);
    let legacy = resources.address_pools.iter().map(|pool| &pool.metadata);
    let all = current.chain(legacy).filter(|meta| ours(meta));
    all.filter_map(|meta| meta.name.clone()).collect()
}

fn overlap(a: &Pool, b: &Pool) -> bool {
    a.entries.iter().any(|a| b.entries.iter().any(|b| a.overlaps(b)))
}

#[cfg(test)]
mod tests;
