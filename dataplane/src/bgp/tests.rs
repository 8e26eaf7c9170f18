//! Failures of our own tasks, and the end of the shell.

use std::net::Ipv4Addr;

use tokio::net::{TcpListener, TcpStream};

use super::*;

async fn listen(name: &str) -> (TcpListener, PeerConfig) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let peer = PeerConfig {
        port: address.port(),
        ..PeerConfig::new(name, 64500, RemoteAs::External, address.ip())
    };
    (listener, peer)
}

async fn look(handle: &BgpHandle, peer: &str) -> View {
    handle.look(peer, Part::Nothing).await.unwrap()
}

/// Accepts a connection and waits until the session has seen that.
async fn accept(listener: &TcpListener, handle: &BgpHandle, peer: &str) -> TcpStream {
    let (stream, _) = listener.accept().await.unwrap();
    while look(handle, peer).await.state != State::OpenSent {
        tokio::task::yield_now().await;
    }
    stream
}

#[tokio::test]
async fn a_peer_whose_task_panics_is_started_anew_and_the_others_go_on() {
    let (handle, run) = start(CancellationToken::new());
    tokio::spawn(run);
    let ((bad, bad_peer), (good, good_peer)) = (listen("bad").await, listen("good").await);
    handle.set_peers(vec![bad_peer, good_peer]);
    let _first = accept(&bad, &handle, "bad").await;
    let _other = accept(&good, &handle, "good").await;

    handle.show(Posture::Withdraw);
    handle.command("bad", Command::Panic);
    let mut sessions = handle.sessions();
    let failed = sessions.wait_for(|sessions| sessions["bad"].reason.is_some()).await;
    let state = failed.unwrap()["bad"].clone();
    let reason = "internal error: panicked: as the test wants";
    assert_eq!((state.up, state.reason.as_deref()), (false, Some(reason)));
    assert_eq!(state.counters.failures(), 1);

    let _second = accept(&bad, &handle, "bad").await;
    assert!(look(&handle, "bad").await.drained, "what it was told is remembered");
    assert_eq!(look(&handle, "good").await.state, State::OpenSent);
    assert_eq!(handle.sessions().borrow()["good"].counters.sent(MessageType::Open), 1);
    handle.shutdown().await;
    assert!(handle.sessions().borrow().is_empty());
}

#[tokio::test]
async fn shell_without_handle_says_so_and_stopped_shell_does_not() {
    let (handle, run) = start(CancellationToken::new());
    drop(handle);
    assert!(matches!(run.await, Err(Error::Abandoned)));
    let stop = CancellationToken::new();
    let (handle, run) = start(stop.clone());
    stop.cancel();
    assert!(run.await.is_ok());
    // Returns although the shell is gone.
    handle.shutdown().await;
    assert!(handle.look("r", Part::Nothing).await.is_none());
}
