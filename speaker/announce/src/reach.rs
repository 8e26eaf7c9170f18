//! Whether any node may announce a Service at all, as far as the configuration and the Nodes tell.
//!
//! Who is asked is the one that judges for all nodes. It knows neither endpoints nor sessions nor which speakers are
//! alive: [`Reach::judge`] finds only what keeps every node from announcing, whatever those are.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use metallb_api::names::LABEL_EXCLUDE_LB;
use metallb_config::{BgpAdvertisement, L2Advertisement, Pool, Selector};

use crate::{NodeView, Reason, ServiceView};

/// Why no node may announce a Service. The later ones are nearer to an announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Barred {
    /// No advertisement selects the pool.
    NoAdvertisement,
    /// The service selectors of those that do match other Services.
    ServiceNotSelected,
    /// Layer 2 knows no service selectors for a shared address, and nothing else announces the Service.
    SharedIpWithServiceSelector,
    /// The node selectors match no Node.
    NoMatchingNode,
    /// There is no BGPPeer to be told.
    NoPeer,
    /// All nodes have the condition `NetworkUnavailable`.
    NodesUnavailable,
    /// All nodes carry the exclude label; some may have the condition `NetworkUnavailable` instead.
    NodesExcluded,
}

impl Barred {
    /// Says it of a Service with addresses of this pool.
    #[must_use]
    pub fn sentence(self, pool: &str) -> String {
        format!("no node may announce this service: {}", Sentence(self, pool))
    }
}

/// What follows the colon.
struct Sentence<'a>(Barred, &'a str);

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(barred, pool) = self;
        match barred {
            Barred::NoAdvertisement => write!(f, "no L2Advertisement and no BGPAdvertisement selects pool \"{pool}\""),
            Barred::ServiceNotSelected => write!(
                f,
                "the serviceSelectors of the advertisements of pool \"{pool}\" do not match its labels"
            ),
            Barred::SharedIpWithServiceSelector => write!(
                f,
                "its address is for sharing, for which an L2Advertisement of pool \"{pool}\" must have no serviceSelectors"
            ),
            Barred::NoMatchingNode => write!(
                f,
                "the nodeSelectors of the advertisements of pool \"{pool}\" match no Node"
            ),
            Barred::NoPeer => write!(f, "the BGPAdvertisements of pool \"{pool}\" reach no BGPPeer"),
            Barred::NodesUnavailable => write!(
                f,
                "every Node that the advertisements of pool \"{pool}\" select has the condition NetworkUnavailable"
            ),
            Barred::NodesExcluded => write!(
                f,
                "every Node that the advertisements of pool \"{pool}\" select carries the label {LABEL_EXCLUDE_LB}, \
                 or has the condition NetworkUnavailable"
            ),
        }
    }
}

/// What there is beside the pool.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// All nodes known to the API server.
    pub nodes: &'a BTreeMap<Arc<str>, NodeView>,
    /// The names of all BGPPeers.
    pub peers: &'a BTreeSet<String>,
    /// Speakers run with `--ignore-exclude-lb`, or nobody knows.
    pub ignore_exclude_label: bool,
}

/// How the Services of a pool may be announced.
///
/// It is equal to another one if both judge every Service alike: a change of Nodes that bars nobody and lets nobody in
/// leaves it as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    layer2: Vec<Way>,
    bgp: Vec<Way>,
}

/// An advertisement, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Way {
    services: Vec<Selector>,
    /// Why it leads nowhere, if so.
    barred: Option<Barred>,
}

impl Reach {
    /// Finds out how the Services of a pool may be announced.
    #[must_use]
    pub fn new(pool: &Pool, around: Surroundings<'_>) -> Self {
        let layer2 = |ad: &L2Advertisement| Way {
            services: ad.services.clone(),
            barred: around.bars(&ad.nodes),
        };
        let bgp = |ad: &BgpAdvertisement| Way {
            services: ad.services.clone(),
            barred: around.bars(&ad.nodes).or_else(|| around.bars_peers(ad)),
        };
        Self {
            layer2: pool.l2.iter().map(layer2).collect(),
            bgp: pool.bgp.iter().map(bgp).collect(),
        }
    }

    /// Tells why no node may announce a Service of the pool, if so.
    ///
    /// # Errors
    /// What is in the way of whatever comes nearest to an announcement.
    pub fn judge(&self, service: &ServiceView) -> Result<(), Barred> {
        let unshared = service.shared && covering(&self.layer2, service).any(|way| !way.services.is_empty());
        let layer2 = covering(&self.layer2, service).map(|way| match unshared {
            true => Some(Barred::SharedIpWithServiceSelector),
            false => way.barred,
        });
        let bgp = covering(&self.bgp, service).map(|way| way.barred);
        let mut nearest = match self.layer2.is_empty() && self.bgp.is_empty() {
            true => Barred::NoAdvertisement,
            false => Barred::ServiceNotSelected,
        };
        for barred in layer2.chain(bgp) {
            match barred {
                Some(barred) => nearest = nearest.max(barred),
                None => return Ok(()),
            }
        }
        Err(nearest)
    }
}

fn covering<'a>(ways: &'a [Way], service: &'a ServiceView) -> impl Iterator<Item = &'a Way> {
    let covers = |way: &&Way| {
        let mut selectors = way.services.iter();
        way.services.is_empty() || selectors.any(|selector| selector.matches(&service.labels))
    };
    ways.iter().filter(covers)
}

impl Surroundings<'_> {
    /// What is in the way of all of these nodes.
    fn bars(&self, selected: &BTreeSet<String>) -> Option<Barred> {
        let mut nearest = Barred::NoMatchingNode;
        for node in selected.iter().filter_map(|name| self.nodes.get(name.as_str())) {
            nearest = nearest.max(match node.excluded_by(self.ignore_exclude_label)? {
                Reason::NodeNetworkUnavailable => Barred::NodesUnavailable,
                _ => Barred::NodesExcluded,
            });
        }
        Some(nearest)
    }

    fn bars_peers(&self, ad: &BgpAdvertisement) -> Option<Barred> {
        let reached = self.peers.iter().any(|peer| ad.reaches(peer));
        (!reached).then_some(Barred::NoPeer)
    }
}

#[cfg(test)]
mod tests;
