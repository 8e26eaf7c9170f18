use http::{Request, Response};
use http_body_util::BodyExt;
use kube::client::Body;
use metallb_api::ServiceL2Status;
use metallb_runtime::CancellationToken;
use metallb_runtime::tasks::Tasks;
use serde_json::{Value, json};

use super::*;

mod bgp;
mod rivals;

/// Holds ServiceL2Status objects; its watches stay silent, so that everything rests on lists and own knowledge.
#[derive(Clone, Default)]
struct Server {
    objects: Arc<Mutex<Vec<Value>>>,
    writes: Arc<Mutex<Vec<String>>>,
    /// The queries of lists of what other nodes have.
    foreign: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn with(objects: impl IntoIterator<Item = Value>) -> Self {
        Self {
            objects: Arc::new(Mutex::new(objects.into_iter().collect())),
            ..Self::default()
        }
    }

    fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move {
                let (parts, body) = request.into_parts();
                let query = parts.uri.query().unwrap_or_default().to_owned();
                if query.contains("watch=true") {
                    std::future::pending::<()>().await;
                }
                let body = body.collect().await?.to_bytes();
                let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
                let answer = server.answer(parts.method.as_str(), parts.uri.path(), &query, body);
                Ok::<_, tower::BoxError>(Response::new(Body::from(answer.to_string().into_bytes())))
            }
        });
        Client::new(service, "default")
    }

    fn answer(&self, method: &str, path: &str, query: &str, body: Value) -> Value {
        let mut objects = self.objects.lock().unwrap();
        if method != "GET" {
            self.writes.lock().unwrap().push(method.to_owned());
        }
        let name = path.split('/').nth(7).unwrap_or_default().to_owned();
        match method {
            "POST" => {
                let mut object = body;
                object["metadata"]["name"] = json!(format!("l2-{}", self.writes.lock().unwrap().len()));
                objects.push(object.clone());
                object
            }
            "PATCH" => {
                let object = objects
                    .iter_mut()
                    .find(|o| o["metadata"]["name"] == name.as_str())
                    .unwrap();
                object["status"] = body["status"].clone();
                object.clone()
            }
            "DELETE" => {
                objects.retain(|o| o["metadata"]["name"] != name.as_str());
                json!({"kind": "Status", "apiVersion": "v1", "status": "Success", "code": 200})
            }
            _ => {
                if query.contains("%21%3D") {
                    self.foreign.lock().unwrap().push(query.to_owned());
                }
                let ours =
                    |o: &&Value| (o["metadata"]["labels"]["metallb.io/node"] == "node-a") != query.contains("%21%3D");
                let items: Vec<Value> = objects.iter().filter(ours).cloned().collect();
                json!({"metadata": {"resourceVersion": "1"}, "items": items})
            }
        }
    }

    fn writes(&self) -> Vec<String> {
        self.writes.lock().unwrap().clone()
    }
}

fn object(name: &str, node: &str, pod: &str) -> Value {
    json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "ServiceL2Status",
        "metadata": {
            "name": name, "namespace": "metallb-system",
            "labels": {
                "metallb.io/node": node, "metallb.io/service-name": "web", "metallb.io/service-namespace": "default",
            },
            "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "speaker-x", "uid": pod}],
        },
        "status": {"node": node, "serviceName": "web", "serviceNamespace": "default"},
    })
}

fn key() -> Arc<ServiceKey> {
    ServiceKey::new("default", "web").into()
}

fn all_interfaces() -> Option<StatusContent> {
    Some(StatusContent::Interfaces(Vec::new().into()))
}

/// Runs the writer against `server` and lets each of `steps` settle.
async fn run(server: &Server, steps: impl IntoIterator<Item = Option<StatusContent>>) {
    run_for(server, &[key()], steps).await;
}

async fn run_for(
    server: &Server,
    services: &[Arc<ServiceKey>],
    steps: impl IntoIterator<Item = Option<StatusContent>>,
) {
    let owner = Owner {
        namespace: "metallb-system".into(),
        node: "node-a".into(),
        pod: OwnerReference {
            uid: "pod-1".into(),
            name: "speaker-x".into(),
            ..OwnerReference::default()
        },
    };
    let desired = Desired::default();
    let stop = CancellationToken::new();
    let tasks = Tasks::new(stop.clone());
    let spawner = tasks.spawner();
    let writer = tokio::spawn(write::<ServiceL2Status>(
        server.client(),
        owner,
        desired.clone(),
        spawner,
    ));
    for step in steps {
        for service in services {
            desired.set(Arc::clone(service), step.clone());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    desired.open();
    tokio::time::sleep(Duration::from_millis(200)).await;
    stop.cancel();
    writer.await.unwrap();
    tasks.join(Duration::from_secs(1)).await.unwrap();
}

// L2-81
#[tokio::test(start_paused = true)]
async fn an_announced_service_has_one_object_with_labels_owner_and_status() {
    let server = Server::default();
    run(&server, [Some(StatusContent::Interfaces(vec!["eth0".into()].into()))]).await;
    let objects = server.objects.lock().unwrap();
    let [object] = &objects[..] else { panic!("{objects:?}") };
    assert_eq!(object["metadata"]["generateName"], "l2-");
    assert_eq!(object["metadata"]["labels"]["metallb.io/service-name"], "web");
    assert_eq!(object["metadata"]["ownerReferences"][0]["uid"], "pod-1");
    assert_eq!(
        object["status"],
        json!({
            "node": "node-a", "serviceName": "web", "serviceNamespace": "default", "interfaces": [{"name": "eth0"}],
        })
    );
}

// L2-83
#[tokio::test(start_paused = true)]
async fn what_says_the_right_thing_is_not_written() {
    let server = Server::with([object("l2-x", "node-a", "pod-1")]);
    run(&server, [all_interfaces(), all_interfaces()]).await;
    assert_eq!(server.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_repetition_before_the_watch_has_caught_up_makes_no_second_object() {
    let server = Server::default();
    run(&server, [all_interfaces(), all_interfaces()]).await;
    assert_eq!(server.writes(), ["POST", "PATCH"]);
}

// L2-82
#[tokio::test(start_paused = true)]
async fn the_new_owner_removes_what_the_old_one_left() {
    let server = Server::with([object("l2-b", "node-b", "pod-2")]);
    run(&server, [all_interfaces()]).await;
    let objects = server.objects.lock().unwrap();
    assert_eq!(objects.len(), 1);
    assert_eq!(objects[0]["status"]["node"], "node-a");
}

#[tokio::test(start_paused = true)]
async fn what_other_nodes_left_of_many_services_is_listed_once() {
    let services: Vec<_> = (0..100)
        .map(|number| ServiceKey::new("default", &format!("web-{number}")).into())
        .collect();
    let left = services.iter().map(|service: &Arc<ServiceKey>| {
        let mut left = object(&format!("l2-of-{}", service.name), "node-b", "pod-2");
        left["metadata"]["labels"]["metallb.io/service-name"] = json!(service.name);
        left
    });
    let server = Server::with(left);
    run_for(&server, &services, [all_interfaces()]).await;
    let objects = server.objects.lock().unwrap();
    assert_eq!(objects.len(), services.len());
    assert!(objects.iter().all(|object| object["status"]["node"] == "node-a"));
    let lists = server.foreign.lock().unwrap();
    let of_all = lists.iter().filter(|query| !query.contains("service-name"));
    assert_eq!(of_all.count(), 1, "{lists:?}");
    assert!(lists.len() <= 1 + MANY + WRITERS, "{lists:?}");
}

#[tokio::test(start_paused = true)]
async fn an_object_of_an_earlier_pod_is_replaced() {
    let server = Server::with([object("l2-old", "node-a", "pod-0")]);
    run(&server, [all_interfaces()]).await;
    let objects = server.objects.lock().unwrap();
    assert_eq!(objects.len(), 1);
    assert_eq!(objects[0]["metadata"]["ownerReferences"][0]["uid"], "pod-1");
}

#[tokio::test(start_paused = true)]
async fn a_withdrawn_service_has_no_object() {
    let server = Server::default();
    run(&server, [all_interfaces(), None]).await;
    assert!(server.objects.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_object_left_by_an_earlier_run_goes_although_nobody_mentions_it() {
    let server = Server::with([object("l2-old", "node-a", "pod-0")]);
    run(&server, []).await;
    assert!(server.objects.lock().unwrap().is_empty());
}

#[test]
fn a_long_node_name_becomes_a_legal_label() {
    assert_eq!(label_value("node-a"), "node-a");
    let long = "n".repeat(80);
    let value = label_value(&long);
    assert_eq!(value.len(), 63);
    assert!(value.starts_with(&"n".repeat(54)) && value.as_bytes()[54] == b'-');
}

#[tokio::test]
async fn what_the_watch_shows_is_remembered_in_one_place() {
    let server = Server::default();
    let writer: Writer<ServiceL2Status> = Writer {
        api: Api::namespaced(server.client(), "metallb-system"),
        owner: Owner {
            namespace: "metallb-system".into(),
            node: "node-a".into(),
            pod: OwnerReference::default(),
        },
        desired: Desired::default(),
        index: Mutex::default(),
        listed: watch_channel::channel(true).0,
        made: Mutex::default(),
        taken: Mutex::default(),
        foreign: AsyncMutex::default(),
    };
    let seen = |says: &str| Seen {
        service: Some(key()),
        says: Fingerprint::of(&says),
        ours: true,
    };
    let shown = |name: &str, says: Option<&str>| ViewChange::Changed {
        key: metallb_runtime::watch::Key {
            namespace: "metallb-system".into(),
            name: name.into(),
        },
        before: Some(Arc::new(seen("before"))),
        now: says.map(|says| Arc::new(seen(says))),
    };
    let made = || Made {
        name: "l2-1".into(),
        says: Fingerprint::of(&"new"),
        at: Instant::now(),
    };
    for (change, kept) in [
        (shown("l2-1", Some("old")), true),
        (shown("l2-2", Some("new")), true),
        (shown("l2-2", None), true),
        (shown("l2-1", Some("new")), false),
        (shown("l2-1", None), false),
    ] {
        writer.made().insert(key(), made());
        writer.seen(change);
        assert_eq!(!writer.made().is_empty(), kept);
    }
}
