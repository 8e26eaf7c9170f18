//! BGP: one task a peer, each with its own socket and session.
//!
//! ```text
//!  set_peers, command ──► supervisor ──spawn, order, join──► peer task a ◄──TCP──► router a
//!                             │                              peer task b ◄──TCP──► router b
//!                             ▼                                 │    ▲
//!  sessions() ◄──watch── table of SessionState ◄────────────────┘    │ what changed since each read last
//!                                                                    │
//!  change_routes, routes_known ───────────────────────────────► RouteTable
//! ```
//!
//! Peer tasks share nothing but the table of routes, which is never locked across a wait: a peer that is slow or gone delays
//! no other. A task that panics is started anew; the others go on.

mod command;
mod connection;
mod counters;
mod farewell;
mod links;
mod listen;
mod look;
mod pace;
mod peer;
mod report;
mod routes;
mod supervisor;
#[cfg(test)]
mod tests;
mod trouble;
mod unnumbered;

use std::{
    collections::BTreeMap,
    net::{Ipv6Addr, SocketAddr},
    sync::Arc,
    time::SystemTime,
};

pub use command::Command;
pub use counters::Counters;
pub use farewell::Farewell;
pub use listen::{Listen, Range};
pub use look::{Look, Part, View};
pub use metallb_bgp::{
    Attributes, Dialing, Egress, GracefulRestart, LargeCommunity, Listed, Negotiated, Offer, Password, Path,
    PeerConfig, Posture, Reach, RemoteAs, RouteChange, State, StopReason,
    wire::{Family, MessageType, NextHop},
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
pub use trouble::{Direction, Trouble};

use self::{
    farewell::Decided,
    routes::Routes,
    supervisor::{Request, Supervisor},
};

/// How a session is doing.
#[derive(Clone, Debug)]
pub struct SessionState {
    /// Address and port as configured; the address is unspecified if the router is found by `zone` (unnumbered).
    pub peer: SocketAddr,
    /// The interface of a link-local or unnumbered peer.
    pub zone: Option<String>,
    /// The link-local address of an unnumbered peer, once its router was heard.
    pub found: Option<Ipv6Addr>,
    /// The device (VRF) of the session.
    pub device: Option<String>,
    /// Whether routes are exchanged right now.
    pub up: bool,
    /// Since when it has been up, or down.
    pub since: SystemTime,
    /// What went wrong last; what happens again while it is down is counted without a notice.
    pub trouble: Option<Trouble>,
    /// Why the session is down; absent while it is up, or was not tried yet.
    pub reason: Option<String>,
    /// The address families whose routes are sent; none while the session is down.
    pub carries: Vec<Family>,
    /// The address families whose routes should be sent and are not: the peer does not offer them, or this node has no
    /// next hop for them; none while the session is down.
    pub lacking: Vec<Family>,
    /// Message and prefix counts, live.
    pub counters: Arc<Counters>,
}

impl SessionState {
    /// The metric label of upstream, address and port; `interface:port` for an unnumbered peer.
    #[must_use]
    pub fn label(&self) -> String {
        let (ip, port) = (self.peer.ip(), self.peer.port());
        match &self.zone {
            Some(zone) if ip.is_unspecified() => format!("{zone}:{port}"),
            Some(zone) => format!("[{ip}%{zone}]:{port}"),
            None => self.peer.to_string(),
        }
    }
}

/// All sessions by the name of their peer.
pub type Sessions = BTreeMap<String, SessionState>;

/// Why the shell ended although it was not stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// All handles were dropped.
    #[error("all handles to the BGP sessions were dropped")]
    Abandoned,
}

/// Controls the running BGP shell; cheap to clone.
#[derive(Clone, Debug)]
pub struct BgpHandle {
    requests: mpsc::UnboundedSender<Request>,
    routes: Routes,
    sessions: watch::Sender<Sessions>,
    farewell: Decided,
    stop: CancellationToken,
    ended: CancellationToken,
}

/// Makes the BGP shell, without peers and routes; it works while the future is polled, which must be on a tokio runtime.
///
/// When `stop` is cancelled all sessions end with Cease 6/2, then the future ends; [`BgpHandle::shutdown`] waits for that.
/// Dropping the future drops all sessions without a NOTIFICATION.
#[must_use = "the shell works only while its future is polled"]
#[expect(clippy::needless_pass_by_value, reason = "every shell takes its token the same way")]
pub fn start(stop: CancellationToken) -> (BgpHandle, impl Future<Output = Result<(), Error>> + Send + 'static) {
    let (requests, inbox) = mpsc::unbounded_channel();
    let handle = BgpHandle {
        requests,
        routes: Routes::new(),
        sessions: watch::Sender::new(Sessions::new()),
        farewell: Decided::default(),
        stop: stop.child_token(),
        ended: CancellationToken::new(),
    };
    let supervisor = Supervisor::new(handle.routes.clone(), handle.sessions.clone(), handle.farewell.clone());
    let (stop, ended) = (handle.stop.clone(), handle.ended.clone().drop_guard());
    let run = async move {
        let _ended = ended;
        supervisor.run(inbox, stop).await
    };
    (handle, run)
}

impl BgpHandle {
    /// Replaces the whole set of peers, keyed by name (of two with one name the later counts).
    ///
    /// An unchanged peer is not touched; a changed one is ended with Cease 6/6 and started anew; a missing one is ended
    /// with Cease 6/3. The first OPEN to the peers of the first set says that this speaker has restarted (RFC 4724). A peer
    /// at the address, port and device of one that ends is dialled when that connection is closed.
    pub fn set_peers(&self, peers: Vec<PeerConfig>) {
        self.ask(Request::Peers(peers));
    }

    /// Sets the port that routers connect to, and the ranges whose routers need no configuration of their own; the
    /// other routers that may connect are the peers whose [`PeerConfig::dialing`] says so. Without any of these nothing
    /// listens.
    ///
    /// Sessions of a range that stays as it is are not touched.
    pub fn set_listening(&self, listen: Listen) {
        self.ask(Request::Listen(listen));
    }

    /// Changes what is announced for some prefixes, in order; the others stay as they are.
    ///
    /// Goes out at once unless something went out just now: what follows within milliseconds travels together.
    pub fn change_routes(&self, changes: Vec<RouteChange>) {
        self.routes.change(changes);
    }

    /// Marks the routes to announce at the start as complete; nothing is announced before.
    pub fn routes_known(&self) {
        self.routes.known();
    }

    /// Asks something of the session with a peer, after the changes of peers asked for before.
    pub fn command(&self, peer: &str, command: Command) {
        self.ask(Request::Command(peer.to_owned(), command));
    }

    /// Announces the routes to all peers in this way from now on, including peers to come.
    pub fn show(&self, posture: Posture) {
        self.ask(Request::Show(posture));
    }

    /// Follows the sessions; notified when one comes, goes, or changes between up and down.
    #[must_use]
    pub fn sessions(&self) -> watch::Receiver<Sessions> {
        self.sessions.subscribe()
    }

    /// Ends all sessions with Cease 6/2 and waits until that was sent, as far as the peers read.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        self.ended.cancelled().await;
    }

    /// Ends all sessions as `farewell` says, and waits as [`BgpHandle::shutdown`] does. If the speaker comes back, a peer that
    /// agreed on graceful restart is sent no NOTIFICATION, so that it keeps the routes.
    pub async fn leave(&self, farewell: Farewell) {
        self.farewell.decide(farewell);
        self.shutdown().await;
    }

    fn ask(&self, request: Request) {
        // A shell that has ended has no sessions either.
        let _ = self.requests.send(request);
    }
}
