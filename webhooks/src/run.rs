//! The whole of it: certificates, server, routes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use kube::Client;
use metallb_api::names;
use metallb_runtime::CancellationToken;
use tokio::sync::watch;

use crate::certs::inject::Target;
use crate::certs::rotate::Rotation;
use crate::certs::{files, rotate};
use crate::metrics::Metrics;
use crate::proof;
use crate::reader::Reader;
use crate::readiness::Readiness;
use crate::server::{self, Judge, TlsSettings};
use crate::verdict::{Kind, Rules};

/// Where the serving certificate comes from.
#[derive(Clone, Debug)]
pub enum Certificates {
    /// We make it and tell the API server whom to trust.
    Rotated(Rotation),
    /// Somebody else writes `tls.crt` and `tls.key` into this folder (`--disable-cert-rotation`).
    Files(PathBuf),
}

impl Certificates {
    /// Rotation under upstream's names, for the configuration kinds.
    #[must_use]
    pub fn of_configuration(namespace: &str) -> Self {
        Self::Rotated(Rotation {
            namespace: namespace.to_owned(),
            secret: names::WEBHOOK_SECRET.to_owned(),
            service: names::WEBHOOK_SERVICE.to_owned(),
            targets: vec![
                Target::Webhooks(names::WEBHOOK_CONFIGURATION.to_owned()),
                Target::Conversion(format!("bgppeers.{}", names::GROUP)),
            ],
        })
    }

    /// Rotation under upstream's names, for the operator's own kind.
    #[must_use]
    pub fn of_operator(namespace: &str) -> Self {
        Self::Rotated(Rotation {
            namespace: namespace.to_owned(),
            secret: names::OPERATOR_WEBHOOK_SECRET.to_owned(),
            service: names::OPERATOR_WEBHOOK_SERVICE.to_owned(),
            targets: vec![Target::Webhooks(names::OPERATOR_WEBHOOK_CONFIGURATION.to_owned())],
        })
    }
}

/// What to serve, where and how.
pub struct Webhooks {
    /// Address and port, 9443 usually.
    pub listen: SocketAddr,
    /// Where the serving certificate comes from.
    pub certificates: Certificates,
    /// How the server speaks TLS.
    pub tls: TlsSettings,
    /// The rules of the moment.
    pub rules: watch::Receiver<Rules>,
    /// Where the existing objects come from.
    pub reader: Arc<dyn Reader>,
    /// The kind that a first request is about, which proves that requests are answered.
    pub first: Kind,
    /// Where to count, if anywhere.
    pub metrics: Option<Metrics>,
}

impl Webhooks {
    /// Rules that never change.
    #[must_use]
    pub fn fixed(rules: Rules) -> watch::Receiver<Rules> {
        watch::channel(rules).1
    }
}

/// Serves until `stop`. `ready` tells what is missing before the API server can call.
///
/// # Errors
/// When the TLS settings are wrong or the address cannot be bound. Certificates that cannot be had yet are no error:
/// they are tried again for ever.
pub async fn run(webhooks: Webhooks, client: Client, ready: Readiness, stop: CancellationToken) -> anyhow::Result<()> {
    webhooks.tls.options.check()?;
    let routes = server::router(Judge::new(webhooks.reader, webhooks.rules).counted(webhooks.metrics));
    let (sender, certificate) = watch::channel(None);
    let end = stop.clone();
    let told = ready.clone();
    let follow = async {
        match webhooks.certificates {
            Certificates::Rotated(rotation) => rotate::follow(client, rotation, sender, told, end).await,
            Certificates::Files(dir) => files::follow(dir, sender, told, end).await,
        }
    };
    let prove = proof::follow(webhooks.listen, webhooks.first, ready.clone(), stop.clone());
    let serve = server::serve(webhooks.listen, webhooks.tls, certificate, routes, &ready, stop);
    // The first error of the server ends all.
    tokio::try_join!(serve, async {
        tokio::join!(follow, prove);
        Ok(())
    })?;
    Ok(())
}
