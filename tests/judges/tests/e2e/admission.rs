//! The operator's webhook as the API server meets it: what it refuses, and that it is always there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client};
use metallb_api::{MetalLB, names};
use metallb_test_support::{Inside, Options, wait_for};
use metallb_webhooks::certs::bundle::{Bundle, Plan, renew};
use rustls::pki_types::UnixTime;
use serde_json::json;
use tokio::task::JoinHandle;

use crate::operator::installed;
use crate::process::{bundle, configuration};
use metallb_tests::Outcome;

const NAMESPACE: &str = "metallb-system";
const PATIENCE: Duration = Duration::from_secs(300);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const REASON: &str = "IncorrectMetalLBResourceName";

/// Tries to create a MetalLB resource.
async fn create(client: &Client, (namespace, name): (&str, &str), dry_run: bool) -> Result<(), kube::Error> {
    let resource: MetalLB = serde_json::from_value(json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "MetalLB", "metadata": { "name": name }, "spec": {},
    }))
    .map_err(kube::Error::SerdeError)?;
    let params = PostParams {
        dry_run,
        ..PostParams::default()
    };
    let api: Api<MetalLB> = Api::namespaced(client.clone(), namespace);
    api.create(&params, &resource).await.map(drop)
}

/// Waits until the API server reaches the webhook.
async fn reachable(client: &Client) -> Result<()> {
    wait_for("the webhook to be called", PATIENCE, async || {
        Ok(create(client, (NAMESPACE, "metallb"), true).await.ok())
    })
    .await
}

// OP-9
pub(crate) fn misplaced(inside: Inside, options: Options) -> Outcome {
    Box::pin(async move {
        let (lab, client) = installed(inside, options).await?;
        reachable(&client).await?;
        let places = [
            (
                (NAMESPACE, "other"),
                "metadata.name: only the MetalLB named metallb has an effect",
            ),
            (
                ("default", "metallb"),
                "metadata.namespace: only a MetalLB in namespace metallb-system has an effect",
            ),
        ];
        for (place, words) in places {
            match create(&client, place, false).await {
                Err(kube::Error::Api(status)) if status.message.contains(words) => {}
                other => bail!("{place:?}: {other:?}"),
            }
        }
        let configurations: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
        let asked = names::OPERATOR_WEBHOOK_CONFIGURATION;
        configurations.delete(asked, &DeleteParams::default()).await?;
        for (place, _) in places {
            wait_for("the API server to ask nobody", PATIENCE, async || {
                Ok(create(&client, place, false).await.ok())
            })
            .await?;
            told(&client, place).await.with_context(|| format!("{place:?}"))?;
        }
        let sets: Api<DaemonSet> = Api::all(client.clone());
        let deployments: Api<Deployment> = Api::all(client.clone());
        ensure!(
            sets.list(&ListParams::default()).await?.items.is_empty(),
            "speakers are deployed"
        );
        let controllers = ListParams::default().fields("metadata.name=controller");
        ensure!(
            deployments.list(&controllers).await?.items.is_empty(),
            "a controller is deployed"
        );
        lab.stop().await;
        Ok(())
    })
}

/// Waits until a resource without effect says so itself, and by an event.
async fn told(client: &Client, (namespace, name): (&str, &str)) -> Result<()> {
    let resources: Api<MetalLB> = Api::namespaced(client.clone(), namespace);
    wait_for("the condition Degraded", PATIENCE, async || {
        let status = resources.get(name).await?.status.unwrap_or_default();
        let mut conditions = status.conditions.into_iter();
        Ok(conditions
            .any(|it| it.type_ == "Degraded" && it.status == "True" && it.reason == REASON)
            .then_some(()))
    })
    .await?;
    let events: Api<Event> = Api::namespaced(client.clone(), namespace);
    wait_for("an event", PATIENCE, async || {
        let all = events.list(&ListParams::default()).await?.items;
        let ours = all.iter().any(|event| {
            let regards = event.regarding.as_ref().and_then(|it| it.name.as_deref());
            regards == Some(name) && event.reason.as_deref() == Some(REASON)
        });
        Ok(ours.then_some(()))
    })
    .await
}

/// Asks the webhook without end.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    task: JoinHandle<Result<(), kube::Error>>,
}

impl Load {
    fn start(client: &Client) -> Self {
        let (stop, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (end, count, client) = (stop.clone(), answered.clone(), client.clone());
        let task = tokio::spawn(async move {
            while !end.load(Ordering::Relaxed) {
                create(&client, (NAMESPACE, "metallb"), true).await?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
        Self { stop, answered, task }
    }

    /// Waits until so many more requests have been answered.
    async fn more(&self, count: usize) -> Result<()> {
        let target = self.answered.load(Ordering::Relaxed) + count;
        wait_for("answers of the webhook", PATIENCE, async || {
            let enough = self.answered.load(Ordering::Relaxed) >= target;
            Ok((enough || self.task.is_finished()).then_some(()))
        })
        .await
    }

    async fn end(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await?.context("a request failed")
    }
}

async fn certificates(secrets: &Api<Secret>) -> Result<(Secret, Bundle)> {
    let mut secret = secrets.get(names::OPERATOR_WEBHOOK_SECRET).await?;
    let found = Bundle::from_data(secret.data.get_or_insert_default());
    Ok((secret, found.context("the Secret lacks a key")?))
}

// OP-54
pub(crate) fn renewal(inside: Inside, options: Options) -> Outcome {
    Box::pin(async move {
        let (lab, client) = installed(inside, options).await?;
        reachable(&client).await?;
        let secrets: Api<Secret> = Api::namespaced(client.clone(), NAMESPACE);
        let (mut secret, first) = certificates(&secrets).await?;
        ensure!(bundle(&configuration(&client).await?).as_ref() == Some(&first.ca_certificate));
        let load = Load::start(&client);
        load.more(20).await?;
        // One of the same CA, of three hundred days ago: it is good for 65 days more.
        let then = SystemTime::now().duration_since(UNIX_EPOCH)? - 300 * DAY;
        let name = format!("{}.{NAMESPACE}.svc", names::OPERATOR_WEBHOOK_SERVICE);
        let then = UnixTime::since_unix_epoch(then);
        let old = renew(then, Plan::RenewServing, Some(&first), &name)?;
        old.store(secret.data.get_or_insert_default());
        secrets
            .replace(names::OPERATOR_WEBHOOK_SECRET, &PostParams::default(), &secret)
            .await?;
        wait_for("another certificate", PATIENCE, async || {
            let (_, found) = certificates(&secrets).await?;
            Ok((found.serving != old.serving).then_some(()))
        })
        .await?;
        load.more(200).await?;
        load.end().await?;
        let (_, new) = certificates(&secrets).await?;
        ensure!(new.ca_certificate == first.ca_certificate && new.serving != first.serving);
        ensure!(bundle(&configuration(&client).await?) == Some(new.ca_certificate));
        lab.stop().await;
        Ok(())
    })
}
