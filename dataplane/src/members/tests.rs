//! Real sockets on the loopback interface; the timing is tested in `metallb-members`.

use tokio::task::JoinHandle;

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

struct Speaker {
    handle: MembersHandle,
    stop: CancellationToken,
    running: JoinHandle<Result<(), Error>>,
}

fn speaker(node: &str, key: Option<&[u8]>) -> Speaker {
    let stop = CancellationToken::new();
    let bind = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = Config {
        node: node.to_owned(),
        bind,
        key: key.map(<[u8]>::to_vec),
    };
    let (handle, running) = start(config, stop.clone()).unwrap();
    Speaker {
        handle,
        stop,
        running: tokio::spawn(running),
    }
}

fn introduce(speakers: &[(&str, &Speaker)]) {
    let peers: BTreeMap<String, SocketAddr> = speakers
        .iter()
        .map(|(name, speaker)| ((*name).to_owned(), speaker.handle.local_address()))
        .collect();
    for (_, speaker) in speakers {
        speaker.handle.set_peers(peers.clone());
    }
}

async fn sees(speaker: &Speaker, names: &[&str]) {
    let expected: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut alive = speaker.handle.alive();
    let seen = time::timeout(PATIENCE, alive.wait_for(|alive| *alive == expected)).await;
    assert!(
        seen.is_ok(),
        "expected {expected:?}, last seen {:?}",
        speaker.handle.alive().borrow()
    );
}

#[tokio::test]
async fn speakers_find_each_other_and_notice_a_goodbye() {
    let (a, b) = (speaker("a", Some(b"secret")), speaker("b", Some(b"secret")));
    introduce(&[("a", &a), ("b", &b)]);
    sees(&a, &["a", "b"]).await;
    sees(&b, &["a", "b"]).await;
    assert!(a.handle.settled().wait_for(|settled| *settled).await.is_ok());
    b.stop.cancel();
    b.running.await.unwrap().unwrap();
    sees(&a, &["a"]).await;
}

#[tokio::test]
async fn speakers_with_different_secrets_stay_apart() {
    let (a, b) = (speaker("a", Some(b"one")), speaker("b", Some(b"two")));
    introduce(&[("a", &a), ("b", &b)]);
    time::timeout(PATIENCE, a.handle.settled().wait_for(|settled| *settled))
        .await
        .unwrap()
        .unwrap();
    sees(&a, &["a"]).await;
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let a = speaker("a", None);
    let bind = a.handle.local_address();
    let config = Config {
        node: "b".into(),
        bind,
        key: None,
    };
    let error = start(config, CancellationToken::new()).err().unwrap();
    assert!(error.to_string().contains(&bind.to_string()), "{error}");
}

#[test]
fn the_key_is_not_shown() {
    let bind = SocketAddr::from(([127, 0, 0, 1], 7946));
    let config = Config {
        node: "a".into(),
        bind,
        key: Some(b"hunter2".to_vec()),
    };
    assert!(!format!("{config:?}").contains(&format!("{:?}", b"hunter2")));
}
