//! Which routes this node announces for a service.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use metallb_config::{BgpAdvertisement, Community, Pool};

use crate::decide::covers;
use crate::{Endpoints, Inputs, Reason, ServiceView};

/// One route of one service from one advertisement; identical prefixes are merged per peer by the Adj-RIB-Out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// The address masked to the aggregation length.
    pub prefix: IpNet,
    /// LOCAL_PREF towards internal peers.
    pub local_pref: u32,
    /// Standard and large communities.
    pub communities: BTreeSet<Community>,
    /// Names of the peers that receive it; empty means all.
    pub peers: BTreeSet<String>,
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
    let ads: Vec<_> = here.into_iter().filter(|ad| covers(&ad.services, service)).collect();
    if ads.is_empty() {
        return Err(Reason::NoMatchingAdvertisement);
    }
    if conflict(&ads, addresses) {
        return Err(Reason::ConflictingAdvertisements);
    }
    available(inputs, service, endpoints)?;
    let routes: BTreeSet<Route> = ads
        .iter()
        .flat_map(|ad| addresses.iter().map(|ip| route(ad, *ip)))
        .collect();
    Ok(routes.into_iter().collect())
}

fn available(inputs: &Inputs<'_>, service: &ServiceView, endpoints: &Endpoints) -> Result<(), Reason> {
    let node = inputs.nodes.get(inputs.node).copied().unwrap_or_default();
    if node.network_unavailable {
        return Err(Reason::NodeNetworkUnavailable);
    }
    if node.excluded && !inputs.ignore_exclude_label {
        return Err(Reason::NodeLabeledExcludeBalancers);
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

fn route(ad: &BgpAdvertisement, address: IpAddr) -> Route {
    let widest = if address.is_ipv4() { 32 } else { 128 };
    // The parser refuses longer lengths; should one slip through, the host route is the safe reading.
    let prefix = IpNet::new(address, length(ad, address).min(widest))
        .unwrap_or_else(|_| IpNet::from(address))
        .trunc();
    Route {
        prefix,
        local_pref: ad.local_pref,
        communities: ad.communities.clone(),
        peers: ad.peers.clone(),
    }
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
