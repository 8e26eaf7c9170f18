//! A controller without a cluster: Services, pools, a queue, and every write and event kept.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use metallb_api::names;
use metallb_config::{AddressRange, Namespaces, Pool, Selector, ServiceAllocation};
use metallb_ipam::{Action, Assigner, Family, FamilyPolicy, Ingress, Key, Port, Protocol, Service};

pub(crate) fn pool(name: &str, ranges: &[&str]) -> Pool {
    Pool {
        name: name.into(),
        entries: ranges.iter().map(|range| AddressRange::parse(range).unwrap()).collect(),
        auto_assign: true,
        ..Pool::default()
    }
}

pub(crate) fn pinned(pool: Pool, priority: i64, namespaces: &[&str]) -> Pool {
    let namespaces = match namespaces {
        [] => Namespaces::Any,
        names => Namespaces::Only(names.iter().map(ToString::to_string).collect()),
    };
    let allocation = ServiceAllocation {
        priority,
        namespaces,
        services: Vec::new(),
    };
    Pool {
        allocation: Some(allocation),
        ..pool
    }
}

pub(crate) fn selecting(mut pool: Pool, labels: &[(&str, &str)]) -> Pool {
    let selector = |(key, value): &(&str, &str)| {
        let labels = BTreeMap::from([(key.to_string(), value.to_string())]);
        Selector::parse(&k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector {
            match_labels: Some(labels),
            match_expressions: None,
        })
        .unwrap()
    };
    let allocation = pool.allocation.get_or_insert_default();
    allocation.services = labels.iter().map(selector).collect();
    pool
}

/// A Service under construction.
#[derive(Clone)]
pub(crate) struct Svc(pub(crate) Service);

pub(crate) fn svc(name: &str) -> Svc {
    let (namespace, name) = name.split_once('/').unwrap_or(("default", name));
    let service = Service {
        uid: format!("uid-{name}"),
        load_balancer: true,
        cluster_ips: vec!["10.96.0.1".into()],
        ports: vec![tcp(80)],
        ..Service::new(Key::new(namespace, name))
    };
    Svc(service)
}

pub(crate) fn tcp(number: u16) -> Port {
    Port {
        protocol: Protocol::Tcp,
        number,
    }
}

pub(crate) fn udp(number: u16) -> Port {
    Port {
        protocol: Protocol::Udp,
        number,
    }
}

impl Svc {
    pub(crate) fn v6(mut self) -> Self {
        self.0.cluster_ips = vec!["fd00::1".into()];
        self.0.primary = Family::V6;
        self
    }
    pub(crate) fn dual(mut self, policy: FamilyPolicy) -> Self {
        self.0.cluster_ips = vec!["10.96.0.1".into(), "fd00::1".into()];
        self.0.policy = policy;
        self
    }
    pub(crate) fn policy(mut self, policy: FamilyPolicy) -> Self {
        self.0.policy = policy;
        self
    }
    pub(crate) fn primary(mut self, family: Family) -> Self {
        self.0.primary = family;
        self
    }
    pub(crate) fn note(mut self, key: &str, value: &str) -> Self {
        self.0.annotations.insert(key.into(), value.into());
        self
    }
    pub(crate) fn ips(self, value: &str) -> Self {
        self.note(names::ANNOTATION_LOAD_BALANCER_IPS, value)
    }
    pub(crate) fn of_pool(self, value: &str) -> Self {
        self.note(names::ANNOTATION_ADDRESS_POOL, value)
    }
    pub(crate) fn share(self, value: &str) -> Self {
        self.note(names::ANNOTATION_ALLOW_SHARED_IP, value)
    }
    pub(crate) fn ports(mut self, ports: &[Port]) -> Self {
        self.0.ports = ports.to_vec();
        self
    }
    pub(crate) fn local(mut self, app: &str) -> Self {
        self.0.local = true;
        self.0.selector = BTreeMap::from([("app".into(), app.into())]);
        self
    }
    pub(crate) fn label(mut self, key: &str, value: &str) -> Self {
        self.0.labels.insert(key.into(), value.into());
        self
    }
    pub(crate) fn ingress(mut self, ips: &[&str]) -> Self {
        let entry = |ip: &&str| Ingress {
            ip: ip.to_string(),
            hostname: String::new(),
        };
        self.0.ingress = ips.iter().map(entry).collect();
        self
    }
    pub(crate) fn no_load_balancer(mut self) -> Self {
        self.0.load_balancer = false;
        self
    }
}

#[derive(Default)]
pub(crate) struct World {
    pub(crate) assigner: Assigner,
    pub(crate) services: BTreeMap<Key, Service>,
    pub(crate) pools: BTreeMap<String, Pool>,
    /// `reason: message` of every event since the last look.
    pub(crate) events: Vec<String>,
    /// Names of the Services written since the last look.
    pub(crate) writes: Vec<String>,
    /// Converges since the last look.
    pub(crate) looks: usize,
}

pub(crate) fn key(name: &str) -> Key {
    let (namespace, name) = name.split_once('/').unwrap_or(("default", name));
    Key::new(namespace, name)
}

impl World {
    pub(crate) fn new(pools: &[Pool]) -> Self {
        let mut world = Self::default();
        world.pools(pools);
        world
    }

    pub(crate) fn pools(&mut self, pools: &[Pool]) {
        self.pools = pools.iter().map(|pool| (pool.name.clone(), pool.clone())).collect();
        let touched = self.assigner.set_pools(&self.pools);
        self.run(touched);
    }

    /// Creates or edits; status and our mark survive an edit as in the API server.
    pub(crate) fn put(&mut self, svc: Svc) {
        let mut service = svc.0;
        if let Some(old) = self.services.get(&service.key) {
            if service.ingress.is_empty() {
                service.ingress.clone_from(&old.ingress);
            }
            if let Some(mark) = old.marked_pool() {
                service
                    .annotations
                    .insert(names::ANNOTATION_IP_ALLOCATED_FROM_POOL.into(), mark.into());
            }
        }
        let key = service.key.clone();
        self.services.insert(key.clone(), service);
        self.run(BTreeSet::from([key]));
    }

    pub(crate) fn delete(&mut self, name: &str) {
        let key = key(name);
        self.services.remove(&key);
        self.run(BTreeSet::from([key]));
    }

    pub(crate) fn again(&mut self, name: &str) {
        self.run(BTreeSet::from([key(name)]));
    }

    /// One look, without those whom it wakes.
    pub(crate) fn look(&mut self, name: &str) {
        self.assigner.take_woken();
        let service = self.services[&key(name)].clone();
        self.apply(&service);
    }

    /// A new process with nothing but the objects.
    pub(crate) fn restart(&mut self) {
        let names: Vec<_> = self.services.keys().map(ToString::to_string).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        self.restart_in_order(&names);
    }

    /// The same; so the Services were made one after the other.
    pub(crate) fn restart_in_order(&mut self, names: &[&str]) {
        self.assigner = Assigner::default();
        let mut touched = self.assigner.set_pools(&self.pools);
        for name in names {
            self.assigner.import(&self.services[&key(name)]);
        }
        for name in names {
            self.assigner.enlist(&self.services[&key(name)]);
        }
        touched.extend(self.services.keys().cloned());
        self.run(touched);
    }

    fn run(&mut self, mut queue: BTreeSet<Key>) {
        queue.append(&mut self.assigner.take_woken());
        while let Some(key) = queue.pop_first() {
            self.looks += 1;
            match self.services.get(&key).cloned() {
                None => {
                    self.assigner.forget(&key);
                }
                Some(service) => self.apply(&service),
            }
            queue.append(&mut self.assigner.take_woken());
        }
    }

    fn apply(&mut self, service: &Service) {
        let outcome = self.assigner.converge(service);
        if outcome.writes() {
            self.writes.push(service.key.name().to_owned());
        }
        let live = self.services.get_mut(&service.key).unwrap();
        for action in outcome.actions {
            match action {
                Action::SetIngress { ips, pool } => {
                    live.ingress = ips
                        .iter()
                        .map(|ip| Ingress {
                            ip: ip.to_string(),
                            hostname: String::new(),
                        })
                        .collect();
                    live.annotations
                        .insert(names::ANNOTATION_IP_ALLOCATED_FROM_POOL.into(), pool.to_string());
                }
                Action::ClearIngress => {
                    live.ingress.clear();
                    live.annotations.remove(names::ANNOTATION_IP_ALLOCATED_FROM_POOL);
                }
                Action::Event { reason, message, .. } => self.events.push(format!("{reason}: {message}")),
                Action::Log { .. } => {}
            }
        }
        let shown = live.shown();
        self.assigner.written(&service.key, &shown);
    }

    /// The addresses of a Service joined by commas, or nothing.
    pub(crate) fn has(&self, name: &str) -> String {
        let service = &self.services[&key(name)];
        service
            .ingress
            .iter()
            .map(|ingress| ingress.ip.clone())
            .collect::<Vec<_>>()
            .join(",")
    }

    pub(crate) fn mark(&self, name: &str) -> Option<&str> {
        self.services[&key(name)].marked_pool()
    }

    pub(crate) fn users(&self, ip: &str) -> Vec<String> {
        let ip: IpAddr = ip.parse().unwrap();
        self.assigner
            .allocator()
            .users(ip)
            .map(|key| key.name().to_owned())
            .collect()
    }

    /// Empties the records, so that what follows is seen alone.
    pub(crate) fn quiet(&mut self) -> &mut Self {
        self.events.clear();
        self.writes.clear();
        self.looks = 0;
        self
    }

    #[track_caller]
    pub(crate) fn told(&self, text: &str) {
        assert!(
            self.events.iter().any(|event| event.contains(text)),
            "no {text:?} in {:#?}",
            self.events
        );
    }

    #[track_caller]
    pub(crate) fn not_told(&self, text: &str) {
        assert!(
            !self.events.iter().any(|event| event.contains(text)),
            "{text:?} in {:#?}",
            self.events
        );
    }
}
