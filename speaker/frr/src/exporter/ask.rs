//! Queries FRR through vtysh.

use std::{path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::{process::Command, time::timeout};

/// The program that is run.
const VTYSH: &str = "/usr/bin/vtysh";
/// Limit for one answer; less than 10 s, Prometheus' default limit for a scrape.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs vtysh.
#[derive(Clone, Debug)]
pub(super) struct Vtysh {
    /// Folder of the daemons' sockets.
    sockets: PathBuf,
}

impl Vtysh {
    /// Queries the daemons whose sockets are in this folder.
    pub(super) fn new(sockets: impl Into<PathBuf>) -> Self {
        Self {
            sockets: sockets.into(),
        }
    }

    /// Runs one command, for 5 s at most. Dropping the future kills vtysh.
    pub(super) async fn ask(&self, question: &str) -> Result<String> {
        let mut command = Command::new(VTYSH);
        command.arg("--vty_socket").arg(&self.sockets).args(["-c", question]);
        let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
        let output = timeout(PATIENCE, output).await;
        let output = output.with_context(|| format!("no answer to '{question}' within {PATIENCE:?}"))?;
        let output = output.with_context(|| format!("cannot run {VTYSH}"))?;
        let said = [&output.stderr[..], &output.stdout[..]].concat();
        let said = String::from_utf8_lossy(&said);
        ensure!(output.status.success(), "'{question}' failed: {}", said.trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs one command that prints JSON.
    pub(super) async fn json(&self, question: &str) -> Result<Value> {
        let answer = self.ask(question).await?;
        serde_json::from_str(&answer).with_context(|| format!("the answer to '{question}' is no JSON"))
    }
}
