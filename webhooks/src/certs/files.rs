//! Certificates that somebody else writes: OLM, cert-manager, a service CA.

use std::path::{Path, PathBuf};
use std::time::Duration;

use metallb_runtime::CancellationToken;
use metallb_runtime::tls::KeyPair;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::readiness::{Readiness, Trust};

/// How often the files are read; upstream takes up to 10 s. Secret volumes are swapped by symbolic link, so that watching
/// a file misses it.
const PERIOD: Duration = Duration::from_secs(2);
/// How often they are looked for as long as there are none.
const IMPATIENT: Duration = Duration::from_secs(1);

/// Reads `tls.crt` and `tls.key` again and again until `stop`, and hands over what is new.
pub(crate) async fn follow(
    dir: PathBuf,
    certificate: watch::Sender<Option<KeyPair>>,
    ready: Readiness,
    stop: CancellationToken,
) {
    loop {
        match read(&dir).await {
            Ok(pair) => {
                ready.certified(Ok(Trust::Unknown));
                let changed = certificate.send_if_modified(|current| {
                    let changed = current.as_ref() != Some(&pair);
                    *current = Some(pair);
                    changed
                });
                if changed {
                    info!(dir = %dir.display(), "serving certificate read");
                }
            }
            Err(error) if certificate.borrow().is_none() => {
                ready.certified(Err(format!("no serving certificate: {error}")));
            }
            Err(error) => warn!(%error, "serving certificate is gone, keeping the last one"),
        }
        let pause = if certificate.borrow().is_some() {
            PERIOD
        } else {
            IMPATIENT
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn read(dir: &Path) -> std::io::Result<KeyPair> {
    let file = async |name: &str| {
        let path = dir.join(name);
        let named = |error: std::io::Error| std::io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        tokio::fs::read(&path).await.map_err(named)
    };
    Ok(KeyPair {
        certificate: file("tls.crt").await?,
        key: file("tls.key").await?,
    })
}
