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

struct Embedded {
    server: ApiServer,
    kubeconfig: PathBuf,
}

/// The lab's own control plane, on the lab's bridge and on `outside`, a listener of the machine.
///
/// # Errors
/// When it does not start.
pub async fn embedded(dir: &Path, outside: TcpListener) -> Result<Box<dyn ControlPlane>> {
    let inside = TcpListener::bind(API_ADDRESS).with_context(|| format!("cannot listen on {API_ADDRESS}"))?;
    let options = metallb_lab_api::Options {
        listeners: vec![outside, inside],
        advertise: vec![LAB.to_string()],
        dir: dir.into(),
    };
    let started = metallb_lab_api::start(options).await;
    let server = started.context("cannot start the API server")?;
    let kubeconfig = server.kubeconfig_path();
    Ok(Box::new(Embedded { server, kubeconfig }))
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
