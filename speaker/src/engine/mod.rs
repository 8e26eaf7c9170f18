//! What this node announces: the one owner of all state that decisions depend on.
//!
//! [`Engine::handle`] takes what was seen in the cluster and returns what to do about it. Each Service is judged on its
//! own by `metallb-announce`, so that none waits for another; the data plane is then given the whole desired set, and
//! only when it differs. Nothing is announced before the first picture is complete, and nothing is withdrawn because
//! news stop coming.

mod announced;
mod effect;
mod settle;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use kube::ResourceExt;
use metallb_announce::{Decision, Endpoints, Inputs, NodeView, Reason, Route, ServiceView, decide};
use metallb_config::{Config, Interfaces, Options, Pool, Resources, Rule, Warning};
use metallb_dataplane::bgp::PeerConfig;
use metallb_dataplane::l2;
use tracing::{info, warn};

use announced::{Announced, Context};
pub use effect::{ConfigReport, Effect, EventKind, Protocol, ServiceKey, StatusContent};
use settle::Settled;

/// What does not change while the speaker runs.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Name of this node.
    pub node: String,
    /// `--lb-class`.
    pub class: String,
    /// `--ignore-exclude-lb`.
    pub ignore_exclude_label: bool,
    /// Whether layer 2 has to wait for, and listen to, the membership.
    pub membership: bool,
    /// How the configuration is parsed.
    pub options: Options,
}

/// What was seen.
#[derive(Clone, Debug)]
pub enum Event {
    /// A Service is there, or gone.
    Service(ServiceKey, Option<ServiceFacts>),
    /// An EndpointSlice (namespace, name) is there with its Service and its endpoints, or gone.
    Slice(ServiceKey, Option<(String, Endpoints)>),
    /// A Node is there, or gone.
    Node(String, Option<NodeView>),
    /// Services, slices and nodes were listed completely.
    Listed,
    /// Everything that configuration is made of.
    Resources(Box<Resources>),
    /// Whose speakers are alive; to be sent first when that can be trusted.
    Members(BTreeSet<String>),
    /// Names of the interfaces of this node; to be sent first when they were scanned.
    Interfaces(BTreeSet<String>),
}

/// A Service as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceFacts {
    /// What decides.
    pub view: ServiceView,
    /// `metadata.uid`, for events.
    pub uid: Option<String>,
}

/// Services to look at again.
#[derive(Debug, Default)]
struct Dirty {
    all: bool,
    services: BTreeSet<ServiceKey>,
}

/// Decides what this node announces.
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
    config: Option<Settled>,
    sessions: BTreeMap<String, PeerConfig>,
    services: BTreeMap<ServiceKey, ServiceFacts>,
    /// Which Service a slice belongs to.
    slices: BTreeMap<ServiceKey, ServiceKey>,
    /// Endpoints of a Service by slice.
    endpoints: BTreeMap<ServiceKey, BTreeMap<String, Endpoints>>,
    nodes: BTreeMap<String, NodeView>,
    members: Option<BTreeSet<String>>,
    interfaces: Option<BTreeSet<String>>,
    listed: bool,
    announced: BTreeMap<ServiceKey, Announced>,
    /// Services whose addresses left their pool while announced; they keep it until the address changes.
    kept: BTreeMap<ServiceKey, Pool>,
    /// An announcement changed since the data plane was told.
    moved: bool,
    layer2: l2::Desired,
    routes: Vec<Route>,
    report: Option<ConfigReport>,
    opened: BTreeSet<Protocol>,
}

impl Engine {
    /// Creates an engine that knows nothing and announces nothing.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            config: None,
            sessions: BTreeMap::new(),
            services: BTreeMap::new(),
            slices: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            nodes: BTreeMap::new(),
            members: None,
            interfaces: None,
            listed: false,
            announced: BTreeMap::new(),
            kept: BTreeMap::new(),
            moved: false,
            layer2: l2::Desired::new(),
            routes: Vec::new(),
            report: None,
            opened: BTreeSet::new(),
        }
    }

    /// Takes one event; returns what to do, the data plane first.
    pub fn handle(&mut self, event: Event) -> Vec<Effect> {
        self.handle_all([event])
    }

    /// Takes events that came together, and decides once.
    pub fn handle_all(&mut self, events: impl IntoIterator<Item = Event>) -> Vec<Effect> {
        let mut effects = Vec::new();
        let mut dirty = Dirty::default();
        for event in events {
            self.take(event, &mut dirty, &mut effects);
        }
        self.open(&mut dirty, &mut effects);
        if self.is_open(Protocol::Bgp) {
            self.judge(dirty, &mut effects);
        }
        let mut all = self.data_plane();
        all.append(&mut effects);
        all
    }

    fn take(&mut self, event: Event, dirty: &mut Dirty, effects: &mut Vec<Effect>) {
        match event {
            Event::Service(key, facts) => {
                let known = match facts {
                    Some(facts) => self.services.insert(key.clone(), facts),
                    None => self.services.remove(&key),
                };
                if known.as_ref() != self.services.get(&key) {
                    dirty.services.insert(key);
                }
            }
            Event::Slice(slice, content) => self.take_slice(&slice, content, dirty),
            Event::Node(name, view) => self.take_node(&name, view, dirty),
            Event::Listed => self.listed = true,
            Event::Resources(resources) => self.take_resources(&resources, dirty, effects),
            Event::Members(members) => {
                if self.members.replace(members) != self.members {
                    dirty.all = true;
                }
            }
            Event::Interfaces(names) => {
                if self.interfaces.replace(names) != self.interfaces {
                    dirty.services.extend(self.restricted_to_interfaces());
                }
            }
        }
    }

    fn take_slice(&mut self, slice: &ServiceKey, content: Option<(String, Endpoints)>, dirty: &mut Dirty) {
        let owner = content
            .as_ref()
            .map(|(service, _)| ServiceKey::new(&slice.namespace, service));
        let before = match &owner {
            Some(owner) => self.slices.insert(slice.clone(), owner.clone()),
            None => self.slices.remove(slice),
        };
        if let Some(before) = before.filter(|before| Some(before) != owner.as_ref()) {
            if let Some(slices) = self.endpoints.get_mut(&before) {
                slices.remove(&slice.name);
                if slices.is_empty() {
                    self.endpoints.remove(&before);
                }
            }
            dirty.services.insert(before);
        }
        if let (Some(owner), Some((_, endpoints))) = (owner, content) {
            let slices = self.endpoints.entry(owner.clone()).or_default();
            if slices.insert(slice.name.clone(), endpoints).as_ref() != slices.get(&slice.name) {
                dirty.services.insert(owner);
            }
        }
    }

    fn take_node(&mut self, name: &str, view: Option<NodeView>, dirty: &mut Dirty) {
        let before = match view {
            Some(view) => self.nodes.insert(name.to_owned(), view),
            None => self.nodes.remove(name),
        };
        // Without membership the known nodes are the candidates, so that coming and going counts too.
        let changed = before.unwrap_or_default() != view.unwrap_or_default();
        dirty.all |= changed || (!self.settings.membership && before.is_some() != view.is_some());
    }

    fn restricted_to_interfaces(&self) -> Vec<ServiceKey> {
        self.announced
            .iter()
            .filter(|(_, a)| a.depends_on_interfaces())
            .map(|(key, _)| key.clone())
            .collect()
    }

    /// Judges what became possible to judge.
    fn open(&mut self, dirty: &mut Dirty, effects: &mut Vec<Effect>) {
        let bgp = self.listed && self.config.is_some();
        let layer2 = bgp && self.interfaces.is_some() && (!self.settings.membership || self.members.is_some());
        for (protocol, complete) in [(Protocol::Bgp, bgp), (Protocol::Layer2, layer2)] {
            if complete && self.opened.insert(protocol) {
                info!(event = "announcing", %protocol, "first picture of the cluster is complete");
                dirty.all = true;
                effects.push(Effect::Opened(protocol));
            }
        }
    }

    fn is_open(&self, protocol: Protocol) -> bool {
        self.opened.contains(&protocol)
    }

    fn take_resources(&mut self, resources: &Resources, dirty: &mut Dirty, effects: &mut Vec<Effect>) {
        let settled = settle::settle(resources, self.config.as_ref(), &self.settings.options);
        effects.extend(settled.news.iter().filter_map(|warning| doubtful(warning, resources)));
        if let Some(before) = &self.config {
            if before.config != settled.config {
                dirty.services.extend(self.concerned(&before.config, &settled.config));
                self.keep_pools(&settled.config);
            }
        } else {
            dirty.all = true;
        }
        let peers = self
            .config
            .as_ref()
            .is_none_or(|before| before.config.peers != settled.config.peers);
        self.config = Some(settled);
        if peers {
            self.refresh_sessions(effects);
            dirty.services.extend(self.announced.keys().cloned());
        }
        self.report(effects);
    }

    /// Services with an address whose pool is another one, or differs, under the new configuration.
    fn concerned(&self, before: &Config, after: &Config) -> Vec<ServiceKey> {
        let changed: BTreeSet<&String> = after
            .pools
            .iter()
            .filter(|(name, pool)| before.pools.get(*name) != Some(pool))
            .map(|(name, _)| name)
            .collect();
        let name = |config: &'_ Config, ip| config.pool_of(ip).map(|pool| pool.name.clone());
        let moved = |ip| {
            let now = name(after, ip);
            now.as_ref().is_some_and(|now| changed.contains(now)) || now != name(before, ip)
        };
        self.services
            .iter()
            .filter(|(_, facts)| facts.view.ingress.iter().flatten().any(|ip| moved(*ip)))
            .map(|(key, _)| key.clone())
            .collect()
    }

    /// Remembers the pools of Services that `after` would leave without, whoever announces them now: another node may
    /// have to.
    ///
    /// Upstream: refuses the whole configuration until the controller has taken the address away.
    fn keep_pools(&mut self, after: &Config) {
        let Some(before) = &self.config else { return };
        for (key, facts) in self.services.iter().filter(|(_, facts)| facts.view.load_balancer) {
            if fitting_pool(after, &facts.view).is_none()
                && let Some(pool) = fitting_pool(&before.config, &facts.view)
            {
                warn!(event = "poolInUse", service = %key, pool = pool.name, "pool is gone but its address is still in use");
                self.kept.insert(key.clone(), pool.clone());
            }
        }
    }

    fn refresh_sessions(&mut self, effects: &mut Vec<Effect>) {
        let Some(settled) = &self.config else { return };
        let mut sessions = BTreeMap::new();
        for peer in settled.config.peers.values() {
            if let Some(session) = crate::peers::session(peer, &self.settings.node) {
                sessions.insert(peer.name.clone(), session);
            }
        }
        for name in sessions.keys().filter(|name| !self.sessions.contains_key(*name)) {
            info!(
                event = "peerAdded",
                peer = name,
                "peer configured, starting BGP session"
            );
        }
        for name in self.sessions.keys().filter(|name| !sessions.contains_key(*name)) {
            info!(
                event = "peerRemoved",
                peer = name,
                reason = "removedFromConfig",
                "peer deconfigured, closing BGP session"
            );
        }
        if self.sessions != sessions {
            effects.push(Effect::Peers(sessions.values().cloned().collect()));
            self.sessions = sessions;
        }
    }

    fn judge(&mut self, dirty: Dirty, effects: &mut Vec<Effect>) {
        let keys: BTreeSet<ServiceKey> = if dirty.all {
            self.services.keys().chain(self.announced.keys()).cloned().collect()
        } else {
            dirty.services
        };
        let kept = self.kept.len();
        for key in keys {
            self.judge_one(&key, effects);
        }
        if self.kept.len() != kept {
            self.report(effects);
        }
    }

    fn judge_one(&mut self, key: &ServiceKey, effects: &mut Vec<Effect>) {
        let relevant = self.services.get(key).is_some_and(|facts| facts.view.load_balancer);
        if !relevant && !self.announced.contains_key(key) {
            return;
        }
        let decision = self.decide(key);
        let mut announced = self.announced.remove(key).unwrap_or_default();
        let facts = self.services.get(key);
        let addresses: Vec<IpAddr> = facts
            .into_iter()
            .flat_map(|f| f.view.ingress.iter().copied().flatten())
            .collect();
        let context = Context {
            node: &self.settings.node,
            service: key,
            uid: facts.and_then(|facts| facts.uid.as_deref()),
            addresses: &addresses,
            interfaces: self.interfaces.as_ref(),
            sessions: &self.sessions,
        };
        self.moved |= announced.update(&context, decision, effects);
        if relevant {
            self.announced.insert(key.clone(), announced);
        }
    }

    fn decide(&mut self, key: &ServiceKey) -> Decision {
        let Some(facts) = self.services.get(key) else {
            self.kept.remove(key);
            return Decision::none(Reason::ServiceDeleted);
        };
        let Some(settled) = &self.config else {
            return Decision::none(Reason::IpNotAllowed);
        };
        if fitting_pool(&settled.config, &facts.view).is_some() {
            self.kept.remove(key);
        }
        let endpoints = merge(self.endpoints.get(key));
        let inputs = |config| Inputs {
            config,
            node: &self.settings.node,
            nodes: &self.nodes,
            members: self.members.as_ref().filter(|_| self.settings.membership),
            ignore_exclude_label: self.settings.ignore_exclude_label,
            class: &self.settings.class,
        };
        let mut decision = match self.kept.get(key) {
            Some(pool) => {
                let config = Config {
                    pools: [(pool.name.clone(), pool.clone())].into(),
                    ..Config::default()
                };
                decide(&inputs(&config), &facts.view, &endpoints)
            }
            None => decide(&inputs(&settled.config), &facts.view, &endpoints),
        };
        if decision.pool.is_none() {
            self.kept.remove(key);
        }
        if !self.opened.contains(&Protocol::Layer2) {
            decision.layer2 = Err(Reason::NotOwner);
        }
        decision
    }

    /// Says what is wrong with the configuration, if that is news.
    fn report(&mut self, effects: &mut Vec<Effect>) {
        let Some(settled) = &self.config else { return };
        let in_use = self.kept.iter().map(|(key, pool)| {
            format!(
                "service {key} still has an address of pool {}, which does not hold it any more",
                pool.name
            )
        });
        let unmet: Vec<String> = settled.config.peers.values().flat_map(crate::peers::unmet).collect();
        let is_known = |reason| {
            self.report
                .as_ref()
                .is_some_and(|before| before.errors.contains(reason))
        };
        for reason in unmet.iter().filter(|reason| !is_known(reason)) {
            warn!(event = "peerLimited", reason);
        }
        let report = ConfigReport {
            errors: settled.errors.iter().cloned().chain(unmet).chain(in_use).collect(),
        };
        if self.report.as_ref() != Some(&report) {
            effects.push(Effect::Configuration(report.clone()));
            self.report = Some(report);
        }
    }

    /// Returns the whole sets that differ from what the data plane was given last.
    fn data_plane(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        if !std::mem::take(&mut self.moved) {
            return effects;
        }
        let routes = announced::routes(self.announced.values());
        if routes != self.routes {
            info!(event = "updatedAdvertisements", numAds = routes.len());
            effects.push(Effect::Routes(routes.clone()));
            self.routes = routes;
        }
        let layer2 = announced::layer2(self.announced.values());
        if layer2 != self.layer2 {
            effects.push(Effect::Layer2(layer2.clone()));
            self.layer2 = layer2;
        }
        effects
    }
}

/// Admission, which tells every other warning, knows no Secrets.
fn doubtful(warning: &Warning, resources: &Resources) -> Option<Effect> {
    if warning.rule != Rule::W29 {
        return None;
    }
    let peer = resources
        .peers
        .iter()
        .find(|peer| peer.name_any() == warning.object.name)?;
    Some(Effect::Doubtful {
        peer: ServiceKey::new(&resources.namespace, &warning.object.name),
        uid: peer.uid(),
        note: warning.reason.clone(),
    })
}

/// The one pool that holds all addresses of a Service.
fn fitting_pool<'a>(config: &'a Config, view: &ServiceView) -> Option<&'a Pool> {
    let addresses: Vec<IpAddr> = view.ingress.iter().copied().collect::<Option<_>>()?;
    let pool = config.pool_of(*addresses.first()?)?;
    addresses.iter().all(|ip| pool.contains(*ip)).then_some(pool)
}

fn merge(slices: Option<&BTreeMap<String, Endpoints>>) -> Endpoints {
    let mut all = Endpoints::default();
    for endpoints in slices.into_iter().flat_map(BTreeMap::values) {
        all.any |= endpoints.any;
        all.nodes.extend(endpoints.nodes.iter().cloned());
    }
    all
}

/// Converts between the two halves of the house.
fn interfaces(from: &Interfaces) -> l2::Interfaces {
    match from {
        Interfaces::All => l2::Interfaces::All,
        Interfaces::Only(names) => l2::Interfaces::Only(names.clone()),
    }
}
