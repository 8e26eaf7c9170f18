//! Who stores the objects.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kube::Client;
use metallb_lab_api::ApiServer;

use crate::envtest::Envtest;
use crate::kind::{ClusterKind, NODES_VERSION};
use crate::topology::{API_ADDRESS, Families, LAB};

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
        kind: ClusterKind,
        dir: &Path,
        outside: TcpListener,
        nodes: &[String],
        families: Families,
    ) -> Result<Self> {
        let started = match kind {
            ClusterKind::Embedded => return Self::embedded(dir, outside).await,
            ClusterKind::Envtest(version) => Envtest::start(dir, outside, version, &[], Families::Both).await,
            ClusterKind::Real(_) => Envtest::start(dir, outside, NODES_VERSION, nodes, families).await,
        };
        started.map(Self::Envtest)
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
