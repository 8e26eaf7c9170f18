//! A routing daemon of this machine, in the router's namespace with a root of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::process::{Child, Command};

use crate::entry::EXEC;
use crate::net::Netns;
use crate::sandbox::{Bind, Root, Spec};

/// How long a daemon may take to be ready.
const PATIENCE: Duration = Duration::from_secs(10);

/// A process that ends with its owner.
pub(super) struct Daemon {
    name: String,
    log: PathBuf,
    child: Child,
}

impl Daemon {
    /// Waits until `path` exists, which the daemon makes when it is ready.
    ///
    /// # Errors
    /// When the daemon ends, or takes too long; the message holds what it said.
    pub(super) async fn ready(&mut self, path: &Path) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !path.exists() {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status}: {}", self.name, self.said());
            }
            if Instant::now() > deadline {
                bail!("{} was not ready within {PATIENCE:?}: {}", self.name, self.said());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default().trim().to_owned()
    }
}

/// Starts `command` with `dir/run` shown at `run`, both ways.
pub(super) fn start(netns: &Netns, dir: &Path, run: &str, command: &[String]) -> Result<Daemon> {
    let name = Path::new(&command[0])
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let root = dir.join(format!("root-{name}"));
    fs::create_dir_all(&root)?;
    fs::create_dir_all(dir.join("run"))?;
    let spec = Spec {
        netns: Some(netns.path().into()),
        hostname: Some("router".into()),
        root: Some(Root {
            dir: root,
            binds: vec![Bind {
                from: dir.join("run"),
                to: run.into(),
                read_only: false,
            }],
            writable: true,
        }),
        user: None,
        capabilities: None,
        command: command.iter().map(Into::into).collect(),
    };
    let path = dir.join(format!("{name}.log"));
    let log = File::create(&path)?;
    let child = Command::new("/proc/self/exe")
        .arg0(&name)
        .arg(EXEC)
        .arg(serde_json::to_string(&spec)?)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    Ok(Daemon { name, log: path, child })
}
