//! Layer 2: answers ARP and neighbour solicitations for the announced addresses and tells the segment about them.
//!
//! ```text
//!  speaker ── change(), probe(), hand_over() ──────► channel: Command ─┐
//!                                                                       ▼
//!  netlink ──► links task ──────── watch: Selection ────────────► announcer task ◄──► packet sockets
//!              (lists, selects)                                   (metallb_l2::Core)  (ARP and IPv6, all interfaces)
//! ```
//! All decisions are in `metallb-l2`; the announcer task is the only user of its core, which needs no lock. Both tasks
//! belong to the future that [`start`] returns, and end with it.

mod announcer;
mod counters;
mod links;
mod sockets;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use metallb_l2::{EthernetAddress, Selection};
use metallb_net::{LinkMonitor, OpenError};
use tokio::{
    sync::{broadcast, mpsc, oneshot, watch},
    task::{JoinError, JoinSet},
    time,
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

pub use counters::{AddressCounters, DropCounters};
pub use metallb_l2::Interfaces;

use announcer::Announcer;
use counters::Counters;
use sockets::Sockets;

/// Conflicts that a slow reader may leave unread before it misses some.
const CONFLICTS_KEPT: usize = 64;
/// Answers to probes that a slow reader may leave unread; older ones are worth nothing.
const FOUND_KEPT: usize = 64;

/// How the layer-2 shell behaves.
#[derive(Clone)]
pub struct Config {
    /// Interfaces for which this returns true are neither used nor known (`announcedInterfacesToExclude`).
    pub exclude: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    /// How often announced addresses are repeated unasked (`--gratuitous-arp-interval`); `None` = never.
    pub garp_interval: Option<Duration>,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("garp_interval", &self.garp_interval)
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
}

/// Another host claims an address that we announce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The address.
    pub ip: IpAddr,
    /// The interface on which the claim was heard.
    pub interface: String,
    /// Hardware address of the claimant.
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

/// What the announcer task is told.
#[derive(Debug)]
enum Command {
    Change(Vec<(IpAddr, Option<Interfaces>)>),
    Reannounce,
    /// To be told of the first frame that makes each of these known.
    TellFirst(Vec<IpAddr>, mpsc::UnboundedSender<FirstFrame>),
    Probe(IpAddr),
    /// To be answered when nothing is left to hand over.
    HandOver(oneshot::Sender<()>),
}

/// Controls the running layer-2 shell; cheap to clone.
#[derive(Clone, Debug)]
pub struct L2Handle {
    /// Unbounded, so that nobody has to wait: what is told is taken out at once, and it is no more than what has changed.
    commands: mpsc::UnboundedSender<Command>,
    known: watch::Receiver<BTreeSet<String>>,
    usable: watch::Receiver<BTreeSet<String>>,
    conflicts: broadcast::Sender<Conflict>,
    found: broadcast::Sender<IpAddr>,
    counters: Arc<Counters>,
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
    let (commands, inbox) = mpsc::unbounded_channel();
    let (selection, selection_reader) = watch::channel(Selection::default());
    let (known_writer, known) = watch::channel(BTreeSet::new());
    let (usable_writer, usable) = watch::channel(BTreeSet::new());
    let (conflicts, _) = broadcast::channel(CONFLICTS_KEPT);
    let (found, _) = broadcast::channel(FOUND_KEPT);
    let counters = Arc::<Counters>::default();

    let links = links::Task {
        exclude: config.exclude,
        selection,
        known: known_writer,
        usable: usable_writer,
    };
    let links = links.run(monitor).instrument(tracing::info_span!("l2-links"));
    let announcer = Announcer::new(
        sockets,
        config.garp_interval,
        Arc::clone(&counters),
        conflicts.clone(),
        found.clone(),
    );
    let announcer = announcer.run(inbox, selection_reader);
    let announcer = announcer.instrument(tracing::info_span!("l2"));
    let handle = L2Handle {
        commands,
        known,
        usable,
        conflicts,
        found,
        counters,
    };
    Ok((handle, own(links, announcer, stop)))
}

/// Runs both tasks until `stop`; the first that ends before takes the other with it.
async fn own(
    links: impl Future<Output = ()> + Send + 'static,
    announcer: impl Future<Output = ()> + Send + 'static,
    stop: CancellationToken,
) -> Result<(), Error> {
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        links.await;
        "links"
    });
    tasks.spawn(async move {
        announcer.await;
        "announcer"
    });
    let ended = stop.run_until_cancelled(tasks.join_next()).await.flatten();
    tasks.shutdown().await;
    match ended {
        None => Ok(()),
        Some(ended) => Err(Error::Ended(ended?)),
    }
}

impl L2Handle {
    /// Announces each address on these interfaces from now on, or withdraws it (`None`); in order.
    ///
    /// A new address is answered at once and made known unasked; a withdrawn one is no longer answered. An IPv6 address is
    /// announced only on interfaces with a link-local address, from which neighbours are told.
    pub fn change(&self, changes: Vec<(IpAddr, Option<Interfaces>)>) {
        self.tell(Command::Change(changes));
    }

    /// Tells `to` of the next gratuitous frame for each address, once, unless it is withdrawn before: to be called before the
    /// [`Self::change`] that announces it.
    pub fn tell_first_frames(&self, ips: Vec<IpAddr>, to: mpsc::UnboundedSender<FirstFrame>) {
        self.tell(Command::TellFirst(ips, to));
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
    pub fn found(&self) -> broadcast::Receiver<IpAddr> {
        self.found.subscribe()
    }

    /// Before the end: goes on answering each address until another host is heard to claim it, then no longer answers
    /// that one. Says nothing unasked any more. Returns when nothing is left to hand over, after `limit` at the latest;
    /// what is left is answered until the shell is stopped.
    pub async fn hand_over(&self, limit: Duration) {
        let (done, finished) = oneshot::channel();
        self.tell(Command::HandOver(done));
        // A shell that has ended has nothing left either.
        let _ = time::timeout(limit, finished).await;
    }

    /// Whoever owns the shell's future sees it when it has ended.
    fn tell(&self, command: Command) {
        let _ = self.commands.send(command);
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

    /// Claims of announced addresses by other hosts, each at most once in ten seconds (`addressConflict`), and a second
    /// late: an address that is withdrawn meanwhile was moved.
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
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn a_task_that_ends_takes_the_other_with_it_and_is_named() {
        let stop = CancellationToken::new();
        let links = own(ready(()), pending(), stop.clone()).await;
        assert!(matches!(links, Err(Error::Ended("links"))), "{links:?}");
        let announcer = own(pending(), ready(()), stop).await;
        assert!(matches!(announcer, Err(Error::Ended("announcer"))), "{announcer:?}");
    }

    #[tokio::test]
    async fn a_task_that_panics_is_an_error() {
        let panics = async { panic!("on purpose") };
        let ended = own(pending(), panics, CancellationToken::new()).await;
        assert!(
            matches!(&ended, Err(Error::Failed(error)) if error.is_panic()),
            "{ended:?}"
        );
    }

    #[tokio::test]
    async fn a_stop_on_request_is_no_error() {
        let stop = CancellationToken::new();
        stop.cancel();
        own(pending(), pending(), stop).await.unwrap();
    }
}
