//! Nodes that answer in layer 2 if this one does not, and the other way round.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use metallb_announce::election::Ranking;

/// For how many Services each node is a partner.
#[derive(Debug, Default)]
pub(crate) struct Partners {
    counts: BTreeMap<Arc<str>, usize>,
    /// Somebody came or went; perhaps back again.
    moved: bool,
    told: BTreeSet<String>,
}

impl Partners {
    /// This is how the nodes are ranked for a Service.
    pub(crate) fn learn(&mut self, own: &str, ranking: Option<&Ranking>) {
        for node in partners(own, ranking) {
            let count = self.counts.entry(Arc::clone(node)).or_default();
            self.moved |= *count == 0;
            *count += 1;
        }
    }

    /// This was how the nodes were ranked for a Service.
    pub(crate) fn forget(&mut self, own: &str, ranking: Option<&Ranking>) {
        for node in partners(own, ranking) {
            let left = self.counts.get_mut(node).map(|count| {
                *count = count.saturating_sub(1);
                *count
            });
            if left == Some(0) {
                self.counts.remove(node);
                self.moved = true;
            }
        }
    }

    /// All of them, if they are others than when this was asked last.
    pub(crate) fn news(&mut self) -> Option<BTreeSet<String>> {
        if !std::mem::take(&mut self.moved) {
            return None;
        }
        let names: BTreeSet<String> = self.counts.keys().map(ToString::to_string).collect();
        if names == self.told {
            return None;
        }
        self.told.clone_from(&names);
        Some(names)
    }
}

/// For the owner those that stand in for it, for those the owner.
fn partners<'a>(own: &'a str, ranking: Option<&'a Ranking>) -> impl Iterator<Item = &'a Arc<str>> {
    let nodes = ranking.map(Ranking::nodes).unwrap_or_default();
    let place = nodes.iter().position(|node| **node == *own);
    let range = match place {
        None => 0..0,
        Some(0) => 1..nodes.len(),
        Some(_) => 0..1,
    };
    nodes[range].iter()
}
