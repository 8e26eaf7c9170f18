//! The programs that change FRR's configuration: vtysh and frr-reload.py.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::{net::UnixStream, process::Command};

/// The daemons that we configure.
const DAEMONS: [&str; 4] = ["zebra", "bgpd", "bfdd", "staticd"];

/// An installation of FRR.
#[derive(Clone, Debug)]
pub(crate) struct Frr {
    /// Folder of the sockets on which the daemons listen for vtysh.
    pub(crate) sockets: PathBuf,
    /// Folder of `frr.conf` and `vtysh.conf`.
    pub(crate) config: PathBuf,
}

/// Identifies a running daemon: each makes a new socket when it starts.
type Life = (u64, i64, i64);
/// Identifies the running daemons.
pub(crate) type Lives = BTreeSet<Life>;

impl Frr {
    /// Identifies the running daemons.
    ///
    /// # Errors
    /// Names the daemons that do not run.
    pub(crate) async fn lives(&self) -> Result<Lives, String> {
        let (mut lives, mut missing) = (Lives::new(), Vec::new());
        for daemon in DAEMONS {
            match self.life(daemon) {
                Some(life) if self.listens(daemon).await => drop(lives.insert(life)),
                _ => missing.push(daemon),
            }
        }
        if missing.is_empty() {
            return Ok(lives);
        }
        let (missing, folder) = (missing.join(", "), self.sockets.display());
        Err(format!("FRR does not run: {missing} cannot be reached in {folder}"))
    }

    /// Tells whether daemons other than these may run. Looks at files only: each connection is work for FRR.
    pub(crate) fn differs_from(&self, lives: &Lives) -> bool {
        let found: Option<Lives> = DAEMONS.into_iter().map(|daemon| self.life(daemon)).collect();
        found.as_ref() != Some(lives)
    }

    fn life(&self, daemon: &str) -> Option<Life> {
        let socket = fs::metadata(self.socket(daemon)).ok()?;
        Some((socket.ino(), socket.ctime(), socket.ctime_nsec()))
    }

    /// A daemon that was killed leaves its socket behind, but does not listen. One that hangs has no room for connections.
    async fn listens(&self, daemon: &str) -> bool {
        match UnixStream::connect(self.socket(daemon)).await {
            Ok(_) => true,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        }
    }

    fn socket(&self, daemon: &str) -> PathBuf {
        self.sockets.join(format!("{daemon}.vty"))
    }

    /// Checks the syntax of a file.
    ///
    /// Upstream: `frr-reload.py --test`, which finds the same errors and takes a hundred times as long.
    pub(crate) async fn test(&self, file: &Path) -> Result<(), String> {
        let args = [OsStr::new("-C"), OsStr::new("-f"), file.as_os_str()];
        self.vtysh(&args).await
    }

    /// Reloads a file, and saves it as FRR's own.
    pub(crate) async fn load(&self, file: &Path) -> Result<(), String> {
        let mut command = Command::new("/usr/lib/frr/frr-reload.py");
        // At lower levels it logs passwords.
        command.args(["--reload", "--overwrite", "--stdout", "--log-level", "warning"]);
        command.arg("--vty_socket").arg(&self.sockets);
        command.arg("--rundir").arg(&self.sockets);
        command.arg("--confdir").arg(&self.config).arg(file);
        run(command).await
    }

    /// Tells whether FRR runs nothing of the kind that we configure.
    pub(crate) async fn is_blank(&self) -> bool {
        let mut command = self.command();
        command.args(["-c", "show running-config"]).stdin(Stdio::null());
        let Ok(output) = command.kill_on_drop(true).output().await else {
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

    /// Saves the running configuration.
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

/// Runs a command; the error is what it printed.
async fn run(mut command: Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await;
    let program = command.as_std().get_program().display();
    let output = output.map_err(|error| format!("cannot run {program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [&output.stderr[..], &output.stdout[..]].concat();
    Err(gist(&String::from_utf8_lossy(&said)))
}

/// Picks the lines that report an error, without those that list changes.
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

/// Removes terminal colours: `ESC [ … m`.
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
