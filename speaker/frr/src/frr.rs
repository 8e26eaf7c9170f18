//! The programs of FRR that change its configuration.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result};
use tokio::process::Command;

/// The daemons that a configuration of ours is for.
const DAEMONS: [&str; 4] = ["zebra", "bgpd", "bfdd", "staticd"];

/// An installation of FRR.
#[derive(Clone, Debug)]
pub(crate) struct Frr {
    /// Where its daemons listen for vtysh.
    pub(crate) sockets: PathBuf,
    /// Where `frr.conf` and `vtysh.conf` are.
    pub(crate) config: PathBuf,
}

/// Which lives the daemons are in; another one begins when a daemon starts anew.
pub(crate) type Lives = BTreeSet<(u64, i64, i64)>;

impl Frr {
    /// Tells in which lives the daemons are; `None` unless all of them are there.
    pub(crate) fn lives(&self) -> Option<Lives> {
        let life = |daemon: &&str| {
            let socket = fs::metadata(self.sockets.join(format!("{daemon}.vty"))).ok()?;
            Some((socket.ino(), socket.ctime(), socket.ctime_nsec()))
        };
        DAEMONS.iter().map(life).collect()
    }

    /// Tells whether a file is one that FRR can read.
    ///
    /// Upstream: has frr-reload.py compare it with all that FRR runs, which says no more and takes a hundred times as long.
    pub(crate) async fn test(&self, file: &Path) -> Result<(), String> {
        let args = [OsStr::new("-C"), OsStr::new("-f"), file.as_os_str()];
        self.vtysh(&args).await
    }

    /// Makes FRR run what a file says, and remember it.
    pub(crate) async fn load(&self, file: &Path) -> Result<(), String> {
        let mut command = Command::new("/usr/lib/frr/frr-reload.py");
        // At other levels it would log passwords.
        command.args(["--reload", "--overwrite", "--stdout", "--log-level", "warning"]);
        command.arg("--vty_socket").arg(&self.sockets);
        command.arg("--rundir").arg(&self.sockets);
        command.arg("--confdir").arg(&self.config).arg(file);
        run(command).await
    }

    /// Tells whether FRR runs nothing that a configuration of ours could contradict.
    pub(crate) async fn is_blank(&self) -> bool {
        let mut command = self.command();
        command.args(["-c", "show running-config"]).stdin(Stdio::null());
        let Ok(output) = command.output().await else {
            return false;
        };
        let running = String::from_utf8_lossy(&output.stdout);
        let ours = [
            "router ",
            "route-map ",
            "bfd",
            "ip prefix-list ",
            "ipv6 prefix-list ",
            "bgp ",
        ];
        let is_ours = |line: &str| ours.iter().any(|start| line.starts_with(start));
        output.status.success() && !running.lines().any(is_ours)
    }

    /// Executes the commands of a file.
    pub(crate) async fn execute(&self, file: &Path) -> Result<(), String> {
        self.vtysh(&[OsStr::new("-f"), file.as_os_str()]).await
    }

    /// Makes FRR remember what it runs.
    pub(crate) async fn remember(&self) -> Result<(), String> {
        self.vtysh(&["-c", "write"].map(OsStr::new)).await
    }

    async fn vtysh(&self, args: &[&OsStr]) -> Result<(), String> {
        let mut command = self.command();
        command.args(args);
        run(command).await
    }

    fn command(&self) -> Command {
        let mut command = Command::new("/usr/bin/vtysh");
        command.arg("--vty_socket").arg(&self.sockets);
        command.arg("--config_dir").arg(&self.config);
        command
    }
}

/// Runs a command; an error is what it said.
async fn run(mut command: Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await;
    let program = command.as_std().get_program().display().to_string();
    let output = output.with_context(|| format!("cannot run {program}"));
    let output = output.map_err(|error| format!("{error:#}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [&output.stderr[..], &output.stdout[..]].concat();
    Err(gist(&String::from_utf8_lossy(&said)))
}

/// The lines that say what is wrong, without those that show what was changed.
fn gist(said: &str) -> String {
    let wrong = |line: &str| {
        let lower = line.to_lowercase();
        let signs = ["%", "error", "fail", "line "];
        signs.iter().any(|sign| lower.contains(sign)) && !line.contains("frr-reload.py failed due to")
    };
    let plain = uncoloured(said);
    let lines: BTreeSet<&str> = plain.lines().map(str::trim).filter(|line| wrong(line)).collect();
    let words = lines.into_iter().map(masked).collect::<Vec<_>>().join("; ");
    let words = words.replace(|c: char| c.is_control(), " ");
    if words.is_empty() {
        "no reason was given".to_owned()
    } else {
        words
    }
}

/// Takes out what makes a terminal show colours: `ESC [ … m`.
fn uncoloured(said: &str) -> String {
    let mut parts = said.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| {
        all + part.split_once('m').map_or(part, |(_, rest)| rest)
    })
}

/// Hides what follows the word `password`.
fn masked(line: &str) -> String {
    match line.split_once("password ") {
        Some((before, _)) => format!("{before}password ***"),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // FRR-15
    #[test]
    fn what_is_wrong_is_told_without_passwords() {
        let said = "INFO: all is well\nline 3: % Unknown command: neighbor 192.0.2.1 password hunter2 x\n\u{1b}[91m ERROR\u{1b}[0m: vtysh failed\n";
        let words = gist(said);
        assert!(words.contains("line 3: % Unknown command: neighbor 192.0.2.1 password ***"));
        assert!(words.contains("ERROR: vtysh failed") && !words.contains("hunter2") && !words.contains("well"));
        assert!(!words.contains(char::is_control));
        assert_eq!(gist(""), "no reason was given");
    }
}
