//! The files that speaker and reloader share.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

/// What became of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Success,
    Failure,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
        }
    }
}

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

    /// Says that this process is the reloader.
    pub(crate) fn enter(&self) -> io::Result<()> {
        self.leave();
        File::create(self.path("lock"))?;
        // Without a line break: upstream's speaker reads a number and nothing else.
        self.write("reloader.pid", &std::process::id().to_string())
    }

    /// Says that there is none.
    pub(crate) fn leave(&self) {
        for name in ["reloader.pid", "lock"] {
            let _ = fs::remove_file(self.path(name));
        }
    }

    /// What the speaker wants, if it wants anything yet.
    pub(crate) fn wanted(&self) -> io::Result<Option<String>> {
        match fs::read_to_string(self.path("frr.conf")) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps others that apply configurations away until it is dropped.
    pub(crate) fn lock(&self) -> io::Result<File> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.path("lock"))?;
        file.lock()?;
        Ok(file)
    }

    /// Tells the speaker what became of `text`, and why.
    pub(crate) fn report(&self, text: &str, outcome: Outcome, words: &str) -> io::Result<()> {
        self.write("last-error", words)?;
        let outcome = outcome.as_str();
        self.write(".status-of", &format!("{:016x} {outcome}", metallb_frr::digest(text)))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.write(".status", &format!("{} {outcome}", now.as_secs()))
    }

    /// Replaces a file as a whole, for the eyes of root only.
    pub(crate) fn write(&self, name: &str, content: &str) -> io::Result<()> {
        write(&self.path(name), content)
    }
}

fn write(path: &Path, content: &str) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(content.as_bytes())?;
    fs::rename(new, path)
}
