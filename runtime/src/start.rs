//! What a process has to ask before it can work.

use std::time::Duration;

use tokio::time::sleep;
use tracing::{debug, warn};

use crate::cause::explain;

/// Between two attempts.
const RETRY: Duration = Duration::from_secs(1);

/// Asks until the API server can be reached: who ends instead is started again, later and later.
///
/// # Errors
/// What the API server says against the request itself; asking again would not change that.
pub async fn ask<T, F>(ask: impl Fn() -> F) -> kube::Result<T>
where
    F: Future<Output = kube::Result<T>>,
{
    let mut said = String::new();
    loop {
        let error = match ask().await {
            Err(error) if is_passing(&error) => explain(&error),
            answer => return answer,
        };
        if error == said {
            debug!(event = "apiServerUnreachable", error);
        } else {
            warn!(event = "apiServerUnreachable", error, "waiting for the API server");
            said = error;
        }
        sleep(RETRY).await;
    }
}

/// Whether the error says nothing about the request.
fn is_passing(error: &kube::Error) -> bool {
    !matches!(error, kube::Error::Api(status) if (400..500).contains(&status.code) && status.code != 429)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use k8s_openapi::api::core::v1::Pod;
    use kube::Api;
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::testing::{Call, client};

    /// Answers with these codes, one after the other, and then well.
    async fn asked(codes: &'static [u16]) -> (kube::Result<Pod>, usize) {
        let next = AtomicUsize::new(0);
        let (client, calls) = client(move |_| match codes.get(next.fetch_add(1, Ordering::SeqCst)) {
            Some(code) => Call::failure(*code, "Refused"),
            None => Call::ok(&json!({ "metadata": { "name": "a" } })),
        });
        let pods = Api::<Pod>::namespaced(client, "ns");
        let answer = ask(|| pods.get("a")).await;
        (answer, calls.all().len())
    }

    #[tokio::test(start_paused = true)]
    async fn an_api_server_in_trouble_is_asked_until_it_answers() {
        let (pod, calls) = asked(&[500, 429, 503]).await;
        assert_eq!((pod.unwrap().metadata.name.as_deref(), calls), (Some("a"), 4));
    }

    #[rstest]
    #[case::not_there(&[404])]
    #[case::not_allowed(&[500, 403])]
    #[tokio::test(start_paused = true)]
    async fn what_is_refused_is_not_asked_again(#[case] codes: &'static [u16]) {
        let (pod, calls) = asked(codes).await;
        assert!(matches!(pod, Err(kube::Error::Api(status)) if Some(&status.code) == codes.last()));
        assert_eq!(calls, codes.len());
    }
}
