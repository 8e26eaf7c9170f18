//! The garbage collector: owner references, namespaces that end.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::delete::delete_internally;
use crate::meta;
use crate::resource::Resource;
use crate::state::{Server, Shared};
use crate::store::{Key, Object};

/// How long everything in a namespace stays after the namespace was deleted: time for who lives in it to do what must
/// be done before, such as to give finalizers back. The namespace controller of Kubernetes waits as long.
const NAMESPACE_DELAY: SignedDuration = SignedDuration::from_secs(5);

/// Runs until the server stops. One pass is a walk over all objects, so passes are kept apart.
pub(crate) async fn run(server: Shared) {
    let garbage = server.store().garbage.clone();
    let mut waiting = false;
    loop {
        tokio::select! {
            () = garbage.notified() => {}
            () = tokio::time::sleep(Duration::from_millis(500)), if waiting => {}
            () = server.stop.cancelled() => return,
        }
        waiting = collect(&server);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn delay_is_over(namespace: &Value) -> bool {
    let since = meta::text(namespace, "/metadata/deletionTimestamp").parse::<Timestamp>();
    since.is_ok_and(|since| Timestamp::now().duration_since(since) >= NAMESPACE_DELAY)
}

struct Item {
    resource: Arc<Resource>,
    key: Key,
    object: Object,
}

/// Tells whether a namespace must be looked at again in a moment.
fn collect(server: &Server) -> bool {
    let items = interesting(server);
    let uid = |object: &Object| meta::uid(object).to_owned();
    let uids: HashSet<String> = server.store().all().map(|(_, _, object)| uid(object)).collect();
    let going: Vec<&Item> = items.iter().filter(|item| meta::is_deleting(&item.object)).collect();
    let deleting: HashMap<&str, &Item> = going.iter().map(|item| (meta::uid(&item.object), *item)).collect();
    for item in &items {
        dependents(server, item, &uids, &deleting);
    }
    let mut waiting = false;
    for item in going {
        drop_finalizer(server, item, "orphan");
        if item.resource.is("", "namespaces") {
            waiting = true;
            if delay_is_over(&item.object) {
                end_namespace(server, item);
            }
        }
    }
    waiting
}

/// Objects that are being deleted or have owners.
fn interesting(server: &Server) -> Vec<Item> {
    let all: Vec<Arc<Resource>> =
        server.registry(|r| r.all().filter(|r| r.group != "events.k8s.io").cloned().collect());
    let resources: HashMap<String, Arc<Resource>> = all.into_iter().map(|r| (r.bucket(), r)).collect();
    let store = server.store();
    let found = store
        .all()
        .filter(|(_, _, object)| meta::is_deleting(object) || !owners(object).is_empty());
    let items = found.filter_map(|(bucket, key, object)| {
        Some(Item {
            resource: resources.get(bucket)?.clone(),
            key: key.clone(),
            object: object.clone(),
        })
    });
    items.collect()
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
    let lets_go = |owner: &Value| {
        let owner = deleting.get(meta::text(owner, "/uid"));
        owner.is_some_and(|owner| meta::finalizers(&owner.object).contains(&"orphan"))
    };
    if owners.iter().any(lets_go) {
        server.change(&item.resource, &item.key, |object| {
            if let Some(list) = object["metadata"]["ownerReferences"].as_array_mut() {
                list.retain(|o| !lets_go(o));
            }
        });
        return;
    }
    if !owners.iter().any(|owner| uids.contains(meta::text(owner, "/uid"))) {
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
        left += empty(server, resource, name);
    }
    if left == 0 {
        server.change(&namespace.resource, &namespace.key, |object| {
            object["spec"].as_object_mut().map(|spec| spec.remove("finalizers"));
        });
    }
}

/// Deletes every object of a resource; returns how many linger.
fn empty(server: &Server, resource: &Resource, namespace: &str) -> usize {
    let list = || server.store().list(&resource.bucket(), Some(namespace));
    for object in list() {
        let key = Key::new(meta::namespace(&object), meta::name(&object));
        delete_internally(server, resource, &key);
    }
    list().len()
}
