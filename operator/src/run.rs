//! Starts the tasks of the operator and waits for their end.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams},
};
use metallb_api::names::{self, event_source, field_manager};
use metallb_manifests::{Environment, TlsSettings, install};
use metallb_runtime::{
    CancellationToken,
    admin::{self, Health},
    apply, client,
    events::Recorder,
    lease,
    tasks::Tasks,
    tls,
};
use metallb_webhooks::verdict::Kind;
use metallb_webhooks::{Certificates, Lists, Readiness, Rotation, Rules, Target, Webhooks};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::{
    Args,
    engine::{CLUSTER, Engine},
    metrics::{self, Metrics},
};

/// What `/readyz` calls the webhook.
const WEBHOOK: &str = "webhook certificates";

/// Time for tasks to end after the stop signal.
const GRACE: Duration = Duration::from_secs(8);

/// Time to give up the lease after that.
const LEASE_GRACE: Duration = Duration::from_secs(1);

/// Time between two attempts to write the TLS settings.
const TLS_RETRY: Duration = Duration::from_secs(2);

/// Runs the operator until `stop`.
///
/// # Errors
/// The environment cannot be used, or a task ended by itself.
pub async fn run(args: Args, stop: CancellationToken) -> anyhow::Result<()> {
    let environment = Environment::from_variables(|name| std::env::var(name).ok())?;
    tls_options(&environment.tls).check()?;
    let client = client::connect(event_source::OPERATOR).await?;
    let identity = identity();
    let recorder = Recorder::new(client.clone(), event_source::OPERATOR, &identity);
    let metrics = Metrics::new()?;
    let health = Health::waiting_for([CLUSTER, WEBHOOK]);
    let address = SocketAddr::from(([0, 0, 0, 0], args.port));
    let (leader, always) = leadership(&args, &environment, &client, &identity, &stop);
    let holding = leader.clone();
    let (engine, feeds) = Engine::new(client.clone(), &environment, recorder, metrics.clone(), &stop);

    let mut tasks = Tasks::new(stop.clone());
    for (name, feed) in feeds {
        tasks.spawn(name, feed);
    }
    let (served, halt) = (health.clone(), stop.clone());
    tasks.spawn("health server", async move {
        Ok(admin::serve_health(address, served, halt).await?)
    });
    let counted = metallb_webhooks::Metrics::register(metrics.registry())?;
    let (webhooks, ready) = (webhooks(&args, &environment, &client, counted), Readiness::default());
    tasks.spawn(
        "webhook server",
        metallb_webhooks::run(webhooks, client.clone(), ready.clone(), stop.clone()),
    );
    tasks.spawn("webhook readiness", report(ready, health.clone(), stop.clone()));
    if let Some(address) = args.metrics_addr.0 {
        tasks.spawn("metrics server", metrics::serve(address, metrics, stop.clone()));
    }
    tasks.spawn("reconciler", engine.run(leader, health, stop.clone()));
    tasks.spawn(
        "TLS settings",
        pass_on_tls(client, environment, args.external_metallb_webhook_server, stop),
    );
    let ended = tasks.join(GRACE).await;
    drop(always);
    lease::given_up(holding, LEASE_GRACE).await;
    Ok(ended?)
}

/// A name for this process among its replicas.
fn identity() -> String {
    let named = ["POD_NAME", "HOSTNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok());
    named
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| format!("{}-{}", event_source::OPERATOR, std::process::id()))
}

/// Tells whether to lead; without election always. The sender must live as long as the receiver is used.
fn leadership(
    args: &Args,
    environment: &Environment,
    client: &Client,
    identity: &str,
    stop: &CancellationToken,
) -> (watch::Receiver<bool>, Option<watch::Sender<bool>>) {
    if !args.enable_leader_election {
        let (sender, receiver) = watch::channel(true);
        return (receiver, Some(sender));
    }
    let timing = lease::Timing::default();
    let receiver = lease::hold(
        client.clone(),
        &environment.namespace,
        names::OPERATOR_LEASE,
        identity,
        timing,
        stop.clone(),
    );
    (receiver, None)
}

/// The webhook of the MetalLB kind, which every replica serves.
fn webhooks(args: &Args, environment: &Environment, client: &Client, metrics: metallb_webhooks::Metrics) -> Webhooks {
    let namespace = environment.namespace.as_str();
    let certificates = if args.disable_cert_rotation {
        Certificates::Files(args.cert_dir.clone())
    } else {
        Certificates::Rotated(Rotation {
            namespace: namespace.to_owned(),
            secret: names::OPERATOR_WEBHOOK_SECRET.to_owned(),
            service: args.cert_service_name.clone(),
            targets: vec![Target::Webhooks(names::OPERATOR_WEBHOOK_CONFIGURATION.to_owned())],
        })
    };
    let rules = Rules {
        namespace: namespace.to_owned(),
        frrk8s_external_namespace: environment.frr_k8s_external_namespace.clone(),
        ..Rules::default()
    };
    Webhooks {
        listen: SocketAddr::from(([0, 0, 0, 0], names::WEBHOOK_PORT)),
        certificates,
        tls: metallb_webhooks::TlsSettings {
            options: tls_options(&environment.tls),
            http2: args.webhook_http2,
        },
        rules: Webhooks::fixed(rules),
        reader: Arc::new(Lists::new(client.clone(), namespace)),
        first: Kind::MetalLb,
        metrics: Some(metrics),
    }
}

/// Tells `/readyz` when the webhook can be called.
async fn report(ready: Readiness, health: Health, stop: CancellationToken) -> anyhow::Result<()> {
    tokio::select! {
        () = ready.wait() => health.ready(WEBHOOK),
        () = stop.cancelled() => {}
    }
    stop.cancelled().await;
    Ok(())
}

fn tls_options(settings: &TlsSettings) -> tls::Options {
    tls::Options {
        min_version: settings.min_version.clone(),
        cipher_suites: settings.cipher_suites.clone(),
        curve_preferences: settings.curve_preferences.clone(),
    }
}

/// Writes the TLS settings where the webhook server reads them, once.
async fn pass_on_tls(
    client: Client,
    environment: Environment,
    restart: bool,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    while let Err(error) = write_tls(&client, &environment, restart).await {
        warn!(event = "tlsSettingsFailed", error = format!("{error:#}"));
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(TLS_RETRY) => {}
        }
    }
    stop.cancelled().await;
    Ok(())
}

async fn write_tls(client: &Client, environment: &Environment, restart: bool) -> anyhow::Result<()> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), &environment.namespace);
    let map = install::tls_config(&environment.tls);
    let applied = apply::apply(&api, &map, field_manager::OPERATOR).await?;
    if applied.changed {
        info!(event = "applied", object = %format_args!("ConfigMap/{}", names::TLS_CONFIG_MAP));
    }
    if restart {
        let pods: Api<Pod> = Api::namespaced(client.clone(), &environment.namespace);
        let selector = format!(
            "{}={},{}={}",
            names::LABEL_APP,
            names::APP,
            names::LABEL_COMPONENT,
            names::WEBHOOK_SERVER
        );
        let chosen = ListParams::default().labels(&selector);
        for pod in pods
            .list_metadata(&chosen)
            .await
            .context("cannot list pods of the webhook server")?
        {
            let name = pod.metadata.name.unwrap_or_default();
            pods.delete(&name, &DeleteParams::default())
                .await
                .with_context(|| format!("cannot delete pod {name}"))?;
        }
    }
    Ok(())
}
