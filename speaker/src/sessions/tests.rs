//! Objects and events on an API server.

use std::sync::Mutex;
use std::time::SystemTime;

use http::Request;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::client::Body;
use metallb_api::BGPSessionStateStatus;
use metallb_dataplane::bfd::{self, Guarded};
use metallb_dataplane::bgp::{Family, SessionState, Sessions};
use metallb_runtime::CancellationToken;
use metallb_runtime::tasks::Tasks;
use serde_json::{Value, json};

use super::picture::Clock;
use super::picture::tests::{at, trouble};
use super::*;

const NAMESPACE: &str = "metallb-system";

/// An API server, a speaker's Pod there, and sessions that are made up.
struct Cluster {
    api: metallb_lab_api::ApiServer,
    /// Methods and paths of what was written.
    writes: Arc<Mutex<Vec<String>>>,
    sessions: watch::Sender<Sessions>,
    uids: watch::Sender<Uids>,
    owner: Owner,
    tasks: Tasks,
    bfd: (watch::Sender<bfd::Sessions>, watch::Sender<Guarded>),
    _dir: tempfile::TempDir,
}

async fn create<K>(api: Api<K>, object: Value) -> K
where
    K: Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
{
    let object = serde_json::from_value(object).unwrap();
    api.create(&PostParams::default(), &object).await.unwrap()
}

impl Cluster {
    /// Starts telling on a server whose definition of the kind was changed by `edit`.
    async fn start(edit: impl Fn(&mut CustomResourceDefinition) -> bool) -> Self {
        metallb_runtime::tls::install_crypto_provider();
        let dir = tempfile::tempdir().unwrap();
        let options = metallb_lab_api::Options {
            listeners: vec![std::net::TcpListener::bind("127.0.0.1:0").unwrap()],
            dir: dir.path().to_owned(),
            ..Default::default()
        };
        let api = metallb_lab_api::start(options).await.unwrap();
        for mut crd in metallb_crdgen::crds() {
            if crd.spec.names.kind != "BGPSessionState" || edit(&mut crd) {
                let crd = serde_json::to_value(&crd).unwrap();
                create::<CustomResourceDefinition>(Api::all(api.client()), crd).await;
            }
        }
        let namespace = json!({ "metadata": { "name": NAMESPACE } });
        create::<Namespace>(Api::all(api.client()), namespace).await;
        let mut cluster = Self {
            owner: owner(&api, "node-a", "speaker-1").await,
            api,
            writes: Arc::default(),
            sessions: watch::channel(Sessions::new()).0,
            uids: watch::channel(None).0,
            tasks: Tasks::new(CancellationToken::new()),
            bfd: (watch::channel(bfd::Sessions::new()).0, watch::channel(Guarded::new()).0),
            _dir: dir,
        };
        cluster.follow(cluster.owner.clone(), cluster.sessions.subscribe());
        cluster
    }

    /// Has a speaker tell of `sessions`.
    fn follow(&mut self, owner: Owner, sessions: watch::Receiver<Sessions>) {
        let source = Source {
            sessions,
            paths: self.bfd.0.subscribe(),
            guarded: self.bfd.1.subscribe(),
            clock: Clock::now(),
        };
        let spawner = self.tasks.spawner();
        let recorder = Recorder::new(self.api.client(), "metallb-speaker", &owner.node, &spawner);
        let follow = follow(self.client(), owner, source, self.uids.subscribe(), recorder, spawner);
        self.tasks.spawn("sessions", async {
            follow.await;
            Ok(())
        });
    }

    fn client(&self) -> Client {
        let (inner, writes) = (self.api.client(), Arc::clone(&self.writes));
        let service = tower::service_fn(move |request: Request<Body>| {
            let (inner, writes) = (inner.clone(), Arc::clone(&writes));
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect_bytes().await?;
                if head.method != http::Method::GET {
                    let path = head.uri.path().rsplit('/').next().unwrap_or_default();
                    let mut write = format!("{} {path}", head.method);
                    if head.method == http::Method::DELETE {
                        let body: Value = serde_json::from_slice(&body)?;
                        write += &format!(
                            " with uid {}",
                            body["preconditions"]["uid"].as_str().unwrap_or_default()
                        );
                    }
                    writes.lock().unwrap().push(write);
                }
                let request = Request::from_parts(head, Body::from(body.to_vec()));
                Ok::<_, tower::BoxError>(inner.send(request).await?)
            }
        });
        Client::new(service, "default")
    }

    fn states(&self) -> Api<BGPSessionState> {
        Api::namespaced(self.api.client(), NAMESPACE)
    }

    async fn objects(&self) -> Vec<BGPSessionState> {
        self.states().list(&ListParams::default()).await.unwrap().items
    }

    /// What the objects say after a while.
    async fn says(&self, seconds: u64) -> Vec<BGPSessionStateStatus> {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let objects = self.objects().await.into_iter();
        objects.map(|object| object.status.unwrap_or_default()).collect()
    }

    fn taken(&self) -> Vec<String> {
        std::mem::take(&mut self.writes.lock().unwrap())
    }

    fn set(&self, peer: &str, edit: impl FnOnce(&mut SessionState)) {
        self.sessions
            .send_modify(|sessions| edit(sessions.entry(peer.to_owned()).or_insert_with(untried)));
    }

    fn up(&self, peer: &str, since: u64) {
        self.set(peer, |session| {
            (session.up, session.since) = (true, at(since));
            session.carries = vec![Family::IPV4_UNICAST];
        });
    }

    fn lost(&self, peer: &str, since: u64) {
        self.set(peer, |session| {
            (session.up, session.since) = (false, at(since));
            session.carries.clear();
            session.trouble = Some(trouble("connection closed", since, true));
        });
    }

    async fn events(&self) -> Vec<Event> {
        let api: Api<Event> = Api::namespaced(self.api.client(), NAMESPACE);
        api.list(&ListParams::default()).await.unwrap().items
    }
}

/// A session that was not tried yet.
pub(crate) fn untried() -> SessionState {
    SessionState {
        peer: "192.0.2.1:179".parse().unwrap(),
        zone: None,
        found: None,
        device: None,
        up: false,
        since: at(10),
        trouble: None,
        reason: None,
        carries: vec![],
        lacking: vec![],
        counters: Arc::default(),
    }
}

async fn owner(api: &metallb_lab_api::ApiServer, node: &str, name: &str) -> Owner {
    let container = json!({ "name": "speaker", "image": "speaker" });
    let pod = json!({ "metadata": { "name": name }, "spec": { "containers": [container] } });
    // Without its owner the garbage collector takes an object away.
    let pod: Pod = create(Api::namespaced(api.client(), NAMESPACE), pod).await;
    Owner {
        namespace: NAMESPACE.into(),
        node: node.into(),
        pod: OwnerReference {
            api_version: "v1".into(),
            kind: "Pod".into(),
            uid: pod.metadata.uid.unwrap(),
            name: name.into(),
            ..OwnerReference::default()
        },
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_has_an_object_that_changes_with_it_and_goes_with_the_peer() {
    let cluster = Cluster::start(|_| true).await;
    cluster.uids.send_replace(Some(Arc::default()));
    cluster.set("tor", |_| {});
    cluster.up("tor", 20);
    let says = cluster.says(5).await;
    assert_eq!((says.len(), says[0].bgp_status.as_str()), (1, "Established"));
    assert_eq!(
        (says[0].peer_name.as_str(), says[0].families.join(",").as_str()),
        ("tor", "ipv4")
    );
    let object = cluster.objects().await.remove(0);
    assert_eq!(object.owner_references(), std::slice::from_ref(&cluster.owner.pod));
    for (label, value) in [
        ("frrk8s.metallb.io/node", "node-a"),
        ("frrk8s.metallb.io/peer", "192.0.2.1"),
        ("frrk8s.metallb.io/vrf", ""),
        ("metallb.io/peer", "tor"),
    ] {
        assert_eq!(object.labels().get(label).map(String::as_str), Some(value));
    }
    let name = object.name_any();
    assert_eq!(cluster.taken(), [format!("PATCH {name}"), "PATCH status".to_owned()]);

    // Nothing changes, and so nothing is written.
    cluster.sessions.send_modify(|_| {});
    cluster.says(3600).await;
    assert!(cluster.taken().is_empty());

    cluster.lost("tor", 30);
    let says = cluster.says(5).await.remove(0);
    assert_eq!(
        (says.bgp_status.as_str(), says.last_error.as_str()),
        ("Active", "connection closed")
    );
    assert_eq!(cluster.taken(), ["PATCH status"]);

    cluster.sessions.send_modify(Sessions::clear);
    assert!(cluster.says(5).await.is_empty());
    let uid = object.uid().unwrap();
    assert_eq!(cluster.taken(), [format!("DELETE {name} with uid {uid}")]);
}

#[tokio::test(start_paused = true)]
async fn a_flapping_session_is_written_six_times_a_minute_at_most_and_ends_right() {
    let cluster = Cluster::start(|_| true).await;
    cluster.up("calm", 1);
    for second in 0..600 {
        match second % 2 {
            0 => cluster.up("tor", second),
            _ => cluster.lost("tor", second),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    cluster.up("tor", 600);
    let says = cluster.says(30).await;
    let since = |peer: &str| {
        let says = says.iter().find(|says| says.peer_name == peer);
        says.map(|says| (says.bgp_status.clone(), says.since.clone()))
    };
    let time = |seconds| picture::time(at(seconds));
    assert_eq!(since("tor"), Some(("Established".to_owned(), time(600))));
    assert_eq!(since("calm"), Some(("Established".to_owned(), time(1))));
    let writes = cluster.taken();
    let statuses = writes.iter().filter(|write| *write == "PATCH status").count();
    // One is that of the session that does not flap.
    assert!((50..=63).contains(&statuses), "{statuses}");
    assert_eq!(writes.len(), statuses + 2, "{writes:?}");
}

#[tokio::test(start_paused = true)]
async fn objects_are_repaired_and_taken_over_from_an_earlier_pod() {
    let cluster = Cluster::start(|_| true).await;
    cluster.up("tor", 20);
    let before = cluster.says(5).await;
    let name = cluster.objects().await[0].name_any();
    cluster.states().delete(&name, &DeleteParams::default()).await.unwrap();
    assert_eq!(cluster.says(15).await, before, "made again");
    let stranger = owner(&cluster.api, "node-a", "speaker-0").await;
    let edit = json!({ "metadata": { "ownerReferences": [stranger.pod], "labels": { "metallb.io/peer": "x" } } });
    let (params, patch) = (kube::api::PatchParams::default(), kube::api::Patch::Merge(edit));
    cluster.states().patch(&name, &params, &patch).await.unwrap();
    cluster.says(15).await;
    let object = cluster.objects().await.remove(0);
    assert!(object.owner_references().contains(&cluster.owner.pod), "{object:?}");
    assert_eq!(object.labels()["metallb.io/peer"], "tor");
}

#[tokio::test(start_paused = true)]
async fn objects_of_an_earlier_run_are_spared_until_the_sessions_are_known() {
    let cluster = Cluster::start(|_| true).await;
    cluster.up("tor", 20);
    cluster.up("old", 20);
    assert_eq!(cluster.says(5).await.len(), 2);
    cluster.sessions.send_modify(Sessions::clear);
    assert_eq!(cluster.says(60).await.len(), 2, "the configuration is not known");
    cluster.uids.send_replace(Some(Arc::default()));
    tokio::time::sleep(Duration::from_secs(1)).await;
    cluster.up("tor", 20);
    let says = cluster.says(10).await;
    assert_eq!((says.len(), says[0].peer_name.as_str()), (1, "tor"));
}

#[tokio::test(start_paused = true)]
async fn the_definition_of_frr_k8s_is_enough_and_none_is_no_trouble() {
    let cluster = Cluster::start(|crd| {
        let version = &mut crd.spec.versions[0];
        let schema = version.schema.as_mut().unwrap().open_api_v3_schema.as_mut().unwrap();
        schema.x_kubernetes_preserve_unknown_fields = None;
        let status = schema.properties.as_mut().unwrap().get_mut("status").unwrap();
        status.x_kubernetes_preserve_unknown_fields = None;
        let upstreams = ["bgpStatus", "bfdStatus", "node", "peer", "vrf"];
        let fields = status.properties.as_mut().unwrap();
        fields.retain(|name, _| upstreams.contains(&name.as_str()));
        true
    })
    .await;
    cluster.up("tor", 20);
    let says = cluster.says(5).await.remove(0);
    assert_eq!(says, says.upstreams());
    assert_eq!(says.bgp_status, "Established");
    assert_eq!(cluster.taken().len(), 2);
    cluster.says(3600).await;
    assert!(cluster.taken().is_empty(), "what is dropped is not written again");

    let cluster = Cluster::start(|_| false).await;
    cluster.up("tor", 20);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let tries = cluster.taken().len();
    assert!((1..=14).contains(&tries), "{tries}");
}

// BGP-109
#[tokio::test(start_paused = true)]
async fn events_name_the_peer_the_node_and_the_reason() {
    let cluster = Cluster::start(|_| true).await;
    let uids = BTreeMap::from([("tor".to_owned(), "uid-of-tor".to_owned())]);
    cluster.uids.send_replace(Some(Arc::new(uids)));
    cluster.up("tor", 20);
    tokio::time::sleep(Duration::from_secs(1)).await;
    cluster.lost("tor", 30);
    for count in 2..20 {
        cluster.set("tor", |session| {
            let trouble = session.trouble.as_mut().unwrap();
            (trouble.count, trouble.at) = (count, SystemTime::UNIX_EPOCH);
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let mut events = cluster.events().await;
    events.sort_by_key(|event| event.event_time.as_ref().map(|time| time.0));
    let told = events.iter().map(|event| {
        let peer = event.regarding.as_ref().unwrap();
        assert_eq!(peer.uid.as_deref(), Some("uid-of-tor"));
        assert_eq!(
            (peer.kind.as_deref(), peer.name.as_deref()),
            (Some("BGPPeer"), Some("tor"))
        );
        (event.reason.as_deref().unwrap(), event.note.as_deref().unwrap())
    });
    let expected = [
        (
            "SessionUp",
            "node node-a, peer 192.0.2.1: BGP session established, it carries routes of ipv4",
        ),
        (
            "SessionDown",
            "node node-a, peer 192.0.2.1: BGP session down since 1970-01-01T00:00:30Z: connection closed",
        ),
    ];
    assert_eq!(told.collect::<Vec<_>>(), expected);
}

// What a cluster of 40 nodes with 8 peers each costs the API server.
#[tokio::test(start_paused = true)]
async fn writes_are_proportional_to_changes() {
    let mut cluster = Cluster::start(|_| true).await;
    let up = || SessionState {
        up: true,
        carries: vec![Family::IPV4_UNICAST],
        ..untried()
    };
    let mut nodes = Vec::new();
    for node in 0..40 {
        let sessions: Sessions = (0..8).map(|peer| (format!("tor-{peer}"), up())).collect();
        let sessions = watch::channel(sessions).0;
        let owner = owner(&cluster.api, &format!("node-{node}"), &format!("speaker-of-{node}")).await;
        cluster.follow(owner, sessions.subscribe());
        nodes.push(sessions);
    }
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(cluster.taken().len(), 40 * 8 * 2, "each object, and its status");
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(cluster.taken().len(), 0);
    for sessions in &nodes {
        sessions.send_modify(|sessions| {
            let session = sessions.get_mut("tor-3").unwrap();
            (session.up, session.since, session.trouble) = (false, at(50), Some(trouble("closed", 50, true)));
        });
    }
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(cluster.taken().len(), 40, "one for each session that was lost");
}
