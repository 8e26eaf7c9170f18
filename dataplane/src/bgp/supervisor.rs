//! Keeps one task for each configured peer, and owns them all.

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
    farewell::Decided,
    links::Links,
    listen::{Listen, Listeners, Range},
    peer::{Order, Orders, Peer},
    report::Report,
    routes::Routes,
};

/// What the handle asks for, in order.
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
    tasks: JoinSet<()>,
    /// Says whose each task is, including those that were told to end.
    running: HashMap<Id, Running>,
    routes: Routes,
    sessions: watch::Sender<Sessions>,
    farewell: Decided,
    /// How all peers are shown the routes, except those that are drained.
    posture: Posture,
    /// Names the first peers that were configured, until they are greeted: to them this speaker has restarted.
    left_behind: Option<BTreeSet<String>>,
    links: Links,
    listen: Listen,
    listeners: Listeners,
}

/// A configured peer, or one of a range.
struct Slot {
    config: PeerConfig,
    counters: Arc<Counters>,
    /// Absent while a predecessor holds the connection, or in the pause after a failure.
    task: Option<(Id, Orders)>,
    not_before: Option<Instant>,
    drained: bool,
    /// The range of a peer that was not configured.
    range: Option<Range>,
    /// What the peer has dialled before its task has started.
    accepted: Option<TcpStream>,
}

impl Slot {
    /// Returns how this peer is shown the routes when all are shown them in that way.
    fn posture(&self, all: Posture) -> Posture {
        if self.drained { Posture::Withdraw } else { all }
    }
}

/// A task that may hold a connection.
struct Running {
    name: String,
    target: Target,
    ending: bool,
}

/// Says where a connection leads; a router keeps one for each neighbour, and may refuse a second.
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

/// Tells whether the router would not know the next session for a successor of this one, and keep routes for nobody.
fn leads_elsewhere(before: &PeerConfig, after: &PeerConfig) -> bool {
    let seen = |config: &PeerConfig| (Target::of(config), config.source, config.asn());
    seen(before) != seen(after)
}

impl Supervisor {
    pub(super) fn new(routes: Routes, sessions: watch::Sender<Sessions>, farewell: Decided) -> Self {
        Self {
            peers: BTreeMap::new(),
            tasks: JoinSet::new(),
            running: HashMap::new(),
            routes,
            sessions,
            farewell,
            posture: Posture::default(),
            left_behind: None,
            links: Links::default(),
            listen: Listen::default(),
            listeners: Listeners::default(),
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
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            }
            self.start_due();
            self.listen();
        };
        self.listeners = Listeners::default();
        for slot in std::mem::take(&mut self.peers).into_values() {
            self.leave(slot);
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
            self.end(slot, StopReason::Deconfigured);
            self.sessions.send_modify(|sessions| drop(sessions.remove(&name)));
        }
        for (name, config) in wanted {
            if self.peers.get(&name).is_none_or(|slot| slot.config != config) {
                self.replace(name, config);
            }
        }
    }

    /// Ends the predecessor of that name, if there is one, and enters the new configuration.
    fn replace(&mut self, name: String, config: PeerConfig) {
        let predecessor = self.peers.remove(&name);
        let drained = predecessor.as_ref().is_some_and(|slot| slot.drained);
        if let Some(slot) = predecessor {
            let reason = if leads_elsewhere(&slot.config, &config) {
                StopReason::Moved
            } else {
                StopReason::ConfigChange
            };
            self.end(slot, reason);
        }
        let counters = Arc::<Counters>::default();
        let state = SessionState::new(&config, Arc::clone(&counters));
        self.sessions
            .send_modify(|sessions| drop(sessions.insert(name.clone(), state)));
        let slot = Slot {
            config,
            counters,
            task: None,
            not_before: None,
            drained,
            range: None,
            accepted: None,
        };
        self.peers.insert(name, slot);
    }

    /// Asks the task of a peer to end; what it holds is watched until it has.
    fn end(&mut self, slot: Slot, reason: StopReason) {
        self.order_end(slot, Order::Stop(reason));
    }

    /// Has a peer end as the farewell to all says.
    fn leave(&mut self, slot: Slot) {
        self.order_end(slot, Order::Leave(self.farewell.get()));
    }

    fn order_end(&mut self, slot: Slot, order: Order) {
        let Some((id, orders)) = slot.task else { return };
        // A task that is gone already needs no asking.
        let _ = orders.send(order);
        if let Some(running) = self.running.get_mut(&id) {
            running.ending = true;
        }
    }

    fn pass_on(&mut self, name: &str, command: Command) {
        let Some(slot) = self.peers.get_mut(name) else {
            return tracing::debug!(peer = name, ?command, "there is no such peer");
        };
        let order = match command {
            Command::Drain | Command::Resume => {
                slot.drained = matches!(command, Command::Drain);
                Order::Show(slot.posture(self.posture))
            }
            command => Order::Command(command),
        };
        // A peer without a task has nothing to reset or to show; that it is drained it learns when it starts.
        if let Some((_, orders)) = &slot.task {
            let _ = orders.send(order);
        }
    }

    fn show(&mut self, posture: Posture) {
        self.posture = posture;
        for slot in self.peers.values() {
            if let Some((_, orders)) = &slot.task {
                let _ = orders.send(Order::Show(slot.posture(posture)));
            }
        }
    }

    /// Returns when a peer is to be started that pauses.
    fn next_start(&self) -> Option<Instant> {
        self.peers.values().filter_map(|slot| slot.not_before).min()
    }

    /// Starts every peer that has no task, no pause, and no predecessor whose connection is still open.
    fn start_due(&mut self) {
        let now = Instant::now();
        for (name, slot) in &mut self.peers {
            slot.not_before.take_if(|at| *at <= now);
            let target = Target::of(&slot.config);
            let mut ending = self.running.values().filter(|running| running.ending);
            let held = ending.any(|running| running.target == target || running.name == *name);
            if slot.task.is_some() || slot.not_before.is_some() || held {
                continue;
            }
            tracing::debug!(peer = %name, address = %slot.config.address, "starting the session");
            let (orders, inbox) = mpsc::unbounded_channel();
            let report = Report::new(name.clone(), self.sessions.clone(), Arc::clone(&slot.counters));
            let links = slot.config.is_unnumbered().then(|| self.links.follow());
            let mut peer = Peer::new(slot.config.clone(), self.routes.reader(), report, links);
            peer.show(slot.posture(self.posture));
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
                name: name.clone(),
                target,
                ending: false,
            };
            self.running.insert(id, running);
        }
    }

    /// A task that panics, or ends without having been told to, has failed.
    fn on_ended(&mut self, ended: Result<(Id, ()), JoinError>) {
        let (id, failure) = match ended {
            Ok((id, ())) => (id, None),
            Err(error) => (error.id(), Some(panic_text(error))),
        };
        let Some(Running { name, ending, .. }) = self.running.remove(&id) else {
            return;
        };
        if ending {
            if let Some(failure) = failure {
                tracing::error!(event = "sessionFailed", peer = %name, failure, "the task of the BGP session has failed");
            }
            return;
        }
        if self.peers.get(&name).is_some_and(|slot| slot.range.is_some()) {
            self.peers.remove(&name);
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
