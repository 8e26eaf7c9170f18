//! Keeps the ConfigMap from which the webhook server takes its TLS settings.
//!
//! The webhook server watches it, so nobody is restarted. Upstream: writes it at start only, and deletes the pods of the
//! webhook server, during which nothing can be configured.

use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use metallb_api::names::{self, field_manager};
use metallb_manifests::{TlsSettings, install};
use metallb_runtime::cause::explain;
use metallb_runtime::tasks::Spawner;
use metallb_runtime::{apply, lease, watch as cluster};
use tokio::sync::watch;
use tracing::{info, warn};

/// Time between two attempts to write the settings, and between their disappearance and the repair.
const RETRY: Duration = Duration::from_secs(2);

/// Writes the settings whenever they differ, while leading, from when they are known until `stop`.
pub(crate) async fn keep(
    client: Client,
    namespace: String,
    mut settings: watch::Receiver<Option<TlsSettings>>,
    mut leader: watch::Receiver<bool>,
    tasks: Spawner,
) -> anyhow::Result<()> {
    let stop = tasks.stop();
    let api: Api<ConfigMap> = Api::namespaced(client, &namespace);
    let named = cluster::Config::default().fields(&format!("metadata.name={}", names::TLS_CONFIG_MAP));
    let mut watched = cluster::watch_optional(api.clone(), named, &tasks);
    tokio::select! {
        () = stop.cancelled() => return Ok(()),
        // Where it cannot be listed it is written all the same.
        _ = tokio::time::timeout(RETRY, watched.store.wait_until_ready()) => {}
    }
    let mut seen = false;
    loop {
        let leading = *leader.borrow_and_update();
        let wanted = settings.borrow_and_update().as_ref().map(install::tls_config);
        let found = watched.store.state().into_iter().next();
        let vanished = seen && found.is_none();
        seen = found.is_some();
        // An uninstall deletes it too, and waits until it is gone: by then we are told to stop.
        if stop.is_cancelled() || vanished && stop.run_until_cancelled(tokio::time::sleep(RETRY)).await.is_none() {
            return Ok(());
        }
        if vanished {
            continue;
        }
        let wanted = wanted.filter(|wanted| found.is_none_or(|found| found.data != wanted.data));
        let written = match wanted {
            Some(wanted) if leading => tokio::select! {
                written = write(&api, &wanted) => written,
                () = lease::lost(&leader) => true,
            },
            _ => true,
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            changed = leader.changed() => if changed.is_err() { stop.cancelled().await },
            changed = settings.changed() => if changed.is_err() { stop.cancelled().await },
            change = watched.changes.recv() => if change.is_none() { stop.cancelled().await },
            () = tokio::time::sleep(RETRY), if !written => {}
        }
    }
}

async fn write(api: &Api<ConfigMap>, wanted: &ConfigMap) -> bool {
    match apply::apply(api, wanted, field_manager::OPERATOR).await {
        Ok(applied) => {
            if applied.changed {
                info!(event = "applied", object = %format_args!("ConfigMap/{}", names::TLS_CONFIG_MAP));
            }
            true
        }
        Err(error) => {
            warn!(event = "tlsSettingsFailed", error = explain(&error));
            false
        }
    }
}
