//! Which routes this node announces for a service.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use metallb_config::{BgpAdvertisement, Community, Pool};

use crate::{Endpoints, Inputs, Reason, ServiceView};

/// What some peers are told about a prefix.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path {
    /// LOCAL_PREF towards internal peers.
    pub local_pref: u32,
    /// Standard and large communities.
    pub communities: BTreeSet<Community>,
    /// Names of the peers that are told; empty means all.
    pub peers: BTreeSet<String>,
}

/// One route of one service from one advertisement.
///
/// The routes of several services to one prefix are merged for each peer by its Adj-RIB-Out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// The address masked to the aggregation length.
    pub prefix: IpNet,
    /// With what, and to whom.
    pub path: Arc<Path>,
}

pub(crate) fn decide(
    inputs: &Inputs<'_>,
    pool: &Pool,
    addresses: &[IpAddr],
    service: &ServiceView,
    endpoints: &Endpoints,
) -> Result<Vec<Route>, Reason> {
    let here: Vec<_> = pool.bgp.iter().filter(|ad| ad.nodes.contains(inputs.node)).collect();
    if here.is_empty() {
        return Err(Reason::NotOwner);
    }
    let ads: Vec<_> = here.into_iter().filter(|ad| ad.covers(&service.labels)).collect();
    if ads.is_empty() {
        return Err(Reason::NoMatchingAdvertisement);
    }
    if conflict(&ads, addresses) {
        return Err(Reason::ConflictingAdvertisements);
    }
    available(inputs, service, endpoints)?;
    let routes: BTreeSet<Route> = ads.iter().flat_map(|ad| routes(ad, addresses)).collect();
    Ok(routes.into_iter().collect())
}

fn available(inputs: &Inputs<'_>, service: &ServiceView, endpoints: &Endpoints) -> Result<(), Reason> {
    let node = inputs.nodes.get(inputs.node).copied().unwrap_or_default();
    if let Some(reason) = node.excluded_by(inputs.ignore_exclude_label) {
        return Err(reason);
    }
    if service.local && !endpoints.nodes.contains(inputs.node) {
        return Err(Reason::NoLocalEndpoints);
    }
    if !endpoints.any {
        return Err(Reason::NoEndpoints);
    }
    Ok(())
}

fn length(ad: &BgpAdvertisement, address: IpAddr) -> u8 {
    if address.is_ipv4() {
        ad.aggregation_v4
    } else {
        ad.aggregation_v6
    }
}

fn routes(ad: &BgpAdvertisement, addresses: &[IpAddr]) -> Vec<Route> {
    let path = Arc::new(Path {
        local_pref: ad.local_pref,
        communities: ad.communities.clone(),
        peers: ad.peers.clone(),
    });
    let route = |address: &IpAddr| Route {
        prefix: prefix(ad, *address),
        path: Arc::clone(&path),
    };
    addresses.iter().map(route).collect()
}

fn prefix(ad: &BgpAdvertisement, address: IpAddr) -> IpNet {
    let widest = if address.is_ipv4() { 32 } else { 128 };
    // The parser refuses longer lengths; should one slip through, the host route is the safe reading.
    IpNet::new(address, length(ad, address).min(widest))
        .unwrap_or_else(|_| IpNet::from(address))
        .trunc()
}

/// Two advertisements that would give one prefix two local preferences towards one peer.
///
/// All advertisements looked at share this node, so only lengths and peers can tell them apart.
fn conflict(ads: &[&BgpAdvertisement], addresses: &[IpAddr]) -> bool {
    ads.iter().enumerate().any(|(i, a)| {
        ads.iter().skip(i + 1).any(|b| {
            let same_length = addresses.iter().any(|ip| length(a, *ip) == length(b, *ip));
            let same_peer = a.peers.is_empty() || b.peers.is_empty() || !a.peers.is_disjoint(&b.peers);
            a.local_pref != b.local_pref && same_length && same_peer
        })
    })
}
