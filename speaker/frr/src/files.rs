//! The files that speaker and reloader share.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use metallb_frr::{Outcome, Verdict};
use metallb_runtime::files;
use tokio::time::sleep;

/// How often a lock that another process holds is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(100);

/// The folder that speaker and reloader share.
#[derive(Clone, Debug)]
pub(crate) struct Shared(PathBuf);

impl Shared {
    pub(crate) fn new(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Announces this process as the reloader.
    pub(crate) fn enter(&self) -> Result<()> {
        self.leave();
        self.open_lock()?;
        // No line break: upstream's speaker parses the whole file as a number.
        self.write("reloader.pid", &std::process::id().to_string())
    }

    /// Removes the files that announce a reloader.
    pub(crate) fn leave(&self) {
        for name in ["reloader.pid", "lock"] {
            let _ = fs::remove_file(self.path(name));
        }
    }

    /// Reads the configuration that the speaker wants, if it has written one yet.
    pub(crate) fn wanted(&self) -> Result<Option<String>> {
        let path = self.path("frr.conf");
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Waits for the lock of all that apply configurations. Polls: it may be held for minutes, and SIGTERM must not wait for
    /// that.
    pub(crate) async fn lock(&self) -> Result<File> {
        let file = self.open_lock()?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) => sleep(TRY_AGAIN).await,
                Err(TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("cannot lock {}", self.path("lock").display()));
                }
            }
        }
    }

    fn open_lock(&self) -> Result<File> {
        let path = self.path("lock");
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).write(true).open(&path);
        file.with_context(|| format!("cannot open {}", path.display()))
    }

    /// Reports the outcome for `text` to the speaker, with FRR's words if it failed.
    pub(crate) fn report(&self, text: &str, outcome: Outcome, words: &str) -> Result<()> {
        self.explain(words)?;
        self.write(".status-of", &Verdict::new(text, outcome).to_string())?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.write(".status", &format!("{} {outcome}", now.as_secs()))
    }

    /// Tells the speaker why its configuration is not applied; empty if it is.
    pub(crate) fn explain(&self, words: &str) -> Result<()> {
        self.write("last-error", words)
    }

    /// Replaces a file by rename; mode 0600.
    pub(crate) fn write(&self, name: &str, content: &str) -> Result<()> {
        let path = self.path(name);
        files::replace(&path, content).with_context(|| format!("cannot write {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_the_lock_does_not_keep_others_from_their_work() {
        let folder = tempfile::tempdir().unwrap();
        let shared = Shared::new(folder.path());
        let held = shared.lock().await.unwrap();
        let mut waiting = std::pin::pin!(shared.lock());
        let patience = Duration::from_secs(60);
        assert!(tokio::time::timeout(patience, &mut waiting).await.is_err());
        drop(held);
        tokio::time::timeout(patience, waiting).await.unwrap().unwrap();
    }

    #[test]
    fn errors_name_the_file() {
        let shared = Shared::new("/nowhere");
        let error = shared.write("last-error", "").unwrap_err();
        assert!(
            format!("{error:#}").starts_with("cannot write /nowhere/last-error: "),
            "{error:#}"
        );
    }
}
