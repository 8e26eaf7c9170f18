//! BGP: one task a peer, each with its own socket and session.
//!
//! ```text
//!  set_peers ──watch──► supervisor ──spawn, stop(reason)──► peer task a ◄──TCP──► router a
//!                           │                               peer task b ◄──TCP──► router b
//!  set_routes ──watch───────┼──────────────────────────────────► every peer task
//!                           ▼                                       │
//!  sessions() ◄──watch── table of SessionState ◄────────────────────┘
//! ```
//!
//! Nothing is shared between peer tasks but two watch channels, so a peer that is slow or gone delays no other.

mod connection;
mod counters;
mod peer;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
};

pub use counters::Counters;
use metallb_bgp::StopReason;
pub use metallb_bgp::{LargeCommunity, Offer, Password, PeerConfig, RemoteAs, Route, wire::MessageType};
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// A route, and the peers that shall know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdvertisedRoute {
    /// The prefix with its attributes; several routes to one prefix are merged per peer.
    pub route: Route,
    /// Names of peers; empty means all, unknown ones are ignored.
    pub peers: BTreeSet<String>,
}

/// How a session is doing.
#[derive(Clone, Debug)]
pub struct SessionState {
    /// Address and port as configured; upstream's metric label.
    pub peer: SocketAddr,
    /// The device (VRF) of the session.
    pub device: Option<String>,
    /// Whether routes are exchanged right now.
    pub up: bool,
    /// Why the session is down; absent while it is up, or was not tried yet.
    pub reason: Option<String>,
    /// Message and prefix counts, live.
    pub counters: Arc<Counters>,
}

/// All sessions by the name of their peer.
pub type Sessions = BTreeMap<String, SessionState>;

type Routes = Arc<[AdvertisedRoute]>;

/// Controls the running BGP shell; cheap to clone.
#[derive(Clone, Debug)]
pub struct BgpHandle {
    peers: watch::Sender<Vec<PeerConfig>>,
    routes: watch::Sender<Routes>,
    sessions: watch::Sender<Sessions>,
    stop: CancellationToken,
    ended: CancellationToken,
}

/// Starts the BGP shell on the current tokio runtime, without peers and routes.
///
/// When `stop` is cancelled every peer is told (Cease 6/2); [`BgpHandle::shutdown`] waits for that.
#[must_use]
#[expect(
    clippy::needless_pass_by_value,
    reason = "every shell's spawn takes its token the same way"
)]
pub fn spawn(stop: CancellationToken) -> BgpHandle {
    let handle = BgpHandle {
        peers: watch::Sender::new(Vec::new()),
        routes: watch::Sender::new(Routes::from([])),
        sessions: watch::Sender::new(Sessions::new()),
        stop: stop.child_token(),
        ended: CancellationToken::new(),
    };
    let supervisor = Supervisor {
        tasks: BTreeMap::new(),
        routes: handle.routes.subscribe(),
        sessions: handle.sessions.clone(),
    };
    let (peers, stop, ended) = (
        handle.peers.subscribe(),
        handle.stop.clone(),
        handle.ended.clone().drop_guard(),
    );
    tokio::spawn(async move {
        supervisor.run(peers, stop).await;
        drop(ended);
    });
    handle
}

impl BgpHandle {
    /// Replaces the whole set of peers, keyed by name (of two with one name the later counts).
    ///
    /// An unchanged peer is not touched; a changed one is ended with Cease 6/6 and started anew; a missing one is ended
    /// with Cease 6/3.
    pub fn set_peers(&self, peers: Vec<PeerConfig>) {
        self.peers.send_if_modified(|current| {
            let changed = *current != peers;
            *current = peers;
            changed
        });
    }

    /// Replaces the whole set of routes; only the differences reach the peers.
    pub fn set_routes(&self, routes: Vec<AdvertisedRoute>) {
        self.routes.send_if_modified(|current| {
            let changed = **current != *routes;
            if changed {
                *current = routes.into();
            }
            changed
        });
    }

    /// Follows the sessions; notified when one comes, goes, or changes between up and down.
    #[must_use]
    pub fn sessions(&self) -> watch::Receiver<Sessions> {
        self.sessions.subscribe()
    }

    /// Ends all sessions with Cease 6/2 and waits until the peers were told, or do not listen.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        self.ended.cancelled().await;
    }
}

/// A running peer task.
#[derive(Debug)]
struct Task {
    config: PeerConfig,
    stop: oneshot::Sender<StopReason>,
    join: JoinHandle<()>,
}

impl Task {
    /// Asks the task to end; the handle tells when it has.
    fn end(self, reason: StopReason) -> JoinHandle<()> {
        // A task that is gone already needs no asking.
        let _ = self.stop.send(reason);
        self.join
    }
}

/// Keeps one task for each configured peer.
struct Supervisor {
    tasks: BTreeMap<String, Task>,
    routes: watch::Receiver<Routes>,
    sessions: watch::Sender<Sessions>,
}

impl Supervisor {
    async fn run(mut self, mut peers: watch::Receiver<Vec<PeerConfig>>, stop: CancellationToken) {
        loop {
            // Both arms are cancel-safe: a token and a watch keep what was not seen.
            tokio::select! {
                () = stop.cancelled() => break,
                changed = peers.changed() => if changed.is_err() { break },
            }
            let wanted = peers
                .borrow_and_update()
                .iter()
                .map(|peer| (peer.name.clone(), peer.clone()))
                .collect();
            self.apply(wanted);
        }
        let ending: Vec<_> = self
            .tasks
            .into_values()
            .map(|task| task.end(StopReason::Shutdown))
            .collect();
        for task in ending {
            // A panic was reported when it happened.
            let _ = task.await;
        }
        self.sessions.send_modify(Sessions::clear);
    }

    fn apply(&mut self, wanted: BTreeMap<String, PeerConfig>) {
        for (name, task) in self.tasks.extract_if(.., |name, _| !wanted.contains_key(name)) {
            tracing::debug!(peer = %name, "ending the session");
            task.end(StopReason::Deconfigured);
            self.sessions.send_modify(|sessions| drop(sessions.remove(&name)));
        }
        for (name, config) in wanted {
            if self.tasks.get(&name).is_some_and(|task| task.config == config) {
                continue;
            }
            tracing::debug!(peer = %name, address = %config.address, "starting the session");
            let predecessor = self.tasks.remove(&name).map(|task| task.end(StopReason::ConfigChange));
            let task = self.start(config, predecessor);
            self.tasks.insert(name, task);
        }
    }

    /// Starts a peer; it dials only when its predecessor has closed its connection.
    fn start(&self, config: PeerConfig, predecessor: Option<JoinHandle<()>>) -> Task {
        let counters = Arc::new(Counters::default());
        let state = SessionState {
            peer: SocketAddr::new(config.address, config.port),
            device: config.device.clone(),
            up: false,
            reason: None,
            counters: Arc::clone(&counters),
        };
        self.sessions
            .send_modify(|sessions| drop(sessions.insert(config.name.clone(), state)));
        let (stop, stopped) = oneshot::channel();
        let report = peer::Report::new(config.name.clone(), self.sessions.clone(), counters);
        let peer = peer::Peer::new(config.clone(), self.routes.clone(), report);
        let join = tokio::spawn(async move {
            if let Some(predecessor) = predecessor {
                let _ = predecessor.await;
            }
            peer.run(stopped).await;
        });
        Task { config, stop, join }
    }
}
