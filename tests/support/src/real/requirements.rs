//! What a machine must have for real nodes.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};
use nix::unistd::getuid;

use super::settings;

/// Program → the package of Debian that has it.
const PROGRAMS: [(&str, &str); 5] = [
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("runc", "runc"),
    ("iptables", "iptables"),
    ("nft", "nftables"),
];

/// Says why this machine cannot have real nodes, and how to mend it.
#[must_use]
pub(crate) fn obstacle() -> Option<String> {
    if !getuid().is_root() {
        return Some("real nodes need root: their containers have users, mounts and control groups".into());
    }
    let missing = |program: &str| {
        let mut command = Command::new(program);
        command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
        command.stdin(Stdio::null()).status().is_err()
    };
    let programs = PROGRAMS.iter().filter(|(program, _)| missing(program));
    let mut packages: Vec<&str> = programs.map(|(_, package)| *package).collect();
    if settings::cni_folder().is_none() {
        packages.push("containernetworking-plugins");
    }
    packages.dedup();
    if !packages.is_empty() {
        let packages = packages.join(" ");
        return Some(format!(
            "real nodes need programs that are missing here (`apt-get install {packages}`)"
        ));
    }
    let filesystems = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !filesystems
        .lines()
        .any(|line| line.split_whitespace().any(|word| word == "overlay"))
    {
        return Some("real nodes need overlayfs, which this kernel lacks (`modprobe overlay`)".into());
    }
    None
}

/// Refuses a work directory that the nodes' own folders would hide.
pub(crate) fn refuse_place(work: &Path) -> Result<()> {
    for hidden in ["/run", "/var/lib", "/var/log"] {
        ensure!(
            !work.starts_with(hidden),
            "real nodes have a {hidden} of their own, and cannot work in {}: set TMPDIR to a folder elsewhere",
            work.display()
        );
    }
    Ok(())
}
