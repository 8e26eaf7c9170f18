//! Waits for the kind that the operator is told by.
//!
//! Its definition comes with the installation, but in a file of its own, which is easily forgotten. Every part of the
//! operator would report that in its own words, again and again; so nothing starts before the kind is served.

use std::time::Duration;

use kube::{
    Api, Client,
    api::{ListParams, PartialObjectMeta},
};
use metallb_api::MetalLB;
use metallb_runtime::{admin::Health, start};
use tokio::time::sleep;
use tracing::{info, warn};

/// Between two looks.
const RETRY: Duration = Duration::from_secs(1);

/// What `/readyz` says is missing, and where it is found.
const DEFINITION: &str =
    "CustomResourceDefinition metallbs.metallb.io: kubectl apply --server-side -f manifests/crds.yaml";

/// Returns once the API server serves MetalLB resources; says once, and in `health`, that it does not and what to do.
pub(crate) async fn wait(client: &Client, health: &Health) {
    let api: Api<MetalLB> = Api::all(client.clone());
    let one = ListParams::default().limit(1);
    let mut said = false;
    loop {
        let answer: kube::Result<kube::core::ObjectList<PartialObjectMeta<MetalLB>>> =
            start::ask(|| api.list_metadata(&one)).await;
        match answer {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            // Anything else is no lack of the definition; the watch says it better.
            _ => break,
        }
        if !said {
            warn!(event = "definitionMissing", "waiting for {DEFINITION}");
            health.missing(DEFINITION);
            said = true;
        }
        sleep(RETRY).await;
    }
    if said {
        info!(event = "definitionFound", "MetalLB resources are served");
        health.ready(DEFINITION);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

    use kube::client::Body;
    use serde_json::json;
    use tokio::time::timeout;
    use tracing::field::{Field, Visit};
    use tracing::{Event, Metadata, Subscriber, span};

    use super::*;

    /// Keeps the texts of a log.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<String>>>);

    impl Visit for Log {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            if field.name() == "message" {
                self.0.lock().unwrap().push(format!("{value:?}"));
            }
        }
    }

    impl Subscriber for Log {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target().starts_with("metallb")
        }
        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }
        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn event(&self, event: &Event<'_>) {
            event.record(&mut self.clone());
        }
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    /// An API server that serves the kind at the request of that number.
    fn api_server(found_at: &Arc<AtomicUsize>) -> (Client, Arc<AtomicUsize>) {
        let (found_at, asked) = (Arc::clone(found_at), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&asked);
        let service = tower::service_fn(move |request: http::Request<Body>| {
            assert_eq!(request.uri().path(), "/apis/metallb.io/v1beta1/metallbs");
            let found = count.fetch_add(1, Ordering::SeqCst) >= found_at.load(Ordering::SeqCst);
            let (code, answer) = match found {
                true => (
                    200,
                    json!({ "kind": "PartialObjectMetadataList", "metadata": {}, "items": [] }).to_string(),
                ),
                // As a kube-apiserver has it.
                false => (404, "404 page not found\n".to_owned()),
            };
            let answer = http::Response::builder()
                .status(code)
                .body(Body::from(answer.into_bytes()));
            async { answer }
        });
        (Client::new(service, "ns"), asked)
    }

    #[tokio::test(start_paused = true)]
    async fn a_missing_definition_is_said_once_with_what_to_do_and_awaited() {
        let log = Log::default();
        let _logged = tracing::subscriber::set_default(log.clone());
        let found_at = Arc::new(AtomicUsize::new(usize::MAX));
        let (client, asked) = api_server(&found_at);
        let health = Health::default();
        let mut waiting = std::pin::pin!(wait(&client, &health));
        assert!(timeout(Duration::from_secs(60), &mut waiting).await.is_err());
        assert!(asked.load(Ordering::SeqCst) > 30);
        let said = log.0.lock().unwrap().clone();
        assert_eq!(said.len(), 1, "{said:?}");
        let readiness = health.readiness().1;
        for text in [&said[0], &readiness] {
            assert!(
                text.contains("kubectl apply --server-side -f manifests/crds.yaml"),
                "{text}"
            );
        }
        found_at.store(0, Ordering::SeqCst);
        timeout(Duration::from_secs(60), &mut waiting).await.unwrap();
        assert_eq!(health.readiness().1, "ok");
        assert_eq!(log.0.lock().unwrap().len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_said_of_a_definition_that_is_there() {
        let log = Log::default();
        let _logged = tracing::subscriber::set_default(log.clone());
        let (client, asked) = api_server(&Arc::default());
        wait(&client, &Health::default()).await;
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        assert!(log.0.lock().unwrap().is_empty());
    }
}
