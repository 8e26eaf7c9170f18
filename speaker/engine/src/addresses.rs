//! Which Services have an address, so that what concerns one address costs what has it, however many Services there are.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::{Engine, ServiceFacts, ServiceKey};

/// Services by each address in their status.
#[derive(Debug, Default)]
pub(crate) struct Addresses(BTreeMap<IpAddr, Vec<Arc<ServiceKey>>>);

impl Addresses {
    /// A Service is described otherwise than before.
    pub(crate) fn replace(
        &mut self,
        key: &Arc<ServiceKey>,
        before: Option<&ServiceFacts>,
        after: Option<&ServiceFacts>,
    ) {
        for ip in addresses(before) {
            if let Some(services) = self.0.get_mut(&ip) {
                services.retain(|other| other != key);
                if services.is_empty() {
                    self.0.remove(&ip);
                }
            }
        }
        for ip in addresses(after) {
            let services = self.0.entry(ip).or_insert_with(|| Vec::with_capacity(1));
            // It may name an address twice.
            if !services.contains(key) {
                services.push(Arc::clone(key));
            }
        }
    }

    /// The Services that have `ip`.
    pub(crate) fn of(&self, ip: IpAddr) -> &[Arc<ServiceKey>] {
        self.0.get(&ip).map_or(&[], Vec::as_slice)
    }
}

fn addresses(facts: Option<&ServiceFacts>) -> impl Iterator<Item = IpAddr> {
    facts
        .into_iter()
        .flat_map(|facts| facts.view.ingress.iter().copied().flatten())
}

impl Engine {
    /// The Services on whose behalf this node answers for `ip`.
    pub(crate) fn answering_for(&self, ip: IpAddr) -> Vec<Arc<ServiceKey>> {
        let answers = |key: &&Arc<ServiceKey>| {
            let entry = self.services.get(*key);
            entry.is_some_and(|entry| entry.announced.answers_for(ip))
        };
        self.addresses.of(ip).iter().filter(answers).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use metallb_announce::ServiceView;

    use super::*;

    fn facts(ips: &[&str]) -> ServiceFacts {
        let view = ServiceView {
            ingress: ips.iter().map(|ip| ip.parse().ok()).collect(),
            ..ServiceView::default()
        };
        ServiceFacts { view, uid: None }
    }

    #[test]
    fn a_service_is_found_by_the_addresses_that_it_has_and_by_no_others() {
        let mut addresses = Addresses::default();
        let [web, dns] = ["web", "dns"].map(|name| Arc::new(ServiceKey::new("default", name)));
        let of = |addresses: &Addresses, ip: &str| -> Vec<String> {
            let services = addresses.of(ip.parse().unwrap());
            services.iter().map(|key| key.name.clone()).collect()
        };
        let both = facts(&["192.0.2.1", "2001:db8::1", "none", "192.0.2.1"]);
        addresses.replace(&web, None, Some(&both));
        addresses.replace(&dns, None, Some(&facts(&["192.0.2.1"])));
        assert_eq!(of(&addresses, "192.0.2.1"), ["web", "dns"]);
        assert_eq!(of(&addresses, "2001:db8::1"), ["web"]);
        addresses.replace(&web, Some(&both), Some(&facts(&["192.0.2.2"])));
        assert_eq!(of(&addresses, "192.0.2.1"), ["dns"]);
        assert_eq!(of(&addresses, "192.0.2.2"), ["web"]);
        addresses.replace(&web, Some(&facts(&["192.0.2.2"])), None);
        addresses.replace(&dns, Some(&facts(&["192.0.2.1"])), None);
        assert!(addresses.0.is_empty(), "nothing is kept");
    }
}
