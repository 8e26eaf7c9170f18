//! The models: an API server, two replicas that see it with delay, a lease.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use metallb_config::{AddressRange, Namespaces, Pool, ServiceAllocation};
use metallb_controller::engine::{Accepted, Action, Engine, Event};
use metallb_ipam::Key;

pub(crate) const NAMES: [&str; 7] = ["a", "b", "c", "d", "e", "f", "g"];
pub(crate) const POOLS: usize = 8;

/// What a user can say of a Service.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) share: Option<bool>,
    pub(crate) port: i32,
    pub(crate) local: bool,
    pub(crate) dual: bool,
    pub(crate) wanted: Option<usize>,
    pub(crate) pool: Option<usize>,
    pub(crate) load_balancer: bool,
}

/// How a write ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Good,
    /// It is not made.
    Lost,
    /// It is made, which nobody hears of.
    Unanswered,
    /// Somebody else was quicker.
    Conflict,
}

/// Pools of which a history picks some; those picked together never overlap.
fn catalog() -> [Pool; POOLS] {
    let pool = |name: &str, ranges: &[&str]| Pool {
        name: name.into(),
        entries: ranges.iter().map(|range| AddressRange::parse(range).unwrap()).collect(),
        auto_assign: true,
        ..Pool::default()
    };
    let pinned = |pool: Pool, namespace: &str| Pool {
        allocation: Some(ServiceAllocation {
            priority: 1,
            namespaces: Namespaces::Only([namespace.to_owned()].into()),
            services: Vec::new(),
        }),
        ..pool
    };
    [
        pool("p", &["2.0.0.0/30", "fc00::/126"]),
        pool("renamed", &["2.0.0.0/30", "fc00::/126"]),
        pool("p", &["2.0.0.0/31"]),
        pinned(pool("p", &["2.0.0.0/30", "fc00::/126"]), "other"),
        pinned(pool("mine", &["3.0.0.0/31"]), "default"),
        pool("mine", &["3.0.0.0/31", "fc01::/127"]),
        Pool {
            avoid_buggy_ips: true,
            ..pool("mine", &["3.0.0.0/30"])
        },
        Pool {
            auto_assign: false,
            ..pool("asked", &["4.0.0.0/31"])
        },
    ]
}

pub(crate) fn ips(service: &Service) -> Vec<IpAddr> {
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let entries = status.and_then(|status| status.ingress.as_ref()).into_iter().flatten();
    entries.filter_map(|entry| entry.ip.as_ref()?.parse().ok()).collect()
}

fn key(name: &str) -> Key {
    Key::new("default", name)
}

/// Something that a watch tells.
enum News {
    Service(String, Option<Arc<Service>>),
    Pools(Arc<Accepted>),
}

/// A write on its way.
struct Write {
    key: Key,
    service: Box<Service>,
    actions: Vec<Action>,
}

#[derive(Default)]
struct Replica {
    news: VecDeque<News>,
    cache: BTreeMap<String, Arc<Service>>,
    pools: Arc<Accepted>,
    /// There while it leads.
    engine: Option<Engine>,
    queue: BTreeSet<Key>,
    writes: Vec<Write>,
    /// Keys that came while they were worked on.
    again: BTreeSet<Key>,
}

impl Replica {
    fn handle(&mut self, event: Event) -> Vec<Action> {
        let engine = self.engine.as_mut();
        engine.map_or_else(Vec::new, |engine| engine.handle(Timestamp::UNIX_EPOCH, event))
    }

    fn add(&mut self, key: Key) {
        if self.engine.is_none() {
            return;
        }
        if self.writes.iter().any(|write| write.key == key) {
            self.again.insert(key);
        } else {
            self.queue.insert(key);
        }
    }

    fn settle(&mut self, actions: Vec<Action>) {
        for action in actions {
            if let Action::Enqueue(key) = action {
                self.add(key);
            }
        }
    }

    fn see(&mut self, news: News) {
        match news {
            News::Service(name, service) => {
                match service {
                    Some(service) => self.cache.insert(name.clone(), service),
                    None => self.cache.remove(&name),
                };
                self.add(key(&name));
            }
            News::Pools(pools) => {
                self.pools = Arc::clone(&pools);
                let actions = self.handle(Event::Pools(pools));
                self.settle(actions);
            }
        }
    }

    /// A successor waits until its watches are not behind.
    fn lead(&mut self) {
        while let Some(news) = self.news.pop_front() {
            self.see(news);
        }
        self.engine = Some(Engine::new("", true));
        let start = Event::Start {
            pools: Arc::clone(&self.pools),
            services: self.cache.values().cloned().collect(),
        };
        let actions = self.handle(start);
        self.settle(actions);
    }
}

pub(crate) struct Cluster {
    pub(crate) services: BTreeMap<String, Service>,
    pub(crate) pools: BTreeMap<String, Pool>,
    /// Services that users have touched since all was settled, and those that shared with them.
    pub(crate) touched: BTreeSet<String>,
    /// Services whose settled addresses no pool allowed for a while since.
    pub(crate) outlawed: BTreeSet<String>,
    /// The addresses when all was settled the last time.
    pub(crate) settled: BTreeMap<String, Vec<IpAddr>>,
    /// Writes that the API server took.
    pub(crate) writes: usize,
    replicas: [Replica; 2],
    leader: usize,
    version: u64,
    made: i64,
}

impl Cluster {
    pub(crate) fn new() -> Self {
        let mut cluster = Self {
            services: BTreeMap::new(),
            pools: BTreeMap::new(),
            touched: BTreeSet::new(),
            outlawed: BTreeSet::new(),
            settled: BTreeMap::new(),
            writes: 0,
            replicas: Default::default(),
            leader: 0,
            version: 0,
            made: 0,
        };
        cluster.set_pools(&[0, 4]);
        cluster.leader().lead();
        cluster
    }

    fn leader(&mut self) -> &mut Replica {
        &mut self.replicas[self.leader]
    }

    fn store(&mut self, mut service: Service) {
        self.version += 1;
        service.metadata.resource_version = Some(self.version.to_string());
        let (name, stored) = (service.name_any(), Arc::new(service.clone()));
        self.services.insert(name.clone(), service);
        self.tell(|| News::Service(name.clone(), Some(Arc::clone(&stored))));
    }

    fn tell(&mut self, news: impl Fn() -> News) {
        for replica in &mut self.replicas {
            replica.news.push_back(news());
        }
    }

    /// A user's hand on a Service concerns those who share an address with it, too.
    fn touch(&mut self, name: &str) {
        let own = self.services.get(name).map(ips).unwrap_or_default();
        let shares = |other: &Service| ips(other).iter().any(|ip| own.contains(ip));
        let mates = self.services.values().filter(|other| shares(other));
        self.touched.extend(mates.map(ResourceExt::name_any));
        self.touched.insert(name.to_owned());
    }

    pub(crate) fn put(&mut self, name: usize, shape: &Shape) {
        let name = NAMES[name];
        self.touch(name);
        let mut service = build(name, shape);
        match self.services.get(name) {
            Some(old) => {
                service.metadata.uid.clone_from(&old.metadata.uid);
                service
                    .metadata
                    .creation_timestamp
                    .clone_from(&old.metadata.creation_timestamp);
                service.status.clone_from(&old.status);
                let mark = "metallb.io/ip-allocated-from-pool";
                if let Some(pool) = old.annotations().get(mark) {
                    service.annotations_mut().insert(mark.into(), pool.clone());
                }
            }
            None => self.identify(&mut service),
        }
        self.store(service);
    }

    fn identify(&mut self, service: &mut Service) {
        self.made += 1;
        let time = Timestamp::from_second(self.made).unwrap();
        service.metadata.uid = Some(format!("uid-{}", self.made));
        service.metadata.creation_timestamp = Some(Time(time));
    }

    pub(crate) fn delete(&mut self, name: usize) {
        let name = NAMES[name];
        self.touch(name);
        if self.services.remove(name).is_some() {
            self.tell(|| News::Service(name.to_owned(), None));
        }
    }

    pub(crate) fn recreate(&mut self, name: usize) {
        let Some(mut service) = self.services.get(NAMES[name]).cloned() else {
            return;
        };
        self.delete(name);
        service.status = None;
        service.annotations_mut().remove("metallb.io/ip-allocated-from-pool");
        self.identify(&mut service);
        self.store(service);
    }

    pub(crate) fn wipe(&mut self, name: usize) {
        let Some(mut service) = self.services.get(NAMES[name]).cloned() else {
            return;
        };
        self.touch(NAMES[name]);
        service.status = None;
        self.store(service);
    }

    pub(crate) fn set_pools(&mut self, picks: &[usize]) {
        let all = catalog();
        let mut pools: BTreeMap<String, Pool> = BTreeMap::new();
        for pool in picks.iter().map(|pick| &all[*pick]) {
            let clash = pools.values().any(|own| {
                own.name == pool.name || own.entries.iter().any(|a| pool.entries.iter().any(|b| a.overlaps(b)))
            });
            if !clash {
                pools.insert(pool.name.clone(), pool.clone());
            }
        }
        self.pools.clone_from(&pools);
        let accepted = Arc::new(Accepted {
            pools,
            ..Accepted::default()
        });
        self.tell(|| News::Pools(Arc::clone(&accepted)));
    }

    pub(crate) fn see(&mut self, replica: usize, count: usize) {
        let replica = &mut self.replicas[replica];
        for _ in 0..count {
            if let Some(news) = replica.news.pop_front() {
                replica.see(news);
            }
        }
    }

    pub(crate) fn work(&mut self, pick: usize) {
        let leader = self.leader();
        let place = pick % leader.queue.len().max(1);
        let Some(key) = leader.queue.iter().nth(place).cloned() else {
            return;
        };
        leader.queue.remove(&key);
        let seen = leader.cache.get(key.name()).cloned();
        let mut actions = leader.handle(Event::Look(key.clone(), seen));
        let write = actions.iter().position(|action| matches!(action, Action::Write(_)));
        match write.map(|at| actions.remove(at)) {
            Some(Action::Write(service)) => leader.writes.push(Write { key, service, actions }),
            _ => leader.settle(actions),
        }
    }

    pub(crate) fn finish(&mut self, pick: usize, fate: Fate) {
        let writes = &mut self.leader().writes;
        if writes.is_empty() {
            return;
        }
        let write = writes.swap_remove(pick % writes.len());
        let made = matches!(fate, Fate::Good | Fate::Unanswered) && self.take(&write);
        let leader = self.leader();
        if made && fate == Fate::Good {
            let from = write.service.resource_version();
            let event = Event::Written {
                key: write.key.clone(),
                from,
            };
            let actions = leader.handle(event);
            leader.settle(actions);
        } else {
            leader.queue.insert(write.key.clone());
        }
        if leader.again.remove(&write.key) {
            leader.queue.insert(write.key.clone());
        }
        leader.settle(write.actions);
    }

    /// The API server takes a write of the version that it has.
    fn take(&mut self, write: &Write) -> bool {
        let Some(stored) = self.services.get(write.key.name()) else {
            return false;
        };
        if stored.resource_version() != write.service.resource_version() || stored.uid() != write.service.uid() {
            return false;
        }
        self.writes += 1;
        self.store((*write.service).clone());
        true
    }

    /// All that is on its way ends so; then nobody leads.
    fn end(&mut self, fate: Fate) {
        let writes = std::mem::take(&mut self.leader().writes);
        for write in writes {
            if matches!(fate, Fate::Good | Fate::Unanswered) {
                self.take(&write);
            }
        }
        let leader = self.leader();
        (leader.engine, leader.queue, leader.again) = (None, BTreeSet::new(), BTreeSet::new());
    }

    pub(crate) fn restart(&mut self, fate: Fate) {
        self.end(fate);
        self.leader().lead();
    }

    pub(crate) fn hand_over(&mut self, fate: Fate) {
        self.end(fate);
        self.leader = 1 - self.leader;
        self.leader().lead();
    }

    /// Everything arrives and is worked on until there is nothing left to do.
    pub(crate) fn settle(&mut self) {
        for _ in 0..10_000 {
            self.see(0, usize::from(!self.replicas[0].news.is_empty()));
            self.see(1, usize::from(!self.replicas[1].news.is_empty()));
            self.work(0);
            self.finish(0, Fate::Good);
            let idle =
                |replica: &Replica| replica.news.is_empty() && replica.queue.is_empty() && replica.writes.is_empty();
            if self.replicas.iter().all(idle) {
                return;
            }
        }
        panic!("it never settles");
    }

    pub(crate) fn addresses(&self) -> BTreeMap<String, Vec<IpAddr>> {
        let services = self.services.values();
        services.map(|service| (service.name_any(), ips(service))).collect()
    }

    pub(crate) fn numbers(&self, pool: &str) -> Option<metallb_ipam::Counters> {
        self.replicas[self.leader].engine.as_ref()?.counters(pool)
    }
}

fn build(name: &str, shape: &Shape) -> Service {
    let mut metadata = ObjectMeta {
        name: Some(name.into()),
        namespace: Some("default".into()),
        ..ObjectMeta::default()
    };
    let mut note = |key: &str, value: &str| {
        let notes = metadata.annotations.get_or_insert_default();
        notes.insert(format!("metallb.io/{key}"), value.into());
    };
    if let Some(first) = shape.share {
        note("allow-shared-ip", if first { "k" } else { "l" });
    }
    if let Some(wanted) = shape.wanted {
        note("loadBalancerIPs", ["2.0.0.1", "2.0.0.3", "3.0.0.0", "junk"][wanted]);
    }
    if let Some(pool) = shape.pool {
        note("address-pool", ["p", "asked", "nowhere"][pool]);
    }
    let cluster_ips: &[&str] = if shape.dual {
        &["10.96.0.1", "fd00::1"]
    } else {
        &["10.96.0.1"]
    };
    let port = ServicePort {
        port: shape.port,
        ..ServicePort::default()
    };
    let text = |text: &str| Some(text.to_owned());
    let spec = ServiceSpec {
        type_: text(if shape.load_balancer {
            "LoadBalancer"
        } else {
            "ClusterIP"
        }),
        cluster_ips: Some(cluster_ips.iter().map(ToString::to_string).collect()),
        ip_family_policy: text(if shape.dual { "PreferDualStack" } else { "SingleStack" }),
        external_traffic_policy: text(if shape.local { "Local" } else { "Cluster" }),
        selector: Some([("app".to_owned(), "x".to_owned())].into()),
        ports: Some(vec![port]),
        ..ServiceSpec::default()
    };
    Service {
        metadata,
        spec: Some(spec),
        status: None,
    }
}
