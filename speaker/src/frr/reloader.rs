//! The files that we share with the reloader, and its process.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use metallb_frr::Text;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::answer::Answer;

/// Whoever applies configurations: our reloader or upstream's.
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

    /// Replaces the file as a whole: who reads it never sees half of one, nor another user any of it.
    pub(super) fn write(&self, text: &Text) -> Result<()> {
        let new = self.config.with_extension("conf.new");
        let mut options = OpenOptions::new();
        options.create(true).truncate(true).write(true).mode(0o600);
        let mut file = options
            .open(&new)
            .with_context(|| format!("cannot write {}", new.display()))?;
        file.write_all(text.as_str().as_bytes())?;
        fs::rename(&new, &self.config).with_context(|| format!("cannot replace {}", self.config.display()))
    }

    /// Tells whether this text is what FRR was told last, and did.
    pub(super) fn has_applied(&self, text: &Text) -> bool {
        let is_written = fs::read_to_string(&self.config).is_ok_and(|written| written == text.as_str());
        is_written && self.answer().is_success_of(text.as_str())
    }

    /// What the reloader said last.
    pub(super) fn answer(&self) -> Answer {
        let folder = self.config.parent().unwrap_or_else(|| Path::new("."));
        Answer::read(folder)
    }

    /// Asks it to apply the file.
    pub(super) fn signal(&self) -> Result<()> {
        let text = fs::read_to_string(&self.pid).context("there is no reloader yet")?;
        // Upstream's writes no line break.
        let pid: i32 = text.trim().parse().context("the reloader's process id is no number")?;
        let is_reloader =
            fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|it| it.contains("frr-reloader"));
        if pid <= 1 || !is_reloader {
            bail!("process {pid} is not the reloader");
        }
        kill(Pid::from_raw(pid), Signal::SIGHUP).context("cannot signal the reloader")
    }
}
