//! One program of the control plane: started, watched, and its last words told when it ends by itself.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How much of a log is shown when its program ended.
const LAST_LINES: usize = 5;

/// What programs have in common.
pub(crate) struct Daemons {
    /// Where the programs are.
    pub programs: PathBuf,
    /// Where their logs go.
    pub logs: PathBuf,
    pub stop: CancellationToken,
    pub tasks: TaskTracker,
    /// Told when one ends by itself.
    pub ended: mpsc::UnboundedSender<String>,
}

impl Daemons {
    /// Starts a program that runs until `stop`.
    pub(crate) fn start(&self, name: &'static str, args: Vec<String>) -> Result<()> {
        let log = self.logs.join(format!("{name}.log"));
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let child = Command::new(self.programs.join(name))
            .args(args)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            // The Ctrl-C of the terminal is for the lab, which ends its pods first.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", self.programs.join(name).display()))?;
        self.tasks
            .spawn(watch(name, child, log, self.stop.clone(), self.ended.clone()));
        Ok(())
    }
}

async fn watch(
    name: &'static str,
    mut child: Child,
    log: PathBuf,
    stop: CancellationToken,
    ended: mpsc::UnboundedSender<String>,
) {
    tokio::select! {
        status = child.wait() => {
            let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
            let _ = ended.send(format!("{name} ended ({status}); its log {} ends with\n{}", log.display(), tail(&log)));
        }
        // Nothing of theirs is needed any more: there is no order to keep, and nothing to wait for.
        () = stop.cancelled() => drop(child.kill().await),
    }
}

fn tail(log: &Path) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
}
