//! The garbage collector: owner references, namespaces that end, definitions that end.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::crd;
use crate::delete::delete_internally;
use crate::meta;
use crate::resource::Resource;
use crate::state::{Server, Shared};
use crate::store::{Key, Object};

/// How long everything in a namespace stays after the namespace was deleted: time for who lives in it to do what must
/// be done before, such as to give finalizers back. The namespace controller of Kubernetes waits as long.
const NAMESPACE_DELAY: Duration = Duration::from_secs(5);

/// Runs until the server stops. One pass is a walk over all objects, so passes are kept apart.
pub(crate) async fn run(server: Shared) {
    let garbage = server.store().garbage.clone();
    let mut delays = NamespaceDelays::default();
    loop {
        let next = delays.next();
        tokio::select! {
            () = garbage.notified() => {}
            () = tokio::time::sleep(next.unwrap_or_default()), if next.is_some() => {}
            () = server.stop.cancelled() => return,
        }
        collect(&server, &mut delays);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The namespaces that are being deleted, by their uids, and since when that is known.
#[derive(Default)]
struct NamespaceDelays(HashMap<String, Instant>);

impl NamespaceDelays {
    /// Takes in which namespaces are being deleted now.
    fn update<'a>(&mut self, deleting: impl Iterator<Item = &'a str>) {
        let known = std::mem::take(&mut self.0);
        let since = |uid: &str| known.get(uid).copied().unwrap_or_else(Instant::now);
        self.0 = deleting.map(|uid| (uid.to_owned(), since(uid))).collect();
    }

    fn is_over(&self, uid: &str) -> bool {
        self.0.get(uid).is_some_and(|since| since.elapsed() >= NAMESPACE_DELAY)
    }

    /// Time until the next one is over.
    fn next(&self) -> Option<Duration> {
        let left = self
            .0
            .values()
            .map(|since| NAMESPACE_DELAY.saturating_sub(since.elapsed()));
        left.filter(|left| !left.is_zero()).min()
    }
}

struct Item {
    resource: Arc<Resource>,
    key: Key,
    object: Object,
}

fn collect(server: &Server, delays: &mut NamespaceDelays) {
    let items = interesting(server);
    let namespaces = items.iter().filter(|i| i.resource.is("", "namespaces"));
    delays.update(
        namespaces
            .filter(|i| meta::is_deleting(&i.object))
            .map(|i| meta::uid(&i.object)),
    );
    let uids: HashSet<String> = server
        .store()
        .all()
        .map(|(_, _, object)| meta::uid(object).to_owned())
        .collect();
    let deleting: HashMap<&str, &Item> = items
        .iter()
        .filter(|i| meta::is_deleting(&i.object))
        .map(|i| (meta::uid(&i.object), i))
        .collect();
    for item in &items {
        dependents(server, item, &uids, &deleting);
    }
    for item in items.iter().filter(|i| meta::is_deleting(&i.object)) {
        let waits_for_dependents = meta::finalizers(&item.object).contains(&"foregroundDeletion");
        let blocked = items.iter().any(|i| {
            owners(&i.object)
                .iter()
                .any(|o| o["uid"] == meta::uid(&item.object) && o["blockOwnerDeletion"] == true)
        });
        if waits_for_dependents && !blocked {
            drop_finalizer(server, item, "foregroundDeletion");
        }
        drop_finalizer(server, item, "orphan");
        if item.resource.is("", "namespaces") && delays.is_over(meta::uid(&item.object)) {
            end_namespace(server, item);
        }
        if crd::awaits_cleanup(&item.object) {
            end_definition(server, item);
        }
    }
}

/// Objects that are being deleted or have owners.
fn interesting(server: &Server) -> Vec<Item> {
    let resources: HashMap<String, Arc<Resource>> = server.registry(|r| {
        r.all()
            .filter(|r| r.group != "events.k8s.io")
            .map(|r| (r.bucket(), r.clone()))
            .collect()
    });
    let store = server.store();
    let found = store
        .all()
        .filter(|(_, _, object)| meta::is_deleting(object) || !owners(object).is_empty());
    found
        .filter_map(|(bucket, key, object)| {
            Some(Item {
                resource: resources.get(bucket)?.clone(),
                key: key.clone(),
                object: object.clone(),
            })
        })
        .collect()
}

fn owners(object: &Value) -> &[Value] {
    meta::array(&object["metadata"]["ownerReferences"])
}

/// Deletes an object whose owners are all gone or going, or frees it from an owner that leaves orphans.
fn dependents(server: &Server, item: &Item, uids: &HashSet<String>, deleting: &HashMap<&str, &Item>) {
    let owners = owners(&item.object);
    if owners.is_empty() {
        return;
    }
    let holds = |owner: &Value, finalizer: &str| {
        deleting
            .get(meta::text(owner, "/uid"))
            .is_some_and(|i| meta::finalizers(&i.object).contains(&finalizer))
    };
    if owners.iter().any(|o| holds(o, "orphan")) {
        server.change(&item.resource, &item.key, |object| {
            if let Some(list) = object["metadata"]["ownerReferences"].as_array_mut() {
                list.retain(|o| !holds(o, "orphan"));
            }
        });
        return;
    }
    let solid = |owner: &Value| uids.contains(meta::text(owner, "/uid")) && !holds(owner, "foregroundDeletion");
    if !owners.iter().any(solid) {
        delete_internally(server, &item.resource, &item.key);
    }
}

fn drop_finalizer(server: &Server, item: &Item, finalizer: &str) {
    if meta::finalizers(&item.object).contains(&finalizer) {
        server.change(&item.resource, &item.key, |object| {
            if let Some(list) = object["metadata"]["finalizers"].as_array_mut() {
                list.retain(|f| f != finalizer);
            }
        });
    }
}

/// Deletes what is in a namespace, and the namespace once it is empty.
fn end_namespace(server: &Server, namespace: &Item) {
    let name = &namespace.key.name;
    let resources: Vec<Arc<Resource>> = server.registry(|r| r.all().filter(|r| r.namespaced).cloned().collect());
    let mut left = 0;
    for resource in resources.iter().filter(|r| r.group != "events.k8s.io") {
        left += empty(server, resource, Some(name));
    }
    if left == 0 {
        server.change(&namespace.resource, &namespace.key, |object| {
            object["spec"].as_object_mut().map(|spec| spec.remove("finalizers"));
        });
    }
}

/// Deletes the custom resources of a definition, then lets the definition go.
fn end_definition(server: &Server, definition: &Item) {
    let spec = &definition.object["spec"];
    let resource = server.registry(|r| r.get(meta::text(spec, "/group"), meta::text(spec, "/names/plural")));
    if resource.is_none_or(|resource| empty(server, &resource, None) == 0) {
        server.change(&definition.resource, &definition.key, crd::cleaned);
    }
}

/// Deletes every object of a resource; returns how many linger.
fn empty(server: &Server, resource: &Resource, namespace: Option<&str>) -> usize {
    let list = || server.store().list(&resource.bucket(), namespace, None);
    for object in list() {
        delete_internally(
            server,
            resource,
            &Key::new(meta::namespace(&object), meta::name(&object)),
        );
    }
    list().len()
}
