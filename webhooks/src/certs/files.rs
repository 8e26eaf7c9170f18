//! Certificates that somebody else writes: OLM, cert-manager, a service CA.

use std::path::PathBuf;

use metallb_runtime::CancellationToken;
use metallb_runtime::cert_files::{Files, Seen};
use metallb_runtime::tls::KeyPair;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::readiness::{Readiness, Trust};

/// Reads `tls.crt` and `tls.key` again and again until `stop`, and hands over what is new.
pub(crate) async fn follow(
    dir: PathBuf,
    certificate: watch::Sender<Option<KeyPair>>,
    ready: Readiness,
    stop: CancellationToken,
) {
    let mut files = Files::new(&dir);
    loop {
        match files.look().await {
            Seen::New(pair) => {
                ready.certified(Ok(Trust::Unknown));
                certificate.send_replace(Some(pair));
                info!(dir = %dir.display(), "serving certificate read");
            }
            Seen::Same => {}
            Seen::NotYet(error) => ready.certified(Err(format!("no serving certificate: {error}"))),
            Seen::Gone(error) => warn!(%error, "serving certificate is gone, keeping the last one"),
        }
        tokio::select! {
            () = files.pause() => {}
            () = stop.cancelled() => return,
        }
    }
}
