//! The state, and what each event does to it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use metallb_announce::election::Ranking;
use metallb_announce::{Endpoints, Failback};
use metallb_config::{Options, Peer, Pool, Settled};
use tracing::info;

use crate::addresses::Addresses;
use crate::announced::{Announced, Announcements};
use crate::nodes::{Movement, Nodes};
use crate::owners::Owners;
use crate::partners::Partners;
use crate::{ConfigReport, Effect, Event, Families, Links, Mac, Member, Protocol, ServiceFacts, ServiceKey, Slice};

/// What does not change while the speaker runs.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Name of this node.
    pub node: String,
    /// `--lb-class`.
    pub class: String,
    /// `--ignore-exclude-lb`.
    pub ignore_exclude_label: bool,
    /// Whether layer 2 has to wait for, and listen to, [`Event::Members`]: else every known Node is a candidate.
    pub membership: bool,
    /// `--l2-failback` of this node.
    pub failback: Failback,
    /// How the configuration is parsed, and who speaks BGP.
    pub options: Options,
}

/// A Service, or endpoints of one that was not seen yet.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    pub(crate) facts: Option<Arc<ServiceFacts>>,
    slices: Vec<(Arc<ServiceKey>, Arc<Slice>)>,
    pub(crate) announced: Announced,
}

impl Entry {
    /// Nothing is known and nothing has to be undone.
    pub(crate) fn is_empty(&self) -> bool {
        self.facts.is_none() && self.slices.is_empty() && self.announced == Announced::default()
    }

    pub(crate) fn endpoints(&self) -> Cow<'_, Endpoints> {
        if let [(_, slice)] = &self.slices[..] {
            return Cow::Borrowed(&slice.endpoints);
        }
        let all = || self.slices.iter().map(|(_, slice)| &slice.endpoints);
        Cow::Owned(Endpoints {
            any: all().any(|endpoints| endpoints.any),
            nodes: all().flat_map(|endpoints| endpoints.nodes.iter()).collect(),
        })
    }
}

/// Services to look at again.
#[derive(Debug, Default)]
pub(crate) struct Dirty {
    pub(crate) all: bool,
    pub(crate) services: BTreeSet<Arc<ServiceKey>>,
    pub(crate) nodes: Movement,
    /// Members have changed, or what they say of themselves.
    pub(crate) members: bool,
    /// No longer yielded.
    pub(crate) resumed: BTreeSet<IpAddr>,
}

/// Decides what this node announces.
#[derive(Debug)]
pub struct Engine {
    pub(crate) settings: Settings,
    pub(crate) config: Option<Settled>,
    /// Peers that this node has a session with, or tries to.
    pub(crate) sessions: BTreeMap<String, Peer>,
    pub(crate) uncarried: BTreeMap<String, Families>,
    pub(crate) services: BTreeMap<Arc<ServiceKey>, Box<Entry>>,
    pub(crate) addresses: Addresses,
    /// Which Service a slice belongs to.
    pub(crate) slices: BTreeMap<Arc<ServiceKey>, Arc<ServiceKey>>,
    pub(crate) nodes: Nodes,
    pub(crate) links: Option<Links>,
    pub(crate) listed: bool,
    pub(crate) owners_listed: bool,
    /// Who has each Service by its status objects; only with [`Failback::Never`].
    pub(crate) owners: Owners,
    /// Announced, but left to another node for now.
    pub(crate) yielded: BTreeMap<IpAddr, Arc<str>>,
    /// Announced although another node claims them, which was logged.
    pub(crate) insisted: BTreeSet<IpAddr>,
    /// Pools that Services have addresses of although they are gone; until the address changes.
    pub(crate) kept: BTreeMap<Arc<ServiceKey>, Arc<Pool>>,
    pub(crate) announcements: Announcements,
    pub(crate) partners: Partners,
    pub(crate) report: Option<ConfigReport>,
    pub(crate) opened: BTreeSet<Protocol>,
}

impl Engine {
    /// Creates an engine that knows nothing and announces nothing.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let nodes = Nodes {
            membership: settings.membership,
            ignore_exclude_label: settings.ignore_exclude_label,
            ..Nodes::default()
        };
        Self {
            settings,
            config: None,
            sessions: BTreeMap::new(),
            uncarried: BTreeMap::new(),
            services: BTreeMap::new(),
            addresses: Addresses::default(),
            slices: BTreeMap::new(),
            nodes,
            links: None,
            listed: false,
            owners_listed: false,
            owners: Owners::default(),
            yielded: BTreeMap::new(),
            insisted: BTreeSet::new(),
            kept: BTreeMap::new(),
            announcements: Announcements::default(),
            partners: Partners::default(),
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
        if dirty.members {
            self.agree(&mut dirty);
        }
        self.open(&mut dirty, &mut effects);
        if self.is_open(Protocol::Bgp) {
            self.judge(&dirty, &mut effects);
        }
        let mut all = self.data_plane();
        self.resume(&dirty, &mut all);
        all.append(&mut effects);
        all
    }

    /// Says whether this node may own addresses that another can: it is neither excluded by its Node object nor suspected.
    #[must_use]
    pub fn may_own(&self) -> bool {
        self.nodes.may_own(&self.settings.node)
    }

    /// Members that say other things rank differently; what is elected by another rule is elected anew.
    fn agree(&mut self, dirty: &mut Dirty) {
        let rule = |engine: &Self| {
            engine
                .nodes
                .statements
                .agreement
                .as_ref()
                .map(|agreement| agreement.failback)
        };
        let never = rule(self) == Some(Failback::Never);
        self.nodes.agree(&mut dirty.nodes);
        dirty.all |= never != (rule(self) == Some(Failback::Never));
        self.review_yields(dirty);
    }

    /// The nodes that this one may have to stand in for, or that may stand in for it, if they have changed since this was
    /// asked last.
    pub fn changed_partners(&mut self) -> Option<BTreeSet<String>> {
        self.partners.news()
    }

    /// Says whether a host with this hardware address may be `node`, by what members say of themselves.
    #[must_use]
    pub fn may_be_of(&self, mac: Mac, node: &str) -> bool {
        self.nodes.statements.may_be_of(mac, node)
    }

    /// An address that `node` should answer for in layer 2, if there is one.
    #[must_use]
    pub fn address_of(&self, node: &str) -> Option<IpAddr> {
        let owns = |entry: &Entry| entry.announced.ranking().and_then(Ranking::winner) == Some(node);
        let owned = self.services.values().filter(|entry| owns(entry));
        let facts = owned.filter_map(|entry| entry.facts.as_ref());
        let mut addresses = facts.flat_map(|facts| facts.view.ingress.iter().copied().flatten());
        addresses.next()
    }

    fn take(&mut self, event: Event, dirty: &mut Dirty, effects: &mut Vec<Effect>) {
        match event {
            Event::Service(key, facts) => self.take_service(key, facts, dirty),
            Event::Slice(slice, content) => self.take_slice(slice, content, dirty),
            Event::Node(name, view) => {
                let changed = self.nodes.set(&name, view, &mut dirty.nodes);
                dirty.all |= changed && name == self.settings.node;
            }
            Event::Listed => self.listed = true,
            Event::Resources(resources) => self.take_resources(&resources, dirty, effects),
            Event::Members(members) => {
                self.nodes.set_members(members, &mut dirty.nodes);
                dirty.members = true;
            }
            Event::Said(said) => self.take_said(said, dirty, effects),
            Event::Owners(key, owners) => self.take_owners(key, owners, dirty),
            Event::OwnersListed => self.owners_listed = true,
            Event::Suspects(suspects) => self.nodes.set_suspects(suspects, &mut dirty.nodes),
            Event::Unaware(unaware) => {
                self.nodes.unaware = unaware;
                self.review_yields(dirty);
            }
            Event::Interfaces(links) => {
                if self.links.replace(links) != self.links {
                    dirty.services.extend(self.announcing(Announced::depends_on_links));
                }
            }
            Event::Conflict(conflict) => self.take_conflict(&conflict, dirty, effects),
            Event::ClaimsEnded(ip) => self.end_claims(ip, dirty),
            Event::Uncarried(families) => self.take_uncarried(families, dirty, effects),
        }
    }

    fn take_service(&mut self, key: ServiceKey, facts: Option<Arc<ServiceFacts>>, dirty: &mut Dirty) {
        let Some((key, entry)) = self.entry(key, facts.is_some()) else {
            return;
        };
        if entry.facts != facts {
            let concerned = [entry.facts.clone(), facts.clone()];
            entry.facts = facts;
            let [before, after] = &concerned;
            self.addresses.replace(&key, before.as_deref(), after.as_deref());
            dirty.services.insert(key);
            self.share_owners(concerned.iter().flatten().map(Arc::as_ref), dirty);
        }
    }

    /// Finds what is known of a Service; makes room for it if asked to.
    fn entry(&mut self, key: ServiceKey, create: bool) -> Option<(Arc<ServiceKey>, &mut Box<Entry>)> {
        let key = match self.services.get_key_value(&key) {
            Some((key, _)) => Arc::clone(key),
            None if create => Arc::new(key),
            None => return None,
        };
        let entry = self.services.entry(Arc::clone(&key)).or_default();
        Some((key, entry))
    }

    fn take_said(&mut self, said: BTreeMap<String, Option<Member>>, dirty: &mut Dirty, effects: &mut Vec<Effect>) {
        let Nodes { statements, views, .. } = &mut self.nodes;
        if statements.set(&self.settings.node, said, |node| views.contains_key(node)) {
            effects.push(Effect::Speakers(statements.macs()));
        }
        dirty.members = true;
    }

    fn take_slice(&mut self, slice: ServiceKey, content: Option<Arc<Slice>>, dirty: &mut Dirty) {
        let slice = match self.slices.get_key_value(&slice) {
            Some((slice, _)) => Arc::clone(slice),
            None => Arc::new(slice),
        };
        let owner = content
            .as_ref()
            .map(|content| ServiceKey::new(&slice.namespace, &content.service));
        if let Some(before) = self
            .slices
            .get(&slice)
            .filter(|before| Some(&***before) != owner.as_ref())
        {
            let before = Arc::clone(before);
            self.slices.remove(&slice);
            if let Some(entry) = self.services.get_mut(&before) {
                entry.slices.retain(|(name, _)| *name != slice);
            }
            dirty.services.insert(before);
        }
        let (Some(owner), Some(content)) = (owner, content) else {
            return;
        };
        let Some((owner, entry)) = self.entry(owner, true) else {
            return;
        };
        match entry.slices.iter_mut().find(|(name, _)| *name == slice) {
            Some((_, known)) if *known == content => return,
            Some((_, known)) => *known = content,
            None => {
                entry.slices.reserve_exact(1);
                entry.slices.push((Arc::clone(&slice), content));
                self.slices.insert(slice, Arc::clone(&owner));
            }
        }
        dirty.services.insert(owner);
    }

    /// A session that is lost will lack the same when it is back: statuses stay meanwhile.
    fn take_uncarried(&mut self, up: BTreeMap<String, Families>, dirty: &mut Dirty, effects: &mut Vec<Effect>) {
        let mut now = self.uncarried.clone();
        now.extend(up);
        now.retain(|name, families| self.sessions.contains_key(name) && *families != Families::default());
        if now != self.uncarried {
            self.tell_uncarried(&now, effects);
            self.uncarried = now;
            dirty.services.extend(self.announcing(Announced::has_routes));
        }
    }

    pub(crate) fn announcing(&self, which: impl Fn(&Announced) -> bool) -> Vec<Arc<ServiceKey>> {
        let chosen = self.services.iter().filter(|(_, entry)| which(&entry.announced));
        chosen.map(|(key, _)| Arc::clone(key)).collect()
    }

    /// Judges what became possible to judge.
    fn open(&mut self, dirty: &mut Dirty, effects: &mut Vec<Effect>) {
        let bgp = self.listed && self.config.is_some();
        let owners = self.owners_listed || self.settings.failback != Failback::Never;
        let members = !self.settings.membership || self.nodes.members.is_some();
        let layer2 = bgp && self.links.is_some() && members && owners;
        for (protocol, complete) in [(Protocol::Bgp, bgp), (Protocol::Layer2, layer2)] {
            if complete && self.opened.insert(protocol) {
                info!(event = "announcing", %protocol, "first picture of the cluster is complete");
                dirty.all = true;
                effects.push(Effect::Opened(protocol));
            }
        }
    }

    pub(crate) fn is_open(&self, protocol: Protocol) -> bool {
        self.opened.contains(&protocol)
    }

    /// Tells whoever looks at a BGPPeer which routes it does not get, once.
    fn tell_uncarried(&self, now: &BTreeMap<String, Families>, effects: &mut Vec<Effect>) {
        let Some(settled) = &self.config else { return };
        for (name, families) in now
            .iter()
            .filter(|(name, families)| self.uncarried.get(*name) != Some(families))
        {
            let (namespace, uid) = settled.identity_of_peer(name);
            let missing = match (families.ipv4, families.ipv6) {
                (true, true) => "IPv4 and IPv6",
                (true, false) => "IPv4",
                (false, _) => "IPv6",
            };
            effects.push(Effect::Doubtful {
                peer: ServiceKey::new(namespace, name),
                uid,
                note: format!(
                    "no {missing} routes are sent from node {:?}: the router does not offer the address family, or the \
                     node has no address to name as next hop",
                    self.settings.node
                ),
            });
        }
    }
}
