//! The BFD shell over real UDP: against a scripted router on loopback, and against FRR and BIRD in network namespaces.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../bgp/router.rs"]
#[allow(dead_code, reason = "the tests of BGP use the rest of it")]
mod bgp_router;
mod bird;
mod changes;
mod frr;
mod guard;
mod many;
#[path = "../bgp/neighbour.rs"]
mod neighbour;
mod restart;
mod router;
mod wire;

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use metallb_dataplane::{
    bfd::{BfdHandle, Hops, SessionConfig, SessionKey, SessionState, Sessions, State},
    bgp::{self, BgpHandle},
};
use metallb_test_runner::{main as run, tests};
use tokio_util::sync::CancellationToken;

/// How long anything may take before a test gives up; generous, as machines are busy.
const PATIENCE: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    run(tests![
        wire::packets_leave_with_ttl_255_from_a_high_port_that_stays,
        wire::ipv6_and_link_local_peers_are_reached,
        wire::what_was_routed_is_refused_over_one_hop_and_taken_over_several,
        wire::a_port_that_another_daemon_has_is_reported_until_it_is_free,
        wire::malformed_packets_are_counted_with_their_reasons,
        wire::a_missing_vrf_is_named,
        wire::echoes_over_several_hops_are_told_to_have_no_effect,
        wire::forwarding_is_followed_without_a_loss_of_the_session,
        wire::a_missing_interface_is_reported_until_it_is_there,
        wire::a_session_that_ends_and_the_end_of_the_process_are_no_failures,
        wire::the_same_router_in_two_vrfs_is_two_sessions,
        guard::bgp_ends_when_the_path_fails_and_does_not_wait_for_it,
        guard::bgp_outlives_bfd_that_is_switched_off_or_was_never_there,
        guard::what_concerns_no_peer_is_noticed_by_no_router,
        guard::a_peer_that_gets_onto_the_link_is_noticed,
        guard::addresses_are_followed_again_after_a_failure_of_netlink,
        guard::neighbours_are_told_from_others,
        frr::frr_is_up_over_one_hop_with_either_family,
        frr::frr_is_up_over_several_hops,
        frr::frr_is_up_with_link_local_addresses,
        frr::frozen_frr_is_down_at_the_detection_time_and_comes_back,
        frr::frr_takes_the_end_of_a_session_for_no_failure,
        frr::frr_keeps_the_session_while_our_profile_changes,
        frr::frr_may_change_its_own_profile,
        frr::frr_returns_our_echoes_and_their_loss_is_noticed,
        frr::frr_gets_its_echoes_back,
        frr::frr_stops_its_echoes_when_we_stop_to_forward,
        frr::a_router_returns_our_echoes_over_ipv6,
        frr::bgp_with_frr_ends_when_its_bfd_is_silent_and_is_back_by_itself,
        frr::an_unnumbered_frr_is_watched_where_it_is_found,
        restart::bfd_that_is_switched_off_for_a_restart_costs_frr_no_route,
        restart::bfd_that_fails_ends_graceful_restart_as_well,
        frr::frr_that_is_shut_down_has_not_failed,
        many::the_thread_goes_before_others_where_that_is_allowed,
        many::hundreds_of_sessions_come_up_and_hold,
        many::a_thousand_sessions_hold_for_two_minutes,
        changes::in_any_order_sessions_come_go_and_change_and_none_of_it_is_a_failure,
        changes::the_same_sessions_200_times_over_are_no_change,
        changes::sessions_hold_while_all_processors_are_busy,
        changes::a_device_that_is_replaced_by_another_of_its_name_is_heard_again,
        bird::bird_is_up_over_one_hop_with_either_family,
        bird::bird_is_up_over_several_hops,
        bird::frozen_bird_is_down_at_the_detection_time_and_comes_back,
        bird::bird_keeps_the_session_while_our_profile_changes,
    ])
}

fn fast() -> SessionConfig {
    SessionConfig {
        transmit_interval: Duration::from_millis(100),
        receive_interval: Duration::from_millis(100),
        // Patient, as the machine may be busy.
        multiplier: 30,
        ..SessionConfig::default()
    }
}

fn key(peer: &str) -> SessionKey {
    SessionKey::new(peer.parse().unwrap(), Hops::Single)
}

fn far(peer: &str) -> SessionKey {
    SessionKey::new(peer.parse().unwrap(), Hops::Multi)
}

/// Starts the shell without sessions.
fn shell() -> (BfdHandle, CancellationToken) {
    let stop = CancellationToken::new();
    let (handle, run) = metallb_dataplane::bfd::start(stop.clone()).unwrap();
    tokio::spawn(run);
    (handle, stop)
}

/// Starts the shell with these sessions.
fn speaker(keys: impl IntoIterator<Item = SessionKey>) -> BfdHandle {
    let (handle, _) = shell();
    set(&handle, keys, &fast());
    handle
}

fn set(handle: &BfdHandle, keys: impl IntoIterator<Item = SessionKey>, config: &SessionConfig) {
    let sessions = keys.into_iter().map(|key| (key, config.clone()));
    handle.set_sessions(sessions.collect::<BTreeMap<_, _>>());
}

/// Waits until the sessions satisfy a claim.
async fn sessions(handle: &BfdHandle, claim: impl Fn(&Sessions) -> bool) -> Sessions {
    let mut sessions = handle.sessions();
    match tokio::time::timeout(PATIENCE, sessions.wait_for(claim)).await {
        Ok(sessions) => sessions.unwrap().clone(),
        Err(_) => panic!(
            "still waiting: {:?} {:?}",
            handle.sessions().borrow(),
            handle.refusals()
        ),
    }
}

/// Waits until a session satisfies a claim.
async fn session(handle: &BfdHandle, key: &SessionKey, claim: impl Fn(&SessionState) -> bool) -> SessionState {
    let found = sessions(handle, |sessions| sessions.get(key).is_some_and(&claim)).await;
    found[key].clone()
}

async fn up(handle: &BfdHandle, key: &SessionKey) -> SessionState {
    session(handle, key, |session| session.status.state == State::Up).await
}

/// Waits until the peer has confirmed our rate, and it is in force.
async fn agreed(handle: &BfdHandle, key: &SessionKey, interval: Duration) {
    session(handle, key, |session| {
        let status = &session.status;
        status.state == State::Up && !status.polling && status.transmit_interval == interval
    })
    .await;
}

/// Waits until BGP with FRR has been up for a while beside BFD: FRR drops the first session once.
async fn bgp_settled(bgp: &BgpHandle) {
    let since = |sessions: &bgp::Sessions| {
        let session = sessions.get("frr").filter(|session| session.up);
        session.map(|session| session.since)
    };
    let mut sessions = bgp.sessions();
    let settled = async {
        loop {
            let begun = since(&sessions.wait_for(|all| since(all).is_some()).await.unwrap());
            tokio::time::sleep(Duration::from_secs(3)).await;
            if since(&sessions.borrow()) == begun {
                return;
            }
        }
    };
    assert!(
        tokio::time::timeout(PATIENCE, settled).await.is_ok(),
        "BGP does not stay up"
    );
}

async fn down(handle: &BfdHandle, key: &SessionKey) -> SessionState {
    session(handle, key, |session| {
        session.status.was_up && session.status.state != State::Up
    })
    .await
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

/// Sends a signal to a daemon.
fn signal(pid: u32, signal: &str) {
    neighbour::run(&format!("kill {signal} {pid}"));
}

/// Freezes a daemon, prints how long it takes until the session is down, and has it go on.
async fn freeze(handle: &BfdHandle, key: &SessionKey, pid: u32) -> SessionState {
    let agreed = up(handle, key).await.status.detection_time.unwrap();
    let begun = std::time::Instant::now();
    signal(pid, "-STOP");
    let state = down(handle, key).await;
    println!(
        "{key} is down {:?} after SIGSTOP, agreed were {agreed:?}",
        state.status.since - begun
    );
    signal(pid, "-CONT");
    state
}
