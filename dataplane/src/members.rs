//! Membership: which speakers are alive.
//!
//! ```text
//!  speaker ── set_peers() ──► watch ──► one future: UDP socket ◄──► metallb_members::Members
//!                                          │
//!                                          └──► watch: alive names, watch: settled
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use futures::FutureExt;
use metallb_members::{Action, Cause, Event, Members};
use tokio::{
    net::UdpSocket,
    sync::{Notify, watch},
    time,
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

/// Larger than any datagram of ours; a longer one is cut and then refused.
const BUFFER_LEN: usize = 2048;
/// How many datagrams are heard before what is due at the latest: a flood of them must not make this node look dead.
const HEARD_FIRST: u32 = 1024;
/// After a socket error, so that a broken socket does not become a busy loop.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// How this node takes part in the membership.
#[derive(Clone)]
pub struct Config {
    /// Own node name.
    pub node: String,
    /// Address and port to listen on; peers are told about it through the API server.
    pub bind: SocketAddr,
    /// The memberlist secret; without it messages are only protected against accidents.
    pub key: Option<Vec<u8>>,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("node", &self.node)
            .field("bind", &self.bind)
            .field("key", &self.key.as_ref().map(|_| "[redacted]"))
            .finish()
    }
}

/// Why the membership could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The port is taken, or the address is not ours.
    #[error("membership: cannot listen on {address} (UDP): {source}")]
    Bind {
        /// Where we wanted to listen.
        address: SocketAddr,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
}

/// `None` until the speaker knows who the others are.
type Peers = Option<BTreeMap<String, SocketAddr>>;

/// Controls the running membership; cheap to clone.
#[derive(Clone, Debug)]
pub struct MembersHandle {
    peers: watch::Sender<Peers>,
    alive: watch::Receiver<BTreeSet<String>>,
    settled: watch::Receiver<bool>,
    returned: Arc<Notify>,
    local: SocketAddr,
}

/// Starts the membership. It runs while the returned future is polled, within a tokio runtime. When `stop` is cancelled
/// it tells the peers that it leaves, and ends.
///
/// # Errors
/// If the address cannot be listened on.
pub fn start(
    config: Config,
    stop: CancellationToken,
) -> Result<(MembersHandle, impl Future<Output = Result<(), Error>> + Send + 'static), Error> {
    let bind = |source| Error::Bind {
        address: config.bind,
        source,
    };
    let socket = listen(config.bind).map_err(bind)?;
    let local = socket.local_addr().map_err(bind)?;
    if config.key.is_none() {
        tracing::warn!("membership without a secret: anybody who can reach {local} can pretend to be a speaker");
    }
    let members = Members::new(config.node, config.key.as_deref().unwrap_or_default(), incarnation());
    let (peers, peers_reader) = watch::channel(None);
    let (alive_writer, alive) = watch::channel(members.alive());
    let (settled_writer, settled) = watch::channel(false);
    let returned = Arc::<Notify>::default();
    let task = Task {
        socket,
        members,
        alive: alive_writer,
        settled: settled_writer,
        returned: Arc::clone(&returned),
    };
    let handle = MembersHandle {
        peers,
        alive,
        settled,
        returned,
        local,
    };
    let running = task.run(peers_reader, stop).map(Ok);
    Ok((handle, running.instrument(tracing::info_span!("members"))))
}

fn listen(address: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

/// Milliseconds since 1970: greater at every start unless the clock was set back, which the peers notice.
fn incarnation() -> u64 {
    let since_epoch = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

/// Owns the socket and the core.
struct Task {
    socket: UdpSocket,
    members: Members,
    alive: watch::Sender<BTreeSet<String>>,
    settled: watch::Sender<bool>,
    returned: Arc<Notify>,
}

impl Task {
    /// Runs until `stop`, then says goodbye. Every arm is cancel-safe.
    async fn run(mut self, mut peers: watch::Receiver<Peers>, stop: CancellationToken) {
        let mut buffer = [0; BUFFER_LEN];
        // Since the deadline.
        let mut heard = 0;
        loop {
            let deadline = self.members.next_deadline();
            heard = if deadline.is_some_and(|due| due <= Instant::now()) {
                heard + 1
            } else {
                0
            };
            // Biased: what has already come in is heard before anybody is declared dead.
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Ok(()) = peers.changed() => {
                    let known = peers.borrow_and_update().clone();
                    if let Some(known) = known {
                        self.feed(Event::Peers(known)).await;
                    }
                }
                received = self.socket.recv_from(&mut buffer), if heard <= HEARD_FIRST => match received {
                    Ok((len, from)) => self.feed(Event::Datagram { from, bytes: buffer[..len].to_vec() }).await,
                    Err(error) => {
                        tracing::warn!(%error, "receiving membership datagrams");
                        time::sleep(ERROR_PAUSE).await;
                    }
                },
                () = sleep_until(deadline) => self.feed(Event::Tick).await,
            }
        }
        self.feed(Event::Leave).await;
    }

    async fn feed(&mut self, event: Event) {
        let (mut changed, mut returned) = (false, false);
        for action in self.members.handle(Instant::now(), event) {
            changed |= matches!(action, Action::Up(_) | Action::Down(..));
            returned |= matches!(action, Action::Returned(_));
            self.perform(action).await;
        }
        if changed {
            self.alive.send_replace(self.members.alive());
        }
        if returned {
            self.returned.notify_one();
        }
        let settled = self.members.settled();
        self.settled
            .send_if_modified(|current| !std::mem::replace(current, settled) && settled);
    }

    async fn perform(&self, action: Action) {
        match action {
            Action::Send { to, bytes } => {
                // A peer that cannot be reached is found out by its silence.
                if let Err(error) = self.socket.send_to(&bytes, to).await {
                    tracing::debug!(%to, %error, "sending a membership datagram");
                }
            }
            Action::Up(node) => tracing::info!(event = "memberJoined", node, "speaker is alive"),
            Action::Returned(node) => tracing::info!(event = "memberReturned", node, "speaker was cut off"),
            Action::Down(node, cause) => {
                tracing::info!(event = "memberLeft", node, reason = reason(cause), "speaker is gone");
            }
            Action::Refused { from, reason } => tracing::debug!(%from, %reason, "membership datagram refused"),
        }
    }
}

fn reason(cause: Cause) -> &'static str {
    match cause {
        Cause::Silent => "silent",
        Cause::Left => "left",
        Cause::Removed => "removed",
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

impl MembersHandle {
    /// Replaces the whole set of other speakers: node name and the address of their membership port.
    ///
    /// To be called first when the list is complete; an empty one means that this node is alone.
    pub fn set_peers(&self, peers: BTreeMap<String, SocketAddr>) {
        self.peers.send_if_modified(|current| {
            let changed = current.as_ref() != Some(&peers);
            *current = Some(peers);
            changed
        });
    }

    /// Names of the nodes whose speaker is alive; always contains the own node.
    #[must_use]
    pub fn alive(&self) -> watch::Receiver<BTreeSet<String>> {
        self.alive.clone()
    }

    /// Becomes true once the alive set can be trusted after a start: all other speakers were heard, or three seconds
    /// have passed. Before that a fresh speaker must not announce what others own.
    #[must_use]
    pub fn settled(&self) -> watch::Receiver<bool> {
        self.settled.clone()
    }

    /// Waits until a speaker that was cut off is alive again: both sides may have announced the same addresses. By then
    /// it is among [`Self::alive`]. For one waiter; cancel-safe.
    pub async fn returned(&self) {
        self.returned.notified().await;
    }

    /// The address it listens on (tells the port if port 0 was asked for).
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.local
    }

    /// Waits for the end of the membership: after `stop`, until the goodbye is sent; before, it means a failure.
    pub async fn ended(&self) {
        self.peers.closed().await;
    }
}

#[cfg(test)]
mod tests;
