//! Layer 2: answers ARP and neighbour solicitations for the announced addresses and tells the segment about them.
//!
//! ```text
//!  speaker ── change(), probe(), .. ─┐
//!                                    ├► mailbox ──► l2-answers, a thread ◄──► packet sockets
//!  netlink ──► links task ───────────┘              (metallb_l2::Core)        (ARP and IPv6, all interfaces)
//!              (lists, selects)                       └──► groups task (memberships of IPv6 groups)
//! ```
//! All decisions are in `metallb-l2`; the thread is the only user of its core, which needs no lock. Tasks and thread belong
//! to the future that [`start`] returns, and end with it.

mod announcer;
mod counters;
mod groups;
mod links;
mod sockets;
mod thread;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use metallb_l2::Selection;
use metallb_net::{LinkMonitor, OpenError};
use tokio::{
    sync::{broadcast, mpsc, oneshot, watch},
    task::{JoinError, JoinSet},
    time,
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

pub use counters::{AddressCounters, DropCounters};
pub use metallb_l2::{EthernetAddress, Interfaces, Report};

use crate::mailbox::{Mailbox, mailbox};
use announcer::{Announcer, Outputs};
use counters::Counters;
use sockets::Sockets;
use thread::Thread;

/// A longer list is told in parts.
const TOLD_AT_A_TIME: usize = 256;
/// Conflicts that a slow reader may leave unread before it misses some.
const CONFLICTS_KEPT: usize = 1024;
/// Ended claims that a slow reader may leave unread; what it misses of yielded addresses is told again.
const ENDED_KEPT: usize = 1024;
/// Answers to probes that a slow reader may leave unread; older ones are worth nothing.
const FOUND_KEPT: usize = 64;

/// How the layer-2 shell behaves.
#[derive(Clone)]
pub struct Config {
    /// Interfaces for which this returns true are neither used nor known (`announcedInterfacesToExclude`).
    pub exclude: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    /// How often announced addresses are repeated unasked (`--gratuitous-arp-interval`); `None` = never.
    pub garp_interval: Option<Duration>,
    /// Whether it is asked who has an address before it is announced for the first time (`--l2-check-addresses`); see
    /// [`metallb_l2::Core::check_before_announcing`].
    pub check_before_announcing: bool,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("garp_interval", &self.garp_interval)
            .field("check_before_announcing", &self.check_before_announcing)
            .finish_non_exhaustive()
    }
}

/// Why the layer-2 shell could not start, or has ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No packet socket; the text names a missing capability.
    #[error("layer 2: {0}")]
    PacketSocket(#[from] OpenError),
    /// No netlink socket.
    #[error("layer 2: cannot open a netlink socket: {0}")]
    Netlink(#[source] std::io::Error),
    /// A task returned before it was stopped.
    #[error("layer 2: the {0} task has ended")]
    Ended(&'static str),
    /// A task panicked.
    #[error("layer 2: a task has failed: {0}")]
    Failed(#[from] JoinError),
    /// No thread, or nothing to wake it with.
    #[error("layer 2: cannot start the thread that answers: {0}")]
    Thread(#[source] std::io::Error),
    /// The thread that answers panicked, with this message.
    #[error("layer 2: the thread that answers has failed: {0}")]
    Panicked(String),
}

/// Another host claims an address that is announced here, or was until [`L2Handle::yield_address`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The address.
    pub ip: IpAddr,
    /// The interface on which the claim was heard.
    pub interface: String,
    /// Hardware address of the claimant.
    pub mac: EthernetAddress,
    /// First, confirmed or repeated; says what to do about it.
    pub report: Report,
}

/// Another host has said that it has an address that was asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The address.
    pub ip: IpAddr,
    /// Hardware address of the host.
    pub mac: EthernetAddress,
}

/// The segment was told of an address for the first time since that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstFrame {
    /// The address.
    pub ip: IpAddr,
    /// When the frame was handed to the kernel.
    pub at: Instant,
}

/// What the thread that answers is told.
#[derive(Debug)]
enum Command {
    Links(Selection),
    Change(Vec<(IpAddr, Option<Interfaces>)>),
    Release(Vec<IpAddr>),
    Reannounce,
    /// To be told of the first frame that makes each of these known.
    TellFirst(Vec<IpAddr>, mpsc::UnboundedSender<FirstFrame>),
    Probe(IpAddr),
    Yield(IpAddr),
    Resume(IpAddr),
    Defend(IpAddr),
    Peers(BTreeSet<EthernetAddress>),
    /// To be answered at once.
    Echo(oneshot::Sender<()>),
    HandOver {
        /// To be told when it has begun.
        begun: oneshot::Sender<()>,
        /// To be told when nothing is left to hand over.
        done: oneshot::Sender<()>,
    },
    End,
}

/// Controls the running layer-2 shell; cheap to clone.
#[derive(Clone, Debug)]
pub struct L2Handle {
    commands: Mailbox<Command>,
    known: watch::Receiver<BTreeSet<String>>,
    usable: watch::Receiver<BTreeSet<String>>,
    macs: watch::Receiver<BTreeMap<String, EthernetAddress>>,
    conflicts: broadcast::Sender<Conflict>,
    found: broadcast::Sender<Found>,
    claims_ended: broadcast::Sender<IpAddr>,
    counters: Arc<Counters>,
}

/// A hand-over that has begun.
#[derive(Debug)]
pub struct HandingOver(oneshot::Receiver<()>);

impl HandingOver {
    /// Waits until nothing is left to hand over, for `limit` at the latest.
    pub async fn done(self, limit: Duration) {
        // A shell that has ended has nothing left.
        let _ = time::timeout(limit, self.0).await;
    }
}

/// Starts the layer-2 shell. It runs while the returned future is polled, within a tokio runtime, and ends without error
/// when `stop` is cancelled.
///
/// # Errors
/// If the packet socket or the netlink socket cannot be opened; later, if one of its tasks ends or panics.
pub fn start(
    config: Config,
    stop: CancellationToken,
) -> Result<(L2Handle, impl Future<Output = Result<(), Error>> + Send + 'static), Error> {
    let sockets = Sockets::open()?;
    let monitor = LinkMonitor::open().map_err(Error::Netlink)?;
    let (commands, inbox) = mailbox().map_err(Error::Thread)?;
    let (known_writer, known) = watch::channel(BTreeSet::new());
    let (usable_writer, usable) = watch::channel(BTreeSet::new());
    let (macs_writer, macs) = watch::channel(BTreeMap::new());
    let (groups, memberships) = mpsc::unbounded_channel();
    let outputs = Outputs {
        counters: Arc::default(),
        conflicts: broadcast::channel(CONFLICTS_KEPT).0,
        claims_ended: broadcast::channel(ENDED_KEPT).0,
        found: broadcast::channel(FOUND_KEPT).0,
        groups,
    };
    let handle = L2Handle {
        commands: commands.clone(),
        known,
        usable,
        macs,
        conflicts: outputs.conflicts.clone(),
        found: outputs.found.clone(),
        claims_ended: outputs.claims_ended.clone(),
        counters: Arc::clone(&outputs.counters),
    };
    let announcer = Announcer::new(sockets, &config, outputs);
    let links = links::Task {
        exclude: config.exclude,
        announcer: commands.clone(),
        known: known_writer,
        usable: usable_writer,
        macs: macs_writer,
    };
    let mut tasks = JoinSet::new();
    let links = links.run(monitor).instrument(tracing::info_span!("l2-links"));
    let groups = groups::run(memberships).instrument(tracing::info_span!("l2-groups"));
    let thread = Thread::start(announcer, inbox).map_err(Error::Thread)?;
    let end = End(commands);
    let tasks = async move {
        tasks.spawn(named("links", links));
        tasks.spawn(named("groups", groups));
        own(tasks, thread, end, stop).await
    };
    Ok((handle, tasks))
}

/// Tells a long list bit by bit: frames are answered in between.
fn in_parts<T>(all: Vec<T>, mut tell: impl FnMut(Vec<T>)) {
    let mut all = all.into_iter();
    while all.len() > TOLD_AT_A_TIME {
        tell(all.by_ref().take(TOLD_AT_A_TIME).collect());
    }
    tell(all.collect());
}

async fn named(name: &'static str, task: impl Future<Output = ()>) -> &'static str {
    task.await;
    name
}

/// Ends the thread, also when it goes because nobody polls the shell's future any more.
struct End(Mailbox<Command>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.send(Command::End);
    }
}

/// Runs tasks and thread until `stop`; the first that ends before takes the others with it.
async fn own(mut tasks: JoinSet<&'static str>, thread: Thread, end: End, stop: CancellationToken) -> Result<(), Error> {
    let mut thread = pin!(thread.ended());
    // Cancel-safe: the first to end decides, and what is left is ended.
    let ended = tokio::select! {
        () = stop.cancelled() => Ok(()),
        ended = &mut thread => return Err(ended.err().unwrap_or(Error::Ended("announcer"))),
        Some(ended) = tasks.join_next() => Err(ended.map_or_else(Error::Failed, Error::Ended)),
    };
    tasks.shutdown().await;
    drop(end);
    ended.and(thread.await)
}

impl L2Handle {
    /// Announces each address on these interfaces from now on, or withdraws it (`None`); in order.
    ///
    /// A new address is answered at once and made known unasked; a withdrawn one is no longer answered. An IPv6 address is
    /// announced only on interfaces with a link-local address, from which neighbours are told.
    pub fn change(&self, changes: Vec<(IpAddr, Option<Interfaces>)>) {
        in_parts(changes, |part| self.tell(Command::Change(part)));
    }

    /// Withdraws addresses that another node takes over: each is answered until that one is heard, for a second at most,
    /// and nothing is said of it unasked. Nobody who asks is left without an answer, and nobody gets two once the other
    /// was heard.
    pub fn release(&self, addresses: Vec<IpAddr>) {
        in_parts(addresses, |part| self.tell(Command::Release(part)));
    }

    /// Tells `to` of the next gratuitous frame for each address, once, unless it is withdrawn before: to be called before the
    /// [`Self::change`] that announces it.
    pub fn tell_first_frames(&self, ips: Vec<IpAddr>, to: &mpsc::UnboundedSender<FirstFrame>) {
        in_parts(ips, |part| self.tell(Command::TellFirst(part, to.clone())));
    }

    /// Tells the segment about every announced address once more, as after a partition, when clients may have learnt
    /// another node's hardware address.
    pub fn reannounce(&self) {
        self.tell(Command::Reannounce);
    }

    /// Asks the segment who has an address that is not announced here, for half a second; see [`Self::found`].
    pub fn probe(&self, ip: IpAddr) {
        self.tell(Command::Probe(ip));
    }

    /// Addresses of [`Self::probe`] that another host has said it has.
    #[must_use]
    pub fn found(&self) -> broadcast::Receiver<Found> {
        self.found.subscribe()
    }

    /// Stops answering an address at once, and says nothing about it unasked: another speaker with a better right to it
    /// announces it on the same segment. Ignored for an address that is not announced here.
    ///
    /// It stays announced as far as [`Self::change`] goes: `Some(..)` changes its interfaces and does not end the silence;
    /// that do [`Self::resume_address`], [`Self::defend`], and `None` followed by `Some(..)`.
    pub fn yield_address(&self, ip: IpAddr) {
        self.tell(Command::Yield(ip));
    }

    /// Answers a yielded address again and makes it known as a new one. Ignored for others.
    pub fn resume_address(&self, ip: IpAddr) {
        self.tell(Command::Resume(ip));
    }

    /// Insists on an address that another speaker announces without a right to it: one announcement in request form now
    /// and one after 1.1 s, then one for a claim at most every ten seconds while the conflict lasts. To be called for
    /// every report; what is done already is not done again. Ends [`Self::yield_address`].
    ///
    /// An address that nobody calls this for is defended, too, once a claim is confirmed, at most every ten seconds
    /// (RFC 5227 §2.4).
    pub fn defend(&self, ip: IpAddr) {
        self.tell(Command::Defend(ip));
    }

    /// Addresses that another host has claimed and does so no longer: for three seconds it has neither announced them
    /// nor, if they are yielded, answered when it was asked. A yielded address is told again every three seconds until
    /// it is resumed or withdrawn.
    #[must_use]
    pub fn claims_ended(&self) -> broadcast::Receiver<IpAddr> {
        self.claims_ended.subscribe()
    }

    /// The hardware addresses of all other speakers, as far as they are known. Claims by these are left to the caller:
    /// they are not defended against unasked, and count as `peer`.
    pub fn set_peers(&self, macs: BTreeSet<EthernetAddress>) {
        self.tell(Command::Peers(macs));
    }

    /// A question to the thread that answers ARP and NDP, which it answers at once unless it is stuck. Whoever asks decides
    /// about conflicts: if it does not ask for two seconds after it has once, the thread leaves addresses that it hears other
    /// speakers announce to these.
    #[must_use]
    pub fn echo(&self) -> oneshot::Receiver<()> {
        let (answer, answered) = oneshot::channel();
        self.tell(Command::Echo(answer));
        answered
    }

    /// Before the end: goes on answering each address until another host is heard to claim it, then no longer answers
    /// that one. Says nothing unasked any more. What is left is answered until the shell is stopped.
    ///
    /// Returns when this has begun: claims that are heard from then on count.
    pub async fn hand_over(&self) -> HandingOver {
        let ((begun, begins), (done, finished)) = (oneshot::channel(), oneshot::channel());
        self.tell(Command::HandOver { begun, done });
        // A shell that has ended has nothing left.
        let _ = begins.await;
        HandingOver(finished)
    }

    /// Whoever owns the shell's future sees it when it has ended.
    fn tell(&self, command: Command) {
        self.commands.send(command);
    }

    /// Names of all interfaces of the node except the excluded ones, down ones included (the names that
    /// an L2Advertisement's `interfaces` may mean). Empty until the first scan, a few milliseconds after the start.
    #[must_use]
    pub fn interfaces(&self) -> watch::Receiver<BTreeSet<String>> {
        self.known.clone()
    }

    /// Names of the interfaces on which addresses can be announced right now: up, with carrier, able to do ARP.
    #[must_use]
    pub fn usable_interfaces(&self) -> watch::Receiver<BTreeSet<String>> {
        self.usable.clone()
    }

    /// The hardware address of each of these interfaces: the others hear this node claim addresses by them.
    #[must_use]
    pub fn hardware_addresses(&self) -> watch::Receiver<BTreeMap<String, EthernetAddress>> {
        self.macs.clone()
    }

    /// Claims of announced and of yielded addresses by other hosts: at once, and while they last at most once a second
    /// for an address and a host. What is told to users (`addressConflict`) is [`Report::is_for_users`] only.
    #[must_use]
    pub fn conflicts(&self) -> broadcast::Receiver<Conflict> {
        self.conflicts.subscribe()
    }

    /// Counters of every address announced since the start (`metallb_layer2_{requests_received,responses_sent,gratuitous_sent}`).
    #[must_use]
    pub fn counters(&self) -> BTreeMap<IpAddr, AddressCounters> {
        self.counters.addresses()
    }

    /// Frames that were not answered, by reason and interface (`metallb_layer2_dropped_total`).
    #[must_use]
    pub fn drops(&self) -> DropCounters {
        self.counters.drops()
    }
}

#[cfg(test)]
mod tests;
