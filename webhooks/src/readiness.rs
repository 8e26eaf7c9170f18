//! What is missing before webhooks are served.

use std::sync::Arc;

use tokio::sync::watch;

/// Tells `/readyz` what is missing; clones share one state.
#[derive(Clone, Debug)]
pub struct Readiness(Arc<watch::Sender<Option<String>>>);

impl Default for Readiness {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Some(
            "webhook certificates are not ready".to_owned(),
        ))))
    }
}

impl Readiness {
    /// What is missing; nothing means ready.
    #[must_use]
    pub fn missing(&self) -> Option<String> {
        self.0.borrow().clone()
    }

    /// Waits until nothing is missing.
    pub async fn wait(&self) {
        // The sender is `self`, so that the channel is open as long as somebody waits.
        let _ = self.0.subscribe().wait_for(Option::is_none).await;
    }

    pub(crate) fn set(&self, missing: Option<&str>) {
        let missing = missing.map(ToOwned::to_owned);
        self.0.send_if_modified(|current| {
            let changed = *current != missing;
            *current = missing;
            changed
        });
    }
}
