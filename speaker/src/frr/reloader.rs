//! The files that we share with the reloader, and its process.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use metallb_frr::Text;
use metallb_runtime::files;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::answer::Answer;

/// The process that applies configurations: our reloader or upstream's.
#[derive(Clone, Debug)]
pub(super) struct Reloader {
    config: PathBuf,
    pid: PathBuf,
}

impl Reloader {
    pub(super) fn new(config: &Path, pid: &Path) -> Self {
        Self {
            config: config.to_owned(),
            pid: pid.to_owned(),
        }
    }

    /// Replaces the configuration file.
    pub(super) fn write(&self, text: &Text) -> Result<()> {
        files::replace(&self.config, text.as_str()).with_context(|| format!("cannot write {}", self.config.display()))
    }

    /// Tells whether this text was written last, and applied.
    pub(super) fn has_applied(&self, text: &Text) -> bool {
        let is_written = fs::read_to_string(&self.config).is_ok_and(|written| written == text.as_str());
        is_written && self.answer().is_success_of(text.as_str())
    }

    /// Reads the reloader's last answer.
    pub(super) fn answer(&self) -> Answer {
        let folder = self.config.parent().unwrap_or_else(|| Path::new("."));
        Answer::read(folder)
    }

    /// Asks it to apply the file.
    pub(super) fn signal(&self) -> Result<()> {
        let file = self.pid.display();
        let text = fs::read_to_string(&self.pid).with_context(|| format!("no reloader: cannot read {file}"))?;
        // Upstream's writes no line break.
        let pid: i32 = text
            .trim()
            .parse()
            .with_context(|| format!("{file} holds no process id"))?;
        let is_reloader =
            fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|it| it.contains("frr-reloader"));
        if pid <= 1 || !is_reloader {
            bail!("process {pid} of {file} is not the reloader");
        }
        kill(Pid::from_raw(pid), Signal::SIGHUP)
            .with_context(|| format!("cannot send SIGHUP to the reloader, process {pid}"))
    }
}
