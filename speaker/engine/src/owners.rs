//! Who has each Service by its status objects; told only with `--l2-failback=never`.
//!
//! An address that Services share has one owner: whoever has one of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use metallb_announce::ServiceView;

use crate::engine::Dirty;
use crate::{Engine, ServiceFacts, ServiceKey};

/// Of a Service that has no status object.
static NOBODY: BTreeSet<Arc<str>> = BTreeSet::new();

/// Nodes by Service, and by address for Services that share it.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    by_service: BTreeMap<Arc<ServiceKey>, BTreeSet<Arc<str>>>,
    by_address: BTreeMap<IpAddr, BTreeSet<Arc<str>>>,
}

impl Owners {
    pub(crate) fn of(&self, service: &Arc<ServiceKey>, view: &ServiceView) -> &BTreeSet<Arc<str>> {
        let owners = match shared_address(view) {
            Some(ip) => self.by_address.get(&ip),
            None => self.by_service.get(service),
        };
        owners.unwrap_or(&NOBODY)
    }
}

/// The address that decides for the Service, if others may have it, too.
fn shared_address(view: &ServiceView) -> Option<IpAddr> {
    view.ingress.first().copied().flatten().filter(|_| view.shared)
}

impl Engine {
    pub(crate) fn take_owners(&mut self, key: ServiceKey, owners: BTreeSet<String>, dirty: &mut Dirty) {
        let owners: BTreeSet<Arc<str>> = owners.into_iter().map(Into::into).collect();
        let known = self.services.get_key_value(&key);
        let key = known.map_or_else(|| Arc::new(key), |(known, _)| Arc::clone(known));
        let all = &mut self.owners.by_service;
        let before = if owners.is_empty() {
            all.remove(&key)
        } else {
            all.insert(Arc::clone(&key), owners)
        };
        if before.as_ref() == all.get(&key) {
            return;
        }
        let entry = self.services.get(&key);
        let facts = entry.and_then(|entry| entry.facts.clone());
        self.share_owners(facts.iter().map(Arc::as_ref), dirty);
        dirty.services.insert(key);
    }

    /// Services of which these are descriptions have come or gone, or others have them.
    pub(crate) fn share_owners<'a>(
        &mut self,
        concerned: impl IntoIterator<Item = &'a ServiceFacts>,
        dirty: &mut Dirty,
    ) {
        if self.owners.by_service.is_empty() && self.owners.by_address.is_empty() {
            return;
        }
        let addresses: BTreeSet<IpAddr> = concerned
            .into_iter()
            .filter_map(|facts| shared_address(&facts.view))
            .collect();
        for ip in addresses {
            let shares = |key: &&Arc<ServiceKey>| {
                let facts = self.services.get(*key).and_then(|entry| entry.facts.as_ref());
                facts.and_then(|facts| shared_address(&facts.view)) == Some(ip)
            };
            let sharing: Vec<Arc<ServiceKey>> = self.addresses.of(ip).iter().filter(shares).cloned().collect();
            let owners = sharing.iter().filter_map(|key| self.owners.by_service.get(key));
            let owners: BTreeSet<Arc<str>> = owners.flatten().cloned().collect();
            if owners.is_empty() {
                self.owners.by_address.remove(&ip);
            } else {
                self.owners.by_address.insert(ip, owners);
            }
            dirty.services.extend(sharing);
        }
    }
}
