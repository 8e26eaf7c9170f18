//! Whether a watch is behind what is stored.

use std::collections::HashMap;
use std::fmt::Debug;
use std::time::Duration;

use kube::api::ListParams;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Resource, ResourceExt};
use metallb_runtime::cause::explain;
use serde::de::DeserializeOwned;
use tracing::{debug, warn};

/// Objects a page.
const PAGE: u32 = 500;
/// Pause before looking again; the watch is usually milliseconds behind.
const PAUSE: Duration = Duration::from_millis(25);
/// Looks at one list; then another one is made, since what it named may be gone.
const LOOKS: usize = 40;
/// Pause after a list that failed.
const RETRY: Duration = Duration::from_secs(1);

/// What is stored.
struct Stored<K: Resource<DynamicType = ()>> {
    /// The version of every object.
    versions: HashMap<ObjectRef<K>, String>,
    /// The version of the list.
    at: String,
}

/// Waits until the store is as new as the API server was at the time of the call.
pub(super) async fn catch_up<K>(api: Api<K>, store: &Store<K>)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + 'static,
{
    catch_up_unless(|_| false, &api, store).await;
}

/// Like [`catch_up`], for a kind that the cluster may lack or keep from us.
pub(super) async fn catch_up_optional<K>(api: Api<K>, store: &Store<K>)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + 'static,
{
    let out_of_reach =
        |error: &kube::Error| matches!(error, kube::Error::Api(status) if matches!(status.code, 403 | 404));
    catch_up_unless(|error| store.is_empty() && out_of_reach(error), &api, store).await;
}

/// Tries until it has caught up, or failed with an error that says that there is nothing to catch up with.
async fn catch_up_unless<K>(nothing: impl Fn(&kube::Error) -> bool, api: &Api<K>, store: &Store<K>)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + 'static,
{
    while let Err(error) = try_to_catch_up(api, store).await {
        if nothing(&error) {
            return;
        }
        warn!(event = "listFailed", kind = %K::kind(&()), error = explain(&error));
        tokio::time::sleep(RETRY).await;
    }
}

async fn try_to_catch_up<K>(api: &Api<K>, store: &Store<K>) -> kube::Result<()>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + 'static,
{
    loop {
        let stored = list(api).await?;
        for _ in 0..LOOKS {
            if !is_behind(store, &stored) {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
        debug!(event = "watchBehind", kind = %K::kind(&()), "waiting for the watch");
    }
}

/// What is stored now: without a version asked for, the API server answers from etcd.
async fn list<K>(api: &Api<K>) -> kube::Result<Stored<K>>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let mut versions = HashMap::new();
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let page = api.list_metadata(&params).await?;
        for object in &page.items {
            let mut key = ObjectRef::new(&object.name_any());
            key.namespace = object.namespace();
            versions.insert(key, object.resource_version().unwrap_or_default());
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params.continue_token = Some(token),
            None => {
                let at = page.metadata.resource_version.unwrap_or_default();
                return Ok(Stored { versions, at });
            }
        }
    }
}

fn is_behind<K: Resource<DynamicType = ()> + Clone + 'static>(store: &Store<K>, stored: &Stored<K>) -> bool {
    let mut found = 0;
    let late = store.state().iter().any(|own| {
        let version = own.resource_version().unwrap_or_default();
        match stored.versions.get(&ObjectRef::from_obj(&**own)) {
            Some(stored) => {
                found += 1;
                older(&version, stored)
            }
            // Deleted, if it is not newer than the list.
            None => older(&version, &stored.at),
        }
    });
    late || found < stored.versions.len()
}

/// Tells whether a version came before another; versions of a kind are ascending numbers.
fn older(own: &str, other: &str) -> bool {
    match (own.parse::<u64>(), other.parse::<u64>()) {
        (Ok(own), Ok(other)) => own < other,
        _ => own != other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Service;
    use kube::runtime::reflector;
    use kube::runtime::watcher::Event;

    fn service(name: &str, version: &str) -> Service {
        let mut service = Service::default();
        service.metadata.name = Some(name.into());
        service.metadata.namespace = Some("default".into());
        service.metadata.resource_version = Some(version.into());
        service
    }

    fn stored(all: &[(&str, &str)]) -> Stored<Service> {
        let key = |name: &str| ObjectRef::new(name).within("default");
        let versions = all.iter().map(|(name, version)| (key(name), (*version).to_owned()));
        Stored {
            versions: versions.collect(),
            at: "20".into(),
        }
    }

    #[test]
    fn a_store_is_behind_if_something_is_older_missing_or_too_much() {
        let (store, mut writer) = reflector::store();
        for (name, version) in [("a", "9"), ("b", "12")] {
            writer.apply_watcher_event(&Event::Apply(service(name, version)));
        }
        assert!(!is_behind(&store, &stored(&[("a", "9"), ("b", "12")])));
        assert!(!is_behind(&store, &stored(&[("a", "8"), ("b", "12")])), "newer is fine");
        assert!(is_behind(&store, &stored(&[("a", "10"), ("b", "12")])), "older");
        assert!(
            is_behind(&store, &stored(&[("a", "9"), ("b", "12"), ("c", "1")])),
            "missing"
        );
        assert!(is_behind(&store, &stored(&[("a", "9")])), "deleted");
        writer.apply_watcher_event(&Event::Apply(service("new", "21")));
        assert!(!is_behind(&store, &stored(&[("a", "9"), ("b", "12")])), "made since");
    }
}
