//! Layer 2: answers ARP for the announced addresses and tells the segment about them.
//!
//! ```text
//!  speaker ── announce() ──► watch: Desired ──┐
//!                                             ▼
//!  netlink ──► links task ─ watch: Selection ─► announcer task ◄──► packet socket (ARP, all interfaces)
//!              (lists, selects)                 responder, gratuitous, filter
//! ```
//! All decisions are in `metallb-l2`; the announcer task is their only user and needs no lock.

mod announcer;
mod counters;
mod links;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use metallb_l2::{EthernetAddress, Selection};
use metallb_net::{ETHERTYPE_ARP, LinkMonitor, OpenError, PacketSocket};
use tokio::sync::{Notify, broadcast, watch};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

pub use counters::{AddressCounters, DropCounters};
pub use metallb_l2::Interfaces;

use announcer::Announcer;
use counters::Counters;

/// Conflicts that a slow reader may leave unread before it misses some.
const CONFLICTS_KEPT: usize = 64;

/// The whole set of addresses to announce, each with its interfaces.
pub type Desired = BTreeMap<IpAddr, Interfaces>;

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

/// Why the layer-2 shell could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No packet socket; the text names a missing capability.
    #[error("layer 2: {0}")]
    PacketSocket(#[from] OpenError),
    /// No netlink socket.
    #[error("layer 2: cannot open a netlink socket: {0}")]
    Netlink(#[source] std::io::Error),
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

/// Controls the running layer-2 shell; cheap to clone.
#[derive(Clone, Debug)]
pub struct L2Handle {
    desired: watch::Sender<Desired>,
    known: watch::Receiver<BTreeSet<String>>,
    usable: watch::Receiver<BTreeSet<String>>,
    reannounce: Arc<Notify>,
    conflicts: broadcast::Sender<Conflict>,
    counters: Arc<Counters>,
}

/// Starts the layer-2 shell on the current tokio runtime; it ends when `stop` is cancelled.
///
/// # Errors
/// If the packet socket or the netlink socket cannot be opened.
pub fn spawn(config: Config, stop: CancellationToken) -> Result<L2Handle, Error> {
    let socket = PacketSocket::open(ETHERTYPE_ARP)?;
    let monitor = LinkMonitor::open().map_err(Error::Netlink)?;
    let (desired, desired_reader) = watch::channel(Desired::new());
    let (selection, selection_reader) = watch::channel(Selection::default());
    let (known_writer, known) = watch::channel(BTreeSet::new());
    let (usable_writer, usable) = watch::channel(BTreeSet::new());
    let (conflicts, _) = broadcast::channel(CONFLICTS_KEPT);
    let reannounce = Arc::<Notify>::default();
    let counters = Arc::<Counters>::default();

    let links = links::Task {
        exclude: config.exclude,
        selection,
        known: known_writer,
        usable: usable_writer,
    };
    let announcer = Announcer::new(socket, config.garp_interval, Arc::clone(&counters), conflicts.clone());
    let watching = stop.clone().run_until_cancelled_owned(links.run(monitor));
    tokio::spawn(watching.instrument(tracing::info_span!("l2-links")));
    let announcing = announcer.run(desired_reader, selection_reader, Arc::clone(&reannounce), stop);
    tokio::spawn(announcing.instrument(tracing::info_span!("l2")));
    Ok(L2Handle {
        desired,
        known,
        usable,
        reannounce,
        conflicts,
        counters,
    })
}

impl L2Handle {
    /// Replaces the whole set of announced addresses; only the differences have effects.
    ///
    /// A new address is answered at once and made known by gratuitous ARP; a missing one is no longer answered.
    /// IPv6 addresses are accepted, but not announced yet.
    pub fn announce(&self, desired: Desired) {
        self.desired.send_if_modified(|current| {
            let changed = *current != desired;
            *current = desired;
            changed
        });
    }

    /// Tells the segment about every announced address once more, as after a partition, when clients may have learnt
    /// another node's hardware address.
    pub fn reannounce(&self) {
        self.reannounce.notify_one();
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

    /// Claims of announced addresses by other hosts, each at most once in ten seconds (`addressConflict`).
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

    /// Waits for the end of the shell, which before `stop` means that it has failed.
    pub async fn ended(&self) {
        self.desired.closed().await;
    }
}
