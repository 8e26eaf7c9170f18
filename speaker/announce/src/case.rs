//! The same decisions for all nodes at once, with the reasons: for those who ask why.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use metallb_config::{L2Advertisement, Pool};

use crate::decide::gate;
use crate::election::{Election, Place};
use crate::{Endpoints, Inputs, Reason, Route, ServiceView, bgp, layer2};

/// A node that may answer for a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rank {
    /// Its name.
    pub node: Arc<str>,
    /// Where it stands; the lesser answers.
    pub place: Place,
    /// The sum of what the advertisements prefer it by.
    pub score: i64,
}

/// Why a node takes no part in the election.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Out {
    /// Its speaker is not alive.
    NotAlive,
    /// The advertisements select other nodes.
    NotSelected,
    /// What the Node says of itself.
    Excluded(Reason),
    /// `externalTrafficPolicy: Local`, and no endpoint that can serve.
    NoLocalEndpoints,
}

/// Who answers for a Service in layer 2, and who does not.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer2Case<'a> {
    /// The advertisements of the Service.
    pub ads: Vec<&'a L2Advertisement>,
    /// The address by which is elected.
    pub address: IpAddr,
    /// Those that may answer; the first one does.
    pub ranked: Vec<Rank>,
    /// The other nodes, with what speaks against them.
    pub out: BTreeMap<Arc<str>, Out>,
}

/// Elects who answers for a Service, with all that take part. `world.node` does not matter.
///
/// The first one ranked is the node for which [`decide`](crate::decide) announces, and there is no other one.
///
/// # Errors
/// What keeps every node from answering.
pub fn layer2_case<'a>(
    world: &Inputs<'_>,
    pool: Option<&'a Pool>,
    service: &ServiceView,
    endpoints: &Endpoints,
) -> Result<Layer2Case<'a>, Reason> {
    let (pool, addresses) = gate(world, pool, service)?;
    if !endpoints.any {
        return Err(Reason::NoEndpoints);
    }
    let ads = layer2::advertisements(pool, service);
    if service.shared && ads.iter().any(|ad| !ad.services.is_empty()) {
        return Err(Reason::SharedIpWithServiceSelector);
    }
    if ads.is_empty() {
        return Err(Reason::NoMatchingAdvertisement);
    }
    let address = *addresses.first().ok_or(Reason::NoIpAllocated)?;
    let election = Election::new(address);
    let candidates = layer2::known(world).filter(|name| layer2::is_candidate(world, &ads, service, endpoints, name));
    let mut ranked: Vec<Rank> = candidates
        .map(|node| Rank {
            node: Arc::clone(node),
            place: layer2::stand(world, &election, &ads, node),
            score: layer2::score(&ads, node),
        })
        .collect();
    ranked.sort_by(|a, b| (&a.place, &a.node).cmp(&(&b.place, &b.node)));
    let others = world.nodes.keys().chain(world.members.into_iter().flatten());
    let in_order: BTreeSet<&str> = ranked.iter().map(|rank| &*rank.node).collect();
    let others = others.filter(|node| !in_order.contains(&***node));
    let out = others.map(|node| (Arc::clone(node), out(world, &ads, service, node)));
    Ok(Layer2Case {
        out: out.collect(),
        ads,
        address,
        ranked,
    })
}

/// What speaks against a node that is no candidate.
fn out(world: &Inputs<'_>, ads: &[&L2Advertisement], service: &ServiceView, node: &str) -> Out {
    if let Some(reason) = layer2::excluded(world, node) {
        return Out::Excluded(reason);
    }
    if world.members.is_some_and(|members| !members.contains(node)) {
        return Out::NotAlive;
    }
    match service.local && ads.iter().any(|ad| ad.nodes.contains(node)) {
        true => Out::NoLocalEndpoints,
        false => Out::NotSelected,
    }
}

/// By node, the routes of a Service, or why there are none.
pub type BgpCase = BTreeMap<Arc<str>, Result<Vec<Route>, Reason>>;

/// What each node announces over BGP for a Service, or why it does not. `world.node` does not matter.
///
/// # Errors
/// What keeps every node from announcing.
pub fn bgp_case(
    world: &Inputs<'_>,
    pool: Option<&Pool>,
    service: &ServiceView,
    endpoints: &Endpoints,
) -> Result<BgpCase, Reason> {
    let (pool, addresses) = gate(world, pool, service)?;
    let decided = world.nodes.keys().map(|node| {
        let inputs = Inputs { node, ..*world };
        (
            Arc::clone(node),
            bgp::decide(&inputs, pool, &addresses, service, endpoints),
        )
    });
    Ok(decided.collect())
}

#[cfg(test)]
mod tests;
