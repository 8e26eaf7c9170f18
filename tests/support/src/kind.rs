//! The kinds of clusters that a lab can be.

use std::fmt;

use anyhow::{Result, bail};

use crate::envtest::{self, Extent, Kubernetes};
use crate::real::{self, Proxy};

/// The version of real nodes.
pub(crate) const NODES_VERSION: Option<Kubernetes> = Some(Kubernetes::V1_36);

/// What a lab's cluster is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClusterKind {
    /// The in-memory API server, the lab's own workload controllers and nodes.
    #[default]
    Embedded,
    /// A real control plane with the lab's own nodes; of any version that is served and at hand, the newest first, when
    /// `None`.
    Envtest(Option<Kubernetes>),
    /// Real nodes as well, of the newest version.
    Real(Proxy),
}

impl ClusterKind {
    /// The API server in memory, and the real one in the newest and the oldest version that the product serves.
    pub const ALL: &[Self] = &[
        Self::Embedded,
        Self::Envtest(Some(Kubernetes::V1_36)),
        Self::Envtest(Some(Kubernetes::V1_28)),
    ];
    /// The lab's own cluster.
    pub const EMBEDDED: &[Self] = &[Self::Embedded];
    /// The newest control plane.
    pub const NEWEST: &[Self] = &[Self::Envtest(Some(Kubernetes::V1_36))];
    /// Real nodes.
    pub const NODES: &[Self] = &[Self::Real(Proxy::Iptables)];
    /// Real nodes with the other proxy.
    pub const NODES_NFTABLES: &[Self] = &[Self::Real(Proxy::Nftables)];
    /// Real nodes with either proxy.
    pub const NODES_BOTH: &[Self] = &[Self::Real(Proxy::Iptables), Self::Real(Proxy::Nftables)];
    /// Real nodes, and the oldest control plane.
    pub const NODES_AND_OLDEST: &[Self] = &[Self::Real(Proxy::Iptables), Self::Envtest(Some(Kubernetes::V1_28))];
    /// The oldest control plane.
    pub const OLDEST: &[Self] = &[Self::Envtest(Some(Kubernetes::V1_28))];
    /// The newest and the oldest control plane.
    pub const CONTROL_PLANES: &[Self] = &[
        Self::Envtest(Some(Kubernetes::V1_36)),
        Self::Envtest(Some(Kubernetes::V1_28)),
    ];

    /// Says why this machine has none of that kind.
    #[must_use]
    pub fn obstacle(self) -> Option<String> {
        match self {
            Self::Embedded => None,
            Self::Envtest(version) => envtest::obstacle(version, Extent::ControlPlane),
            Self::Real(_) => real::obstacle().or_else(|| envtest::obstacle(NODES_VERSION, Extent::Nodes)),
        }
    }

    /// Makes it ready to be started, which takes minutes once.
    ///
    /// # Errors
    /// When that fails; the message says what to do.
    pub fn prepare(self) -> Result<()> {
        match self {
            Self::Embedded => Ok(()),
            Self::Envtest(version) => envtest::prepare(version, Extent::ControlPlane).map(drop),
            Self::Real(_) => match real::obstacle() {
                Some(obstacle) => bail!("{obstacle}"),
                None => envtest::prepare(NODES_VERSION, Extent::Nodes).map(drop),
            },
        }
    }
}

impl fmt::Display for ClusterKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded => f.write_str("embedded"),
            Self::Envtest(Some(version)) => write!(f, "kubernetes {version}"),
            Self::Envtest(None) => f.write_str("kubernetes"),
            Self::Real(Proxy::Iptables) => f.write_str("real nodes"),
            Self::Real(Proxy::Nftables) => f.write_str("real nodes, nftables"),
        }
    }
}
