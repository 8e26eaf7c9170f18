//! What of ours is in the cluster: one watch per kind feeds one map.

use std::{
    collections::{BTreeMap, HashSet},
    fmt::Debug,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{StreamExt, pin_mut};
use kube::{Api, Client, ResourceExt, api::DynamicObject, runtime::watcher};
use metallb_api::names;
use metallb_manifests::MANAGED_BY;
use metallb_runtime::CancellationToken;
use metallb_runtime::cause::explain;
use metallb_runtime::watch::{self as cluster, Event};
use serde_json::Value;
use tokio::sync::Notify;
use tracing::{debug, info, warn};

use crate::sync::kinds::{Kind, kinds};

/// How soon a kind that we may not list is tried again.
const FORBIDDEN_AGAIN: Duration = Duration::from_secs(5);

/// A task that must run for as long as its queue or map is to be up to date.
pub(crate) type Feed = Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>;

/// How well the objects of one kind are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum View {
    /// Not listed yet.
    #[default]
    Unknown,
    /// All are known.
    Complete,
    /// The cluster does not have the kind.
    Absent,
    /// We may not look.
    Forbidden,
}

/// What is in the cluster, by `Kind/name`; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Inventory {
    state: Arc<Mutex<State>>,
    known: Arc<Notify>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Arc<Value>>,
    /// By the index of the watch and the kind.
    views: BTreeMap<(usize, String), View>,
}

impl Debug for Inventory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inventory").finish_non_exhaustive()
    }
}

impl Inventory {
    /// Starts nothing yet: the feeds do, and call `notify` after every change.
    pub(crate) fn watch(
        client: &Client,
        namespace: &str,
        notify: impl Fn() + Clone + Send + 'static,
        stop: &CancellationToken,
    ) -> (Self, Vec<Feed>) {
        let inventory = Self::default();
        let mut feeds: Vec<Feed> = Vec::new();
        for (index, kind) in kinds().into_iter().enumerate() {
            let key = (index, kind.resource.kind.clone());
            inventory.lock().views.insert(key.clone(), View::Unknown);
            let api = if kind.namespaced {
                Api::namespaced_with(client.clone(), namespace, &kind.resource)
            } else {
                Api::all_with(client.clone(), &kind.resource)
            };
            let follower = Follower {
                inventory: inventory.clone(),
                key,
                kind,
                api,
                notify: notify.clone(),
                seen: HashSet::new(),
            };
            feeds.push(Box::pin(follower.run(stop.clone())));
        }
        (inventory, feeds)
    }

    /// Waits until every kind was listed or found out of reach.
    pub(crate) async fn wait_until_known(&self) {
        loop {
            let changed = self.known.notified();
            if self.lock().views.values().all(|view| *view != View::Unknown) {
                return;
            }
            changed.await;
        }
    }

    /// Gives the object as it was seen last.
    pub(crate) fn get(&self, id: &str) -> Option<Arc<Value>> {
        self.lock().objects.get(id).cloned()
    }

    /// Lists what carries our labels.
    pub(crate) fn ours(&self) -> Vec<(String, Arc<Value>)> {
        let state = self.lock();
        let ours = state.objects.iter().filter(|(_, object)| is_ours(object));
        ours.map(|(id, object)| (id.clone(), object.clone())).collect()
    }

    /// Tells how well a kind is known.
    pub(crate) fn view(&self, kind: &str) -> View {
        let state = self.lock();
        let views = state.views.iter().filter(|((_, name), _)| name == kind);
        views.map(|(_, view)| *view).next().unwrap_or_default()
    }

    /// Takes in what the API server answered to a write, or a watch told, unless something newer is known.
    pub(crate) fn put(&self, id: &str, object: Value) {
        let mut state = self.lock();
        let newer = |known: &Value| same(known, &object) && revision(known) > revision(&object);
        if !state.objects.get(id).is_some_and(|known| newer(known)) {
            state.objects.insert(id.to_owned(), Arc::new(object));
        }
    }

    /// Forgets the incarnation of an object that was deleted.
    pub(crate) fn forget(&self, id: &str, gone: &Value) {
        let mut state = self.lock();
        if state.objects.get(id).is_some_and(|known| same(known, gone)) {
            state.objects.remove(id);
        }
    }

    fn set(&self, key: &(usize, String), view: View) {
        self.lock().views.insert(key.clone(), view);
        self.known.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells whether the operator once applied it.
fn is_ours(object: &Value) -> bool {
    let labels = &object["metadata"]["labels"];
    labels[MANAGED_BY.0] == MANAGED_BY.1 && labels[names::LABEL_APP] == names::APP
}

fn same(a: &Value, b: &Value) -> bool {
    a["metadata"]["uid"] == b["metadata"]["uid"]
}

/// Revisions of one object are numbers that grow, as the API server promises since 1.35 and always kept.
fn revision(object: &Value) -> u64 {
    let text = object["metadata"]["resourceVersion"].as_str();
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// What is kept of an object: no bookkeeping of the API server, and nothing secret.
pub(crate) fn kept(mut object: DynamicObject) -> Value {
    object.metadata.managed_fields = None;
    let mut value = serde_json::to_value(&object).unwrap_or_default();
    if value["kind"] == "Secret"
        && let Some(fields) = value.as_object_mut()
    {
        fields.remove("data");
    }
    value
}

/// Follows one watch.
struct Follower<N> {
    inventory: Inventory,
    key: (usize, String),
    kind: Kind,
    api: Api<DynamicObject>,
    notify: N,
    /// What the list that is under way has shown.
    seen: HashSet<String>,
}

impl<N: Fn()> Follower<N> {
    async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        while !stop.is_cancelled() {
            let absent = self.follow(&stop).await == Some(View::Absent);
            tokio::select! {
                () = stop.cancelled() => {}
                () = served(self.api.clone().into_client(), &self.kind), if absent => {}
                () = tokio::time::sleep(FORBIDDEN_AGAIN), if !absent => {}
            }
        }
        Ok(())
    }

    /// Watches until the kind turns out to be out of reach.
    async fn follow(&mut self, stop: &CancellationToken) -> Option<View> {
        let events = cluster::events(self.api.clone(), self.kind.selection()).take_until(stop.cancelled());
        pin_mut!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => self.take(event),
                Err(error) => {
                    if let Some(view) = out_of_reach(&error) {
                        self.lose(view);
                        return Some(view);
                    }
                    warn!(event = "watchFailed", kind = self.key.1, error = explain(&error));
                }
            }
        }
        None
    }

    fn take(&mut self, event: Event<DynamicObject>) {
        match event {
            Event::Init => self.seen.clear(),
            Event::InitApply(object) => {
                let id = self.id(&object);
                self.seen.insert(id.clone());
                self.inventory.put(&id, self.typed(object));
            }
            Event::InitDone => {
                let seen = std::mem::take(&mut self.seen);
                self.retain(|id| seen.contains(id));
                debug!(event = "listed", kind = self.key.1);
                self.inventory.set(&self.key, View::Complete);
                (self.notify)();
            }
            Event::Apply(object) => {
                let id = self.id(&object);
                self.inventory.put(&id, self.typed(object));
                (self.notify)();
            }
            Event::Delete(object) => {
                let id = self.id(&object);
                self.inventory.forget(&id, &self.typed(object));
                (self.notify)();
            }
        }
    }

    fn lose(&self, view: View) {
        if self.inventory.view(&self.key.1) != view {
            info!(
                event = "kindOutOfReach",
                kind = self.key.1,
                ?view,
                optional = self.kind.optional
            );
            if view == View::Absent {
                self.retain(|_| false);
            }
            self.inventory.set(&self.key, view);
            (self.notify)();
        }
    }

    /// Forgets what of this watch does not satisfy `keep`.
    fn retain(&self, keep: impl Fn(&str) -> bool) {
        let (prefix, name) = (format!("{}/", self.key.1), self.kind.name);
        let of_this_watch = |id: &str, object: &Value| match (id.strip_prefix(&prefix), name) {
            (Some(found), Some(name)) => found == name,
            (Some(_), None) => is_ours(object),
            (None, _) => false,
        };
        let mut state = self.inventory.lock();
        state
            .objects
            .retain(|id, object| !of_this_watch(id, object) || keep(id));
    }

    fn id(&self, object: &DynamicObject) -> String {
        format!("{}/{}", self.key.1, object.name_any())
    }

    /// Items of lists do not say their type.
    fn typed(&self, mut object: DynamicObject) -> Value {
        object.types.get_or_insert_with(|| kube::core::TypeMeta {
            api_version: self.kind.resource.api_version.clone(),
            kind: self.kind.resource.kind.clone(),
        });
        kept(object)
    }
}

/// Waits until the server says that it has the kind: asking what there is costs less than lists that fail.
async fn served(client: Client, kind: &Kind) {
    let resource = &kind.resource;
    loop {
        tokio::time::sleep(kind.absent_again).await;
        let found = client.list_api_group_resources(&resource.api_version).await;
        if found.is_ok_and(|list| list.resources.iter().any(|found| found.name == resource.plural)) {
            return;
        }
    }
}

/// Tells whether the kind is not served, or not for us.
fn out_of_reach(error: &watcher::Error) -> Option<View> {
    let (watcher::Error::InitialListFailed(kube::Error::Api(status))
    | watcher::Error::WatchStartFailed(kube::Error::Api(status))) = error
    else {
        return None;
    };
    match status.code {
        403 => Some(View::Forbidden),
        404 => Some(View::Absent),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(uid: &str, revision: &str) -> Value {
        json!({ "metadata": { "uid": uid, "resourceVersion": revision } })
    }

    #[test]
    fn a_late_watch_does_not_undo_what_a_write_told() {
        let inventory = Inventory::default();
        inventory.put("ConfigMap/x", object("1", "10"));
        inventory.put("ConfigMap/x", object("1", "9"));
        assert_eq!(revision(&inventory.get("ConfigMap/x").unwrap()), 10);
        inventory.put("ConfigMap/x", object("2", "3"));
        assert_eq!(revision(&inventory.get("ConfigMap/x").unwrap()), 3);
    }

    #[test]
    fn the_deletion_of_an_older_incarnation_is_no_news() {
        let inventory = Inventory::default();
        inventory.put("ConfigMap/x", object("2", "10"));
        inventory.forget("ConfigMap/x", &object("1", "9"));
        assert!(inventory.get("ConfigMap/x").is_some());
        inventory.forget("ConfigMap/x", &object("2", "11"));
        assert!(inventory.get("ConfigMap/x").is_none());
    }

    #[test]
    fn nothing_secret_is_kept() {
        let secret =
            json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "x" }, "data": { "ca.key": "x" } });
        let kept = kept(serde_json::from_value(secret).unwrap());
        assert_eq!(kept.get("data"), None);
        assert_eq!(kept["metadata"]["name"], "x");
    }
}
