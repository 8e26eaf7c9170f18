//! The lab's own control plane: the API server in memory, in this process.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use futures::FutureExt;
use futures::future::BoxFuture;
use kube::Client;
use metallb_lab_api::ApiServer;

use crate::platform::ControlPlane;
use crate::topology::{API_ADDRESS, LAB};

pub(crate) struct Embedded {
    server: ApiServer,
    kubeconfig: PathBuf,
}

impl Embedded {
    /// Starts it on the host's loopback and on the lab's bridge.
    pub(crate) async fn start(dir: &Path, outside: TcpListener) -> Result<Self> {
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
        Ok(Self { server, kubeconfig })
    }
}

impl ControlPlane for Embedded {
    fn client(&self) -> Client {
        self.server.client()
    }

    fn ca(&self) -> &str {
        self.server.ca_pem()
    }

    fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    fn has_controllers(&self) -> bool {
        false
    }

    fn stop(self: Box<Self>) -> BoxFuture<'static, ()> {
        self.server.shutdown().boxed()
    }
}
