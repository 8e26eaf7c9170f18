//! A snapshot of what is announced, for the looking glass.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use metallb_config::Interfaces;

use crate::{Engine, ServiceKey};

/// What this node announces of a Service, and why it does not announce the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The Service.
    pub service: Arc<ServiceKey>,
    /// The addresses that are announced in layer 2, and where.
    pub layer2: Option<(Vec<IpAddr>, Interfaces)>,
    /// Those of the addresses about which this node is silent for now: another one has the better claim.
    pub yielded: Vec<IpAddr>,
    /// The prefixes that are announced over BGP.
    pub bgp: Vec<IpNet>,
    /// Why layer 2 is silent, in the words of the log.
    pub no_layer2: Option<&'static str>,
    /// Why BGP is silent, in the words of the log.
    pub no_bgp: Option<&'static str>,
}

impl Engine {
    /// Tells of every Service that was judged.
    pub fn standings(&self) -> impl Iterator<Item = Standing> + use<'_> {
        let judged = self.services.iter().filter(|(_, entry)| entry.announced.is_judged());
        judged.map(|(service, entry)| {
            let mut standing = entry.announced.standing(service);
            let addresses = standing.layer2.iter().flat_map(|(addresses, _)| addresses);
            standing.yielded = addresses.filter(|ip| self.yielded.contains_key(ip)).copied().collect();
            standing
        })
    }
}
