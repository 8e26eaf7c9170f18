use std::net::TcpListener;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, PostParams, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use metallb_lab_api::{ApiServer, Options};
use serde_json::json;

use super::*;

const SOON: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(10);

struct World {
    faults: Faults,
    client: Client,
    server: ApiServer,
    _dir: tempfile::TempDir,
}

impl World {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = Options {
            listeners: vec![TcpListener::bind("127.0.0.1:0").unwrap()],
            dir: dir.path().into(),
            ..Options::default()
        };
        let server = metallb_lab_api::start(options).await.unwrap();
        let to = server.addresses()[0];
        let here = "127.0.0.1:0".parse().unwrap();
        let faults = Faults::start(here, to, server.ca_pem(), CancellationToken::new())
            .await
            .unwrap();
        let client = client(&server, &faults).await;
        Self {
            faults,
            client,
            server,
            _dir: dir,
        }
    }

    fn maps(&self) -> Api<ConfigMap> {
        Api::default_namespaced(self.client.clone())
    }

    async fn create(&self, name: &str) {
        let direct: Api<ConfigMap> = Api::default_namespaced(self.server.client());
        direct.create(&PostParams::default(), &map(name)).await.unwrap();
    }
}

/// A client of the proxy that shows every fault as it is, and does not try again.
async fn client(server: &ApiServer, faults: &Faults) -> Client {
    let mut kubeconfig = Kubeconfig::from_yaml(&server.kubeconfig(&format!("https://{}", faults.address()))).unwrap();
    let cluster = kubeconfig.clusters[0].cluster.as_mut().unwrap();
    cluster.certificate_authority_data = Some({
        use base64::prelude::{BASE64_STANDARD, Engine as _};
        BASE64_STANDARD.encode(faults.ca())
    });
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .unwrap();
    config.default_retry = false;
    config.connect_timeout = Some(SOON);
    Client::try_from(config).unwrap()
}

fn map(name: &str) -> ConfigMap {
    serde_json::from_value(
        json!({"metadata": {"name": name, "labels": {"of": "test"}}, "data": {"k": "v".repeat(1000)}}),
    )
    .unwrap()
}

fn code<T: std::fmt::Debug>(result: kube::Result<T>) -> u16 {
    match result.unwrap_err() {
        kube::Error::Api(status) => status.code,
        error => panic!("no answer: {error}"),
    }
}

#[tokio::test]
async fn without_a_script_everything_passes_and_is_on_record() {
    let world = World::start().await;
    world.maps().create(&PostParams::default(), &map("a")).await.unwrap();
    let caller = Caller {
        component: "tester".into(),
        ..Caller::default()
    };
    world.faults.script.learn(world.server.token(), caller);
    world.maps().list(&ListParams::default()).await.unwrap();
    let requests = world.faults.requests();
    let seen: Vec<_> = requests
        .iter()
        .map(|r| (r.caller.component.as_str(), r.verb, r.resource.as_str(), r.status))
        .collect();
    assert_eq!(seen[0].1, Verb::Create);
    assert_eq!(seen[0].3, Some(201));
    assert_eq!(seen[1], ("tester", Verb::List, "configmaps", Some(200)));
    world.faults.forget();
    assert!(world.faults.requests().is_empty());
}

#[tokio::test]
async fn answers_are_put_in_the_servers_place_as_often_as_the_rule_says() {
    let world = World::start().await;
    let maps = world.maps();
    for (fault, expected) in [
        (Fault::Busy { retry_after: 1 }, 429),
        (Fault::Answer(500), 500),
        (Fault::Answer(503), 503),
        (Fault::Gone, 410),
    ] {
        let rule = world.faults.inject(Rule::new(fault).times(1));
        assert_eq!(code(maps.list(&ListParams::default()).await), expected);
        assert_eq!(rule.hits(), 1);
        maps.list(&ListParams::default()).await.unwrap();
    }
    let _conflict = world.faults.inject(Rule::new(Fault::Conflict));
    assert_eq!(code(maps.create(&PostParams::default(), &map("a")).await), 409);
}

#[tokio::test]
async fn a_lost_answer_hides_a_write_that_was_made_and_a_reset_prevents_it() {
    let world = World::start().await;
    let maps = world.maps();
    for (fault, name, made) in [(Fault::LoseAnswer, "lost", true), (Fault::Reset, "reset", false)] {
        let rule = world.faults.inject(Rule::new(fault).writes());
        let result = maps.create(&PostParams::default(), &map(name)).await;
        assert!(!matches!(result, Ok(_) | Err(kube::Error::Api(_))), "{result:?}");
        assert_eq!(rule.hits(), 1);
        assert_eq!(maps.get_opt(name).await.unwrap().is_some(), made);
    }
}

#[tokio::test]
async fn an_api_server_that_is_away_deaf_or_out_of_date_cannot_be_reached_until_it_is_back() {
    let world = World::start().await;
    let maps = world.maps();
    for leave in [Faults::away, Faults::deaf, Faults::expire_certificate] {
        maps.list(&ListParams::default()).await.unwrap();
        leave(&world.faults);
        let answer = tokio::time::timeout(PATIENCE, maps.list(&ListParams::default())).await;
        assert!(!matches!(answer.unwrap(), Ok(_) | Err(kube::Error::Api(_))));
        world.faults.back();
        // Listening again takes a moment.
        let began = Instant::now();
        while maps.list(&ListParams::default()).await.is_err() {
            assert!(began.elapsed() < PATIENCE);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn a_running_watch_falls_silent_and_goes_on_where_it_stood() {
    let world = World::start().await;
    let maps = world.maps();
    let watch = maps
        .watch(&WatchParams::default().labels("of=test"), "0")
        .await
        .unwrap();
    let mut watch = std::pin::pin!(watch);
    world.create("a").await;
    assert!(matches!(watch.next().await, Some(Ok(WatchEvent::Added(_)))));
    let silence = world.faults.inject(Rule::new(Fault::Silence));
    world.create("b").await;
    assert!(tokio::time::timeout(SOON, watch.next()).await.is_err());
    drop(silence);
    match watch.next().await {
        Some(Ok(WatchEvent::Added(map))) => assert_eq!(map.metadata.name.as_deref(), Some("b")),
        other => panic!("{other:?}"),
    }
    drop(world.faults.inject(Rule::new(Fault::Dead)));
    let _dead = world.faults.inject(Rule::new(Fault::Dead));
    world.create("c").await;
    assert!(tokio::time::timeout(SOON, watch.next()).await.is_err());
}

#[tokio::test]
async fn a_running_watch_is_told_410_or_ends() {
    let world = World::start().await;
    let maps = world.maps();
    let watch = maps
        .watch(&WatchParams::default().labels("of=test"), "0")
        .await
        .unwrap();
    let mut watch = std::pin::pin!(watch);
    let gone = world.faults.inject(Rule::new(Fault::Gone).times(1));
    match watch.next().await {
        Some(Ok(WatchEvent::Error(status))) => assert_eq!(status.code, 410),
        other => panic!("{other:?}"),
    }
    assert!(watch.next().await.is_none());
    assert_eq!(gone.hits(), 1);
    let watch = maps
        .watch(&WatchParams::default().labels("of=test"), "0")
        .await
        .unwrap();
    let _drop = world.faults.inject(Rule::new(Fault::DropWatch));
    let rest: Vec<_> = tokio::time::timeout(PATIENCE, watch.try_collect())
        .await
        .unwrap()
        .unwrap();
    assert!(rest.is_empty());
}

#[tokio::test]
async fn a_slow_body_is_whole_in_the_end() {
    let world = World::start().await;
    world.create("a").await;
    let _slow = world.faults.inject(Rule::new(Fault::SlowBody(400)));
    let began = Instant::now();
    let list = world
        .maps()
        .list(&ListParams::default().labels("of=test"))
        .await
        .unwrap();
    assert_eq!(list.items[0].data.as_ref().unwrap()["k"].len(), 1000);
    assert!(began.elapsed() >= Duration::from_millis(200));
}

#[test]
fn requests_are_counted_by_component_verb_and_resource() {
    let request = |component: &str, verb, resource: &str| Request {
        at: Instant::now(),
        caller: Caller {
            component: component.into(),
            node: String::new(),
            pod: format!("{component}-1"),
        },
        verb,
        group: String::new(),
        resource: resource.into(),
        namespace: String::new(),
        name: String::new(),
        selector: String::new(),
        resource_version: None,
        metadata_only: false,
        limit: None,
        bookmarks: false,
        status: None,
    };
    let requests = [
        request("controller", Verb::Update, "leases"),
        request("controller", Verb::Update, "services/status"),
        request("controller", Verb::Update, "services/status"),
        request("speaker", Verb::Watch, "nodes"),
    ];
    let tally = Tally::of(&requests);
    assert_eq!(tally.writes(), ["controller update services/status 2×"]);
    assert_eq!(tally.count(|component, _, _| component == "speaker"), 1);
    let peak = Tally::peak(&requests, Duration::from_secs(1));
    assert_eq!(peak, Some(("controller-1".into(), 3)));
    assert!(tally.to_string().contains("services/status 2"), "{tally}");
}
