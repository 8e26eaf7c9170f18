use metallb_runtime::CancellationToken;
use metallb_runtime::tasks::Tasks;
use serde_json::{Value, json};

use super::*;

/// A client of an API server that has one Node, two Secrets, and no other object; its watches tell nothing.
fn api_server() -> Client {
    use kube::client::Body;
    let answer = |request: http::Request<Body>| {
        let items = match request.uri().path().rsplit('/').next().unwrap_or_default() {
            NODES => vec![json!({"metadata": {"name": "a", "resourceVersion": "1", "labels": {"rack": "1"}}})],
            SECRETS => vec![secret("opaque", "Opaque"), secret("tor", "kubernetes.io/basic-auth")],
            _ => Vec::new(),
        };
        let list = json!({"metadata": {"resourceVersion": "1"}, "items": items});
        let watch = request.uri().query().unwrap_or_default().contains("watch=true");
        async move {
            if watch {
                std::future::pending::<()>().await;
            }
            Ok::<_, std::io::Error>(http::Response::new(Body::from(list.to_string().into_bytes())))
        }
    };
    Client::new(tower::service_fn(answer), "ns")
}

fn secret(name: &str, type_: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "ns", "resourceVersion": "1", "uid": name},
        "type": type_, "data": {"password": "aHVudGVyMg=="},
    })
}

fn resources(news: &News) -> Option<&Resources> {
    news.events.iter().find_map(|event| match event {
        Event::Resources(resources) => Some(&**resources),
        _ => None,
    })
}

#[tokio::test]
async fn the_configuration_is_told_once_all_is_listed_with_nodes_and_secrets() {
    let tasks = Tasks::new(CancellationToken::new());
    let mut inputs = Inputs::start(&api_server(), "ns", "own", None, &tasks.spawner());
    let mut ready = Vec::new();
    let told = loop {
        let news = inputs.next().await.unwrap();
        ready.extend(news.ready.iter().copied());
        if let Some(resources) = resources(&news) {
            break resources.clone();
        }
        assert_ne!(ready.len(), KINDS.len());
    };
    assert_eq!(
        told.nodes[0].metadata.labels,
        Some([("rack".into(), "1".into())].into())
    );
    let types: Vec<_> = told.secrets.iter().map(|secret| secret.type_.as_deref()).collect();
    assert_eq!(types, [Some("Opaque"), Some("kubernetes.io/basic-auth")]);
    assert!(!format!("{told:?}").contains("104, 117"), "{told:?}");
}

#[tokio::test]
async fn only_labels_of_a_node_are_configuration() {
    let tasks = Tasks::new(CancellationToken::new());
    let mut inputs = Inputs::start(&api_server(), "ns", "own", None, &tasks.spawner());
    let facts = |rack: &str, network_unavailable| {
        Some(Arc::new(NodeFacts {
            view: metallb_announce::NodeView {
                network_unavailable,
                ..Default::default()
            },
            standing: None,
            labels: [("rack".to_owned(), rack.to_owned())].into(),
        }))
    };
    let mut changes = |before, now| {
        let (mut news, name) = (News::default(), "n".to_owned());
        inputs.configuration = false;
        inputs.take(Input::Node { name, before, now }, &mut news);
        assert!(matches!(&news.events[..], [Event::Node(..)]));
        inputs.configuration
    };
    assert!(changes(None, facts("1", false)));
    assert!(!changes(facts("1", false), facts("1", true)));
    assert!(changes(facts("1", true), facts("2", true)));
    assert!(changes(facts("2", true), None));
}

#[tokio::test]
async fn only_the_node_of_this_speaker_has_a_standing() {
    let tasks = Tasks::new(CancellationToken::new());
    let mut inputs = Inputs::start(&api_server(), "ns", "own", None, &tasks.spawner());
    let facts = |standing| {
        Some(Arc::new(NodeFacts {
            standing,
            ..NodeFacts::default()
        }))
    };
    let mut told = |name: &str, now| {
        let (mut news, name) = (News::default(), name.to_owned());
        let before = None;
        inputs.take(Input::Node { name, before, now }, &mut news);
        news.standing
    };
    assert_eq!(told("own", facts(Some(Standing::SERVING))), Some(Standing::SERVING));
    assert_eq!(told("own", None), Some(Standing::GONE));
    assert_eq!([told("other", facts(None)), told("other", None)], [None; 2]);
}

#[test]
fn the_other_speakers_are_known_once_they_were_listed() {
    let speaker = |node: &str, ip: [u8; 4]| {
        let key = Key {
            namespace: "ns".into(),
            name: format!("speaker-{node}"),
        };
        (
            key,
            Arc::new(Speaker {
                node: node.into(),
                ip: ip.into(),
            }),
        )
    };
    let mut members = Members {
        pods: [speaker("a", [192, 0, 2, 1]), speaker("b", [192, 0, 2, 2])].into(),
        node: "a".into(),
        port: 7946,
        listed: false,
    };
    assert_eq!(members.peers(), None);
    members.listed = true;
    assert_eq!(
        members.peers(),
        Some([("b".into(), "192.0.2.2:7946".parse().unwrap())].into())
    );
}

// L2-33
#[tokio::test]
async fn nodes_with_a_ready_speaker_are_members_or_all_with_a_speaker_where_none_is_ready() {
    let tasks = Tasks::new(CancellationToken::new());
    let mut inputs = Inputs::start(&api_server(), "ns", "own", None, &tasks.spawner());
    let mut take = |input| {
        let mut news = News::default();
        inputs.take(input, &mut news);
        news.events.into_iter().find_map(|event| match event {
            Event::Members(names) => Some(names.into_iter().collect::<Vec<_>>()),
            _ => None,
        })
    };
    let pod = |node: &str, ready| {
        let key = Key {
            namespace: "ns".into(),
            name: format!("speaker-{node}"),
        };
        let node = node.to_owned();
        Input::Candidate(key, Some(Arc::new(Candidate { node, ready })))
    };
    assert_eq!([take(pod("a", false)), take(pod("b", false))], [None, None]);
    assert_eq!(take(Input::Ready(CANDIDATES)), Some(vec!["a".into(), "b".into()]));
    assert_eq!(take(pod("b", true)), Some(vec!["b".into()]));
    assert_eq!(take(pod("a", true)), Some(vec!["a".into(), "b".into()]));
    assert_eq!(take(pod("a", true)), None);
    assert_eq!(take(pod("b", false)), Some(vec!["a".into()]));
}
