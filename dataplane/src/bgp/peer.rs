//! The task of one peer: performs what its session decides.

use std::{
    collections::BTreeSet,
    hash::{BuildHasher, Hasher, RandomState},
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use metallb_bgp::{
    Action, DownReason, Event, LinkAddresses, Negotiated, PeerConfig, Reach, Route, Session, StopReason,
};
use tokio::{
    net::TcpStream,
    sync::{oneshot, watch},
};

use super::{
    Counters, Routes, Sessions,
    connection::{Connection, DialError, Ready, dial},
};

/// Lets a burst of changes reach the peer as one: a few milliseconds that nobody notices.
const BATCH: Duration = Duration::from_millis(5);

type Dialling = BoxFuture<'static, Result<(TcpStream, LinkAddresses), DialError>>;

/// Owns the session and the socket of one peer.
pub(super) struct Peer {
    session: Session,
    routes: watch::Receiver<Routes>,
    dialling: Option<Dialling>,
    connection: Option<Connection>,
    /// When changed routes are handed to the session.
    batch: Option<Instant>,
    report: Report,
}

/// What woke the task.
enum Wake {
    Stop(StopReason),
    Dialled(Result<(TcpStream, LinkAddresses), DialError>),
    Ready(io::Result<Ready>),
    RoutesChanged,
    Deadline,
}

impl Peer {
    pub(super) fn new(config: PeerConfig, routes: watch::Receiver<Routes>, report: Report) -> Self {
        // Jitter only has to differ between nodes and peers.
        let seed = RandomState::new().build_hasher().finish();
        Self {
            session: Session::new(config, seed),
            routes,
            dialling: None,
            connection: None,
            batch: None,
            report,
        }
    }

    /// Runs until told to stop, or until the shell is dropped.
    pub(super) async fn run(mut self, mut stop: oneshot::Receiver<StopReason>) {
        let mut buffer = vec![0; 64 * 1024];
        self.hand_over_routes(Instant::now());
        self.handle(Instant::now(), Event::Start);
        loop {
            let wake = self.wait(&mut stop).await;
            let now = Instant::now();
            match wake {
                Wake::Stop(reason) => return self.handle(now, Event::Stop(reason)),
                Wake::Dialled(Ok((stream, link))) => {
                    self.dialling = None;
                    self.connection = Some(Connection::new(stream));
                    self.handle(now, Event::Connected(link));
                }
                Wake::Dialled(Err(error)) => {
                    self.dialling = None;
                    self.handle(now, Event::ConnectFailed(error.to_string()));
                }
                Wake::Ready(ready) => {
                    self.transfer(now, ready, &mut buffer);
                    // Reading by readiness is not counted: a peer that never stops sending would keep the thread.
                    tokio::task::yield_now().await;
                }
                Wake::RoutesChanged => self.batch = self.batch.or(Some(now + BATCH)),
                Wake::Deadline => self.on_deadline(now, &mut buffer),
            }
        }
    }

    /// Waits for whatever comes first. Every arm is cancel-safe: channels and readiness keep what was not taken, and the
    /// future that dials is kept here, not dropped.
    async fn wait(&mut self, stop: &mut oneshot::Receiver<StopReason>) -> Wake {
        let deadline = [self.session.next_deadline(), self.batch].into_iter().flatten().min();
        tokio::select! {
            reason = stop => Wake::Stop(reason.unwrap_or(StopReason::Shutdown)),
            result = pending_or(self.dialling.as_mut()) => Wake::Dialled(result),
            ready = pending_or(self.connection.as_ref().map(|connection| Box::pin(connection.ready()))) => {
                Wake::Ready(ready)
            }
            () = pending_or(deadline.map(|at| Box::pin(tokio::time::sleep_until(at.into())))) => Wake::Deadline,
            Ok(()) = self.routes.changed() => Wake::RoutesChanged,
        }
    }

    fn on_deadline(&mut self, now: Instant, buffer: &mut [u8]) {
        // This process may have been held up, not the peer: what it said meanwhile counts before the hold timer does.
        self.transfer(now, Ok(Ready::Read), buffer);
        if self.batch.is_some_and(|at| at <= now) {
            self.batch = None;
            self.hand_over_routes(now);
        }
        self.handle(now, Event::Tick);
    }

    fn hand_over_routes(&mut self, now: Instant) {
        let name = &self.session.config().name;
        let meant = |peers: &BTreeSet<String>| peers.is_empty() || peers.contains(name);
        let all = Arc::clone(&self.routes.borrow_and_update());
        let routes: Vec<Route> = all
            .iter()
            .filter(|route| meant(&route.peers))
            .map(|route| route.route.clone())
            .collect();
        self.handle(now, Event::RoutesChanged(&routes));
    }

    fn transfer(&mut self, now: Instant, ready: io::Result<Ready>, buffer: &mut [u8]) {
        let Some(connection) = &mut self.connection else { return };
        match ready {
            Ok(Ready::Read) => match connection.read(buffer) {
                Ok(None) => {}
                Ok(Some(0)) => self.handle(now, Event::Closed(None)),
                Ok(Some(length)) => self.handle(now, Event::Received(&buffer[..length])),
                Err(error) => self.handle(now, Event::Closed(Some(error.to_string()))),
            },
            Ok(Ready::Write) => match connection.write() {
                Ok(0) => {}
                Ok(octets) => self.handle(now, Event::Written(octets)),
                Err(error) => self.handle(now, Event::Closed(Some(error.to_string()))),
            },
            Err(error) => self.handle(now, Event::Closed(Some(error.to_string()))),
        }
    }

    fn handle(&mut self, now: Instant, event: Event<'_>) {
        for action in self.session.handle(now, event) {
            self.perform(action);
        }
        self.report.counters.set_prefixes(self.session.rib());
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Connect => {
                let config = self.session.config().clone();
                self.dialling = Some(Box::pin(async move { dial(&config).await }));
            }
            Action::Send(bytes) => {
                self.report.counters.count_sent(&bytes);
                if let Some(connection) = &mut self.connection {
                    connection.queue(bytes);
                }
            }
            Action::Close => {
                self.dialling = None;
                if let Some(connection) = self.connection.take() {
                    connection.close();
                }
            }
            Action::Up(negotiated) => self.report.up(&negotiated),
            Action::Down(reason) => self.report.down(&reason),
            Action::Received(message) => self.report.counters.count_received(message.kind()),
            Action::Unsendable(prefixes) => self.report.unsendable(&prefixes),
        }
    }
}

/// Waits for the future if there is one, else for ever.
async fn pending_or<F: Future + Unpin>(future: Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

/// Tells people how the session is doing.
pub(super) struct Report {
    name: String,
    sessions: watch::Sender<Sessions>,
    counters: Arc<Counters>,
    last: Option<String>,
}

impl Report {
    pub(super) fn new(name: String, sessions: watch::Sender<Sessions>, counters: Arc<Counters>) -> Self {
        Self {
            name,
            sessions,
            counters,
            last: None,
        }
    }

    fn up(&mut self, negotiated: &Negotiated) {
        let egress = &negotiated.egress;
        tracing::info!(
            event = "sessionUp",
            peer = %self.name,
            local = %negotiated.local,
            local_asn = egress.asn,
            peer_asn = negotiated.remote_asn,
            router_id = %negotiated.remote_router_id,
            hold_seconds = negotiated.hold_time.unwrap_or_default().as_secs(),
            "BGP session established"
        );
        for (family, reach) in [("ipv4", egress.next_hops.ipv4), ("ipv6", egress.next_hops.ipv6)] {
            if reach == Reach::Unknown {
                tracing::warn!(peer = %self.name, family, "no local address to name as next hop, routes are not sent");
            }
        }
        self.last = None;
        self.set(true, None);
    }

    /// Warns about a new reason only: a router that is off for a night need not fill the log.
    fn down(&mut self, reason: &DownReason) {
        let event = match reason {
            DownReason::Received(_) => "peerNotification",
            _ => "sessionDown",
        };
        let text = reason.to_string();
        if matches!(reason, DownReason::Stopped(_)) {
            tracing::info!(event, peer = %self.name, reason = %text, "BGP session down");
        } else if self.last.as_ref() == Some(&text) {
            tracing::debug!(event, peer = %self.name, reason = %text, "BGP session down");
        } else {
            tracing::warn!(event, peer = %self.name, reason = %text, "BGP session down");
        }
        self.last = Some(text.clone());
        self.set(false, Some(text));
    }

    fn unsendable(&self, prefixes: &[ipnet::IpNet]) {
        let shown: Vec<_> = prefixes.iter().take(5).map(ToString::to_string).collect();
        tracing::warn!(
            peer = %self.name, count = prefixes.len(), prefixes = %shown.join(","),
            "routes cannot be sent: no next hop of their family, or too many communities for one message"
        );
    }

    /// Writes to the entry of this very task: a successor of the same name has other counters.
    fn set(&self, up: bool, reason: Option<String>) {
        self.sessions.send_if_modified(|sessions| {
            let own = sessions
                .get_mut(&self.name)
                .filter(|state| Arc::ptr_eq(&state.counters, &self.counters));
            own.is_some_and(|state| {
                let changed = state.up != up || state.reason != reason;
                (state.up, state.reason) = (up, reason);
                changed
            })
        });
    }
}
