//! With stores that the test fills, and an API server that it plays.

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::client::Body;
use kube::runtime::reflector::store;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::Event;
use metallb_api::{AddressPool, IPAddressPool, names};
use metallb_config::Backend;
use metallb_runtime::events::Recorder;
use metallb_runtime::tasks::Tasks;
use metallb_runtime::work::{Backoff, Queue};
use prometheus::Registry;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

use super::super::Settings;
use super::super::stores::Stores;
use super::*;
use crate::metrics::Metrics;

fn pool(name: &str, range: &str) -> IPAddressPool {
    decode(
        &json!({ "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool", "metadata": metadata(name),
        "spec": { "addresses": [range] } }),
    )
}

fn legacy(name: &str, range: &str) -> AddressPool {
    decode(
        &json!({ "apiVersion": "metallb.io/v1beta1", "kind": "AddressPool", "metadata": metadata(name),
        "spec": { "protocol": "layer2", "addresses": [range] } }),
    )
}

fn decode<K: DeserializeOwned>(object: &Value) -> K {
    serde_json::from_value(object.clone()).unwrap()
}

fn metadata(name: &str) -> Value {
    json!({ "name": name, "namespace": "ns", "resourceVersion": "7" })
}

/// What a controller shares.
fn shared(stores: Stores, client: Client) -> (Arc<Shared>, UnboundedReceiver<oneshot::Sender<()>>) {
    let metrics = Metrics::register(&Registry::new()).unwrap();
    let tasks = Tasks::new(CancellationToken::new()).spawner();
    let recorder = Recorder::new(client.clone(), names::event_source::CONTROLLER, "c", &tasks);
    let (asked, questions) = mpsc::unbounded_channel();
    let shared = Shared {
        client,
        settings: Settings {
            namespace: "ns".into(),
            class: String::new(),
            conditions: true,
            backend: Backend::default(),
            ignore_exclude_label: false,
            pod: Pod::default(),
        },
        stores,
        announcers: Arc::default(),
        queue: Queue::observed(Backoff::default(), metrics.services.clone()),
        metrics,
        assigning: AtomicBool::new(false),
        verdict: watch::Sender::new(None),
        asked,
        recount: Notify::new(),
        recorder,
        tasks,
    };
    (Arc::new(shared), questions)
}

fn in_force(shared: &Shared) -> Vec<String> {
    let verdict = shared.verdict.borrow();
    let accepted = verdict.as_ref().and_then(|verdict| verdict.accepted.as_ref());
    accepted
        .map(|accepted| accepted.pools.keys().cloned().collect())
        .unwrap_or_default()
}

/// What an API server says to a list.
#[derive(Clone, Default)]
enum Answer {
    /// Nothing, ever.
    #[default]
    Silence,
    Failure,
    /// The names of all IPAddressPools, and of all AddressPools.
    Names([&'static [&'static str]; 2]),
}

/// An API server that answers lists of pools, and remembers which it was asked for.
#[derive(Clone, Default)]
struct Played {
    answer: Arc<Mutex<Answer>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Played {
    fn client(&self) -> Client {
        let played = self.clone();
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let played = played.clone();
            async move { played.list(request.uri().path()).await }
        });
        Client::new(service, "ns")
    }

    async fn list(&self, path: &str) -> Result<http::Response<Body>, tower::BoxError> {
        let kind = path.rsplit('/').next().unwrap_or_default().to_owned();
        let legacy = usize::from(kind == "addresspools");
        self.asked.lock().unwrap().push(kind);
        let answer = self.answer.lock().unwrap().clone();
        let names = match answer {
            Answer::Silence => return std::future::pending().await,
            Answer::Failure => return Err("connection refused".into()),
            Answer::Names(names) => names[legacy],
        };
        let items: Vec<_> = names.iter().map(|name| json!({ "metadata": metadata(name) })).collect();
        let list = json!({ "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
            "metadata": { "resourceVersion": "9" }, "items": items });
        Ok(http::Response::new(Body::from(list.to_string().into_bytes())))
    }

    fn answers(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    fn asked(&self) -> Vec<String> {
        let mut asked = self.asked.lock().unwrap().clone();
        asked.sort();
        asked
    }
}

/// A configuration that is followed, with the IPAddressPools `p` and `q` in force.
struct World {
    shared: Arc<Shared>,
    api: Played,
    pools: Writer<IPAddressPool>,
    address_pools: Writer<AddressPool>,
    touched: UnboundedSender<Touched>,
    stop: CancellationToken,
    following: JoinHandle<anyhow::Result<()>>,
}

impl World {
    async fn start() -> Self {
        let ((pools, mut writer), (address_pools, legacy_writer)) = (store(), store());
        for (name, range) in [("p", "192.0.2.0/30"), ("q", "192.0.2.4/30")] {
            writer.apply_watcher_event(&Event::Apply(pool(name, range)));
        }
        let api = Played::default();
        let (shared, questions) = shared(Stores::with_pools("ns", pools, address_pools), api.client());
        let (touched, changes) = mpsc::unbounded_channel();
        for kind in CONFIGURATION {
            touched.send(Touched::Ready(kind)).unwrap_or_default();
        }
        let next = |mut changes: UnboundedReceiver<Touched>| async move { Some((changes.recv().await?, changes)) };
        let changes = [futures::stream::unfold(changes, next).boxed()].into_iter().collect();
        let (health, stop) = (Health::default(), CancellationToken::new());
        let following = tokio::spawn(follow(changes, questions, Arc::clone(&shared), health, stop.clone()));
        let world = Self {
            shared,
            api,
            pools: writer,
            address_pools: legacy_writer,
            touched,
            stop,
            following,
        };
        world.gets(&["p", "q"]).await;
        world
    }

    fn add(&mut self, name: &str, range: &str) {
        self.pools.apply_watcher_event(&Event::Apply(pool(name, range)));
        self.touch();
    }

    fn add_legacy(&mut self, name: &str, range: &str) {
        self.address_pools
            .apply_watcher_event(&Event::Apply(legacy(name, range)));
        self.touch();
    }

    fn delete(&mut self, name: &str) {
        self.pools
            .apply_watcher_event(&Event::Delete(pool(name, "192.0.2.0/30")));
        self.touch();
    }

    fn touch(&self) {
        assert!(self.touched.send(Touched::Changed).is_ok());
    }

    /// Waits until exactly these pools are in force.
    async fn gets(&self, names: &[&str]) {
        let mut verdict = self.shared.verdict.subscribe();
        let there = async { while in_force(&self.shared) != names && verdict.changed().await.is_ok() {} };
        let done = tokio::time::timeout(Duration::from_secs(60), there).await;
        assert!(done.is_ok(), "{names:?} {:?}", in_force(&self.shared));
    }
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_is_gone_stays_until_its_successor_can_have_been_seen() {
    // CTL-39
    let mut world = World::start().await;
    world.api.answers(Answer::Names([&["q", "r"], &["late"]]));
    world.delete("p");
    // What else is new does not wait.
    world.add("r", "192.0.2.8/30");
    world.gets(&["p", "q", "r"]).await;
    // Looked for in vain a few times.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(in_force(&world.shared), ["p", "q", "r"]);
    world.add_legacy("late", "192.0.2.0/30");
    world.gets(&["late", "q", "r"]).await;
    judge_again(&world.shared).await.unwrap();
    world.following.abort();
}

#[tokio::test(start_paused = true)]
async fn pools_that_are_gone_cost_two_lists_and_nothing_else_costs_any() {
    let mut world = World::start().await;
    world.add("r", "192.0.2.8/30");
    world.gets(&["p", "q", "r"]).await;
    world.add("r", "192.0.2.8/31");
    world.touch();
    judge_again(&world.shared).await.unwrap();
    assert!(world.api.asked().is_empty());
    world.api.answers(Answer::Names([&["r"], &[]]));
    world.delete("p");
    world.delete("q");
    world.gets(&["r"]).await;
    world.touch();
    judge_again(&world.shared).await.unwrap();
    assert_eq!(world.api.asked(), ["addresspools", "ipaddresspools"]);
    world.following.abort();
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_goes_during_a_search_needs_another_one() {
    let mut world = World::start().await;
    world.api.answers(Answer::Names([&["q", "r"], &["late"]]));
    world.delete("p");
    world.add("r", "192.0.2.8/30");
    world.gets(&["p", "q", "r"]).await;
    // Both lists arrive.
    tokio::time::sleep(Duration::from_millis(1)).await;
    world.api.answers(Answer::Silence);
    world.delete("q");
    world.add("s", "192.0.2.12/30");
    world.gets(&["p", "q", "r", "s"]).await;
    // The first search has found all that there was when it began.
    world.add_legacy("late", "198.51.100.0/30");
    world.gets(&["late", "q", "r", "s"]).await;
    world.following.abort();
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_away_is_asked_again() {
    let mut world = World::start().await;
    world.api.answers(Answer::Failure);
    world.delete("p");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(in_force(&world.shared), ["p", "q"]);
    assert!(world.api.asked().len() > 2, "{:?}", world.api.asked());
    world.api.answers(Answer::Names([&["q"], &[]]));
    world.gets(&["q"]).await;
    world.following.abort();
}

#[tokio::test(start_paused = true)]
async fn while_an_api_server_is_silent_news_are_judged_and_a_stop_is_heeded() {
    // CTL-33: a term does not begin with a pool that may be gone.
    let mut world = World::start().await;
    world.delete("p");
    let shared = Arc::clone(&world.shared);
    let mut asked = Box::pin(judge_again(&shared));
    assert!(asked.as_mut().now_or_never().is_none());
    world.add("r", "192.0.2.8/30");
    world.gets(&["p", "q", "r"]).await;
    assert!(asked.as_mut().now_or_never().is_none());
    world.stop.cancel();
    // The watches end.
    drop(world.touched);
    let ended = tokio::time::timeout(Duration::from_secs(1), world.following).await;
    ended.unwrap().unwrap().unwrap();
    assert!(asked.await.is_err());
}

#[tokio::test]
async fn a_verdict_that_is_asked_for_is_on_what_the_stores_have() {
    // CTL-33: at the beginning of a term the stores are as new as the API server, and the last verdict may not be.
    let (stored, mut writer) = store();
    let (shared, questions) = shared(Stores::with_pools("ns", stored, store().0), Played::default().client());
    writer.apply_watcher_event(&Event::Apply(pool("p", "192.0.2.0/30")));
    let ready = futures::stream::iter(CONFIGURATION.map(Touched::Ready));
    let changes = [ready.chain(futures::stream::pending()).boxed()].into_iter().collect();
    let (health, stop) = (Health::default(), CancellationToken::new());
    let following = tokio::spawn(follow(changes, questions, Arc::clone(&shared), health, stop));
    judge_again(&shared).await.unwrap();
    assert_eq!(in_force(&shared), ["p"]);
    // Nobody was told of it yet.
    writer.apply_watcher_event(&Event::Apply(pool("q", "198.51.100.0/30")));
    assert_eq!(in_force(&shared), ["p"]);
    judge_again(&shared).await.unwrap();
    assert_eq!(in_force(&shared), ["p", "q"]);
    following.abort();
}
