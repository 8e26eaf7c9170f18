//! A host, and the speaker on it: the cores, and what is between them in the program.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use fastrand::Rng;
use metallb_announce::{Endpoints, ServiceView};
use metallb_config::{Options, Resources, View};
use metallb_engine::{Engine, Event, Interface, Links, Mac, Member, ServiceFacts, ServiceKey, Settings, Slice};
use metallb_members::{
    Keyring, Members, Timing,
    fast::{self, Detector, Keys, Pace, Question},
};
use serde_json::json;

use crate::{
    clock::Clock,
    plan::{self, Plan},
    world::Happening,
};

/// The only interface of a host, on the segment.
const INTERFACE: &str = "eth0";
const PORT: u16 = 7946;

/// What a host is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Connections are refused, or, if the host is down, not answered.
    Off {
        host_down: bool,
    },
    Running,
    Paused,
    /// It has said that it leaves, and answers until the next owner is heard.
    Leaving,
}

/// What is asked for on the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// One of the announced addresses.
    Address(usize),
    Gateway,
}

/// What the engine's task has not looked at yet.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    pub(crate) members: bool,
    pub(crate) suspects: bool,
    pub(crate) links: bool,
    pub(crate) conflicts: Vec<Event>,
    pub(crate) questions: Vec<Question>,
    /// It has been woken.
    pub(crate) woken: bool,
}

/// Which of the cores with a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Core {
    Members,
    Fast,
}

/// One run of a speaker.
pub(crate) struct Process {
    pub(crate) members: Members,
    /// None on a speaker of upstream's kind.
    pub(crate) detector: Option<Detector>,
    pub(crate) engine: Engine,
    pub(crate) pending: Pending,
    /// The detector's last word.
    pub(crate) suspects: BTreeSet<String>,
    pub(crate) unaware: BTreeSet<String>,
    /// What the segment was asked lately.
    pub(crate) asked: Vec<(Target, Question)>,
    /// The engine judges layer 2.
    pub(crate) open: bool,
    /// When each core is told that its deadline has come.
    pub(crate) due: [Option<Duration>; 2],
    /// When a member came or went, or this run began.
    pub(crate) changed: Duration,
    /// All members that there ever were.
    pub(crate) ever: BTreeSet<String>,
}

/// A node of the cluster.
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    pub(crate) clock: Clock,
    pub(crate) state: State,
    pub(crate) plain: bool,
    pub(crate) carrier: bool,
    /// The API has its Pod: not after it has ended because it was asked to.
    pub(crate) listed: bool,
    /// Counts runs.
    pub(crate) run: u32,
    pub(crate) process: Option<Process>,
    /// What has come in while it was paused.
    pub(crate) backlog: Vec<Happening>,
    /// The addresses for which it answers, while it runs and has a carrier.
    pub(crate) answers: BTreeSet<usize>,
    /// Those of them that another node takes over: answered until that one is heard.
    pub(crate) released: BTreeSet<usize>,
    /// Those of them that are left to another node that claims them, too.
    pub(crate) yielded: BTreeSet<usize>,
    /// By address and claimant, when it was heard and told of last.
    pub(crate) claims: BTreeMap<(usize, usize), (Duration, Duration)>,
    /// When it insisted on an address last.
    pub(crate) defended: BTreeMap<usize, Duration>,
}

/// Where the membership of a node listens.
pub(crate) fn address(node: usize) -> SocketAddr {
    let [.., high, low] = node.to_be_bytes();
    SocketAddr::from(([10, 0, high, low], PORT))
}

/// The node whose membership listens there.
pub(crate) fn node_at(address: SocketAddr) -> usize {
    match address.ip() {
        IpAddr::V4(ip) => usize::from(u16::from_be_bytes([ip.octets()[2], ip.octets()[3]])),
        IpAddr::V6(_) => usize::MAX,
    }
}

/// An announced address.
pub(crate) fn service_ip(number: usize) -> IpAddr {
    let number = u8::try_from(number).unwrap_or(u8::MAX);
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, number.saturating_add(1)))
}

impl Host {
    pub(crate) fn new(node: usize, plan: &Plan, base: Instant) -> Self {
        Self {
            name: plan::name(node),
            address: address(node),
            clock: Clock::new(base, plan.drift[node]),
            state: State::Off { host_down: false },
            plain: plan.plain[node],
            carrier: true,
            listed: true,
            run: 0,
            process: None,
            backlog: Vec::new(),
            answers: BTreeSet::new(),
            released: BTreeSet::new(),
            yielded: BTreeSet::new(),
            claims: BTreeMap::new(),
            defended: BTreeMap::new(),
        }
    }

    /// Says whether it would answer an ARP request.
    pub(crate) fn is_answering(&self, address: usize) -> bool {
        self.is_on() && self.carrier && self.answers.contains(&address) && !self.yielded.contains(&address)
    }

    /// Has an address no longer; says whether it had.
    pub(crate) fn withdraw(&mut self, address: usize) -> bool {
        self.yielded.remove(&address);
        self.claims.retain(|(other, _), _| *other != address);
        self.defended.remove(&address);
        self.answers.remove(&address)
    }

    /// Its process runs, perhaps not for much longer.
    pub(crate) fn is_on(&self) -> bool {
        matches!(self.state, State::Running | State::Leaving)
    }

    /// Has a process to judge by, or to be judged.
    pub(crate) fn running(&self) -> Option<&Process> {
        self.process.as_ref().filter(|_| self.state == State::Running)
    }
}

impl Process {
    pub(crate) fn new(host: &Host, now: Duration, rng: &mut Rng) -> Self {
        let clock = host.clock.at(now);
        let mut random = rng.fork();
        let meta = if host.plain { &[] } else { fast::CAPABILITY };
        let config = metallb_members::Config {
            node: host.name.clone(),
            address: host.address,
            timing: Timing::lan(),
            keyring: Keyring::of_keys([]),
            meta: meta.to_vec(),
        };
        let members = Members::new(config, clock, move |buffer| random.fill(buffer));
        let (boot, mut random) = (rng.u64(..), rng.fork());
        let config = || fast::Config {
            node: host.name.clone(),
            boot,
            pace: Pace::default(),
            keys: Keys::default(),
        };
        let detector = (!host.plain).then(|| Detector::new(config(), clock, move |buffer| random.fill(buffer)));
        Self {
            members,
            detector,
            engine: engine(&host.name),
            pending: Pending::default(),
            suspects: BTreeSet::new(),
            unaware: BTreeSet::new(),
            asked: Vec::new(),
            open: false,
            due: [None; 2],
            changed: now,
            ever: BTreeSet::new(),
        }
    }

    /// Says whether it knows everybody as a member with the fast path.
    pub(crate) fn is_fast(&self) -> bool {
        self.detector.is_some() && self.members.all_say(fast::CAPABILITY)
    }
}

fn engine(node: &str) -> Engine {
    Engine::new(Settings {
        node: node.to_owned(),
        membership: true,
        options: Options {
            view: View::Load {
                node: Some(node.to_owned()),
            },
            ..Options::default()
        },
        ..Settings::default()
    })
}

/// The hardware address of a host's interface.
pub(crate) fn mac(node: usize) -> Mac {
    let [.., high, low] = node.to_be_bytes();
    Mac([2, 0, 0, 0, high, low])
}

/// What all say of themselves; those of upstream's kind nothing.
pub(crate) fn said(hosts: &[Host]) -> Event {
    let said = |(node, host): (usize, &Host)| {
        let interface = Interface {
            mac: mac(node),
            lately: false,
        };
        let member = Member {
            interfaces: [(INTERFACE.to_owned(), interface)].into(),
            ..Member::default()
        };
        (host.name.clone(), Some(member).filter(|_| !host.plain))
    };
    Event::Said(hosts.iter().enumerate().map(said).collect())
}

/// The links of a host, as the engine is told of them.
pub(crate) fn links(carrier: bool) -> Links {
    let eth0 = BTreeSet::from([INTERFACE.to_owned()]);
    Links {
        usable: if carrier { eth0.clone() } else { BTreeSet::new() },
        known: eth0,
    }
}

/// What every speaker reads from the API: a Service for each address, with endpoints on those nodes that may announce it.
pub(crate) fn cluster(plan: &Plan) -> Vec<Event> {
    let mut events = Vec::new();
    for (number, candidates) in plan.candidates.iter().enumerate() {
        let name = format!("service-{number}");
        let view = ServiceView {
            load_balancer: true,
            ingress: vec![Some(service_ip(number))],
            local: candidates.contains(&false),
            ..ServiceView::default()
        };
        let facts = Arc::new(ServiceFacts { view, uid: None });
        events.push(Event::Service(ServiceKey::new("default", &name), Some(facts)));
        let nodes = (0..plan.nodes).filter(|node| candidates[*node]).map(plan::name);
        let endpoints = Endpoints {
            any: true,
            nodes: nodes.collect(),
        };
        let slice = Slice {
            service: name.clone(),
            endpoints,
        };
        events.push(Event::Slice(ServiceKey::new("default", &name), Some(Arc::new(slice))));
    }
    events.push(Event::Resources(Box::new(resources(plan))));
    events.push(Event::Listed);
    events
}

fn resources(plan: &Plan) -> Resources {
    let object = |name: &str, spec| {
        json!({
            "apiVersion": "metallb.io/v1beta1", "kind": "", "spec": spec,
            "metadata": {"name": name, "namespace": "metallb-system"},
        })
    };
    let pool = object("pool", json!({"addresses": ["192.0.2.0/24"]}));
    let node = |node| json!({"metadata": {"name": plan::name(node)}});
    let read = "written by hand above";
    Resources {
        pools: vec![serde_json::from_value(pool).expect(read)],
        l2_advertisements: vec![serde_json::from_value(object("l2", json!({}))).expect(read)],
        nodes: (0..plan.nodes)
            .map(|number| serde_json::from_value(node(number)).expect(read))
            .collect(),
        ..Resources::default()
    }
}

/// Where the memberships of other nodes listen, as the API tells it.
pub(crate) fn peers(hosts: &[Host], own: usize) -> BTreeMap<String, SocketAddr> {
    let others = hosts
        .iter()
        .enumerate()
        .filter(|(node, host)| *node != own && host.listed);
    others.map(|(_, host)| (host.name.clone(), host.address)).collect()
}
