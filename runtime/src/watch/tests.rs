use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::objects::Guarded;
use super::*;
use crate::CancellationToken;
use crate::tasks::Tasks;

type Feed = Follower<Objects<ConfigMap, fn(&mut ConfigMap)>>;

fn follower() -> (Feed, mpsc::UnboundedReceiver<Change<ConfigMap>>) {
    let (store, writer) = reflector::store();
    let (changes, receiver) = mpsc::unbounded_channel();
    let prune: fn(&mut ConfigMap) = |_| {};
    let objects = Objects {
        store,
        writer,
        changes,
        prune,
    };
    (Follower::new(objects, false), receiver)
}

fn object(name: &str, version: u32) -> Guarded<ConfigMap> {
    decoded(json!({"metadata": {
        "name": name, "namespace": "ns", "resourceVersion": version.to_string(), "managedFields": [{"manager": "x"}],
    }}))
}

fn broken(name: &str) -> Guarded<ConfigMap> {
    decoded(json!({"metadata": {"name": name, "namespace": "ns"}, "data": "not a map"}))
}

fn decoded(value: Value) -> Guarded<ConfigMap> {
    serde_json::from_value(value).unwrap()
}

fn list(feed: &mut Feed, objects: impl IntoIterator<Item = Guarded<ConfigMap>>) {
    feed.take(Event::Init);
    for object in objects {
        feed.take(Event::InitApply(object));
    }
    feed.take(Event::InitDone);
}

fn told(receiver: &mut mpsc::UnboundedReceiver<Change<ConfigMap>>) -> Vec<String> {
    let mut told = Vec::new();
    while let Ok(change) = receiver.try_recv() {
        told.push(match change {
            Change::Applied(object) => format!("+{}", object.name_any()),
            Change::Deleted(object) => format!("-{}", object.name_any()),
            Change::Ready => "ready".into(),
        });
    }
    told.sort();
    told
}

#[test]
fn the_first_list_tells_every_object_then_ready() {
    let (mut feed, mut changes) = follower();
    list(&mut feed, [object("a", 1), object("b", 2)]);
    assert_eq!(told(&mut changes), ["+a", "+b", "ready"]);
}

#[test]
fn a_new_list_tells_only_what_differs() {
    let (mut feed, mut changes) = follower();
    list(&mut feed, [object("a", 1), object("b", 2), object("c", 3)]);
    told(&mut changes);
    list(&mut feed, [object("a", 1), object("b", 4)]);
    assert_eq!(told(&mut changes), ["+b", "-c"]);
}

#[test]
fn managed_fields_are_dropped() {
    let (mut feed, _changes) = follower();
    list(&mut feed, [object("a", 1)]);
    feed.take(Event::Apply(object("b", 2)));
    assert!(
        feed.kept
            .store
            .state()
            .iter()
            .all(|object| object.metadata.managed_fields.is_none())
    );
    assert_eq!(feed.kept.store.len(), 2);
}

#[test]
fn a_broken_object_hides_no_other() {
    let (mut feed, mut changes) = follower();
    list(&mut feed, [broken("bad"), object("good", 1)]);
    assert_eq!(told(&mut changes), ["+good", "ready"]);
}

#[test]
fn an_object_that_becomes_illegible_keeps_its_last_version() {
    let (mut feed, mut changes) = follower();
    list(&mut feed, [object("a", 1)]);
    feed.take(Event::Apply(broken("a")));
    list(&mut feed, [broken("a")]);
    told(&mut changes);
    assert_eq!(feed.kept.store.state()[0].resource_version().as_deref(), Some("1"));
}

#[test]
fn an_illegible_object_can_be_deleted() {
    let (mut feed, mut changes) = follower();
    list(&mut feed, [object("a", 1)]);
    feed.take(Event::Delete(broken("a")));
    assert_eq!(told(&mut changes), ["+a", "-a", "ready"]);
    assert!(feed.kept.store.is_empty());
}

#[tokio::test]
async fn a_watch_lists_the_namespace_it_was_given_and_ends_with_the_stop_signal() {
    let (client, calls) = crate::testing::client(|_| {
        crate::testing::Call::ok(&json!({"metadata": {"resourceVersion": "5"}, "items": [
            {"metadata": {"name": "a", "namespace": "ns", "resourceVersion": "3"}},
        ]}))
    });
    let stop = CancellationToken::new();
    let tasks = Tasks::new(stop.clone());
    let api = Api::<ConfigMap>::namespaced(client, "ns");
    let mut watched = watch(api, Config::default(), &tasks.spawner());
    assert!(matches!(watched.changes.recv().await, Some(Change::Applied(object)) if object.name_any() == "a"));
    assert!(matches!(watched.changes.recv().await, Some(Change::Ready)));
    assert_eq!(calls.all()[0].path, "/api/v1/namespaces/ns/configmaps");
    stop.cancel();
    while watched.changes.recv().await.is_some() {}
}

#[tokio::test]
async fn an_optional_kind_that_is_not_served_counts_as_empty() {
    let (client, _) = crate::testing::client(|_| crate::testing::Call::not_found());
    let tasks = Tasks::new(CancellationToken::new());
    let api = Api::<ConfigMap>::namespaced(client, "ns");
    let mut watched = watch_optional(api, Config::default(), &tasks.spawner());
    assert!(matches!(watched.changes.recv().await, Some(Change::Ready)));
}

#[tokio::test(start_paused = true)]
async fn an_optional_kind_counts_as_empty_once_it_has_been_denied_for_a_while() {
    let (client, _) = crate::testing::client(|_| crate::testing::Call::failure(403, "Forbidden"));
    let begin = Instant::now();
    let tasks = Tasks::new(CancellationToken::new());
    let api = Api::<ConfigMap>::namespaced(client, "ns");
    let mut watched = watch_optional(api, Config::default(), &tasks.spawner());
    assert!(matches!(watched.changes.recv().await, Some(Change::Ready)));
    assert!(begin.elapsed() >= DENIED, "{:?}", begin.elapsed());
    // Whoever goes by the store alone is not kept waiting either.
    assert!(timeout(DENIED, watched.store.wait_until_ready()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_an_api_server_denies_at_its_start_is_not_taken_for_gone() {
    let denials = std::sync::atomic::AtomicUsize::new(2);
    let (client, _) = crate::testing::client(move |call| {
        let left = |left: usize| left.checked_sub(1);
        let order = std::sync::atomic::Ordering::SeqCst;
        if denials.fetch_update(order, order, left).is_ok() {
            return crate::testing::Call::failure(403, "Forbidden");
        }
        assert!(call.path.ends_with("/configmaps"));
        crate::testing::Call::ok(&json!({"metadata": {"resourceVersion": "5"}, "items": [
            {"metadata": {"name": "a", "namespace": "ns", "resourceVersion": "3"}},
        ]}))
    });
    let tasks = Tasks::new(CancellationToken::new());
    let api = Api::<ConfigMap>::namespaced(client, "ns");
    let mut watched = watch_optional(api, Config::default(), &tasks.spawner());
    assert!(matches!(watched.changes.recv().await, Some(Change::Applied(object)) if object.name_any() == "a"));
    assert!(matches!(watched.changes.recv().await, Some(Change::Ready)));
}
