//! GoBGP as the router: the version of Debian, and the newest, which Go builds.

use std::{
    path::PathBuf,
    process::{Command, Output},
};

use metallb_test_runner::{skip, tools::GOBGP};
use tempfile::TempDir;

use crate::neighbour::Neighbour;

/// Where Debian has its version.
const DEBIAN: &str = "/usr/bin";

/// Finds the programs of a version, and builds those of the newest if need be; skips the test if they are not to be had.
/// Must be asked once outside of namespaces, where Go's modules can be fetched.
pub(crate) fn programs(version: u8) -> PathBuf {
    match version {
        3 if PathBuf::from(DEBIAN).join("gobgpd").exists() => DEBIAN.into(),
        3 => skip("Debian's GoBGP is not installed"),
        _ => GOBGP.program().parent().unwrap().to_owned(),
    }
}

/// A running router.
pub(crate) struct Gobgp {
    neighbour: Neighbour,
    programs: PathBuf,
    folder: TempDir,
}

impl Gobgp {
    /// Starts a router at 10.0.0.2 and fd00::2 with this text in its configuration.
    pub(crate) fn start(version: u8, text: &str) -> Self {
        let neighbour = Neighbour::new(&["10.0.0.1/24", "fd00::1/64"], &["10.0.0.2/24", "fd00::2/64"]);
        let folder = TempDir::new().unwrap();
        let config = format!("[global.config]\nas = 64501\nrouter-id = \"10.0.0.2\"\n{text}");
        std::fs::write(folder.path().join("gobgpd.toml"), config).unwrap();
        let mut router = Self {
            neighbour,
            programs: programs(version),
            folder,
        };
        router.run();
        router
    }

    fn run(&mut self) {
        let program = self.programs.join("gobgpd");
        let config = self.folder.path().join("gobgpd.toml");
        let args = ["-f", config.to_str().unwrap(), "--api-hosts", &self.socket()];
        self.neighbour.start(program.to_str().unwrap(), &args);
    }

    fn socket(&self) -> String {
        format!("unix://{}", self.folder.path().join("api").display())
    }

    /// Returns what the command line answers, with single spaces; nothing while the daemon does not answer.
    pub(crate) fn ask(&self, command: &str) -> String {
        let Output { stdout, .. } = Command::new(self.programs.join("gobgp"))
            .args(["--target", &self.socket()])
            .args(command.split(' '))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&stdout);
        let lines = text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// Returns the configuration of a neighbour, to which more can be added, with both families; it waits to be dialled, and
/// not half a minute after a reset.
pub(crate) fn neighbor(address: &str, asn: u32, password: Option<&str>) -> String {
    let password = password
        .map(|key| format!("auth-password = \"{key}\"\n"))
        .unwrap_or_default();
    let families = ["ipv4-unicast", "ipv6-unicast"]
        .map(|name| format!("[[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = \"{name}\"\n"));
    format!(
        "[[neighbors]]\n[neighbors.config]\nneighbor-address = \"{address}\"\npeer-as = {asn}\n{password}\
         [neighbors.transport.config]\npassive-mode = true\n\
         [neighbors.timers.config]\nidle-hold-time-after-reset = 1\n{}",
        families.concat()
    )
}

/// Has a neighbour's routes kept while it restarts (RFC 4724).
pub(crate) fn helping(neighbor: &str) -> String {
    let family = "[[neighbors.afi-safis]]\n";
    let kept = format!("{family}[neighbors.afi-safis.mp-graceful-restart.config]\nenabled = true\n");
    let kept = neighbor.replace(family, &kept);
    format!("{kept}[neighbors.graceful-restart.config]\nenabled = true\nrestart-time = 120\n")
}
