//! A routing daemon of this machine, in the router's namespace with a root of its own.

use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result};
use tokio::process::{Child, Command};

use crate::entry::EXEC;
use crate::net::Netns;
use crate::sandbox::{Bind, Root, Spec};

/// A process that ends with its owner.
pub(super) struct Daemon(#[expect(dead_code, reason = "killed when dropped")] Child);

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
    let log = File::create(dir.join(format!("{name}.log")))?;
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
    Ok(Daemon(child))
}
