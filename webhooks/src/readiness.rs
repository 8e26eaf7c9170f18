//! What is missing before webhooks are served.

use std::sync::Arc;

use tokio::sync::watch;

/// Tells `/readyz` what is missing; clones share one state.
///
/// Ready means that an API server can call: the certificate carries the name of the Service and fits the CA, whoever
/// calls has been told to trust it, and the port is open.
#[derive(Clone, Debug)]
pub struct Readiness(Arc<watch::Sender<State>>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    certificates: Option<String>,
    listens: bool,
}

impl State {
    fn missing(&self) -> Option<String> {
        let deaf = (!self.listens).then(|| "webhook server does not listen yet".to_owned());
        self.certificates.clone().or(deaf)
    }
}

impl Default for Readiness {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(State {
            certificates: Some("webhook certificates are not ready".to_owned()),
            listens: false,
        })))
    }
}

impl Readiness {
    /// What is missing; nothing means ready.
    #[must_use]
    pub fn missing(&self) -> Option<String> {
        self.0.borrow().missing()
    }

    /// Waits until nothing is missing.
    pub async fn wait(&self) {
        // The sender is `self`, so that the channel is open as long as somebody waits.
        let _ = self.0.subscribe().wait_for(|state| state.missing().is_none()).await;
    }

    /// Tells what is missing about the certificates.
    pub(crate) fn set(&self, missing: Option<&str>) {
        self.change(|state| state.certificates = missing.map(ToOwned::to_owned));
    }

    /// Tells that the port is open.
    pub(crate) fn listens(&self) {
        self.change(|state| state.listens = true);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        self.0.send_if_modified(|state| {
            let before = state.clone();
            change(state);
            *state != before
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_alone_does_not_make_ready() {
        let ready = Readiness::default();
        assert!(ready.missing().is_some_and(|missing| missing.contains("certificates")));
        ready.set(None);
        assert!(ready.missing().is_some_and(|missing| missing.contains("listen")));
        ready.listens();
        assert_eq!(ready.missing(), None);
    }
}
