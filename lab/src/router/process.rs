//! A daemon of the router, in its namespace and with a root of its own.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::{Child, Command};

use super::Site;
use crate::entry::EXEC;
use crate::sandbox::{Bind, Root, Spec};

/// A running daemon; dropping it kills it.
#[derive(Debug)]
pub(super) struct Process(Child);

impl Process {
    /// Starts `command` in the router's namespace; `binds` are shown to it, its output goes to `<dir>/<name>.log`.
    pub(super) fn start(site: &Site, name: &str, binds: Vec<Bind>, command: &[&str]) -> Result<Self> {
        let dir = site.dir.join(format!("root-{name}"));
        std::fs::create_dir_all(&dir)?;
        let spec = Spec {
            netns: Some(site.netns.path().into()),
            hostname: Some("router".into()),
            root: Some(Root { dir, binds, writable: true }),
            command: command.iter().map(Into::into).collect(),
            ..Spec::default()
        };
        let log = std::fs::File::create(site.dir.join(format!("{name}.log")))?;
        let child = Command::new("/proc/self/exe")
            .arg(EXEC)
            .arg(serde_json::to_string(&spec)?)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self(child))
    }

    fn exited(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.0.try_wait()?)
    }

    /// Waits until `path` exists, which the daemon makes when it is ready.
    pub(super) async fn ready(&mut self, name: &str, path: &Path, site: &Site) -> Result<()> {
        for _ in 0..500 {
            if path.exists() {
                return Ok(());
            }
            if let Some(status) = self.exited()? {
                let log = std::fs::read_to_string(site.dir.join(format!("{name}.log"))).unwrap_or_default();
                bail!("{name} ended with {status}: {}", log.trim());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        bail!("{name} was not ready within 5 s; its log is {}", site.dir.join(format!("{name}.log")).display())
    }
}

/// Runs a command of the daemon's tools to its end and returns what it printed.
pub(super) async fn output(command: &[&str]) -> Result<String> {
    let (program, args) = command.split_first().context("no command")?;
    let output = Command::new(program).args(args).stdin(Stdio::null()).output().await;
    let output = output.with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        bail!("{program} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
