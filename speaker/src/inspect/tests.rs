//! Answers about a session with a router that is a TCP stream in the hands of the test.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use metallb_announce::Path;
use metallb_dataplane::bgp::{Farewell, SessionState};
use metallb_engine::RouteChange;
use metallb_inspect::Answer;
use metallb_inspect::bgp::{Route, Session};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tower::ServiceExt;

use super::*;
use crate::args::Args;
use crate::backend::Change;
use crate::bfd::tests::peers;
use crate::sessions::tests::untried;

const SECRET: &str = "s3cr3t-pa55word";

/// A speaker with one peer that is there, and two that are not.
struct Speaker {
    bgp: Bgp,
    glass: Router,
    _router: TcpStream,
    work: JoinHandle<anyhow::Result<()>>,
}

impl Speaker {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let args = Args::read(["speaker", "--node-name=node-a"].map(OsString::from)).unwrap();
        let (bgp, work) = Bgp::start(Backend::Native, &args).unwrap();
        let work = tokio::spawn(work);
        let tor = json!({ "peerAddress": "127.0.0.1", "peerPort": port, "bfdProfile": "" });
        let gone = json!({ "peerAddress": "127.0.0.1", "peerPort": 1, "bfdProfile": "" });
        let locked = json!({ "peerAddress": "127.0.0.2", "peerPort": 1, "bfdProfile": "", "password": SECRET });
        let all = [("gone", gone), ("locked", locked), ("tor", tor)];
        bgp.apply(Change::Peers(peers(&all, &[])));
        let path = |n: u32| Path {
            communities: [metallb_config::Community::Standard(64500 << 16 | (n % 3))].into(),
            local_pref: 0,
            peers: BTreeSet::new(),
        };
        let prefix = |n: u32| format!("10.0.{}.{}/32", n / 256, n % 256).parse().unwrap();
        let change = |n| RouteChange {
            prefix: prefix(n),
            paths: vec![Arc::new(path(n))],
        };
        bgp.apply(Change::Routes((0..1200).map(change).collect()));
        bgp.apply(Change::Known);
        let router = Self::established(&listener).await;
        let mut sessions = bgp.sessions();
        sessions.wait_for(|sessions| sessions["tor"].up).await.unwrap();
        while sessions.borrow()["tor"].counters.advertised() < 1200 {
            tokio::task::yield_now().await;
        }
        sessions
            .wait_for(|sessions| sessions["gone"].trouble.is_some())
            .await
            .unwrap();
        Self {
            glass: routes(&bgp, Backend::Native, "node-a", "speaker-x", None),
            bgp,
            _router: router,
            work,
        }
    }

    /// Says what a router of AS 64501 says, without capabilities.
    async fn established(listener: &TcpListener) -> TcpStream {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut open = [0; 29];
        stream.read_exact(&mut open).await.unwrap();
        let mut said = vec![0xff; 16];
        said.extend([0, 29, 1, 4, 0xfb, 0xf5, 0, 90, 192, 0, 2, 9, 0]);
        said.extend([0xff; 16]);
        said.extend([0, 19, 4]);
        stream.write_all(&said).await.unwrap();
        stream
    }

    async fn ask(&self, path: &str) -> (u16, String) {
        ask(&self.glass, path).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Answer<T> {
        let (status, text) = self.ask(path).await;
        assert_eq!(status, 200, "{text}");
        assert!(!text.contains(SECRET));
        serde_json::from_str(&text).unwrap()
    }

    async fn end(self) {
        self.bgp.shutdown(Farewell::default()).await;
        self.work.await.unwrap().unwrap();
    }
}

async fn ask(glass: &Router, path: &str) -> (u16, String) {
    let request = Request::get(format!("{ROOT}{path}")).body(Body::empty()).unwrap();
    let answer = glass.clone().oneshot(request).await.unwrap();
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

// CLI-56, CLI-60
#[tokio::test]
async fn a_session_is_shown_with_what_was_agreed_on_and_what_went_wrong() {
    let speaker = Speaker::start().await;
    let answer: Answer<Vec<Session>> = speaker.get("/bgp/sessions").await;
    assert_eq!(
        (answer.head.schema.as_str(), answer.head.node.as_str()),
        (SCHEMA, "node-a")
    );
    let [gone, locked, tor] = &answer.data[..] else {
        panic!("{answer:?}")
    };
    assert_eq!(
        (tor.peer.as_str(), tor.state.as_str(), tor.advertised),
        ("tor", "Established", 1200)
    );
    let agreed = tor.negotiated.as_ref().unwrap();
    assert_eq!(
        (agreed.families.as_slice(), agreed.hold_seconds),
        (&["ipv4".to_owned()][..], Some(90))
    );
    assert_eq!(
        (agreed.local_as, agreed.asn, agreed.router_id.as_str()),
        (64500, 64501, "192.0.2.9")
    );
    assert!(tor.counters.updates_sent > 0 && tor.counters.opens_received == 1 && tor.last_error.is_none());
    assert_eq!((gone.peer.as_str(), gone.negotiated.as_ref()), ("gone", None));
    let error = gone.last_error.as_ref().unwrap();
    assert!(error.count > 0);
    assert_eq!((tor.reason.as_deref(), gone.reason.as_ref()), (None, Some(&error.text)));
    assert_eq!(locked.peer, "locked");
    let one: Answer<Vec<Session>> = speaker.get("/bgp/sessions?peer=gone").await;
    assert_eq!(one.data.len(), 1);
    let index: Answer<Index> = speaker.get("").await;
    for path in index.data.paths.keys() {
        let path = path.strip_prefix(ROOT).unwrap();
        speaker.get::<serde_json::Value>(path).await;
    }
    speaker.end().await;
}

#[tokio::test]
async fn what_a_peer_was_told_comes_page_by_page() {
    let speaker = Speaker::start().await;
    let all: Answer<Vec<Route>> = speaker.get("/bgp/routes?peer=tor").await;
    assert_eq!((all.data.len(), all.more), (1200, None));
    let (mut pages, mut path) = (Vec::new(), "/bgp/routes?peer=tor&limit=700".to_owned());
    loop {
        let page: Answer<Vec<Route>> = speaker.get(&path).await;
        pages.push(page.data);
        let Some(more) = page.more else { break };
        path = format!("/bgp/routes?peer=tor&limit=700&continue={more}");
    }
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [700, 500]);
    assert_eq!(pages.concat(), all.data);
    let prefixes: BTreeSet<_> = all.data.iter().map(|route| &route.prefix).collect();
    assert_eq!(prefixes.len(), 1200);
    let route = Route {
        peer: "tor".into(),
        prefix: "10.0.0.4/32".into(),
        next_hop: Some("127.0.0.1".into()),
        as_path: vec![64500],
        origin: "igp".into(),
        communities: vec!["64500:1".into()],
        state: "advertised".into(),
        ..Route::default()
    };
    assert_eq!(all.data[4], route);
    speaker.end().await;
}

#[tokio::test]
async fn one_prefix_is_told_for_every_peer_and_nonsense_is_refused() {
    let speaker = Speaker::start().await;
    let one: Answer<Vec<Route>> = speaker.get("/bgp/routes?prefix=10.0.0.4").await;
    let told: Vec<_> = one
        .data
        .iter()
        .map(|route| (route.peer.as_str(), route.state.as_str()))
        .collect();
    assert_eq!(
        told,
        [("gone", "pending"), ("locked", "pending"), ("tor", "advertised")]
    );
    // A page that ends with a peer goes on with the next.
    let first: Answer<Vec<Route>> = speaker.get("/bgp/routes?limit=1200").await;
    assert_eq!(first.more.as_deref(), Some("locked/"));
    let rest: Answer<Vec<Route>> = speaker.get("/bgp/routes?continue=tor/").await;
    assert_eq!((rest.data.len(), rest.more), (1200, None));
    for nonsense in ["limit=x", "continue=tor", "continue=tor/x", "prefix=x"] {
        assert_eq!(
            speaker.ask(&format!("/bgp/routes?{nonsense}")).await.0,
            400,
            "{nonsense}"
        );
    }
    speaker.end().await;
}

/// The looking glass of a back-end that has just started.
async fn asked(backend: Backend, path: &str) -> (u16, String) {
    let args = ["speaker", "--node-name=node-a"].map(OsString::from);
    let (bgp, _work) = Bgp::start(backend, &Args::read(args).unwrap()).unwrap();
    ask(&routes(&bgp, backend, "node-a", "speaker-x", None), path).await
}

#[tokio::test]
async fn the_index_names_the_back_end_that_runs() {
    for backend in Backend::ALL {
        let (_, text) = asked(backend, "").await;
        let answer: Answer<Index> = serde_json::from_str(&text).unwrap();
        assert_eq!(answer.data.backend, backend.name());
    }
}

#[tokio::test]
async fn sessions_of_frr_are_not_told_to_be_none() {
    for (backend, who) in [(Backend::Frr, "port 9121"), (Backend::FrrK8s, "bgpsessionstates")] {
        for path in ["/bgp/sessions", "/bgp/routes", "/bfd"] {
            let (status, text) = asked(backend, path).await;
            assert_eq!(status, 501, "{path}");
            assert!(text.contains(who) && text.contains("node-a"), "{text}");
        }
    }
    let (status, text) = asked(Backend::Native, "/bgp/sessions").await;
    assert!(status == 200 && text.contains("\"data\":[]"), "{text}");
}

#[test]
fn a_peer_on_a_link_is_named_with_its_interface_as_in_the_metrics() {
    let named = |peer: &str, zone| {
        let state = SessionState {
            peer: peer.parse().unwrap(),
            zone,
            ..untried()
        };
        assert_eq!(
            state.label(),
            views::session("node-a", "tor", &state, None, None).remote
        );
        state.label()
    };
    let zone = || Some("eth0".to_owned());
    assert_eq!(named("192.0.2.1:179", None), "192.0.2.1:179");
    assert_eq!(named("[fe80::1]:179", zone()), "[fe80::1%eth0]:179");
    assert_eq!(named("[::]:179", zone()), "eth0:179");
}
