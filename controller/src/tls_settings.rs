//! TLS settings that the operator changes while the webhook server runs.
//!
//! Nobody has to be restarted for them. Upstream's operator deletes the pods of the webhook server, and until new ones
//! run nothing can be configured.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use metallb_api::names;
use metallb_runtime::cause::explain;
use metallb_runtime::tasks::Spawner;
use metallb_runtime::{tls, watch as cluster};
use tokio::sync::watch;
use tracing::{info, warn};

/// Follows the ConfigMap with TLS settings, beginning with those of the command line; ones that cannot be used change nothing.
pub(crate) fn follow(
    client: Client,
    namespace: &str,
    first: tls::Options,
    tasks: &Spawner,
) -> watch::Receiver<tls::Options> {
    let (sender, receiver) = watch::channel(first);
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    let named = cluster::Config::default().fields(&format!("metadata.name={}", names::TLS_CONFIG_MAP));
    let mut watched = cluster::watch_optional(api, named, tasks);
    tasks.spawn("TLS settings", async move {
        while let Some(change) = watched.changes.recv().await {
            let cluster::Change::Applied(map) = change else {
                continue;
            };
            let options = options(&map);
            if let Err(error) = options.check() {
                warn!(event = "tlsSettingsUnusable", error = explain(&error));
            } else if sender.send_if_modified(|known| std::mem::replace(known, options.clone()) != options) {
                info!(event = "tlsSettingsChanged", min_version = options.min_version);
            }
        }
        Ok(())
    });
    receiver
}

fn options(map: &ConfigMap) -> tls::Options {
    let value = |name: &str| {
        let data = map.data.as_ref().and_then(|data| data.get(name));
        data.cloned().unwrap_or_default()
    };
    tls::Options {
        min_version: value("TLS_MIN_VERSION"),
        cipher_suites: value("TLS_CIPHER_SUITES"),
        curve_preferences: value("TLS_CURVE_PREFERENCES"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // OP-53
    #[test]
    fn the_three_keys_are_read_and_may_be_absent() {
        let data = [("TLS_MIN_VERSION".to_owned(), "VersionTLS12".to_owned())].into();
        let map = ConfigMap {
            data: Some(data),
            ..ConfigMap::default()
        };
        let read = options(&map);
        assert_eq!(read.min_version, "VersionTLS12");
        assert_eq!((read.cipher_suites.as_str(), read.curve_preferences.as_str()), ("", ""));
        assert!(read.check().is_ok());
    }
}
