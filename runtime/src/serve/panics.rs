//! A request that nobody thought of ends its connection, and nobody else's; it is told and counted.

use std::panic::AssertUnwindSafe;
use std::sync::LazyLock;

use futures::FutureExt;
use prometheus::IntCounter;
use tokio::task::JoinError;
use tracing::error;

/// Connections and requests that ended in a panic, of all servers of this process.
static PANICS: LazyLock<Option<IntCounter>> = LazyLock::new(|| {
    let help = "Connections and requests of this process's servers that ended in a panic.";
    IntCounter::new("metallb_server_panics_total", help).ok()
});

/// The counter, to be registered.
pub(crate) fn counter() -> Option<&'static IntCounter> {
    PANICS.as_ref()
}

/// Looks at how the task of a connection ended.
pub(super) fn judge(end: Result<(), JoinError>) {
    if let Err(panic) = end {
        count("connection", &panic.to_string());
    }
}

fn count(what: &'static str, error: &str) {
    if let Some(panics) = counter() {
        panics.inc();
    }
    error!(event = "serverPanicked", what, error);
}

/// Runs the requests of a connection of HTTP/2, each in a task of its own. They end with the connection: hyper then drops
/// what they answer to.
#[derive(Clone)]
pub(super) struct Streams;

impl<F: Future<Output: Send> + Send + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, request: F) {
        tokio::spawn(async move {
            if AssertUnwindSafe(request).catch_unwind().await.is_err() {
                count("request", "panicked");
            }
        });
    }
}
