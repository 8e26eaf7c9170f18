//! From the engine's vocabulary to that of our own data plane.

use metallb_config::Community;
use metallb_dataplane::bgp::{self, Attributes, LargeCommunity};
use metallb_engine::RouteChange;

/// What to advertise.
pub(crate) fn routes(changes: &[RouteChange]) -> Vec<bgp::RouteChange> {
    changes.iter().map(route).collect()
}

fn route(change: &RouteChange) -> bgp::RouteChange {
    let path = |path: &metallb_announce::Path| bgp::Path {
        peers: path.peers.clone(),
        attributes: attributes(path).into(),
    };
    bgp::RouteChange {
        prefix: change.prefix,
        paths: change.paths.iter().map(|shared| path(shared)).collect(),
    }
}

fn attributes(path: &metallb_announce::Path) -> Attributes {
    let mut attributes = Attributes {
        local_pref: path.local_pref,
        ..Attributes::default()
    };
    for community in &path.communities {
        match *community {
            Community::Standard(value) => drop(attributes.communities.insert(value)),
            Community::Large { global, data1, data2 } => {
                let community = LargeCommunity { global, data1, data2 };
                attributes.large_communities.insert(community);
            }
        }
    }
    attributes
}
