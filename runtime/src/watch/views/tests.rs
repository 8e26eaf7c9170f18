use k8s_openapi::api::core::v1::{ConfigMap, Node};
use kube::runtime::watcher::{Event, InitialListStrategy};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::super::wire::{Fields, Metadata, lenient};
use super::*;
use crate::CancellationToken;
use crate::tasks::{Error, Tasks};
use crate::testing::{Call, client};

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Map {
    #[serde(deserialize_with = "lenient")]
    metadata: Metadata,
    #[serde(deserialize_with = "lenient")]
    data: std::collections::BTreeMap<String, String>,
}

impl Fields for Map {}
impl Wire for Map {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}

/// What counts is the entry `k`; one of `none` hides the object.
fn view(mut map: Map) -> Option<String> {
    let view = map.data.remove("k").unwrap_or_default();
    (view != "none").then_some(view)
}

type Feed = Follower<Viewed<ConfigMap, Map, String, fn(Map) -> Option<String>>>;

fn follower() -> (Feed, mpsc::UnboundedReceiver<ViewChange<String>>) {
    let (changes, receiver) = mpsc::unbounded_channel();
    let view: fn(Map) -> Option<String> = view;
    (Follower::new(Viewed::new(view, changes), false), receiver)
}

fn whole(name: &str, version: u32, text: &str) -> Value {
    json!({
        "metadata": {
            "name": name, "namespace": "ns", "resourceVersion": version.to_string(),
            "managedFields": [{"manager": "x", "fieldsV1": {"f:data": {"f:k": {}}}}],
        },
        "data": {"k": text}, "immutable": "perhaps",
    })
}

fn object(name: &str, version: u32, text: &str) -> Read<ConfigMap, Map> {
    serde_json::from_value(whole(name, version, text)).unwrap()
}

fn list(feed: &mut Feed, objects: impl IntoIterator<Item = Read<ConfigMap, Map>>) {
    feed.take(Event::Init);
    for object in objects {
        feed.take(Event::InitApply(object));
    }
    feed.take(Event::InitDone);
}

fn told(receiver: &mut mpsc::UnboundedReceiver<ViewChange<String>>) -> Vec<String> {
    let mut told = Vec::new();
    while let Ok(change) = receiver.try_recv() {
        told.push(text(&change));
    }
    told.sort();
    told
}

fn text(change: &ViewChange<String>) -> String {
    let text = |view: &Option<Arc<String>>| view.as_deref().cloned().unwrap_or_else(|| "-".to_owned());
    match change {
        ViewChange::Changed { key, before, now } => format!("{}: {}>{}", key.name, text(before), text(now)),
        ViewChange::Ready => "ready".into(),
    }
}

#[test]
fn the_first_list_tells_every_object_then_ready() {
    let (mut feed, mut changes) = follower();
    list(&mut feed, [object("a", 1, "x"), object("b", 2, "y")]);
    assert_eq!(told(&mut changes), ["a: ->x", "b: ->y", "ready"]);
}

#[test]
fn a_new_list_tells_only_what_differs() {
    let (mut feed, mut changes) = follower();
    list(
        &mut feed,
        [
            object("a", 1, "x"),
            object("b", 2, "x"),
            object("c", 3, "x"),
            object("d", 4, "x"),
        ],
    );
    told(&mut changes);
    // A version that is known is not even looked at.
    list(
        &mut feed,
        [object("a", 1, "z"), object("b", 5, "y"), object("c", 6, "x")],
    );
    assert_eq!(told(&mut changes), ["b: x>y", "d: x>-"]);
}

#[test]
fn a_list_that_is_begun_anew_counts_alone() {
    let (mut feed, mut changes) = follower();
    list(&mut feed, [object("a", 1, "x"), object("b", 2, "x")]);
    told(&mut changes);
    feed.take(Event::Init);
    feed.take(Event::InitApply(object("a", 1, "x")));
    list(&mut feed, [object("b", 2, "x")]);
    assert_eq!(told(&mut changes), ["a: x>-"]);
}

#[test]
fn an_update_that_leaves_the_view_as_it_was_is_not_told() {
    let (mut feed, mut changes) = follower();
    list(&mut feed, [object("a", 1, "x")]);
    told(&mut changes);
    feed.take(Event::Apply(object("a", 2, "x")));
    assert_eq!(told(&mut changes), Vec::<String>::new());
    feed.take(Event::Apply(object("a", 3, "y")));
    feed.take(Event::Delete(object("a", 3, "y")));
    feed.take(Event::Delete(object("a", 3, "y")));
    assert_eq!(told(&mut changes), ["a: x>y", "a: y>-"]);
}

#[test]
fn an_object_without_view_is_not_there() {
    let (mut feed, mut changes) = follower();
    list(&mut feed, [object("a", 1, "none"), object("b", 2, "x")]);
    feed.take(Event::Apply(object("b", 3, "none")));
    feed.take(Event::Apply(object("a", 4, "y")));
    assert_eq!(told(&mut changes), ["a: ->y", "b: ->x", "b: x>-", "ready"]);
}

/// A list of one odd object and a good one; what is changed later comes as `lines` of the only watch that succeeds.
fn api_server(lines: &'static [&'static str]) -> kube::Client {
    let watched = AtomicBool::new(false);
    client(move |call| {
        if call.query.contains("watch=true") {
            return match watched.swap(true, Ordering::SeqCst) {
                false => Call::text(lines.join("\n")),
                true => Call::failure(500, "InternalError"),
            };
        }
        let odd =
            json!({"metadata": {"name": "odd", "namespace": 5, "resourceVersion": "1", "labels": ["?"]}, "data": 7});
        Call::ok(
            &json!({"kind": "ConfigMapList", "apiVersion": "v1", "metadata": {"resourceVersion": "5"},
            "items": [odd, whole("good", 3, "x")]}),
        )
    })
    .0
}

async fn first(views: &mut Views<String>, count: usize) -> Vec<String> {
    let mut told = Vec::new();
    while told.len() < count {
        told.push(text(&views.changes.recv().await.unwrap()));
    }
    told
}

#[tokio::test]
async fn an_odd_object_neither_hides_others_nor_ends_the_watch() {
    let client = api_server(&[
        r#"{"type": "ADDED", "object": {"metadata": {"name": "odder", "resourceVersion": "6"}, "data": ["x"]}}"#,
        r#"{"type": "BOOKMARK", "object": {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"resourceVersion": "8"}}}"#,
        r#"{"object": {"metadata": {"name": "new", "resourceVersion": "9"}, "data": {"k": "y"}}, "type": "ADDED"}"#,
        "",
    ]);
    let tasks = Tasks::new(CancellationToken::new());
    let api: Api<ConfigMap> = Api::namespaced(client, "ns");
    let mut views = watch_view(api, Config::default(), view, &tasks.spawner());
    let told = first(&mut views, 5).await;
    assert_eq!(told, ["odd: ->", "good: ->x", "ready", "odder: ->", "new: ->y"]);
}

#[tokio::test]
async fn a_list_that_is_streamed_is_complete_with_its_bookmark() {
    let client = api_server(&[
        r#"{"type": "ADDED", "object": {"metadata": {"name": "a", "resourceVersion": "6"}, "data": {"k": "x"}}}"#,
        concat!(
            r#"{"type": "BOOKMARK", "object": {"kind": "ConfigMap", "apiVersion": "v1", "metadata": "#,
            r#"{"resourceVersion": "8", "annotations": {"k8s.io/initial-events-end": "true"}}}}"#
        ),
        "",
    ]);
    let tasks = Tasks::new(CancellationToken::new());
    let api: Api<ConfigMap> = Api::namespaced(client, "ns");
    let config = Config::default().streaming_lists();
    assert_eq!(config.initial_list_strategy, InitialListStrategy::StreamingList);
    let mut views = watch_view(api, config, view, &tasks.spawner());
    assert_eq!(first(&mut views, 2).await, ["a: ->x", "ready"]);
}

#[tokio::test]
async fn an_api_server_that_streams_no_list_is_asked_for_one() {
    let (client, calls) = client(|call| match call.query.as_str() {
        query if query.contains("sendInitialEvents") => Call::failure(422, "Invalid"),
        query if query.contains("watch=true") => Call::text(""),
        _ => Call::ok(&json!({"metadata": {"resourceVersion": "5"}, "items": [whole("a", 3, "x")]})),
    });
    let tasks = Tasks::new(CancellationToken::new());
    let config = Config::default().streaming_lists();
    let mut views = watch_view(
        Api::<ConfigMap>::namespaced(client, "ns"),
        config,
        view,
        &tasks.spawner(),
    );
    assert_eq!(first(&mut views, 2).await, ["a: ->x", "ready"]);
    let streamed = |call: &Call| call.query.contains("sendInitialEvents");
    assert_eq!(calls.all().iter().filter(|call| streamed(call)).count(), 1);
}

#[tokio::test]
async fn a_cluster_scoped_kind_is_asked_for_at_its_own_address() {
    let (client, calls) = client(|_| Call::ok(&json!({"metadata": {"resourceVersion": "5"}, "items": []})));
    let stop = CancellationToken::new();
    let tasks = Tasks::new(stop.clone());
    let mut views = watch_view(Api::<Node>::all(client), Config::default(), view, &tasks.spawner());
    assert_eq!(views.changes.recv().await, Some(ViewChange::Ready));
    assert_eq!(calls.all()[0].path, "/api/v1/nodes");
    stop.cancel();
    while views.changes.recv().await.is_some() {}
    tasks.join(Duration::from_secs(1)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_conversion_ends_the_process() {
    let tasks = Tasks::new(CancellationToken::new());
    let api: Api<ConfigMap> = Api::namespaced(api_server(&[]), "ns");
    let broken = |map: Map| -> Option<String> { panic!("{} is too odd", map.metadata.name) };
    let _views = watch_view(api, Config::default(), broken, &tasks.spawner());
    let ended = tokio::time::timeout(Duration::from_secs(60), tasks.join(Duration::from_secs(1))).await;
    let ended = ended.expect("somebody notices");
    assert!(matches!(ended, Err(Error::Panicked("watch"))), "{ended:?}");
}
