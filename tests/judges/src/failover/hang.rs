//! A process of which some threads hang.

use std::fs;
use std::sync::mpsc::{self, Sender};
use std::thread;

use anyhow::{Context, Result};
use nix::sys::ptrace;
use nix::unistd::Pid;

/// The thread of our speaker that answers other speakers' probes.
const VOUCHES: &str = "members-fast";

/// The threads go on when it is dropped.
#[derive(Debug)]
pub(super) struct Hung {
    _release: Sender<()>,
}

impl Hung {
    /// Stops all threads of a process, but the one that vouches for it.
    pub(super) fn hang(process: u32) -> Result<Self> {
        let (release, released) = mpsc::channel();
        let (stopped, done) = mpsc::channel();
        // A traced thread is stopped until the thread that traces it ends.
        thread::spawn(move || {
            let _ = stopped.send(stop(process));
            let _: Result<(), _> = released.recv();
        });
        done.recv().context("the tracing thread has ended")??;
        Ok(Self { _release: release })
    }
}

fn stop(process: u32) -> Result<()> {
    for task in fs::read_dir(format!("/proc/{process}/task"))? {
        let task = task?;
        if fs::read_to_string(task.path().join("comm"))?.trim() != VOUCHES {
            let id = Pid::from_raw(task.file_name().to_string_lossy().parse()?);
            ptrace::seize(id, ptrace::Options::empty()).with_context(|| format!("cannot trace thread {id}"))?;
            ptrace::interrupt(id)?;
        }
    }
    Ok(())
}
