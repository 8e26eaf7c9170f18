//! A bench in namespaces of its own, which end with it, and with all that it started.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use metallb_test_support::{Extent, Kubernetes};

use crate::speaker::Speaker;

/// Names the folder of Kubernetes' programs to the process in the namespaces.
const PROGRAMS: &str = "METALLB_BENCH_PROGRAMS";

/// What a bench of speakers returns from its `main`: `inside` runs in namespaces of their own, with the folder of
/// Kubernetes' programs.
#[must_use]
pub fn bench<T>(
    options: Result<T>,
    speakers: impl Fn(&T) -> &[Speaker],
    inside: impl Fn(&T, &Path) -> Result<ExitCode>,
) -> ExitCode {
    let ran = options.and_then(|options| match std::env::var_os(PROGRAMS) {
        _ if speakers(&options).is_empty() => {
            println!("no speaker to measure: name one or more by -- --speaker LABEL=PATH");
            Ok(ExitCode::SUCCESS)
        }
        Some(programs) => inside(&options, Path::new(&programs)),
        None => enter(),
    });
    ran.unwrap_or_else(|error| {
        eprintln!("{error:#}");
        ExitCode::FAILURE
    })
}

/// Runs this program once more, with the same arguments, in namespaces of its own.
fn enter() -> Result<ExitCode> {
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
