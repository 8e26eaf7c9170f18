//! The BGP shell over real TCP: against a scripted router on loopback, and against FRR and BIRD in network namespaces.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod bird;
mod frr;
#[path = "../namespace/mod.rs"]
mod namespace;
mod neighbour;
mod router;
mod shell;

use std::time::Duration;

use metallb_dataplane::bgp::{AdvertisedRoute, BgpHandle, PeerConfig, Route, SessionState};

/// Is how long anything may take before a test gives up; generous, as machines are busy.
const PATIENCE: Duration = Duration::from_secs(30);

fn route(prefix: &str) -> AdvertisedRoute {
    AdvertisedRoute {
        route: Route::new(prefix.parse().unwrap()),
        peers: [].into(),
    }
}

/// Makes that many host routes with equal attributes.
fn host_routes(count: u32) -> Vec<AdvertisedRoute> {
    (0..count)
        .map(|n| route(&format!("192.168.{}.{}/32", n / 256, n % 256)))
        .collect()
}

/// Starts the shell with one peer and these routes.
fn speaker(peer: PeerConfig, routes: Vec<AdvertisedRoute>) -> BgpHandle {
    let handle = metallb_dataplane::bgp::spawn(tokio_util::sync::CancellationToken::new());
    handle.set_routes(routes);
    handle.set_peers(vec![peer]);
    handle
}

/// Waits until the session of a peer satisfies a claim.
async fn session(handle: &BgpHandle, peer: &str, claim: impl Fn(&SessionState) -> bool) -> SessionState {
    let mut sessions = handle.sessions();
    let satisfied = sessions.wait_for(|sessions| sessions.get(peer).is_some_and(&claim));
    match tokio::time::timeout(PATIENCE, satisfied).await {
        Ok(sessions) => sessions.unwrap()[peer].clone(),
        Err(_) => panic!("still waiting for {peer}: {:?}", handle.sessions().borrow()),
    }
}

/// Asks again and again until the answer is there; else shows the last one.
async fn eventually<T, E: std::fmt::Display>(what: &str, mut ask: impl FnMut() -> Result<T, E>) -> T {
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(answer) => assert!(tokio::time::Instant::now() < end, "still missing: {what}\n{answer}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
