//! From all routes to what changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use ipnet::IpNet;
use metallb_announce::Route;
use metallb_config::Community;
use metallb_dataplane::bgp::{Attributes, LargeCommunity, Path, RouteChange};

/// Remembers the routes that the data plane was given last.
#[derive(Debug, Default)]
pub(crate) struct Deltas(Mutex<BTreeMap<IpNet, Vec<Path>>>);

impl Deltas {
    /// Returns what separates `routes` from those of the last time.
    pub(crate) fn to(&self, routes: &[Route]) -> Vec<RouteChange> {
        let mut wanted: BTreeMap<IpNet, Vec<Path>> = BTreeMap::new();
        for route in routes {
            wanted.entry(route.prefix).or_default().push(path(route));
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let prefixes: BTreeSet<IpNet> = known.keys().chain(wanted.keys()).copied().collect();
        let change = |prefix: IpNet| RouteChange {
            prefix,
            paths: wanted.get(&prefix).cloned().unwrap_or_default(),
        };
        let changed = prefixes
            .into_iter()
            .filter(|prefix| known.get(prefix) != wanted.get(prefix));
        let changes = changed.map(change).collect();
        *known = wanted;
        changes
    }
}

fn path(route: &Route) -> Path {
    let mut attributes = Attributes {
        local_pref: route.local_pref,
        ..Attributes::default()
    };
    for community in &route.communities {
        match *community {
            Community::Standard(value) => {
                attributes.communities.insert(value);
            }
            Community::Large { global, data1, data2 } => {
                attributes
                    .large_communities
                    .insert(LargeCommunity { global, data1, data2 });
            }
        }
    }
    Path {
        peers: route.peers.clone(),
        attributes: Arc::new(attributes),
    }
}
