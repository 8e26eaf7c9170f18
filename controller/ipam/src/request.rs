//! What a Service asks for.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use std::fmt;

use crate::family::{Families, Family, FamilyPolicy};

/// The transport protocol of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP, also when nothing is said.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        })
    }
}

/// One port of a Service; `TCP/53` and `UDP/53` differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// Transport protocol.
    pub protocol: Protocol,
    /// `spec.ports[].port`.
    pub number: u16,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.protocol, self.number)
    }
}

/// Which Pods answer for an address: those who share it must agree.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Backend {
    /// `externalTrafficPolicy: Cluster`: any node can forward.
    #[default]
    Cluster,
    /// `externalTrafficPolicy: Local`: only nodes with these Pods.
    ///
    /// Upstream: the namespace is left out, and an empty selector equals `Cluster` (W12).
    Local {
        /// Namespace of the Service and so of its Pods.
        namespace: String,
        /// The selector as sorted `key=value` pairs, joined by commas.
        selector: String,
    },
    /// `externalTrafficPolicy: Local` without a selector: nobody else can be known to match.
    Own {
        /// The Service, as `namespace/name`.
        service: String,
    },
}

/// Who may be together on an address: equal values may, if no port is used twice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sharing {
    /// Annotation `metallb.io/allow-shared-ip`, not empty.
    pub key: Arc<str>,
    /// The Pods behind.
    pub backend: Backend,
}

/// What a Service asks for, all texts understood.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// Namespace of the Service.
    pub namespace: String,
    /// Labels of the Service.
    pub labels: BTreeMap<String, String>,
    /// Families of its cluster addresses.
    pub families: Families,
    /// `spec.ipFamilyPolicy`.
    pub policy: FamilyPolicy,
    /// The family to have if only one can be had.
    pub primary: Family,
    /// Addresses asked for by name; at most one of each family.
    pub wanted: Vec<IpAddr>,
    /// The pool asked for by name.
    pub pool: Option<String>,
    /// Willingness to share.
    pub sharing: Option<Sharing>,
    /// Ports that the Service listens on.
    pub ports: Vec<Port>,
    /// Addresses to choose if nothing speaks against them, because they were held before.
    pub prefer: Vec<IpAddr>,
}
