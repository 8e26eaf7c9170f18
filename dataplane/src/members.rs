//! Membership: which speakers are alive.
//!
//! ```text
//!  speaker ── set_peers() ──► watch ──► one future: UDP socket, TCP listener, streams ◄──► metallb_members::Members
//!                                          │
//!                                          └──► watch: alive names, watch: settled, watch: those of our kind
//! ```
//! Beside it a thread finds out sooner who is silent, see [`metallb_members::fast`].

mod fast;
mod handle;
mod heartbeat;
mod limits;
mod losses;
mod sockets;
mod streams;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use futures::FutureExt;
use metallb_members::{
    Action, Cause, Event, Members,
    fast::{self as fast_path, Event as FastEvent, FIRST_BYTE},
};
pub use metallb_members::{
    Refusal, Timing,
    fast::{Question, Suspects},
    metadata::{Failback, Interface, Metadata},
};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::{
    sync::{Notify, oneshot, watch},
    time,
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use fast::Fast;
pub use handle::MembersHandle;
use handle::{Keys, Peers, Refusals};
pub use heartbeat::Heartbeat;
use losses::Losses;
pub use losses::{How, Loss};
use sockets::Sockets;
use streams::{Conversations, Outcome};

/// The largest datagram that there is.
const BUFFER_LEN: usize = 1 << 16;
/// How many datagrams are heard before what is due, at the most: what has come in says that its sender is alive, and a
/// flood of it must not make this node look dead.
const HEARD_FIRST: u32 = 1024;
/// After a socket error, so that a broken socket does not become a busy loop.
const ERROR_PAUSE: Duration = Duration::from_millis(100);
/// Between two warnings of a member with another key.
const WARN_PAUSE: Duration = Duration::from_secs(60);

/// How this node takes part in the membership.
#[derive(Clone)]
pub struct Config {
    /// Own node name.
    pub node: String,
    /// Address and port to listen on, with UDP and TCP. The others are told of it.
    pub bind: SocketAddr,
    /// The memberlist secret, as MetalLB's file has it; without it anybody may take part.
    pub key: Option<Vec<u8>>,
    /// How often and how long; the same for all members.
    pub timing: Timing,
    /// Whether this node takes part in fast failover, which needs all members to.
    pub fast: bool,
    /// What it says of itself, for now; see [`MembersHandle::set_metadata`].
    pub metadata: Metadata,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("node", &self.node)
            .field("bind", &self.bind)
            .field("key", &self.key.as_ref().map(|_| "[redacted]"))
            .field("timing", &self.timing)
            .field("fast", &self.fast)
            .field("metadata", &self.metadata)
            .finish()
    }
}

/// Why the membership could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The port is taken, or the address is not ours.
    #[error("membership: cannot listen on {address} ({protocol}): {source}")]
    Bind {
        /// Where we wanted to listen.
        address: SocketAddr,
        /// UDP or TCP.
        protocol: &'static str,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// The thread of the fast path returned or panicked before the end.
    #[error("membership: the thread of the fast path has ended")]
    FastEnded,
}

/// Starts the membership. It runs while the returned future is polled, within a tokio runtime. When `stop` is cancelled
/// it tells the others that it leaves, and ends.
///
/// # Errors
/// If the address cannot be listened on.
pub fn start(
    config: Config,
    stop: CancellationToken,
) -> Result<(MembersHandle, impl Future<Output = Result<(), Error>> + Send + 'static), Error> {
    let bind = |refused: sockets::Refused| Error::Bind {
        address: config.bind,
        protocol: refused.protocol,
        source: refused.source,
    };
    let sockets = Sockets::listen(config.bind).map_err(bind)?;
    let udp = |source| {
        bind(sockets::Refused {
            protocol: "UDP",
            source,
        })
    };
    let local = sockets.datagrams.local_addr().map_err(udp)?;
    let address = sockets::advertised(local).map_err(udp)?;
    if config.key.is_none() {
        tracing::warn!("membership without a secret: anybody who can reach {local} can pretend to be a speaker");
    }
    let tcp_timeout = config.timing.tcp_timeout;
    let returned = Arc::<Notify>::default();
    let losses = Losses::default();
    let (fast, fast_ended) = start_fast(&config, &sockets, &returned, &losses).unzip();
    let (metadata, metadata_reader) = watch::channel(config.metadata.clone());
    let members = members(config, address, fast.is_some());
    let (said_writer, said) = watch::channel(members.metadata());
    let (peers, peers_reader) = watch::channel(None);
    let (keys, keys_reader) = watch::channel(Keys::default());
    let (alive_writer, alive) = watch::channel(members.alive());
    let (settled_writer, settled) = watch::channel(false);
    let refusals = Refusals::default();
    let (mismatches_writer, mismatches) = watch::channel(None);
    let task = Task {
        conversations: Conversations::new(members.framing(), tcp_timeout),
        sockets,
        members,
        own: address,
        alive: alive_writer,
        said: said_writer,
        settled: settled_writer,
        returned: Arc::clone(&returned),
        refusals: Arc::clone(&refusals),
        warned: None,
        mismatches: mismatches_writer,
        fast: fast.clone(),
        losses: losses.clone(),
    };
    let handle = MembersHandle {
        peers,
        keys,
        metadata,
        alive,
        said,
        settled,
        returned,
        refusals,
        mismatches,
        local,
        fast,
        losses,
    };
    let inputs = Inputs {
        peers: peers_reader,
        keys: keys_reader,
        metadata: metadata_reader,
    };
    let running = task.run(inputs, stop).map(Ok);
    let running = async {
        tokio::select! {
            ended = running => ended,
            () = end_of(fast_ended) => Err(Error::FastEnded),
        }
    };
    Ok((handle, running.instrument(tracing::info_span!("members"))))
}

/// Starts the fast path, if it is wanted and the kernel can divide the port; memberlist goes without.
fn start_fast(
    config: &Config,
    sockets: &Sockets,
    returned: &Arc<Notify>,
    losses: &Losses,
) -> Option<(Fast, oneshot::Receiver<()>)> {
    if !config.fast {
        return None;
    }
    let keys = Keys(config.key.iter().cloned().collect()).fast();
    let started = metallb_net::split_datagrams(&sockets.datagrams, FIRST_BYTE)
        .and_then(|socket| Fast::start(&config.node, socket, keys, Arc::clone(returned), losses.clone()));
    started
        .inspect_err(
            |error| tracing::warn!(%error, "fast failover is off in the whole cluster: this node cannot take part"),
        )
        .ok()
}

async fn end_of(ended: Option<oneshot::Receiver<()>>) {
    match ended {
        // Nothing is ever sent.
        Some(ended) => drop(ended.await),
        None => std::future::pending().await,
    }
}

fn members(config: Config, address: SocketAddr, fast: bool) -> Members {
    let core = metallb_members::Config {
        address,
        keyring: Keys(config.key.into_iter().collect()).keyring(),
        node: config.node,
        timing: config.timing,
        meta: config.metadata.encode(fast),
    };
    let random = SystemRandom::new();
    Members::new(core, Instant::now(), move |buffer| {
        random.fill(buffer).expect("a kernel that runs programs has randomness");
    })
}

/// What the others of this process tell.
struct Inputs {
    peers: watch::Receiver<Peers>,
    keys: watch::Receiver<Keys>,
    metadata: watch::Receiver<Metadata>,
}

/// Owns the sockets and the core.
struct Task {
    sockets: Sockets,
    conversations: Conversations,
    members: Members,
    own: SocketAddr,
    alive: watch::Sender<BTreeSet<String>>,
    said: watch::Sender<BTreeMap<String, Option<Metadata>>>,
    settled: watch::Sender<bool>,
    returned: Arc<Notify>,
    refusals: Refusals,
    /// When a key that differs was warned of.
    warned: Option<Instant>,
    mismatches: watch::Sender<Option<IpAddr>>,
    fast: Option<Fast>,
    losses: Losses,
}

impl Task {
    /// Runs until `stop`, then says goodbye. Every arm is cancel-safe.
    async fn run(mut self, inputs: Inputs, stop: CancellationToken) {
        let Inputs {
            mut peers,
            mut keys,
            mut metadata,
        } = inputs;
        let mut buffer = vec![0; BUFFER_LEN];
        loop {
            let deadline = self.members.next_deadline();
            tokio::select! {
                () = stop.cancelled() => break,
                Ok(()) = peers.changed() => {
                    let known = peers.borrow_and_update().clone();
                    if let Some(known) = known {
                        self.feed(Event::Peers(known)).await;
                    }
                }
                Ok(()) = keys.changed() => {
                    let keys = keys.borrow_and_update().clone();
                    self.feed(Event::Keyring(keys.keyring())).await;
                    self.tell_fast(FastEvent::Keys(keys.fast()));
                    self.conversations.expect(self.members.framing());
                }
                Ok(()) = metadata.changed() => {
                    let meta = metadata.borrow_and_update().encode(self.fast.is_some());
                    self.feed(Event::Meta(meta)).await;
                }
                received = self.sockets.datagrams.recv_from(&mut buffer) => match received {
                    Ok((len, from)) => self.hear(&buffer[..len], from).await,
                    Err(error) => pause(&error).await,
                },
                accepted = self.sockets.streams.accept(), if self.conversations.has_room() => match accepted {
                    Ok((stream, from)) => self.conversations.accept(stream, from),
                    Err(error) => pause(&error).await,
                },
                outcome = self.conversations.next() => self.conversed(outcome).await,
                () = sleep_until(deadline) => {
                    self.hear_first(&mut buffer).await;
                    self.feed(Event::Tick).await;
                }
            }
        }
        self.feed(Event::Leave).await;
        // It goes on answering, and judges nobody any more.
        let peers = self.members.others();
        self.tell_fast(FastEvent::Members { peers, active: false });
    }

    fn tell_fast(&self, event: FastEvent) {
        if let Some(fast) = &self.fast {
            fast.tell(event);
        }
    }

    /// Hears what has already come in, before anybody is declared dead.
    async fn hear_first(&mut self, buffer: &mut [u8]) {
        for _ in 0..HEARD_FIRST {
            let Ok((len, from)) = self.sockets.datagrams.try_recv_from(buffer) else {
                return;
            };
            self.hear(&buffer[..len], from).await;
        }
    }

    async fn hear(&mut self, bytes: &[u8], from: SocketAddr) {
        let bytes = bytes.to_vec();
        self.feed(Event::Datagram { from, bytes }).await;
    }

    async fn conversed(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Request { id, from, bytes } => {
                self.feed(Event::Request { id, from, bytes }).await;
                self.conversations.close(id);
            }
            Outcome::Reply { id, bytes } => self.feed(Event::Reply { id, bytes }).await,
            Outcome::Failed { id, error } => {
                tracing::debug!(%error, "asking a member over TCP");
                self.feed(Event::Failed { id }).await;
            }
            Outcome::Refused { from, reason } => self.refused(from, reason),
            Outcome::Ended => {}
        }
    }

    async fn feed(&mut self, event: Event) {
        let (mut changed, mut returned) = (false, false);
        for action in self.members.handle(Instant::now(), event) {
            changed |= matches!(action, Action::Up(_) | Action::Down(..) | Action::Updated(_));
            returned |= matches!(action, Action::Returned(_));
            self.perform(action).await;
        }
        if changed {
            self.said.send_replace(self.members.metadata());
            self.alive.send_replace(self.members.alive());
            self.tell_fast(FastEvent::Members {
                peers: self.members.others(),
                active: self.members.all_say(fast_path::CAPABILITY),
            });
        }
        if returned {
            self.returned.notify_one();
        }
        let settled = self.members.settled();
        self.settled
            .send_if_modified(|current| !std::mem::replace(current, settled) && settled);
    }

    async fn perform(&mut self, action: Action) {
        match action {
            Action::Send { to, bytes } => {
                // A member that cannot be reached is found out by its silence.
                if let Err(error) = self.sockets.datagrams.send_to(&bytes, to).await {
                    tracing::debug!(%to, %error, "sending a membership datagram");
                }
            }
            Action::Exchange {
                id,
                to,
                request,
                timeout,
            } => self.conversations.exchange(id, self.own.ip(), to, request, timeout),
            Action::Answer { id, bytes } => self.conversations.answer(id, bytes),
            Action::Up(node) => {
                self.losses.remove(&node);
                tracing::info!(event = "memberJoined", node, "speaker is alive");
            }
            Action::Updated(node) => tracing::debug!(event = "memberUpdated", node, "speaker has changed"),
            Action::Returned(node) => tracing::info!(event = "memberReturned", node, "speaker was cut off"),
            Action::Down(node, cause) => {
                self.losses.add(&node, self.loss(&node, cause));
                tracing::info!(event = "memberLeft", node, reason = reason(cause), "speaker is gone");
            }
            Action::Refused { from, reason } => self.refused(from, reason),
        }
    }

    fn loss(&self, node: &str, cause: Cause) -> Loss {
        let (how, heard) = match cause {
            Cause::Silent => (How::Died, self.members.last_heard(node)),
            Cause::Left => (How::Left, None),
        };
        Loss {
            how,
            heard,
            noticed: Instant::now(),
        }
    }

    fn refused(&mut self, from: SocketAddr, reason: Refusal) {
        *self
            .refusals
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(reason)
            .or_default() += 1;
        let keys_differ = matches!(reason, Refusal::Decryption | Refusal::Unexpected);
        let now = Instant::now();
        if keys_differ && self.warned.is_none_or(|warned| now - warned >= WARN_PAUSE) {
            self.warned = Some(now);
            self.mismatches.send_replace(Some(from.ip()));
            tracing::warn!(event = "memberlistKeyMismatch", %from, %reason, "a speaker has another secret than this one");
        } else {
            tracing::debug!(%from, %reason, "membership message refused");
        }
    }
}

async fn pause(error: &std::io::Error) {
    tracing::warn!(%error, "receiving for the membership");
    time::sleep(ERROR_PAUSE).await;
}

fn reason(cause: Cause) -> &'static str {
    match cause {
        Cause::Silent => "silent",
        Cause::Left => "left",
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
