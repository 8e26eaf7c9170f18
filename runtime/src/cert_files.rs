//! A certificate in files that somebody else writes: OLM, cert-manager, a service CA, whoever fills a Secret.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::tls::KeyPair;

/// How often the files are read; upstream takes up to 10 s. Secret volumes are swapped by symbolic link, so that watching
/// a file misses it.
const PERIOD: Duration = Duration::from_secs(2);
/// How often they are looked for as long as there are none.
const PERIOD_BEFORE_FIRST: Duration = Duration::from_secs(1);

/// `tls.crt` and `tls.key` in a folder, and what was read of them last.
#[derive(Clone, Debug)]
pub struct Files {
    dir: PathBuf,
    last: Option<KeyPair>,
}

/// What a look at the files showed.
#[derive(Debug)]
pub enum Seen {
    /// Another certificate than before, or the first.
    New(KeyPair),
    /// The one from before.
    Same,
    /// Not both files can be read, and never could.
    NotYet(io::Error),
    /// Not both files can be read any more.
    Gone(io::Error),
}

impl Files {
    /// Looks in `dir`, which need not be there yet.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            last: None,
        }
    }

    /// Reads the files once.
    pub async fn look(&mut self) -> Seen {
        match self.read().await {
            Ok(pair) if self.last.as_ref() == Some(&pair) => Seen::Same,
            Ok(pair) => {
                self.last = Some(pair.clone());
                Seen::New(pair)
            }
            Err(error) if self.last.is_none() => Seen::NotYet(error),
            Err(error) => Seen::Gone(error),
        }
    }

    /// Waits until it is time for the next look.
    pub async fn pause(&self) {
        tokio::time::sleep(if self.last.is_some() {
            PERIOD
        } else {
            PERIOD_BEFORE_FIRST
        })
        .await;
    }

    async fn read(&self) -> io::Result<KeyPair> {
        let file = async |name: &str| {
            let path = self.dir.join(name);
            let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
            tokio::fs::read(&path).await.map_err(named)
        };
        Ok(KeyPair {
            certificate: file("tls.crt").await?,
            key: file("tls.key").await?,
        })
    }
}
