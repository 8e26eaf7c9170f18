//! One stop signal for the whole process.

use std::io;

use tokio::signal::unix::{SignalKind, signal as listen};
use tokio_util::sync::CancellationToken;
use tracing::info;

/// Returns a token that is cancelled by the first SIGTERM, SIGINT or SIGQUIT.
///
/// Upstream: SIGQUIT is caught without ending the process; here it is a plain stop.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn signal() -> io::Result<CancellationToken> {
    let mut term = listen(SignalKind::terminate())?;
    let mut int = listen(SignalKind::interrupt())?;
    let mut quit = listen(SignalKind::quit())?;
    let stop = CancellationToken::new();
    // However the task ends, the process does not go on without it.
    let end = stop.clone().drop_guard();
    // Owned by nobody, as it is there before anybody who could own it.
    tokio::spawn(async move {
        let name = tokio::select! {
            _ = term.recv() => "SIGTERM",
            _ = int.recv() => "SIGINT",
            _ = quit.recv() => "SIGQUIT",
        };
        info!(event = "stopping", signal = name);
        drop(end);
    });
    Ok(stop)
}
