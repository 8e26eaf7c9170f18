//! The processes that real nodes are made of, beside those of the lab.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use metallb_lab::{Launch, Role};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use crate::real::{self, Groups};

/// Waits for its end: what every pod's sandbox hangs on, on a real node.
pub(crate) const PAUSE: &str = "__pause";
/// Enters the namespaces of a real node.
pub(crate) const NODE: &str = "__node";
/// Process 1 of a real node.
pub(crate) const NODE_INIT: &str = "__node-init";

/// Plays the part this process was re-executed for, or says that it is to play the main one: [`metallb_lab::entry`], and
/// the parts of a real node.
///
/// # Errors
/// When the part cannot be played; the message is one sentence for the user.
pub fn entry() -> Result<Role> {
    let stage = std::env::args_os().nth(1).unwrap_or_default();
    let rest: Vec<OsString> = std::env::args_os().skip(2).collect();
    match stage.to_str() {
        Some(PAUSE) => pause(),
        Some(NODE) => {
            unblock_signals()?;
            std::process::exit(real::enter(&rest)?)
        }
        Some(NODE_INIT) => {
            unblock_signals()?;
            std::process::exit(real::init(&rest)?)
        }
        _ => metallb_lab::entry_then(clear),
    }
}

/// The lab's [`metallb_lab::launch`], after which nothing of real nodes is left either.
///
/// # Errors
/// When the first process cannot be started; later failures are in the exit code.
pub fn launch(launch: Launch) -> Result<ExitCode> {
    let dir = launch.dir.clone();
    let code = metallb_lab::launch(launch);
    clear(&dir);
    code
}

fn clear(work: &Path) {
    Groups::of(work).remove();
}

/// Runs until it is killed and reaps its children. In a pod with a shared process namespace it is process 1, so it inherits
/// all orphans; as zombies they would still look alive to FRR's scripts, which wait for a process to end with `kill -0`.
fn pause() -> Result<Role> {
    let mut ended = SigSet::empty();
    ended.add(Signal::SIGCHLD);
    ended.thread_block().context("cannot block signals")?;
    loop {
        ended.wait().context("cannot wait for signals")?;
        // Signals of several children may arrive as one.
        while matches!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Ok(status) if status != WaitStatus::StillAlive) {}
    }
}

/// A supervising stage blocks signals to wait for them, and its children would inherit that.
fn unblock_signals() -> Result<()> {
    SigSet::empty().thread_set_mask().context("cannot unblock signals")
}
