//! What is missing before webhooks are served.

use std::sync::Arc;

use tokio::sync::watch;

/// Tells `/readyz` what is missing; clones share one state.
///
/// Ready means that an API server can call: whoever calls has been told to trust our certificate, the port is open, and
/// a request under the name of the Service has been answered.
#[derive(Clone, Debug)]
pub struct Readiness(Arc<watch::Sender<State>>);

/// How a caller knows us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// By this CA (PEM), under this name.
    Authority { ca: Vec<u8>, name: String },
    /// By something that only who provides the certificate knows.
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    /// Whom callers trust, or what is wrong with the certificates.
    certificates: Result<Trust, String>,
    listens: bool,
    /// What is wrong with the answers.
    answers: Option<String>,
}

impl State {
    fn missing(&self) -> Option<String> {
        let certificates = self.certificates.clone().err();
        let deaf = (!self.listens).then(|| "webhook server does not listen yet".to_owned());
        certificates.or(deaf).or_else(|| self.answers.clone())
    }
}

impl Default for Readiness {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(State {
            certificates: Err("webhook certificates are not ready".to_owned()),
            listens: false,
            answers: Some("no webhook request was answered yet".to_owned()),
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

    /// Tells what is wrong with the certificates, or whom callers trust.
    pub(crate) fn certified(&self, certificates: Result<Trust, String>) {
        self.change(|state| state.certificates = certificates);
    }

    /// Tells that the port is open.
    pub(crate) fn listens(&self) {
        self.change(|state| state.listens = true);
    }

    /// Tells what is wrong with the answer to a request; nothing means that it was answered.
    pub(crate) fn answered(&self, problem: Option<&str>) {
        let problem = problem.map(|problem| format!("webhooks do not answer: {problem}"));
        self.change(|state| state.answers = problem);
    }

    /// Waits until somebody can call, and tells how he knows us.
    pub(crate) async fn callable(&self) -> Trust {
        let mut state = self.0.subscribe();
        loop {
            let (certificates, listens) = {
                let now = state.borrow_and_update();
                (now.certificates.clone(), now.listens)
            };
            if let (Ok(trust), true) = (certificates, listens) {
                return trust;
            }
            // The sender is `self`.
            let _ = state.changed().await;
        }
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
    fn certificate_port_and_answer_make_ready_and_nothing_less() {
        let ready = Readiness::default();
        assert!(ready.missing().is_some_and(|missing| missing.contains("certificates")));
        ready.certified(Ok(Trust::Unknown));
        assert!(ready.missing().is_some_and(|missing| missing.contains("listen")));
        ready.listens();
        assert!(ready.missing().is_some_and(|missing| missing.contains("answered yet")));
        ready.answered(Some("cannot list BGPPeer"));
        assert!(
            ready
                .missing()
                .is_some_and(|missing| missing.contains("cannot list BGPPeer"))
        );
        ready.answered(None);
        assert_eq!(ready.missing(), None);
    }
}
