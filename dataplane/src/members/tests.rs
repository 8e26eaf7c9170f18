//! Real sockets on the loopback interface; the timing is tested in `metallb-members`.

use std::collections::BTreeMap;

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
        timing: Timing::lan(),
        fast: true,
        metadata: Metadata::default(),
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
async fn another_secret_is_told_of() {
    let (a, b) = (speaker("a", Some(b"secret")), speaker("b", Some(b"another")));
    let mut mismatches = a.handle.key_mismatches();
    introduce(&[("a", &a), ("b", &b)]);
    let told = time::timeout(PATIENCE, mismatches.wait_for(Option::is_some)).await;
    assert_eq!(*told.unwrap().unwrap(), Some(IpAddr::from([127, 0, 0, 1])));
    drop((a, b));
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
async fn what_a_speaker_says_of_itself_is_known_to_the_others() {
    let (a, b) = (speaker("a", Some(b"secret")), speaker("b", Some(b"secret")));
    introduce(&[("a", &a), ("b", &b)]);
    let said = Metadata {
        boot: 7,
        interfaces: [("eth0".to_owned(), Interface::default())].into(),
        ..Metadata::default()
    };
    a.handle.set_metadata(said.clone());
    for speaker in [&b, &a] {
        let mut members = speaker.handle.members();
        let known = members.wait_for(|members| members.get("a") == Some(&Some(said.clone())));
        time::timeout(PATIENCE, known).await.unwrap().unwrap();
    }
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
async fn a_new_key_lets_in_who_has_it() {
    let (a, b) = (speaker("a", Some(b"old")), speaker("b", Some(b"new")));
    introduce(&[("a", &a), ("b", &b)]);
    time::timeout(PATIENCE, a.handle.settled().wait_for(|settled| *settled))
        .await
        .unwrap()
        .unwrap();
    sees(&a, &["a"]).await;
    a.handle.set_keys(vec![b"new".to_vec(), b"old".to_vec()]);
    sees(&a, &["a", "b"]).await;
    sees(&b, &["a", "b"]).await;
    assert!(!format!("{:?}", a.handle).contains(&format!("{:?}", b"old")));
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let a = speaker("a", None);
    let bind = a.handle.local_address();
    let config = Config {
        node: "b".into(),
        bind,
        key: None,
        timing: Timing::lan(),
        fast: true,
        metadata: Metadata::default(),
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
        timing: Timing::lan(),
        fast: true,
        metadata: Metadata::default(),
    };
    assert!(!format!("{config:?}").contains(&format!("{:?}", b"hunter2")));
}

#[tokio::test]
async fn a_crash_is_suspected_while_memberlist_still_counts_the_member_in() {
    let key = Some(b"secret".as_slice());
    let (a, b, c) = (speaker("a", key), speaker("b", key), speaker("c", key));
    introduce(&[("a", &a), ("b", &b), ("c", &c)]);
    for speaker in [&a, &b, &c] {
        sees(speaker, &["a", "b", "c"]).await;
    }
    // Nothing is expected of a member before it has answered once.
    let mut suspects = a.handle.suspects().unwrap();
    let mut questions = a.handle.questions().unwrap();
    time::sleep(Duration::from_millis(500)).await;
    c.running.abort();
    drop(c);
    let question = time::timeout(PATIENCE, questions.recv()).await.unwrap().unwrap();
    assert_eq!(question, Question::Member("c".to_owned()));
    let only_c = |suspects: &Suspects| suspects.names.iter().eq(["c"]);
    time::timeout(PATIENCE, suspects.wait_for(only_c))
        .await
        .unwrap()
        .unwrap();
    assert!(a.handle.alive().borrow().contains("c"));
    let mut suspects = b.handle.suspects().unwrap();
    time::timeout(PATIENCE, suspects.wait_for(only_c))
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn where_fast_failover_is_off_nobody_is_asked() {
    let stop = CancellationToken::new();
    let config = Config {
        node: "a".to_owned(),
        bind: SocketAddr::from(([127, 0, 0, 1], 0)),
        key: None,
        timing: Timing::lan(),
        fast: false,
        metadata: Metadata::default(),
    };
    let (handle, _running) = start(config, stop).unwrap();
    assert!(handle.suspects().is_none() && handle.questions().is_none());
}
