//! Parses the configuration whenever something of it changes.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{bail, ensure};
use futures::stream::{BoxStream, SelectAll};
use futures::{FutureExt, StreamExt};
use metallb_runtime::CancellationToken;
use metallb_runtime::admin::Health;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tracing::{error, info};

use super::Shared;
use super::stores::{ANNOUNCEMENTS, CONFIGURATION, Touched};
use crate::pools::{Pools, Verdict};

/// Publishes a verdict for every change, from the moment on when all kinds are complete.
pub(super) async fn follow(
    mut changes: SelectAll<BoxStream<'static, Touched>>,
    mut questions: UnboundedReceiver<oneshot::Sender<()>>,
    shared: Arc<Shared>,
    health: Health,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut pools = Pools::new(shared.settings.backend, shared.settings.ignore_exclude_label);
    let mut missing = BTreeSet::from(CONFIGURATION);
    // Addresses do not wait for these.
    let mut unknown = BTreeSet::from(ANNOUNCEMENTS);
    let mut asked = Vec::new();
    loop {
        // Cancel-safe, both of them.
        let mut next = tokio::select! {
            change = changes.next() => match change {
                Some(change) => Some(change),
                None => break,
            },
            Some(question) = questions.recv() => {
                asked.push(question);
                None
            }
        };
        // Changes that wait already need no parse of their own.
        while let Some(change) = next {
            if let Touched::Ready(kind) = change {
                unknown.remove(kind);
                missing.remove(kind);
                health.ready(kind);
            }
            next = changes.next().now_or_never().flatten();
        }
        if missing.is_empty() {
            shared.metrics.updates.inc();
            let load = || publish(&shared, &pools.load(&shared.stores.resources(unknown.is_empty())));
            shared.metrics.configuration.observe(load);
            shared.recount.notify_one();
            for question in asked.drain(..) {
                // Whoever asked may have lost the lease meanwhile.
                let _ = question.send(());
            }
        }
    }
    if stop.is_cancelled() {
        return Ok(());
    }
    bail!("the watches of the configuration ended")
}

/// Waits until the verdict is on what the stores have at the time of the call, or on something newer.
pub(super) async fn judge_again(shared: &Shared) -> anyhow::Result<()> {
    let (question, answer) = oneshot::channel();
    let asked = shared.asked.send(question).is_ok() && answer.await.is_ok();
    ensure!(asked, "the configuration is followed no more");
    Ok(())
}

fn publish(shared: &Shared, verdict: &Verdict) {
    shared.metrics.judged(verdict);
    let changed = shared.verdict.send_if_modified(|last| {
        let changed = last.as_ref() != Some(verdict);
        if changed {
            *last = Some(verdict.clone());
        }
        changed
    });
    if !changed {
        return;
    }
    if verdict.refused.is_empty() {
        info!(controller = "PoolReconciler", event = "config reloaded");
    } else {
        // The documentation tells users to look for this phrase.
        error!(
            controller = "PoolReconciler",
            error = verdict.message(),
            "failed to parse the configuration"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use k8s_openapi::api::core::v1::Pod;
    use kube::runtime::reflector::store;
    use kube::runtime::watcher::Event;
    use kube::{Client, Config};
    use metallb_api::{IPAddressPool, names};
    use metallb_config::Backend;
    use metallb_runtime::events::Recorder;
    use metallb_runtime::tasks::Tasks;
    use metallb_runtime::work::{Backoff, Queue};
    use prometheus::Registry;
    use serde_json::json;
    use tokio::sync::{Notify, mpsc, watch};

    use super::super::Settings;
    use super::super::stores::Stores;
    use super::*;
    use crate::metrics::Metrics;

    fn pool(name: &str, range: &str) -> IPAddressPool {
        let metadata = json!({ "name": name, "namespace": "ns" });
        let pool = json!({ "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool", "metadata": metadata,
            "spec": { "addresses": [range] } });
        serde_json::from_value(pool).unwrap()
    }

    /// What a controller shares whose API server never answers.
    fn shared(stores: Stores) -> (Arc<Shared>, UnboundedReceiver<oneshot::Sender<()>>) {
        metallb_runtime::tls::install_crypto_provider();
        let client = Client::try_from(Config::new("https://127.0.0.1:1".parse().unwrap())).unwrap();
        let metrics = Metrics::register(&Registry::new()).unwrap();
        let tasks = Tasks::new(CancellationToken::new()).spawner();
        let recorder = Recorder::new(client.clone(), names::event_source::CONTROLLER, "c", &tasks);
        let (asked, questions) = mpsc::unbounded_channel();
        let shared = Shared {
            client,
            settings: Settings {
                namespace: "ns".into(),
                class: String::new(),
                conditions: true,
                backend: Backend::default(),
                ignore_exclude_label: false,
                pod: Pod::default(),
            },
            stores,
            queue: Queue::observed(Backoff::default(), metrics.services.clone()),
            metrics,
            assigning: AtomicBool::new(false),
            verdict: watch::Sender::new(None),
            asked,
            recount: Notify::new(),
            recorder,
            tasks,
        };
        (Arc::new(shared), questions)
    }

    fn in_force(shared: &Shared) -> Vec<String> {
        let verdict = shared.verdict.borrow();
        let accepted = verdict.as_ref().and_then(|verdict| verdict.accepted.as_ref());
        accepted
            .map(|accepted| accepted.pools.keys().cloned().collect())
            .unwrap_or_default()
    }

    #[tokio::test]
    async fn a_verdict_that_is_asked_for_is_on_what_the_stores_have() {
        // CTL-33: at the beginning of a term the stores are as new as the API server, and the last verdict may not be.
        let (stored, mut writer) = store();
        let (shared, questions) = shared(Stores::with_pools("ns", stored));
        writer.apply_watcher_event(&Event::Apply(pool("p", "192.0.2.0/30")));
        let ready = futures::stream::iter(CONFIGURATION.map(Touched::Ready));
        let changes = [ready.chain(futures::stream::pending()).boxed()].into_iter().collect();
        let (health, stop) = (Health::default(), CancellationToken::new());
        let following = tokio::spawn(follow(changes, questions, Arc::clone(&shared), health, stop));
        judge_again(&shared).await.unwrap();
        assert_eq!(in_force(&shared), ["p"]);
        // Nobody was told of it yet.
        writer.apply_watcher_event(&Event::Apply(pool("q", "198.51.100.0/30")));
        assert_eq!(in_force(&shared), ["p"]);
        judge_again(&shared).await.unwrap();
        assert_eq!(in_force(&shared), ["p", "q"]);
        following.abort();
    }
}
