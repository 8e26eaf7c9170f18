//! What the engine wants done.

use std::fmt;
use std::net::IpAddr;

use metallb_announce::Route;
use metallb_dataplane::bgp::PeerConfig;
use metallb_dataplane::l2;

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
}

/// What the configuration is worth.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigReport {
    /// Everything that is not in effect as written, one sentence each.
    pub errors: Vec<String>,
}

/// What ServiceL2Status or ServiceBGPStatus of this node says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatusContent {
    /// Names of the interfaces, sorted; none means all.
    Interfaces(Vec<String>),
    /// Names of the peers, sorted.
    Peers(Vec<String>),
}

/// Something to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// The addresses to answer for, all of them.
    Layer2(l2::Desired),
    /// The routes to announce, all of them.
    Routes(Vec<Route>),
    /// The sessions to hold, all of them.
    Peers(Vec<PeerConfig>),
    /// The first picture was complete for this protocol.
    Opened(Protocol),
    /// These are the addresses now announced for the Service; none = withdrawn.
    Announced(ServiceKey, Protocol, Vec<IpAddr>),
    /// What the status object should say; `None` = there should be none.
    Status(ServiceKey, Protocol, Option<StatusContent>),
    /// Tell the users of the Service.
    Event {
        /// The Service.
        service: ServiceKey,
        /// Its uid.
        uid: Option<String>,
        /// Severity and reason.
        kind: EventKind,
        /// Text.
        note: String,
    },
    /// Tell the administrator about the configuration.
    Configuration(ConfigReport),
    /// Tell whoever looks at a BGPPeer what only those see who may read Secrets.
    Doubtful {
        /// Namespace and name of the BGPPeer.
        peer: ServiceKey,
        /// Its uid.
        uid: Option<String>,
        /// Text.
        note: String,
    },
}
