use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::*;
use crate::tasks::Tasks;
use crate::testing::{Answer, Call, Calls, client};

/// One lease with optimistic concurrency, as the API server keeps it.
#[derive(Clone, Default)]
struct Server {
    lease: Arc<Mutex<Option<Value>>>,
    down: Arc<Mutex<bool>>,
    /// So often somebody else writes an annotation between a look at the lease and its next write.
    meddlers: Arc<AtomicUsize>,
}

impl Server {
    fn held_by(holder: &str) -> Self {
        let server = Self::default();
        *server.lease.lock().unwrap() = Some(json!({
            "metadata": {"name": "l", "resourceVersion": "1"},
            "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": "2026-01-01T00:00:00.000000Z"},
        }));
        server
    }

    fn client(&self) -> (Client, Calls) {
        let server = self.clone();
        client(move |call| server.answer(call))
    }

    fn answer(&self, call: &Call) -> Answer {
        if *self.down.lock().unwrap() {
            return Call::failure(500, "InternalError");
        }
        let mut lease = self.lease.lock().unwrap();
        match (call.method.as_str(), lease.as_ref()) {
            ("GET", None) => return Call::not_found(),
            ("GET", Some(now)) => {
                let answer = Call::ok(now);
                let less = |left: usize| left.checked_sub(1);
                if self
                    .meddlers
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
                    .is_ok()
                {
                    let next = version(now) + 1;
                    lease.as_mut().unwrap()["metadata"]["resourceVersion"] = json!(next.to_string());
                }
                return answer;
            }
            ("POST", Some(_)) => return Call::failure(409, "AlreadyExists"),
            ("PUT", Some(now)) if now["metadata"]["resourceVersion"] != call.body["metadata"]["resourceVersion"] => {
                return Call::failure(409, "Conflict");
            }
            _ => {
                let version = lease.as_ref().map_or(0, version) + 1;
                let mut next = call.body.clone();
                next["metadata"]["resourceVersion"] = json!(version.to_string());
                *lease = Some(next);
            }
        }
        Call::ok(lease.as_ref().unwrap())
    }

    fn holder(&self) -> String {
        self.lease.lock().unwrap().as_ref().unwrap()["spec"]["holderIdentity"]
            .as_str()
            .unwrap()
            .to_owned()
    }
}

fn version(lease: &Value) -> u64 {
    lease["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

/// Part in an election over which nobody watches.
fn candidate(client: Client, identity: &str) -> Candidacy {
    let nobody = Tasks::new(CancellationToken::new()).spawner();
    hold(client, "ns", "l", identity, Timing::default(), &nobody)
}

/// Part in an election that ends in good order with `stop`, if its work does.
fn part(client: Client, identity: &str) -> (watch::Receiver<bool>, CancellationToken) {
    let (stop, candidacy) = (CancellationToken::new(), candidate(client, identity));
    let (leading, end) = (candidacy.leading(), stop.clone());
    tokio::spawn(async move {
        end.cancelled().await;
        candidacy.give_up(Duration::from_secs(1)).await;
    });
    (leading, stop)
}

fn run(server: &Server, identity: &str) -> (watch::Receiver<bool>, CancellationToken) {
    part(server.client().0, identity)
}

async fn within(receiver: &mut watch::Receiver<bool>, limit: Duration, wanted: bool) -> bool {
    timeout(limit, receiver.wait_for(|held| *held == wanted))
        .await
        .is_ok_and(|result| result.is_ok())
}

#[tokio::test(start_paused = true)]
async fn an_absent_lease_is_taken_at_once() {
    let server = Server::default();
    let (mut leading, _stop) = run(&server, "a");
    assert!(within(&mut leading, Duration::from_millis(100), true).await);
    assert_eq!(server.holder(), "a");
}

#[tokio::test(start_paused = true)]
async fn a_released_lease_is_taken_at_once() {
    let server = Server::held_by("");
    let (mut leading, _stop) = run(&server, "a");
    assert!(within(&mut leading, Duration::from_millis(100), true).await);
}

#[tokio::test(start_paused = true)]
async fn a_silent_holder_is_succeeded_after_its_duration_and_not_before() {
    let server = Server::held_by("dead");
    let (mut leading, _stop) = run(&server, "a");
    assert!(!within(&mut leading, Duration::from_secs(14), true).await);
    assert!(within(&mut leading, Duration::from_secs(4), true).await);
}

#[tokio::test(start_paused = true)]
async fn the_holder_keeps_it_and_a_second_candidate_waits() {
    let server = Server::default();
    let (mut first, _stop) = run(&server, "a");
    assert!(within(&mut first, Duration::from_secs(1), true).await);
    let (mut second, _other) = run(&server, "b");
    assert!(!within(&mut second, Duration::from_secs(120), true).await);
    assert!(*first.borrow());
}

#[tokio::test(start_paused = true)]
async fn shutdown_releases_and_the_next_takes_over_within_a_retry() {
    let server = Server::default();
    let (mut first, stop) = run(&server, "a");
    assert!(within(&mut first, Duration::from_secs(1), true).await);
    let (mut second, _other) = run(&server, "b");
    tokio::time::sleep(Duration::from_secs(5)).await;
    stop.cancel();
    assert!(within(&mut second, Duration::from_millis(2100), true).await);
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_cannot_renew_steps_down_before_it_expires() {
    let server = Server::default();
    let (mut leading, _stop) = run(&server, "a");
    assert!(within(&mut leading, Duration::from_secs(1), true).await);
    *server.down.lock().unwrap() = true;
    assert!(within(&mut leading, Duration::from_secs(14), false).await);
}

/// A client whose next requests are never answered, as many as `hanging` says.
fn hanging(server: &Server, hanging: &Arc<AtomicUsize>) -> Client {
    let (inner, _) = server.client();
    let hanging = Arc::clone(hanging);
    let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
        let (inner, hanging) = (inner.clone(), Arc::clone(&hanging));
        async move {
            let less = |left: usize| left.checked_sub(1);
            if hanging.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok() {
                std::future::pending::<()>().await;
            }
            inner.send(request).await
        }
    });
    Client::new(service, "default")
}

#[tokio::test(start_paused = true)]
async fn a_holder_whose_renewals_hang_steps_down_ten_seconds_after_the_last_one() {
    let (server, hang) = (Server::default(), Arc::default());
    let (mut leading, _stop) = part(hanging(&server, &hang), "a");
    assert!(within(&mut leading, Duration::from_secs(1), true).await);
    // The renewal at 2 s is good, the one at 4 s hangs.
    tokio::time::sleep(Duration::from_secs(3)).await;
    hang.store(usize::MAX, Ordering::Relaxed);
    let begin = Instant::now();
    assert!(within(&mut leading, Duration::from_secs(60), false).await);
    assert!(begin.elapsed() <= Duration::from_millis(9100), "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn one_renewal_that_is_never_answered_ends_no_term() {
    let (server, hang) = (Server::default(), Arc::default());
    let (mut leading, _stop) = part(hanging(&server, &hang), "a");
    assert!(within(&mut leading, Duration::from_secs(1), true).await);
    tokio::time::sleep(Duration::from_secs(3)).await;
    hang.store(1, Ordering::Relaxed);
    assert!(!within(&mut leading, Duration::from_secs(60), false).await);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_others_annotate_stays_with_its_holder() {
    // CTL-33 OP-48
    let server = Server::default();
    let (mut leading, _stop) = run(&server, "a");
    assert!(within(&mut leading, Duration::from_secs(1), true).await);
    for meddlers in [1, 2, 10] {
        server.meddlers.store(meddlers, Ordering::Relaxed);
        assert!(
            !within(&mut leading, Duration::from_secs(20), false).await,
            "{meddlers}"
        );
        assert_eq!(server.meddlers.load(Ordering::Relaxed), 0);
    }
    // For ever: until nobody believes it any more, and not before.
    server.meddlers.store(usize::MAX, Ordering::Relaxed);
    assert!(!within(&mut leading, Duration::from_secs(7), false).await);
    assert!(within(&mut leading, Duration::from_secs(4), false).await);
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_sees_another_one_steps_down_at_once() {
    // CTL-33
    let server = Server::default();
    let (mut leading, _stop) = run(&server, "a");
    assert!(within(&mut leading, Duration::from_secs(1), true).await);
    *server.lease.lock().unwrap() = Server::held_by("b").lease.lock().unwrap().take();
    assert!(within(&mut leading, Duration::from_secs(3), false).await);
    assert_eq!(server.holder(), "b");
}

#[tokio::test(start_paused = true)]
async fn the_lease_is_given_up_when_all_work_is_done_and_not_before() {
    // CTL-33 OP-48
    let server = Server::default();
    let candidacy = candidate(server.client().0, "a");
    let mut leading = candidacy.leading();
    assert!(within(&mut leading, Duration::from_secs(1), true).await);
    let (first, second) = (candidacy.work(), candidacy.work());
    let end = tokio::spawn(candidacy.give_up(Duration::from_secs(60)));
    for work in [first, second] {
        // It is renewed meanwhile.
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!((server.holder().as_str(), *leading.borrow()), ("a", true));
        work.done();
    }
    end.await.unwrap();
    assert_eq!((server.holder().as_str(), *leading.borrow()), ("", false));
}

#[tokio::test(start_paused = true)]
async fn a_lease_whose_work_vanishes_expires() {
    // CTL-33 OP-48
    for given_up in [true, false] {
        let server = Server::default();
        let candidacy = candidate(server.client().0, "a");
        assert!(within(&mut candidacy.leading(), Duration::from_secs(1), true).await);
        let (mut second, _stop) = run(&server, "b");
        tokio::time::sleep(Duration::from_secs(4)).await;
        drop(candidacy.work());
        match given_up {
            true => candidacy.give_up(Duration::from_secs(1)).await,
            false => drop(candidacy),
        }
        assert!(!within(&mut second, Duration::from_secs(10), true).await);
        assert!(within(&mut second, Duration::from_secs(8), true).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_candidate_that_ends_before_the_stop_signal_fails_the_process() {
    let tasks = Tasks::new(CancellationToken::new());
    let (client, _) = crate::testing::client(|_| panic!("out of luck"));
    let candidacy = hold(client, "ns", "l", "a", Timing::default(), &tasks.spawner());
    let error = tasks.join(Duration::from_secs(1)).await.unwrap_err();
    assert_eq!(error.to_string(), "task lease failed");
    candidacy.give_up(Duration::from_secs(1)).await;
}
