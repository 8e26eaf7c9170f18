//! Who stores the objects.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kube::Client;
use metallb_lab_api::ApiServer;

use crate::topology::{API_ADDRESS, LAB};

/// A running control plane. All that the lab asks of one is here, so that another kind can take its place.
pub(crate) enum ControlPlane {
    /// The in-memory API server, in this process.
    Embedded { server: ApiServer, kubeconfig: PathBuf },
}

impl ControlPlane {
    /// Starts the in-memory API server on the host's loopback and on the lab's bridge.
    pub(crate) async fn embedded(dir: &Path, outside: TcpListener) -> Result<Self> {
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
        }
    }

    /// The authority that signed the certificate.
    pub(crate) fn ca(&self) -> &str {
        match self {
            Self::Embedded { server, .. } => server.ca_pem(),
        }
    }

    /// A kubeconfig for people on this machine.
    pub(crate) fn kubeconfig(&self) -> &Path {
        match self {
            Self::Embedded { kubeconfig, .. } => kubeconfig,
        }
    }

    /// Where nodes and pods reach it.
    pub(crate) fn address(&self) -> SocketAddr {
        match self {
            Self::Embedded { .. } => API_ADDRESS,
        }
    }

    /// Whether the lab must make pods of Deployments and DaemonSets, schedule them, and fill EndpointSlices.
    pub(crate) fn needs_workload_controllers(&self) -> bool {
        match self {
            Self::Embedded { .. } => true,
        }
    }

    pub(crate) async fn stop(self) {
        match self {
            Self::Embedded { server, .. } => server.shutdown().await,
        }
    }
}
