//! A group of members of both kinds.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    process::Command,
    time::{Duration, Instant},
};

use metallb_dataplane::members::{self, Config, Error, MembersHandle, Timing};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::go;

/// How long anything may take before a test gives up; generous, as machines are busy.
const PATIENCE: Duration = Duration::from_secs(90);
/// Between two looks at what cannot be awaited.
pub(crate) const LOOK: Duration = Duration::from_millis(5);

#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Ours,
    Go,
}

enum Member {
    Ours {
        handle: MembersHandle,
        stop: CancellationToken,
        running: JoinHandle<Result<(), Error>>,
    },
    Go(go::Member),
}

pub(crate) struct Group {
    secret: Option<&'static [u8]>,
    members: BTreeMap<String, Member>,
}

pub(crate) fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// The first of each kind, and the second of ours, are on one side; the others on the other.
pub(crate) fn address(name: &str) -> SocketAddr {
    let (network, host) = match name {
        "our-1" => (1, 1),
        "our-2" => (1, 2),
        "go-1" => (1, 11),
        "our-3" => (2, 3),
        "go-2" => (2, 12),
        "go-3" => (2, 13),
        _ => panic!("where is {name}?"),
    };
    SocketAddr::from(([127, network, 0, host], 7946))
}

/// As Go's profile of that name.
fn quick() -> Timing {
    Timing {
        probe_interval: Duration::from_millis(500),
        probe_timeout: Duration::from_millis(250),
        gossip_interval: Duration::from_millis(100),
        ..Timing::lan()
    }
}

pub(crate) async fn in_time<T>(what: &str, event: impl Future<Output = T>) -> T {
    let happened = tokio::time::timeout(PATIENCE, event).await;
    happened.unwrap_or_else(|_| panic!("still missing after {PATIENCE:?}: {what}"))
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {complaint}");
}

impl Group {
    pub(crate) fn new(secret: Option<&'static [u8]>) -> Self {
        ip("link set lo up");
        // The table of local addresses is usually asked before all rules.
        ip("rule add pref 10 lookup local");
        ip("rule del pref 0");
        Self {
            secret,
            members: BTreeMap::new(),
        }
    }

    /// Three of each kind.
    pub(crate) fn of_six(secret: Option<&'static [u8]>) -> Self {
        let mut group = Self::new(secret);
        for number in 1..=3 {
            group.start(&format!("our-{number}"), Kind::Ours);
            group.start(&format!("go-{number}"), Kind::Go);
        }
        group
    }

    /// Starts a member that joins one that is there, or is asked by ours.
    pub(crate) fn start(&mut self, name: &str, kind: Kind) {
        let member = match kind {
            Kind::Ours => self.our_member(name),
            Kind::Go => Member::Go(go::Member::start(name, address(name), self.secret)),
        };
        self.members.insert(name.to_owned(), member);
        let peers: BTreeMap<String, SocketAddr> =
            self.members.keys().map(|name| (name.clone(), address(name))).collect();
        for member in self.members.values() {
            if let Member::Ours { handle, .. } = member {
                handle.set_peers(peers.clone());
            }
        }
        if let Some(Member::Go(member)) = self.members.get_mut(name) {
            member.tell(&format!("join {}", address("our-1")));
        }
    }

    fn our_member(&self, name: &str) -> Member {
        let config = Config {
            node: name.to_owned(),
            bind: address(name),
            key: self.secret.map(<[u8]>::to_vec),
            timing: quick(),
            fast: true,
            metadata: members::Metadata::default(),
        };
        let stop = CancellationToken::new();
        let (handle, running) = members::start(config, stop.clone()).unwrap();
        Member::Ours {
            handle,
            stop,
            running: tokio::spawn(running),
        }
    }

    pub(crate) fn ours(&self, name: &str) -> &MembersHandle {
        match &self.members[name] {
            Member::Ours { handle, .. } => handle,
            Member::Go(_) => panic!("{name} is Go's"),
        }
    }

    pub(crate) fn go(&self, name: &str) -> &go::Member {
        match &self.members[name] {
            Member::Go(member) => member,
            Member::Ours { .. } => panic!("{name} is ours"),
        }
    }

    pub(crate) async fn leave(&mut self, name: &str) {
        match self.members.remove(name).unwrap() {
            Member::Ours { stop, running, .. } => {
                stop.cancel();
                in_time("the end", running).await.unwrap().unwrap();
            }
            Member::Go(member) => member.leave(),
        }
    }

    /// Ends a member without a word.
    pub(crate) fn kill(&mut self, name: &str) {
        if let Some(Member::Ours { running, .. }) = self.members.remove(name) {
            running.abort();
        }
    }

    /// Parts the two sides; `what` narrows it down.
    pub(crate) fn part(&self, what: &str) {
        Self::rules("add", what);
    }

    pub(crate) fn heal(&self, what: &str) {
        Self::rules("del", what);
    }

    fn rules(verb: &str, what: &str) {
        for (from, to) in [("127.1.0.0/16", "127.2.0.0/16"), ("127.2.0.0/16", "127.1.0.0/16")] {
            ip(&format!("rule {verb} pref 5 from {from} to {to} {what} blackhole"));
        }
    }

    fn views(&self) -> BTreeMap<String, BTreeSet<String>> {
        let view = |member: &Member| match member {
            Member::Ours { handle, .. } => handle.alive().borrow().clone(),
            Member::Go(member) => member.members(),
        };
        self.members
            .iter()
            .map(|(name, member)| (name.clone(), view(member)))
            .collect()
    }

    /// Waits until all see all, and nobody else.
    pub(crate) async fn agree(&self, when: &str) {
        let all: BTreeSet<String> = self.members.keys().cloned().collect();
        self.until(when, |_, view| *view == all).await;
    }

    /// Waits until all see those of their side, and nobody else.
    pub(crate) async fn sides_agree(&self) {
        let side = |name: &str| address(name).ip().to_string().starts_with("127.1.");
        self.until("in the partition", |name, view| {
            let own = self.members.keys().filter(|other| side(other) == side(name));
            *view == own.cloned().collect()
        })
        .await;
    }

    async fn until(&self, when: &str, right: impl Fn(&str, &BTreeSet<String>) -> bool) {
        let began = Instant::now();
        while !self.views().iter().all(|(name, view)| right(name, view)) {
            assert!(began.elapsed() < PATIENCE, "{when}: {:#?}", self.views());
            tokio::time::sleep(LOOK).await;
        }
        println!("{when}: all agree after {:?}", began.elapsed());
    }
}
