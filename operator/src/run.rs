//! Starts the tasks of the operator and waits for their end.

use std::sync::Arc;

use kube::Client;
use metallb_api::names::{self, event_source};
use metallb_manifests::{Environment, TlsSettings};
use metallb_runtime::{
    CancellationToken,
    admin::{self, Health},
    client, listen,
    tasks::Tasks,
    tls,
};
use metallb_webhooks::verdict::Kind;
use metallb_webhooks::{Certificates, Lists, Readiness, Rotation, Rules, Target, Webhooks};
use tokio::sync::watch;
use tracing::info;

use crate::{
    Args, definitions,
    deployer::{Deployer, GRACE},
    engine::CLUSTER,
    status::metrics::{self, Metrics},
};

/// What `/readyz` calls the webhook.
const WEBHOOK: &str = "webhook certificates";

/// Runs the operator until `stop`.
///
/// # Errors
/// The environment cannot be used, or a task ended by itself.
pub async fn run(args: Args, stop: CancellationToken) -> anyhow::Result<()> {
    let environment = environment(|name| std::env::var(name).ok())?;
    let client = client::connect(event_source::OPERATOR).await?;
    let metrics = Metrics::new()?;
    let health = Health::waiting_for([CLUSTER, WEBHOOK]);
    let address = listen::everywhere(args.port);
    let mut tasks = Tasks::new(stop.clone());
    let (served, halt) = (health.clone(), stop.clone());
    tasks.spawn("health server", async move {
        Ok(admin::serve_health(address, served, halt).await?)
    });
    if let Some(address) = args.metrics_addr.0 {
        let (router, halt) = (metrics::router(metrics.clone()), stop.clone());
        tasks.spawn("metrics server", async move {
            Ok(admin::serve_plain(address, router, halt).await?)
        });
    }
    // Nothing works without them, and everybody would say so in words of its own.
    if tasks.during(definitions::wait(&client, &health)).await.is_none() {
        return Ok(tasks.join(GRACE).await?);
    }
    admin::register_panics(metrics.registry())?;
    let counted = metallb_webhooks::Metrics::register(metrics.registry())?;
    let (own_tls, changes) = watch::channel(tls_options(&environment.tls));
    let mut webhooks = webhooks(&args, &environment, &client, counted);
    webhooks.tls.changes = Some(changes);
    let ready = Readiness::default();
    tasks.spawn(
        "webhook server",
        metallb_webhooks::run(webhooks, client.clone(), ready.clone(), stop.clone()),
    );
    tasks.spawn("webhook readiness", report(ready, health.clone(), stop.clone()));
    if args.external_metallb_webhook_server {
        info!("the webhook server reads TLS settings by itself: its pods are not restarted");
    }
    let deployer = Deployer {
        client,
        environment,
        identity: identity(),
        elect: args.enable_leader_election,
        operator_condition: std::env::var("OPERATOR_CONDITION_NAME").ok(),
    };
    let held = deployer.spawn(&mut tasks, metrics, health, &stop);
    tasks.spawn(
        "TLS of the webhook server",
        pass_on(held.tls.clone(), own_tls, stop.clone()),
    );
    let ended = tasks.join(GRACE).await;
    held.give_up().await;
    Ok(ended?)
}

/// What the variables say, with the TLS settings that count.
///
/// Their names are judged even where they have no effect, as upstream does: cipher suites have none with TLS 1.3.
fn environment(variable: impl Fn(&'static str) -> Option<String>) -> anyhow::Result<Environment> {
    let mut environment = Environment::from_variables(variable)?;
    let told = environment.tls.clone();
    environment.tls = told.clone().effective();
    let named = TlsSettings {
        min_version: environment.tls.min_version.clone(),
        ..told
    };
    let options = tls_options(&named);
    options.check()?;
    if let Some(note) = options.note() {
        info!(event = "tlsSettings", note);
    }
    Ok(environment)
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
        listen: listen::everywhere(names::WEBHOOK_PORT),
        certificates,
        tls: metallb_webhooks::TlsSettings {
            options: tls_options(&environment.tls),
            http2: args.webhook_http2,
            changes: None,
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

/// Has the webhook server use the settings that count.
async fn pass_on(
    mut settings: watch::Receiver<Option<TlsSettings>>,
    own: watch::Sender<tls::Options>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    loop {
        let wanted = settings.borrow_and_update().as_ref().map(tls_options);
        if let Some(wanted) = wanted.filter(|wanted| *wanted != *own.borrow()) {
            info!(event = "tlsSettings", min_version = wanted.min_version);
            own.send_replace(wanted);
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            changed = settings.changed() => if changed.is_err() { stop.cancelled().await },
        }
    }
}

fn tls_options(settings: &TlsSettings) -> tls::Options {
    tls::Options {
        min_version: settings.min_version.clone(),
        cipher_suites: settings.cipher_suites.clone(),
        curve_preferences: settings.curve_preferences.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CIPHERS: &str = "TLS_CIPHER_SUITES";
    const CURVES: &str = "TLS_CURVE_PREFERENCES";
    const VERSION: &str = "TLS_MIN_VERSION";

    fn started(told: &[(&str, &str)]) -> anyhow::Result<Environment> {
        let base = [
            ("OPERATOR_NAMESPACE", "metallb-system"),
            ("CONTROLLER_IMAGE", "metallb:1"),
            ("SPEAKER_IMAGE", "metallb:1"),
        ];
        environment(|name| {
            let found = told.iter().chain(&base).find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    // OP-52
    #[test]
    fn what_upstream_takes_of_tls_is_taken() {
        let suite = (CIPHERS, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256");
        for (told, version) in [
            (&[][..], ""),
            (&[(VERSION, "VersionTLS10")], "VersionTLS12"),
            (&[(VERSION, "VersionTLS11")], "VersionTLS12"),
            (
                &[
                    (VERSION, "VersionTLS12"),
                    (CIPHERS, " TLS_AES_128_GCM_SHA256, TLS_RSA_WITH_AES_128_CBC_SHA"),
                ],
                "VersionTLS12",
            ),
            (&[suite], ""),
            (&[(VERSION, "VersionTLS13"), suite], "VersionTLS13"),
            (&[(CURVES, "29, 23,24,25,4588")], ""),
        ] {
            let tls = started(told).unwrap().tls;
            assert_eq!(tls.min_version, version, "{told:?}");
            tls_options(&tls).check().unwrap();
        }
    }

    // OP-52
    #[test]
    fn what_upstream_refuses_of_tls_is_refused() {
        for (variable, value, wrong) in [
            (CIPHERS, "FAKE_CIPHER", "FAKE_CIPHER"),
            (CIPHERS, "TLS_AES_128_GCM_SHA256,x", "x"),
            (CURVES, "X25519", "X25519"),
            (CURVES, "0", "0"),
            (CURVES, "65536", "65536"),
            (CURVES, "29,1", "1"),
            (CURVES, "29,29", "29"),
            (CURVES, "29,,23", ""),
            (VERSION, "VersionTLS99", "VersionTLS99"),
            (VERSION, "1.3", "1.3"),
        ] {
            let error = started(&[(variable, value)]).unwrap_err().to_string();
            let flag = variable.to_lowercase().replace('_', "-");
            assert!(error.starts_with(&format!("parsing {flag}: ")), "{value}: {error}");
            assert!(error.contains(&format!("{wrong:?}")), "{value}: {error}");
        }
    }
}
