//! What the engine wants done.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use metallb_announce::Path;
use metallb_config::{BfdProfile, Interfaces, Peer};

use crate::Mac;

/// Namespace and name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl ServiceKey {
    /// Names an object.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// How an address is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// As BGP routes.
    Bgp,
    /// By answering ARP and NDP.
    Layer2,
}

impl Protocol {
    /// The name in logs, events and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bgp => "bgp",
            Self::Layer2 => "layer2",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Severity and reason of an event on a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// This node announces the Service now, or other addresses of it.
    NodeAssigned,
    /// The interfaces that the advertisement names do not exist here.
    AnnounceFailed,
    /// Two BGP advertisements contradict each other.
    ConflictingAdvertisements,
    /// Another host claims an address of the Service.
    AddressConflict,
}

/// What the configuration is worth.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigReport {
    /// Everything that is not in effect as written, one sentence each.
    pub errors: Vec<String>,
    /// Everything that is in use and does something else than it says, one sentence each.
    pub doubts: Vec<String>,
    /// How many objects are refused, in whole or in part.
    pub refused: usize,
}

/// What ServiceL2Status or ServiceBGPStatus of this node says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatusContent {
    /// Names of the interfaces, sorted; none means all.
    Interfaces(Arc<Vec<String>>),
    /// Names of the peers, sorted.
    Peers(Arc<Vec<String>>),
}

/// What is announced of a prefix from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteChange {
    /// The prefix.
    pub prefix: IpNet,
    /// Everything that is told about it; nothing = it is withdrawn.
    pub paths: Vec<Arc<Path>>,
}

/// With whom this node speaks BGP.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Peers {
    /// The peers of this node, by name.
    pub peers: Vec<Peer>,
    /// All BFD profiles, by name.
    pub bfd_profiles: Vec<BfdProfile>,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Answer for these addresses on other interfaces than before; `None` = not any more.
    Addresses(Vec<(IpAddr, Option<Interfaces>)>),
    /// Go on answering for these addresses until the node that takes them over is heard, for a second at most.
    HandOver(Vec<IpAddr>),
    /// Be silent about this address, until it is resumed or not announced any more: another node has the better claim.
    Yield(IpAddr),
    /// Answer for it again.
    Resume(IpAddr),
    /// Insist on this address, which another node announces, too.
    Defend(IpAddr),
    /// These are the hardware addresses of the other nodes that announce.
    Speakers(BTreeSet<Mac>),
    /// Announce these prefixes differently.
    Routes(Vec<RouteChange>),
    /// Hold these sessions and no others.
    Peers(Peers),
    /// The first picture was complete for this protocol, and what follows from it was told.
    Opened(Protocol),
    /// These are the addresses now announced for the Service; none = withdrawn.
    Announced(Arc<ServiceKey>, Protocol, Vec<IpAddr>),
    /// This node answers for the Service in layer 2 from now on, instead of another one.
    Moved {
        /// The Service.
        service: Arc<ServiceKey>,
        /// The node that was to answer before.
        from: Arc<str>,
        /// What is answered for.
        addresses: Vec<IpAddr>,
    },
    /// What the status object should say; `None` = there should be none.
    Status(Arc<ServiceKey>, Protocol, Option<StatusContent>),
    /// Tell the users of the Service.
    Event {
        /// The Service.
        service: Arc<ServiceKey>,
        /// Its uid.
        uid: Option<String>,
        /// Severity and reason.
        kind: EventKind,
        /// Text.
        note: String,
    },
    /// Tell the administrator about the configuration.
    Configuration(ConfigReport),
    /// Tell whoever looks at a BGPPeer what only speakers see.
    Doubtful {
        /// Namespace and name of the BGPPeer.
        peer: ServiceKey,
        /// Its uid.
        uid: Option<String>,
        /// Text.
        note: String,
    },
}
