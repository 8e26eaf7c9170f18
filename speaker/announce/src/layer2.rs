//! Who answers ARP and NDP for a service.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use metallb_config::{Interfaces, L2Advertisement, Pool};

use crate::decide::covers;
use crate::{Endpoints, Inputs, Layer2, Reason, ServiceView, election};

pub(crate) fn decide(
    inputs: &Inputs<'_>,
    pool: &Pool,
    addresses: &[IpAddr],
    service: &ServiceView,
    endpoints: &Endpoints,
) -> Result<Layer2, Reason> {
    if !endpoints.any {
        return Err(Reason::NotOwner);
    }
    let ads: Vec<&L2Advertisement> = pool.l2.iter().filter(|ad| covers(&ad.services, service)).collect();
    if service.shared && ads.iter().any(|ad| !ad.services.is_empty()) {
        return Err(Reason::SharedIpWithServiceSelector);
    }
    if !ads.iter().any(|ad| ad.nodes.contains(inputs.node)) {
        return Err(Reason::NoMatchingAdvertisement);
    }
    // The first address decides for the whole service, so that both families stay on one node.
    let first = *addresses.first().ok_or(Reason::NoIpAllocated)?;
    let candidates = candidates(inputs, &ads, service, endpoints);
    if election::order(candidates, first, &scores(&ads)).first() != Some(&inputs.node) {
        return Err(Reason::NotOwner);
    }
    Ok(Layer2 {
        addresses: addresses.to_vec(),
        interfaces: interfaces(inputs.node, &ads),
    })
}

fn candidates<'a>(
    inputs: &Inputs<'a>,
    ads: &[&L2Advertisement],
    service: &ServiceView,
    endpoints: &Endpoints,
) -> Vec<&'a str> {
    let known: Vec<&str> = match inputs.members {
        Some(members) => members.iter().map(String::as_str).collect(),
        None => inputs.nodes.keys().map(String::as_str).collect(),
    };
    known
        .into_iter()
        .filter(|name| eligible(inputs, name))
        .filter(|name| ads.iter().any(|ad| ad.nodes.contains(*name)))
        .filter(|name| !service.local || endpoints.nodes.contains(*name))
        .collect()
}

/// A member whose Node object is not known passes: membership saw it alive.
fn eligible(inputs: &Inputs<'_>, name: &str) -> bool {
    inputs
        .nodes
        .get(name)
        .is_none_or(|node| !node.network_unavailable && (inputs.ignore_exclude_label || !node.excluded))
}

fn scores<'a>(ads: &[&'a L2Advertisement]) -> BTreeMap<&'a str, i64> {
    let mut scores = BTreeMap::new();
    for (node, weight) in ads.iter().flat_map(|ad| &ad.preferred) {
        *scores.entry(node.as_str()).or_insert(0) += weight;
    }
    scores
}

/// The union over the advertisements that list this node; one without a list means all.
fn interfaces(node: &str, ads: &[&L2Advertisement]) -> Interfaces {
    let mut names = BTreeSet::new();
    for ad in ads.iter().filter(|ad| ad.nodes.contains(node)) {
        match &ad.interfaces {
            Interfaces::All => return Interfaces::All,
            Interfaces::Only(only) => names.extend(only.iter().cloned()),
        }
    }
    Interfaces::Only(names)
}
