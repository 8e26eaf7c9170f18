//! From the command line to running tasks.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use metallb_api::names;
use metallb_runtime::admin::{self, Authorizer, Health, MetricsOptions};
use metallb_runtime::tasks::Tasks;
use metallb_runtime::{CancellationToken, client, listen, namespace, start};
use metallb_webhooks::verdict::Kind;
use metallb_webhooks::{Certificates, Lists, Readiness, Rotation, Rules, TlsSettings, Webhooks};
use prometheus::Registry;
use tracing::warn;

use crate::args::{Args, WebhookMode};
use crate::metrics::Metrics;
use crate::secret;
use crate::shell::{self, Settings};
use crate::tls_settings;

/// Time for the tasks to end; the lease is given up in it.
const GRACE: Duration = Duration::from_secs(5);
/// How long giving up the lease may take after that.
const LEASE_GRACE: Duration = Duration::from_secs(1);

/// What `/readyz` calls the webhooks.
const WEBHOOKS: &str = "webhooks";

/// Runs the controller until `stop`.
///
/// # Errors
/// When the settings are wrong, something needed at the start cannot be had, or a task ends unexpectedly.
pub async fn run(args: Args, stop: CancellationToken) -> anyhow::Result<()> {
    check(&args)?;
    let kubeconfig = non_empty(&args.kubeconfig);
    let client = client::connect_with(names::event_source::CONTROLLER, kubeconfig.as_deref()).await?;
    run_with(client, args, stop).await
}

/// Like [`run`], with a client that somebody else made.
///
/// # Errors
/// See [`run`].
pub async fn run_with(client: Client, args: Args, stop: CancellationToken) -> anyhow::Result<()> {
    let namespace = check(&args)?;
    if !args.pprof_bind_address.is_empty() {
        warn!(
            op = "startup",
            "--pprof-bind-address has no effect: there is no Go profiler"
        );
    }
    let health = Health::default();
    let registry = Registry::new();
    let mut tasks = Tasks::new(stop.clone());
    if args.webhook_mode.serves_webhooks() {
        health.missing(WEBHOOKS);
        let counted = metallb_webhooks::Metrics::register(&registry)?;
        serve_webhooks(&args, &namespace, (&client, counted), &health, &mut tasks, &stop);
    }
    admin::register_process(&registry)?;
    let metrics = Metrics::register(&registry)?;
    if args.webhook_mode.assigns() {
        shell::announce_needs(&health);
    }
    serve_admin(&args, &client, &health, registry, &mut tasks, &stop);
    let prepared = tasks.during(prepare(&client, &namespace, &args)).await;
    let Some(pod) = prepared.transpose()? else {
        return Ok(tasks.join(GRACE).await?);
    };
    let mut candidacy = None;
    if args.webhook_mode.assigns() {
        let settings = Settings {
            namespace,
            class: args.lb_class.clone(),
            conditions: args.service_conditions,
            backend: args.backend(),
            // As long as nobody says that the label counts, nodes that carry it may announce.
            ignore_exclude_label: args.ignore_exclude_lb.unwrap_or(true),
            pod,
        };
        candidacy = Some(shell::spawn(client, settings, metrics, &health, &mut tasks, &stop));
    }
    let ended = tasks.join(GRACE).await;
    if let Some(candidacy) = candidacy {
        candidacy.give_up(LEASE_GRACE).await;
    }
    Ok(ended?)
}

/// Reads our own Pod, and makes what it needs; waits for an API server that is away.
async fn prepare(client: &Client, namespace: &str, args: &Args) -> anyhow::Result<Pod> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let pod = start::ask(|| pods.get(&args.pod_name)).await;
    let pod = pod.with_context(|| format!("cannot read own Pod {}", args.pod_name))?;
    if !args.ml_secret_name.is_empty() {
        secret::ensure(client, namespace, &args.ml_secret_name, &args.deployment).await?;
    }
    Ok(pod)
}

/// What can be known to be wrong before anybody is asked; returns our namespace.
fn check(args: &Args) -> anyhow::Result<String> {
    let namespace = namespace::discover(Some(&args.namespace))?;
    ensure!(!args.pod_name.is_empty(), "--pod-name (METALLB_POD_NAME) is missing");
    let tls = args.tls();
    tls.check()?;
    if let Some(note) = tls.note() {
        tracing::info!(event = "tlsSettings", note);
    }
    Ok(namespace)
}

fn non_empty(path: &str) -> Option<PathBuf> {
    (!path.is_empty()).then(|| path.into())
}

fn serve_admin(
    args: &Args,
    client: &Client,
    health: &Health,
    registry: Registry,
    tasks: &mut Tasks,
    stop: &CancellationToken,
) {
    let (health, end) = (health.clone(), stop.clone());
    let address = listen::everywhere(args.health_probe_port);
    tasks.spawn(
        "health",
        async move { Ok(admin::serve_health(address, health, end).await?) },
    );
    if args.port != 0 {
        let (authorizer, end) = (Authorizer::new(client.clone()), stop.clone());
        let options = MetricsOptions {
            tls: args.tls(),
            cert_dir: non_empty(&args.metrics_cert_dir),
            ..MetricsOptions::default()
        };
        let address = listen::everywhere(args.port);
        tasks.spawn("metrics", async move {
            Ok(admin::serve_metrics(address, registry, options, authorizer, end).await?)
        });
    }
}

fn serve_webhooks(
    args: &Args,
    namespace: &str,
    (client, metrics): (&Client, metallb_webhooks::Metrics),
    health: &Health,
    tasks: &mut Tasks,
    stop: &CancellationToken,
) {
    let rules = Rules {
        namespace: namespace.to_owned(),
        backend: args.backend(),
        my_asn_scope: args.asn_scope(),
        ..Rules::default()
    };
    let webhooks = Webhooks {
        listen: listen::everywhere(names::WEBHOOK_PORT),
        certificates: certificates(args, namespace),
        tls: TlsSettings {
            options: args.tls(),
            http2: args.webhook_http2,
            // The operator keeps the settings for a server of webhooks alone; others have them from their command line.
            changes: (args.webhook_mode == WebhookMode::Onlywebhook)
                .then(|| tls_settings::follow(client.clone(), namespace, args.tls(), &tasks.spawner())),
        },
        rules: Webhooks::fixed(rules),
        reader: Arc::new(Lists::new(client.clone(), namespace)),
        first: Kind::IpAddressPool,
        metrics: Some(metrics),
    };
    let ready = Readiness::default();
    let (client, end) = (client.clone(), stop.clone());
    tasks.spawn("webhooks", metallb_webhooks::run(webhooks, client, ready.clone(), end));
    let health = health.clone();
    let end = stop.clone();
    tasks.spawner().spawn_brief("webhook readiness", async move {
        if end.run_until_cancelled(ready.wait()).await.is_some() {
            health.ready(WEBHOOKS);
        }
        Ok(())
    });
}

fn certificates(args: &Args, namespace: &str) -> Certificates {
    if args.disable_cert_rotation {
        return Certificates::Files(args.cert_dir.clone());
    }
    match Certificates::of_configuration(namespace) {
        Certificates::Rotated(rotation) => Certificates::Rotated(Rotation {
            secret: args.webhook_secret.clone(),
            service: args.cert_service_name.clone(),
            ..rotation
        }),
        files => files,
    }
}
