//! A bench in namespaces of its own, which end with it, and with all that it started.

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use metallb_test_support::{Extent, Kubernetes};

/// Names the folder of Kubernetes' programs to the process in the namespaces.
const PROGRAMS: &str = "METALLB_BENCH_PROGRAMS";

/// Where the programs of Kubernetes are, in the process that [`enter`] has started.
#[must_use]
pub fn programs() -> Option<OsString> {
    std::env::var_os(PROGRAMS)
}

/// Runs this program once more, with the same arguments, in namespaces of its own.
///
/// # Errors
/// When it cannot be started, or the programs of Kubernetes cannot be had.
pub fn enter() -> Result<ExitCode> {
    let programs = metallb_test_support::prepare(Some(Kubernetes::V1_36), Extent::ControlPlane)?;
    let root = nix::unistd::geteuid().is_root();
    let user: &[&str] = if root { &[] } else { &["--user", "--map-root-user"] };
    // Nobody interrupts the first process of a namespace: it dies with this one.
    let status = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "unshare"])
        .args(user)
        .args(["--net", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc"])
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(PROGRAMS, programs)
        .status()
        .context("cannot start setpriv, of util-linux")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
