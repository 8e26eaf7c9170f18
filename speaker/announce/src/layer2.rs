//! Who answers ARP and NDP for a service.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use metallb_config::{Interfaces, L2Advertisement, Pool};

use crate::election::{Election, Place, Ranking};
use crate::{Endpoints, Inputs, Layer2, Reason, ServiceView};

/// The verdict, and the ranking that it comes from if there was an election.
pub(crate) type Verdict = (Result<Layer2, Reason>, Option<Ranking>);

pub(crate) fn decide(
    inputs: &Inputs<'_>,
    pool: &Pool,
    addresses: &[IpAddr],
    service: &ServiceView,
    endpoints: &Endpoints,
) -> Verdict {
    match ranking(inputs, pool, addresses, service, endpoints) {
        Ok((ads, ranking)) => (judge(inputs, addresses, &ads, &ranking), Some(ranking)),
        Err(reason) => (Err(reason), None),
    }
}

/// The advertisements of the service's addresses, whatever their nodes.
pub(crate) fn advertisements<'a>(pool: &'a Pool, service: &ServiceView) -> Vec<&'a L2Advertisement> {
    pool.l2.iter().filter(|ad| ad.covers(&service.labels)).collect()
}

/// The nodes that have a speaker as far as is known: the members, or without a membership all.
pub(crate) fn known<'a>(inputs: &Inputs<'a>) -> Box<dyn Iterator<Item = &'a Arc<str>> + 'a> {
    match inputs.members {
        Some(members) => Box::new(members.iter()),
        None => Box::new(inputs.nodes.keys()),
    }
}

fn ranking<'a>(
    inputs: &Inputs<'_>,
    pool: &'a Pool,
    addresses: &[IpAddr],
    service: &ServiceView,
    endpoints: &Endpoints,
) -> Result<(Vec<&'a L2Advertisement>, Ranking), Reason> {
    if !endpoints.any {
        return Err(Reason::NotOwner);
    }
    let ads = advertisements(pool, service);
    if service.shared && ads.iter().any(|ad| !ad.services.is_empty()) {
        return Err(Reason::SharedIpWithServiceSelector);
    }
    if !ads.iter().any(|ad| ad.nodes.contains(inputs.node)) {
        return Err(Reason::NoMatchingAdvertisement);
    }
    // The first address decides for the whole service, so that both families stay on one node.
    let first = *addresses.first().ok_or(Reason::NoIpAllocated)?;
    let candidates = known(inputs).filter(|name| is_candidate(inputs, &ads, service, endpoints, name));
    let election = Election::new(first);
    let ranking = Ranking::new(candidates.map(|name| (Arc::clone(name), stand(inputs, &election, &ads, name))));
    Ok((ads, ranking))
}

/// A node that may be gone, or that cannot announce, stands behind the others: it answers where there is nobody else.
pub(crate) fn stand(inputs: &Inputs<'_>, election: &Election, ads: &[&L2Advertisement], node: &str) -> Place {
    let place = election.place(node, score(ads, node));
    let place = place.behind(inputs.suspects.contains(node));
    let Some(extension) = &inputs.extension else {
        return place;
    };
    let (able, waits) = extension.of(node, ads);
    place.without_interface(!able).waiting(waits)
}

fn judge(
    inputs: &Inputs<'_>,
    addresses: &[IpAddr],
    ads: &[&L2Advertisement],
    ranking: &Ranking,
) -> Result<Layer2, Reason> {
    if let Some(reason) = excluded(inputs, inputs.node) {
        return Err(reason);
    }
    match ranking.winner() {
        None => Err(Reason::NoCandidate),
        Some(winner) if winner == inputs.node => Ok(Layer2 {
            addresses: addresses.to_vec(),
            interfaces: interfaces(inputs.node, ads),
        }),
        Some(_) => Err(Reason::NotOwner),
    }
}

/// Where `node` would stand in the election for a service, if it is a candidate at all.
pub(crate) fn place(
    inputs: &Inputs<'_>,
    pool: &Pool,
    service: &ServiceView,
    endpoints: &Endpoints,
    node: &str,
) -> Option<Place> {
    let known = match inputs.members {
        Some(members) => members.contains(node),
        None => inputs.nodes.contains_key(node),
    };
    let first = (*service.ingress.first()?)?;
    let ads = advertisements(pool, service);
    let stands = known && is_candidate(inputs, &ads, service, endpoints, node);
    stands.then(|| stand(inputs, &Election::new(first), &ads, node))
}

/// Compares by upstream's order, whoever is a member.
pub(crate) fn outranks(
    inputs: &Inputs<'_>,
    pool: &Pool,
    service: &ServiceView,
    endpoints: &Endpoints,
    peer: &str,
) -> bool {
    let Some(first) = service.ingress.first().copied().flatten() else {
        return false;
    };
    let ads = advertisements(pool, service);
    let election = Election::new(first);
    let place = |node| election.place(node, score(&ads, node));
    is_candidate(inputs, &ads, service, endpoints, peer) && place(peer) < place(inputs.node)
}

pub(crate) fn has_candidate(inputs: &Inputs<'_>, pool: &Pool, service: &ServiceView, endpoints: &Endpoints) -> bool {
    let ads = advertisements(pool, service);
    let answers = |name: &Arc<str>| **name != *inputs.node && is_candidate(inputs, &ads, service, endpoints, name);
    endpoints.any && known(inputs).any(answers)
}

/// Why a node answers for nothing at all, if so. One whose Node object is not known passes: membership saw it alive.
pub(crate) fn excluded(inputs: &Inputs<'_>, name: &str) -> Option<Reason> {
    let node = inputs.nodes.get(name).copied().unwrap_or_default();
    node.excluded_by(inputs.ignore_exclude_label)
}

pub(crate) fn is_candidate(
    inputs: &Inputs<'_>,
    ads: &[&L2Advertisement],
    service: &ServiceView,
    endpoints: &Endpoints,
    name: &str,
) -> bool {
    excluded(inputs, name).is_none()
        && ads.iter().any(|ad| ad.nodes.contains(name))
        && (!service.local || endpoints.nodes.contains(name))
}

/// Preferences add up over advertisements; a node that none prefers has score 0.
pub(crate) fn score(ads: &[&L2Advertisement], node: &str) -> i64 {
    ads.iter().filter_map(|ad| ad.preferred.get(node)).sum()
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
