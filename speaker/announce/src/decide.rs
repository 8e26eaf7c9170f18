//! The gate that both protocols share, and the verdict for one service.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use metallb_config::{Interfaces, Pool};

use crate::election::{Place, Ranking};
use crate::{Endpoints, Extension, NodeView, Reason, Route, ServiceView, bgp, layer2};

/// Everything but the service and its pool that a decision depends on.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The node this speaker runs on.
    pub node: &'a str,
    /// All nodes known to the API server.
    pub nodes: &'a BTreeMap<Arc<str>, NodeView>,
    /// Speakers that are alive (or suspect); `None` when membership is switched off.
    pub members: Option<&'a BTreeSet<Arc<str>>>,
    /// Those among them that may be gone: in layer 2 others stand in for them.
    pub suspects: &'a BTreeSet<Arc<str>>,
    /// What else counts for the order in layer 2; `None` = nothing, while a member is not of our kind.
    pub extension: Option<Extension<'a>>,
    /// `--ignore-exclude-lb`.
    pub ignore_exclude_label: bool,
    /// `--lb-class`; empty when not given.
    pub class: &'a str,
}

/// What to announce over layer 2.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer2 {
    /// Addresses to answer for, in ingress order.
    pub addresses: Vec<IpAddr>,
    /// Interfaces to answer on.
    pub interfaces: Interfaces,
}

/// What this node does for one service, for each protocol on its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// Addresses answered for, or why not.
    pub layer2: Result<Layer2, Reason>,
    /// Who is to answer, and who stands in; `None` where no other node changes the verdict.
    pub ranking: Option<Ranking>,
    /// Routes to announce (never empty), or why not.
    pub bgp: Result<Vec<Route>, Reason>,
}

impl Decision {
    /// Returns the verdict in which neither protocol announces.
    #[must_use]
    pub fn none(reason: Reason) -> Self {
        Self {
            layer2: Err(reason),
            ranking: None,
            bgp: Err(reason),
        }
    }
}

/// Decides what this node announces for `service`, whose addresses are all in `pool`.
///
/// Upstream: an error of BGP keeps layer 2 from being looked at; here the protocols are judged independently.
#[must_use]
pub fn decide(inputs: &Inputs<'_>, pool: Option<&Pool>, service: &ServiceView, endpoints: &Endpoints) -> Decision {
    let (pool, addresses) = match gate(inputs, pool, service) {
        Ok(passed) => passed,
        Err(reason) => return Decision::none(reason),
    };
    let (layer2, ranking) = layer2::decide(inputs, pool, &addresses, service, endpoints);
    Decision {
        layer2,
        ranking,
        bgp: bgp::decide(inputs, pool, &addresses, service, endpoints),
    }
}

/// Where `node` stands in the election for a service in `pool`; `None` if it does not take part.
///
/// With [`Ranking::admits`] it tells, at the price of one hash, whether a node that comes can change a decision.
#[must_use]
pub fn place(
    inputs: &Inputs<'_>,
    pool: &Pool,
    service: &ServiceView,
    endpoints: &Endpoints,
    node: &str,
) -> Option<Place> {
    layer2::place(inputs, pool, service, endpoints, node)
}

/// Whether `peer`, which announces the service, has a better claim to it than this node: by scores and hashes alone, as it
/// is told apart when the two do not hear of each other but on the segment.
#[must_use]
pub fn outranks(inputs: &Inputs<'_>, pool: &Pool, service: &ServiceView, endpoints: &Endpoints, peer: &str) -> bool {
    layer2::outranks(inputs, pool, service, endpoints, peer)
}

/// Whether there is a node other than this one that could answer for a service in layer 2.
#[must_use]
pub fn has_candidate(inputs: &Inputs<'_>, pool: &Pool, service: &ServiceView, endpoints: &Endpoints) -> bool {
    layer2::has_candidate(inputs, pool, service, endpoints)
}

/// What rules a service out before any advertisement is looked at, in upstream's order.
pub(crate) fn gate<'a>(
    inputs: &Inputs<'_>,
    pool: Option<&'a Pool>,
    service: &ServiceView,
) -> Result<(&'a Pool, Vec<IpAddr>), Reason> {
    if !service.load_balancer {
        return Err(Reason::NotLoadBalancer);
    }
    if !service.has_class(inputs.class) {
        return Err(Reason::ClassChanged);
    }
    let addresses = service.addresses().ok_or(Reason::InvalidIp)?;
    if addresses.is_empty() {
        return Err(Reason::NoIpAllocated);
    }
    Ok((pool.ok_or(Reason::IpNotAllowed)?, addresses))
}

#[cfg(test)]
mod tests;
