//! Owns the tasks of the peers, one for each.

mod incoming;

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, SystemTime},
};

use metallb_bgp::{PeerConfig, Posture, StopReason};
use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
    task::{Id, JoinError, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    Counters, Error, SessionState, Sessions,
    command::Command,
    farewell::{Decided, Farewell},
    links::Links,
    listen::{Listen, Listeners, Range},
    peer::{Order, Orders, Peer},
    report::Report,
    routes::Routes,
};

/// A request of the handle.
#[derive(Debug)]
pub(super) enum Request {
    Peers(Vec<PeerConfig>),
    Show(Posture),
    Command(String, Command),
    Listen(Listen),
}

/// Keeps one task for each configured peer.
pub(super) struct Supervisor {
    peers: BTreeMap<String, Slot>,
    /// The peers without a task.
    waiting: BTreeSet<String>,
    tasks: JoinSet<()>,
    /// The tasks of the peers.
    running: HashMap<Id, Running>,
    /// Tasks that were told to end, and may still hold a connection.
    ending: HashMap<Id, Running>,
    routes: Routes,
    sessions: watch::Sender<Sessions>,
    farewell: Decided,
    /// How the routes are announced to all peers.
    posture: Posture,
    /// The first peers that were configured and not started yet: their first OPEN says that this speaker has restarted.
    left_behind: Option<BTreeSet<String>>,
    links: Links,
    listen: Listen,
    listeners: Listeners,
    /// Whether the peers that may connect, or their keys, have changed.
    listening_changed: bool,
}

/// A configured peer, or one of a range.
struct Slot {
    config: PeerConfig,
    counters: Arc<Counters>,
    /// Absent while a predecessor holds the connection, or in the pause after a failure.
    task: Option<(Id, Orders)>,
    not_before: Option<Instant>,
    /// The range of a peer that was not configured.
    range: Option<Range>,
    /// A connection that the peer opened before its task has started.
    accepted: Option<TcpStream>,
}

/// A task that may hold a connection.
struct Running {
    name: String,
    target: Target,
}

impl Running {
    /// Tells whether a peer must not be started beside this task.
    fn precedes(&self, config: &PeerConfig) -> bool {
        self.name == config.name || self.target == Target::of(config)
    }
}

/// Where a connection leads. A router keeps one for each neighbour, and may refuse a second.
#[derive(PartialEq, Eq)]
struct Target {
    address: IpAddr,
    zone: Option<String>,
    port: u16,
    device: Option<String>,
}

impl Target {
    fn of(config: &PeerConfig) -> Self {
        Self {
            address: config.address,
            zone: config.zone.clone(),
            port: config.port,
            device: config.device.clone(),
        }
    }
}

/// Tells whether the router will take the next session for another neighbour's, and must not keep the routes of this one for
/// it.
fn leads_elsewhere(before: &PeerConfig, after: &PeerConfig) -> bool {
    let seen = |config: &PeerConfig| (Target::of(config), config.source, config.asn());
    seen(before) != seen(after)
}

impl Supervisor {
    pub(super) fn new(routes: Routes, sessions: watch::Sender<Sessions>, farewell: Decided) -> Self {
        Self {
            peers: BTreeMap::new(),
            waiting: BTreeSet::new(),
            tasks: JoinSet::new(),
            running: HashMap::new(),
            ending: HashMap::new(),
            routes,
            sessions,
            farewell,
            posture: Posture::default(),
            left_behind: None,
            links: Links::default(),
            listen: Listen::default(),
            listeners: Listeners::default(),
            listening_changed: false,
        }
    }

    /// Runs until `stop`.
    pub(super) async fn run(
        mut self,
        mut requests: mpsc::UnboundedReceiver<Request>,
        stop: CancellationToken,
    ) -> Result<(), Error> {
        let outcome = loop {
            let due = self.next_start();
            // All arms are cancel-safe: token, channel and set keep what was not taken.
            tokio::select! {
                () = stop.cancelled() => break Ok(()),
                request = requests.recv() => match request {
                    Some(Request::Peers(peers)) => self.apply(peers),
                    Some(Request::Show(posture)) => self.show(posture),
                    Some(Request::Command(name, command)) => self.pass_on(&name, command),
                    Some(Request::Listen(listen)) => self.set_listening(listen),
                    None => break Err(Error::Abandoned),
                },
                Some(ended) = self.tasks.join_next_with_id() => self.on_ended(ended),
                news = self.listeners.next() => self.on_news(news),
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => self.start_due(),
            }
            if std::mem::take(&mut self.listening_changed) || self.listeners.have_failed() {
                self.listen();
            }
        };
        self.listeners = Listeners::default();
        for slot in std::mem::take(&mut self.peers).into_values() {
            self.end(slot, self.farewell.get());
        }
        while let Some(ended) = self.tasks.join_next_with_id().await {
            self.on_ended(ended);
        }
        self.sessions.send_modify(Sessions::clear);
        outcome
    }

    fn apply(&mut self, wanted: Vec<PeerConfig>) {
        let wanted: BTreeMap<_, _> = wanted.into_iter().map(|peer| (peer.name.clone(), peer)).collect();
        if !wanted.is_empty() && self.left_behind.is_none() {
            self.left_behind = Some(wanted.keys().cloned().collect());
        }
        let gone: Vec<_> = self
            .peers
            .extract_if(.., |name, slot| slot.range.is_none() && !wanted.contains_key(name))
            .collect();
        for (name, slot) in gone {
            tracing::debug!(peer = %name, "ending the session");
            self.end(slot, StopReason::Deconfigured.into());
            self.forget(&name);
        }
        let changed = |(name, config): &(String, PeerConfig)| {
            let slot = self.peers.get(name);
            slot.is_none_or(|slot| !slot.config.resets(config).is_empty())
        };
        let changed: Vec<_> = wanted.into_iter().filter(changed).collect();
        let names: Vec<_> = changed.iter().map(|(name, _)| name.clone()).collect();
        for (name, config) in changed {
            self.replace(name, config);
        }
        // Not before all predecessors were told to end: a peer may take the address of another one.
        names.iter().for_each(|name| self.start(name));
    }

    /// Ends the predecessor of that name, if there is one, and enters the new configuration.
    fn replace(&mut self, name: String, config: PeerConfig) {
        if let Some(slot) = self.peers.remove(&name) {
            let reason = if leads_elsewhere(&slot.config, &config) {
                StopReason::Moved
            } else {
                StopReason::ConfigChange
            };
            self.end(slot, reason.into());
        }
        self.listening_changed |= config.dialing.accepts();
        let counters = Arc::<Counters>::default();
        let state = SessionState::new(&config, Arc::clone(&counters));
        self.sessions
            .send_modify(|sessions| drop(sessions.insert(name.clone(), state)));
        let slot = Slot {
            config,
            counters,
            task: None,
            not_before: None,
            range: None,
            accepted: None,
        };
        self.waiting.insert(name.clone());
        self.peers.insert(name, slot);
    }

    /// Asks the task of a peer to end; no successor is started until it has.
    fn end(&mut self, slot: Slot, farewell: Farewell) {
        self.listening_changed |= slot.config.dialing.accepts();
        self.waiting.remove(&slot.config.name);
        let Some((id, orders)) = slot.task else { return };
        // A task that is gone already needs no asking.
        let _ = orders.send(Order::Stop(farewell));
        self.ending.extend(self.running.remove_entry(&id));
    }

    fn pass_on(&mut self, name: &str, command: Command) {
        let Some(slot) = self.peers.get(name) else {
            return tracing::debug!(peer = name, ?command, "there is no such peer");
        };
        // A peer without a task has nothing to reset or to show.
        if let Some((_, orders)) = &slot.task {
            let _ = orders.send(Order::Command(command));
        }
    }

    fn show(&mut self, posture: Posture) {
        self.posture = posture;
        for slot in self.peers.values() {
            if let Some((_, orders)) = &slot.task {
                let _ = orders.send(Order::Show(posture));
            }
        }
    }

    /// Returns when the pause of the next peer is over.
    fn next_start(&self) -> Option<Instant> {
        let waiting = self.waiting.iter().filter_map(|name| self.peers.get(name));
        waiting.filter_map(|slot| slot.not_before).min()
    }

    /// Starts the peers whose pause is over.
    fn start_due(&mut self) {
        let now = Instant::now();
        let over = |slot: &Slot| slot.not_before.is_some_and(|at| at <= now);
        for name in self.waiting_that(over) {
            if let Some(slot) = self.peers.get_mut(&name) {
                slot.not_before = None;
            }
            self.start(&name);
        }
    }

    fn waiting_that(&self, test: impl Fn(&Slot) -> bool) -> Vec<String> {
        let chosen = |name: &&String| self.peers.get(*name).is_some_and(&test);
        self.waiting.iter().filter(chosen).cloned().collect()
    }

    /// Starts the task of a peer, unless it has one, pauses, or has a predecessor whose connection is still open.
    fn start(&mut self, name: &str) {
        let Some(slot) = self.peers.get_mut(name) else { return };
        let held = self.ending.values().any(|task| task.precedes(&slot.config));
        if slot.task.is_some() || slot.not_before.is_some() || held {
            return;
        }
        tracing::debug!(peer = name, address = %slot.config.address, "starting the session");
        self.waiting.remove(name);
        let (orders, inbox) = mpsc::unbounded_channel();
        let report = Report::new(name.to_owned(), self.sessions.clone(), Arc::clone(&slot.counters));
        let links = slot.config.is_unnumbered().then(|| self.links.follow());
        let mut peer = Peer::new(slot.config.clone(), self.routes.reader(), report, links);
        peer.show(self.posture);
        if self.left_behind.as_mut().is_some_and(|names| names.remove(name)) {
            peer.set_restarted();
        }
        if slot.range.is_some() {
            peer.end_with_connection();
        }
        let id = self.tasks.spawn(peer.run(inbox)).id();
        slot.task = Some((id, orders));
        if let Some(stream) = slot.accepted.take() {
            slot.accept(stream);
        }
        let running = Running {
            name: name.to_owned(),
            target: Target::of(&slot.config),
        };
        self.running.insert(id, running);
    }

    /// A task that panics, or ends without having been told to, has failed.
    fn on_ended(&mut self, ended: Result<(Id, ()), JoinError>) {
        let (id, failure) = match ended {
            Ok((id, ())) => (id, None),
            Err(error) => (error.id(), Some(panic_text(error))),
        };
        if let Some(ended) = self.ending.remove(&id) {
            if let Some(failure) = failure {
                tracing::error!(
                    event = "sessionFailed",
                    peer = ended.name,
                    failure,
                    "the task of the BGP session has failed"
                );
            }
            let successors = self.waiting_that(|slot| ended.precedes(&slot.config));
            return successors.iter().for_each(|name| self.start(name));
        }
        let Some(Running { name, .. }) = self.running.remove(&id) else {
            return;
        };
        if self.peers.get(&name).is_some_and(|slot| slot.range.is_some()) {
            self.peers.remove(&name);
            self.listening_changed = true;
            return self.forget(&name);
        }
        self.start_later(&name, &failure.unwrap_or_else(|| "ended unexpectedly".to_owned()));
    }

    /// Shows the session as down and starts it anew after a pause.
    fn start_later(&mut self, name: &str, failure: &str) {
        let Some(slot) = self.peers.get_mut(name) else { return };
        slot.task = None;
        let failures = slot.counters.count_failure();
        // 1, 2, 4 .. 64 seconds.
        let pause = Duration::from_secs(1 << (failures - 1).min(6));
        slot.not_before = Some(Instant::now() + pause);
        self.waiting.insert(name.to_owned());
        tracing::error!(
            event = "sessionFailed",
            peer = name,
            failure,
            pause_seconds = pause.as_secs(),
            "the task of the BGP session has failed and is started anew"
        );
        self.sessions.send_modify(|sessions| {
            if let Some(state) = sessions.get_mut(name) {
                state.down(format!("internal error: {failure}"));
            }
        });
    }
}

fn panic_text(error: JoinError) -> String {
    let Ok(payload) = error.try_into_panic() else {
        return "cancelled".to_owned();
    };
    let payload: &(dyn Any + Send) = &*payload;
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    format!("panicked: {}", text.unwrap_or("without a message"))
}

impl SessionState {
    /// Describes a session that was not tried yet.
    fn new(config: &PeerConfig, counters: Arc<Counters>) -> Self {
        Self {
            peer: SocketAddr::new(config.address, config.port),
            zone: config.zone.clone(),
            found: None,
            device: config.device.clone(),
            up: false,
            since: SystemTime::now(),
            trouble: None,
            reason: None,
            carries: Vec::new(),
            lacking: Vec::new(),
            counters,
        }
    }

    fn down(&mut self, reason: String) {
        if self.up {
            self.since = SystemTime::now();
        }
        (self.up, self.reason) = (false, Some(reason));
        self.carries.clear();
        self.lacking.clear();
    }
}
