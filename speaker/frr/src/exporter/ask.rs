//! Questions to FRR.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// How FRR is asked.
#[derive(Clone, Debug)]
pub(super) struct Vtysh {
    /// Where its daemons listen.
    sockets: PathBuf,
}

impl Vtysh {
    /// Asks those whose sockets are in this folder.
    pub(super) fn new(sockets: impl Into<PathBuf>) -> Self {
        Self {
            sockets: sockets.into(),
        }
    }

    /// Asks and waits for the answer.
    pub(super) fn ask(&self, question: &str) -> Result<String> {
        let mut command = Command::new("/usr/bin/vtysh");
        command.arg("--vty_socket").arg(&self.sockets);
        let output = command.args(["-c", question]).stdin(Stdio::null()).output();
        let output = output.context("cannot run vtysh")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "vtysh failed: {}", said.trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Asks for JSON.
    pub(super) fn json(&self, question: &str) -> Result<Value> {
        let answer = self.ask(question)?;
        serde_json::from_str(&answer).with_context(|| format!("{question} is answered by no JSON"))
    }
}
