//! Deltas for a data plane that takes whole sets; until it takes deltas itself.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use ipnet::IpNet;
use metallb_dataplane::bgp::{AdvertisedRoute, BgpHandle};
use metallb_dataplane::l2::{Desired, Interfaces, L2Handle};

#[derive(Clone, Debug, Default)]
pub(crate) struct Routes(Arc<Mutex<BTreeMap<IpNet, Vec<AdvertisedRoute>>>>);

impl Routes {
    pub(crate) fn change(&self, handle: &BgpHandle, changes: Vec<(IpNet, Vec<AdvertisedRoute>)>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (prefix, routes) in changes {
            match routes.is_empty() {
                true => drop(all.remove(&prefix)),
                false => drop(all.insert(prefix, routes)),
            }
        }
        handle.set_routes(all.values().flatten().cloned().collect());
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Addresses(Arc<Mutex<Desired>>);

impl Addresses {
    pub(crate) fn change(&self, handle: &L2Handle, changes: Vec<(IpAddr, Option<Interfaces>)>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (ip, interfaces) in changes {
            match interfaces {
                None => drop(all.remove(&ip)),
                Some(interfaces) => drop(all.insert(ip, interfaces)),
            }
        }
        handle.announce(all.clone());
    }
}
