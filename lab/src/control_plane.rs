//! Who stores the objects, and who runs the pods.

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kube::Client;
use metallb_lab_api::ApiServer;

use crate::envtest::{self, Envtest, Extent, Kubernetes};
use crate::real::{self, Proxy};
use crate::topology::{API_ADDRESS, LAB};

/// What a lab's cluster is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum ControlPlaneKind {
    /// The in-memory API server, the lab's own workload controllers and nodes.
    #[default]
    Embedded,
    /// A real control plane with the lab's own nodes; of any version that is served and at hand, the newest first, when
    /// `None`.
    Envtest(Option<Kubernetes>),
    /// Real nodes as well, of the newest version.
    Real(Proxy),
}

impl ControlPlaneKind {
    /// Both kinds, the real one in the newest and the oldest version that the product serves.
    pub const ALL: &[Self] = &[
        Self::Embedded,
        Self::Envtest(Some(Kubernetes::V1_36)),
        Self::Envtest(Some(Kubernetes::V1_28)),
    ];
    /// The API server in memory, and the real one in the newest version.
    pub const BOTH: &[Self] = &[Self::Embedded, Self::Envtest(Some(Kubernetes::V1_36))];
    /// The API server in memory.
    pub const EMBEDDED: &[Self] = &[Self::Embedded];
    /// The real one in the newest version.
    pub const NEWEST: &[Self] = &[Self::Envtest(Some(Kubernetes::V1_36))];
    /// Real nodes.
    pub const NODES: &[Self] = &[Self::Real(Proxy::Iptables)];
    /// Real nodes with the other proxy.
    pub const NODES_NFTABLES: &[Self] = &[Self::Real(Proxy::Nftables)];
    /// Real nodes with either proxy.
    pub const NODES_BOTH: &[Self] = &[Self::Real(Proxy::Iptables), Self::Real(Proxy::Nftables)];
    /// Real nodes, and the oldest control plane.
    pub const NODES_AND_OLDEST: &[Self] = &[Self::Real(Proxy::Iptables), Self::Envtest(Some(Kubernetes::V1_28))];
    /// The lab's own cluster, and real nodes.
    pub const EMBEDDED_AND_NODES: &[Self] = &[Self::Embedded, Self::Real(Proxy::Iptables)];
    /// The oldest control plane.
    pub const OLDEST: &[Self] = &[Self::Envtest(Some(Kubernetes::V1_28))];
    /// The real one in the newest and the oldest version.
    pub const REAL: &[Self] = &[
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
            Self::Real(_) => envtest::prepare(NODES_VERSION, Extent::Nodes).map(drop),
        }
    }
}

impl fmt::Display for ControlPlaneKind {
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

/// The version of real nodes.
const NODES_VERSION: Option<Kubernetes> = Some(Kubernetes::V1_36);

/// A running control plane. All that the lab asks of one is here, so that another kind can take its place.
pub(crate) enum ControlPlane {
    /// The in-memory API server, in this process.
    Embedded { server: ApiServer, kubeconfig: PathBuf },
    /// The real programs.
    Envtest(Envtest),
}

impl ControlPlane {
    /// Starts the chosen kind, with credentials for the `nodes` if these are real; `outside` is a listener of the machine.
    pub(crate) async fn start(
        kind: ControlPlaneKind,
        dir: &Path,
        outside: TcpListener,
        nodes: &[String],
    ) -> Result<Self> {
        let (version, nodes) = match kind {
            ControlPlaneKind::Embedded => return Self::embedded(dir, outside).await,
            ControlPlaneKind::Envtest(version) => (version, &[][..]),
            ControlPlaneKind::Real(_) => (NODES_VERSION, nodes),
        };
        Envtest::start(dir, outside, version, nodes).await.map(Self::Envtest)
    }

    /// Starts the in-memory API server on the host's loopback and on the lab's bridge.
    async fn embedded(dir: &Path, outside: TcpListener) -> Result<Self> {
        let inside = TcpListener::bind(API_ADDRESS).with_context(|| format!("cannot listen on {API_ADDRESS}"))?;
        let options = metallb_lab_api::Options {
            listeners: vec![outside, inside],
            advertise: vec![LAB.to_string()],
            dir: dir.into(),
            ..metallb_lab_api::Options::default()
        };
        let server = metallb_lab_api::start(options)
            .await
            .context("cannot start the API server")?;
        let kubeconfig = server.kubeconfig_path();
        Ok(Self::Embedded { server, kubeconfig })
    }

    /// A client with every right.
    pub(crate) fn client(&self) -> Client {
        match self {
            Self::Embedded { server, .. } => server.client(),
            Self::Envtest(envtest) => envtest.client.clone(),
        }
    }

    /// The authority that signed the certificate.
    pub(crate) fn ca(&self) -> &str {
        match self {
            Self::Embedded { server, .. } => server.ca_pem(),
            Self::Envtest(envtest) => &envtest.ca,
        }
    }

    /// A kubeconfig for people on this machine.
    pub(crate) fn kubeconfig(&self) -> &Path {
        match self {
            Self::Embedded { kubeconfig, .. } => kubeconfig,
            Self::Envtest(envtest) => &envtest.kubeconfig,
        }
    }

    /// The log of what service accounts asked for.
    pub(crate) fn audit_log(&self) -> Option<&Path> {
        match self {
            Self::Embedded { .. } => None,
            Self::Envtest(envtest) => Some(&envtest.audit_log),
        }
    }

    /// Where nodes and pods reach it.
    #[expect(
        clippy::unused_self,
        reason = "all kinds listen at the same place, which is their decision"
    )]
    pub(crate) fn address(&self) -> SocketAddr {
        API_ADDRESS
    }

    /// Kubernetes' programs, where it is made of them.
    pub(crate) fn programs(&self) -> Option<&Path> {
        match self {
            Self::Embedded { .. } => None,
            Self::Envtest(envtest) => Some(&envtest.programs),
        }
    }

    /// Whether the lab must make pods of Deployments and DaemonSets and fill EndpointSlices. It schedules them always.
    pub(crate) fn needs_workload_controllers(&self) -> bool {
        matches!(self, Self::Embedded { .. })
    }

    pub(crate) async fn stop(self) {
        match self {
            Self::Embedded { server, .. } => server.shutdown().await,
            Self::Envtest(envtest) => envtest.stop().await,
        }
    }
}
