//! The gate that both protocols share, and the verdict for one service.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use metallb_config::{Config, Interfaces, Pool};

use crate::{Endpoints, NodeView, Reason, Route, ServiceView, bgp, layer2};

/// Everything but the service itself that a decision depends on.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The accepted configuration.
    pub config: &'a Config,
    /// The node this speaker runs on.
    pub node: &'a str,
    /// All nodes known to the API server.
    pub nodes: &'a BTreeMap<String, NodeView>,
    /// Speakers that are alive (or suspect); `None` when membership is switched off.
    pub members: Option<&'a BTreeSet<String>>,
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
    /// Pool that holds the addresses, if they are legal.
    pub pool: Option<String>,
    /// Addresses answered for, or why not.
    pub layer2: Result<Layer2, Reason>,
    /// Routes to announce (never empty), or why not.
    pub bgp: Result<Vec<Route>, Reason>,
}

impl Decision {
    /// Returns the verdict in which neither protocol announces.
    #[must_use]
    pub fn none(reason: Reason) -> Self {
        Self {
            pool: None,
            layer2: Err(reason),
            bgp: Err(reason),
        }
    }
}

/// Decides what this node announces for `service`.
///
/// Upstream: an error of BGP keeps layer 2 from being looked at; here the protocols are judged independently.
#[must_use]
pub fn decide(inputs: &Inputs<'_>, service: &ServiceView, endpoints: &Endpoints) -> Decision {
    match gate(inputs, service) {
        Err(reason) => Decision::none(reason),
        Ok((pool, addresses)) => Decision {
            pool: Some(pool.name.clone()),
            layer2: layer2::decide(inputs, pool, &addresses, service, endpoints),
            bgp: bgp::decide(inputs, pool, &addresses, service, endpoints),
        },
    }
}

/// What rules a service out before any advertisement is looked at, in upstream's order.
fn gate<'a>(inputs: &Inputs<'a>, service: &ServiceView) -> Result<(&'a Pool, Vec<IpAddr>), Reason> {
    if !service.load_balancer {
        return Err(Reason::NotLoadBalancer);
    }
    if service.class.as_deref().unwrap_or_default() != inputs.class {
        return Err(Reason::ClassChanged);
    }
    let addresses: Vec<IpAddr> = service
        .ingress
        .iter()
        .copied()
        .collect::<Option<_>>()
        .ok_or(Reason::InvalidIp)?;
    let first = addresses.first().ok_or(Reason::NoIpAllocated)?;
    let pool = inputs
        .config
        .pools
        .values()
        .find(|pool| pool.contains(*first))
        .ok_or(Reason::IpNotAllowed)?;
    if !addresses.iter().all(|ip| pool.contains(*ip)) {
        return Err(Reason::IpNotAllowed);
    }
    Ok((pool, addresses))
}

/// Tells whether the service selectors of an advertisement (OR; none = all) cover `service`.
pub(crate) fn covers(selectors: &[metallb_config::Selector], service: &ServiceView) -> bool {
    selectors.is_empty() || selectors.iter().any(|s| s.matches(&service.labels))
}

#[cfg(test)]
mod tests;
