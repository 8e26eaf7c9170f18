//! The models: an API server, two replicas that see it with delay, a lease.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{LoadBalancerIngress, LoadBalancerStatus, Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use metallb_assign::{Accepted, Action, Engine, Event};
use metallb_config::{AddressRange, Namespaces, Pool, ServiceAllocation};
use metallb_ipam::Key;

/// More Services than addresses.
pub(crate) const NAMES: [&str; 12] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
pub(crate) const POOLS: usize = 8;

/// What another load balancer writes; no pool has it.
pub(crate) const FOREIGN: IpAddr = IpAddr::V4(Ipv4Addr::new(9, 9, 9, 9));

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
    /// It is given up, and made at some later time, if it can be made then.
    Late,
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
    /// Keys that come again at some time.
    later: Vec<(Duration, Key)>,
    /// Keys that failed and will fail again; they come again at some time, too.
    parked: BTreeSet<Key>,
    /// It was told to end: it begins nothing, and gives the lease up when its writes have ended.
    stopping: bool,
    now: Duration,
}

impl Replica {
    fn handle(&mut self, event: Event) -> Vec<Action> {
        let Some(engine) = self.engine.as_mut() else {
            return Vec::new();
        };
        engine.tick(self.now);
        engine.handle(Timestamp::UNIX_EPOCH, event)
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
            match action {
                Action::Enqueue(key) => self.add(key),
                Action::Later(key, delay) => self.later.push((self.now + delay, key)),
                _ => {}
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

    /// Time passes.
    fn pass(&mut self, time: Duration) {
        self.now += time;
        let (due, later) = std::mem::take(&mut self.later)
            .into_iter()
            .partition(|(at, _)| *at <= self.now);
        self.later = later;
        let due: Vec<_> = due;
        for (_, key) in due {
            self.add(key);
        }
        for key in std::mem::take(&mut self.parked) {
            self.add(key);
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
    /// Services that share, or shared since all was settled.
    pub(crate) sharers: BTreeSet<String>,
    /// Services whose writes are denied, until the history ends.
    pub(crate) denied: BTreeSet<String>,
    /// Services whose status somebody else has overwritten since our last write.
    pub(crate) overwritten: BTreeSet<String>,
    /// Services that waited when all was settled, as what they are, and since when.
    pub(crate) waiting: BTreeMap<String, (String, usize)>,
    /// How often users have written each Service since all was settled.
    pub(crate) edits: BTreeMap<String, usize>,
    /// How often pools were edited since all was settled.
    pub(crate) pool_edits: usize,
    /// How often all was settled.
    pub(crate) settlements: usize,
    /// Writes of each Service that the API server took.
    pub(crate) writes_of: BTreeMap<String, usize>,
    /// Services whose settled addresses no pool allowed for a while since.
    pub(crate) outlawed: BTreeSet<String>,
    /// The addresses when all was settled the last time.
    pub(crate) settled: BTreeMap<String, Vec<IpAddr>>,
    /// Writes that the API server took.
    pub(crate) writes: usize,
    /// Writes that were given up, and that may still be made.
    limbo: Vec<Write>,
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
            sharers: BTreeSet::new(),
            denied: BTreeSet::new(),
            overwritten: BTreeSet::new(),
            waiting: BTreeMap::new(),
            edits: BTreeMap::new(),
            pool_edits: 0,
            settlements: 0,
            writes_of: BTreeMap::new(),
            limbo: Vec::new(),
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
        *self.edits.entry(name.to_owned()).or_default() += 1;
        if shape.share.is_some() {
            self.sharers.insert(name.to_owned());
        }
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

    /// Somebody else writes the status, or empties it.
    pub(crate) fn overwrite(&mut self, name: usize, empties: bool) {
        let Some(mut service) = self.services.get(NAMES[name]).cloned() else {
            return;
        };
        let theirs = LoadBalancerIngress {
            ip: Some(FOREIGN.to_string()),
            ..LoadBalancerIngress::default()
        };
        let status = match empties {
            true => None,
            false => Some(vec![theirs]),
        };
        service.status.get_or_insert_default().load_balancer =
            status.map(|ingress| LoadBalancerStatus { ingress: Some(ingress) });
        self.overwritten.insert(NAMES[name].to_owned());
        self.store(service);
    }

    /// A Service has to leave what it has, and no write that says so is taken.
    pub(crate) fn leave(&mut self, name: usize, shape: &Shape) {
        self.put(name, shape);
        self.deny(name);
        self.see(self.leader, 1_000);
        self.leader().add(key(NAMES[name]));
        for pick in 0..NAMES.len() {
            self.work(pick);
        }
        for _ in 0..NAMES.len() {
            self.finish(0, Fate::Good);
        }
    }

    /// From now on no write of the Service is taken.
    pub(crate) fn deny(&mut self, name: usize) {
        self.denied.insert(NAMES[name].to_owned());
    }

    /// Whoever denied writes has gone.
    pub(crate) fn allow_all(&mut self) {
        for name in std::mem::take(&mut self.denied) {
            // What it has by now was given to it before.
            *self.edits.entry(name).or_default() += 2;
        }
        // And what was denied is tried once more.
        self.pass(Duration::ZERO);
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        for replica in &mut self.replicas {
            replica.pass(time);
        }
    }

    /// Somebody overwrites the status for a minute, as soon as he sees ours; returns how often we wrote.
    pub(crate) fn fight(&mut self, name: usize) -> usize {
        let step = Duration::from_millis(50);
        let before = self.writes_of.get(NAMES[name]).copied().unwrap_or_default();
        for _ in 0..1_200 {
            let own = self.services.get(NAMES[name]).map(ips);
            if own.is_some_and(|own| own != [FOREIGN]) {
                self.overwrite(name, false);
            }
            for _ in 0..4 {
                self.see(self.leader, 8);
                self.work(0);
                self.finish(0, Fate::Good);
            }
            self.pass(step);
        }
        self.writes_of.get(NAMES[name]).copied().unwrap_or_default() - before
    }

    /// Every Service is looked at, as after a list.
    pub(crate) fn look_at_all(&mut self) {
        let names: Vec<_> = self.services.keys().cloned().collect();
        for name in names {
            self.leader().add(key(&name));
        }
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
        self.pool_edits += 1;
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
        if leader.stopping {
            return;
        }
        let place = pick % leader.queue.len().max(1);
        let Some(key) = leader.queue.iter().nth(place).cloned() else {
            return;
        };
        leader.queue.remove(&key);
        let seen = leader.cache.get(key.name()).cloned();
        let mut actions = leader.handle(Event::Look(key.clone(), seen, None));
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
        let denied = self.denied.contains(write.key.name());
        let leader = self.leader();
        if made && fate == Fate::Good {
            let from = write.service.resource_version();
            let event = Event::Written {
                key: write.key.clone(),
                from,
            };
            let actions = leader.handle(event);
            leader.settle(actions);
        } else if denied {
            leader.parked.insert(write.key.clone());
        } else {
            leader.queue.insert(write.key.clone());
        }
        if leader.again.remove(&write.key) {
            leader.parked.remove(&write.key);
            leader.queue.insert(write.key.clone());
        }
        let (key, service) = (write.key, write.service);
        leader.settle(write.actions);
        if fate == Fate::Late {
            let actions = Vec::new();
            self.limbo.push(Write { key, service, actions });
        }
        self.end_if_stopped();
    }

    /// A write that was given up reaches the API server after all.
    pub(crate) fn land(&mut self, pick: usize) {
        if !self.limbo.is_empty() {
            let write = self.limbo.swap_remove(pick % self.limbo.len());
            self.take(&write);
        }
    }

    /// The leader is told to end.
    pub(crate) fn stop(&mut self) {
        self.leader().stopping = true;
        self.end_if_stopped();
    }

    fn end_if_stopped(&mut self) {
        if self.leader().stopping && self.leader().writes.is_empty() {
            self.hand_over(&[Fate::Lost]);
        }
    }

    /// The API server takes a write of the version that it has.
    fn take(&mut self, write: &Write) -> bool {
        let Some(stored) = self.services.get(write.key.name()) else {
            return false;
        };
        if self.denied.contains(write.key.name()) {
            return false;
        }
        if stored.resource_version() != write.service.resource_version() || stored.uid() != write.service.uid() {
            return false;
        }
        self.writes += 1;
        *self.writes_of.entry(write.key.name().to_owned()).or_default() += 1;
        self.overwritten.remove(write.key.name());
        self.store((*write.service).clone());
        true
    }

    /// All that is on its way ends so, one after the other; then nobody leads.
    fn end(&mut self, fates: &[Fate]) {
        let writes = std::mem::take(&mut self.leader().writes);
        let writes = writes.into_iter().chain(std::mem::take(&mut self.limbo));
        for (write, fate) in writes.zip(fates.iter().cycle()) {
            if matches!(fate, Fate::Good | Fate::Unanswered) {
                self.take(&write);
            }
        }
        let leader = self.leader();
        (leader.engine, leader.queue, leader.again) = (None, BTreeSet::new(), BTreeSet::new());
        (leader.later, leader.parked, leader.stopping) = (Vec::new(), BTreeSet::new(), false);
        // What was known of these is gone with the leader.
        let overwritten: Vec<_> = self.overwritten.iter().cloned().collect();
        self.touched.extend(overwritten);
        // Turns are, too: now the older Service comes first.
        self.waiting.clear();
    }

    pub(crate) fn restart(&mut self, fates: &[Fate]) {
        self.end(fates);
        self.leader().lead();
    }

    pub(crate) fn hand_over(&mut self, fates: &[Fate]) {
        self.end(fates);
        self.leader = 1 - self.leader;
        self.leader().lead();
    }

    /// Everything arrives and is worked on until there is nothing left to do.
    pub(crate) fn settle(&mut self) {
        for _ in 0..10_000 {
            self.see(0, usize::from(!self.replicas[0].news.is_empty()));
            self.see(1, usize::from(!self.replicas[1].news.is_empty()));
            self.land(0);
            self.work(0);
            self.finish(0, Fate::Good);
            let idle =
                |replica: &Replica| replica.news.is_empty() && replica.queue.is_empty() && replica.writes.is_empty();
            if !self.replicas.iter().all(idle) || !self.limbo.is_empty() {
                continue;
            }
            match self.leader().later.iter().map(|(at, _)| *at).min() {
                None => return,
                Some(at) => {
                    let time = at.saturating_sub(self.leader().now);
                    self.pass(time);
                }
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
