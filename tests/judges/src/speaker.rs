//! A speaker to judge: ours or upstream's, whose flags and environment are the same.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use crate::cluster::NAMESPACE;

/// A program, and what to call it.
#[derive(Clone, Debug)]
pub struct Speaker {
    /// Names it in the table.
    pub label: String,
    /// The program.
    pub path: PathBuf,
}

impl Speaker {
    /// Reads `LABEL=PATH`.
    ///
    /// # Errors
    /// When it is something else, or the program is not there.
    pub fn parse(text: &str) -> Result<Self> {
        let (label, path) = text.split_once('=').context("--speaker is LABEL=PATH")?;
        ensure!(!label.is_empty() && !label.contains('/'), "a speaker has no label");
        // Not resolved: a program with several names is told by its name what to be.
        let path = std::path::absolute(path)?;
        ensure!(path.is_file(), "{} is not there", path.display());
        Ok(Self {
            label: label.into(),
            path,
        })
    }

    /// The program as the manifests start it on `node`, without membership.
    #[must_use]
    pub fn command(&self, kubeconfig: &Path, node: &str, pod: &str, host: Ipv4Addr) -> Command {
        let mut command = Command::new(&self.path);
        command
            .env_clear()
            .env("KUBECONFIG", kubeconfig)
            .env("METALLB_NODE_NAME", node)
            .env("METALLB_POD_NAME", pod)
            .env("METALLB_NAMESPACE", NAMESPACE)
            .env("METALLB_HOST", host.to_string())
            .env("METALLB_BGP_TYPE", "native");
        command
    }
}
