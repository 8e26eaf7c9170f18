//! The BGP shell over real TCP: against a scripted router on loopback, and against FRR, BIRD and GoBGP in network namespaces.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod bird;
mod commands;
mod flood;
mod frr;
mod gobgp;
mod listening;
mod matrix;
mod neighbour;
mod restart;
mod restart_routers;
mod router;
mod shell;
mod soak;
mod unnumbered;
mod wire;
mod words;

use std::{process::ExitCode, sync::Arc, time::Duration};

use metallb_dataplane::bgp::{Attributes, BgpHandle, Path, PeerConfig, RouteChange, SessionState};
use metallb_test_runner::{main as run, tests};

/// How long anything may take before a test gives up; generous, as machines are busy.
const PATIENCE: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    let own = tests![
        shell::routes_reach_the_router_and_counters_say_so,
        shell::a_peer_that_never_stops_sending_leaves_others_their_turn,
        shell::ipv6_peer_is_dialled,
        shell::link_local_peer_is_dialled_on_its_interface,
        shell::device_of_the_peer_is_used,
        shell::unchanged_peer_is_not_touched,
        shell::changed_removed_and_shut_down_peers_are_told_why,
        shell::lost_session_returns_at_once_with_all_routes,
        shell::routes_reach_the_listed_peers_only,
        shell::only_differences_are_sent,
        shell::fifteen_hundred_prefixes_take_two_updates_each_way,
        shell::black_holed_and_stuck_peers_delay_no_other,
        shell::missing_source_address_is_named,
        commands::nothing_is_announced_before_the_routes_are_known,
        commands::reset_session_is_told_so_and_returns_at_once,
        commands::drained_session_stays_up_until_it_is_resumed,
        commands::a_look_shows_what_the_peer_knows,
        commands::renamed_peer_is_dialled_when_the_old_connection_is_closed,
        commands::router_that_refuses_is_not_dialled_at_once,
        commands::burst_of_single_changes_is_packed,
        commands::family_that_the_peer_does_not_offer_is_told,
        shell::eighty_octets_are_accepted_for_both_families,
        shell::md5_keys_must_agree,
        frr::frr_learns_routes_with_their_communities_and_loses_them,
        frr::frr_in_our_as_sees_the_local_preference,
        frr::frr_learns_ipv6_routes_over_either_family,
        frr::frozen_frr_is_down_at_the_hold_time,
        frr::frr_that_expects_another_as_is_not_stormed,
        frr::frr_with_a_password_wants_the_same_one,
        frr::frr_may_ask_for_everything_again,
        frr::frr_takes_fifteen_hundred_prefixes_in_two_updates_each_way,
        restart::only_the_first_peers_are_told_of_a_restart_and_only_once,
        restart::end_of_rib_waits_until_the_routes_are_known,
        restart::who_comes_back_says_nothing_and_who_leaves_says_so_hard,
        restart::peer_that_is_changed_keeps_the_routes_unless_it_leads_elsewhere,
        restart_routers::frr_keeps_the_routes_of_a_killed_speaker_until_it_is_back,
        restart_routers::frr_keeps_both_families_over_a_restart_and_forgets_what_is_gone,
        restart_routers::frr_without_graceful_restart_withdraws_when_the_connection_closes,
        restart_routers::frr_forgets_a_node_that_leaves_at_once,
        restart_routers::frr_keeps_the_routes_when_the_peer_changes,
        restart_routers::bird_keeps_the_routes_of_a_killed_speaker_until_it_is_back,
        restart_routers::bird_without_graceful_restart_withdraws_when_the_connection_closes,
        restart_routers::gobgp3_keeps_the_routes_of_a_killed_speaker_until_it_is_back,
        restart_routers::gobgp4_keeps_the_routes_of_a_killed_speaker_until_it_is_back,
        flood::a_million_routes_of_the_router_take_no_memory,
        commands::routes_are_shunned_before_they_go_with_peers_to_come_as_well,
        words::frr_prefers_other_paths_to_shunned_ones,
        words::frr_gets_begin_and_end_of_the_table_that_it_asks_for,
        words::bird_gets_begin_and_end_of_the_table_that_it_asks_for,
        words::what_people_write_goes_both_ways_with_frr,
        words::capabilities_are_offered_once_each,
        wire::no_syn_leaves_unsigned_while_there_is_a_password,
        wire::what_came_over_a_router_is_not_heard_with_ttl_security,
        wire::router_of_the_wrong_kind_of_as_is_told_which,
        listening::passive_peer_waits_and_strangers_are_refused,
        listening::range_takes_whom_it_has_room_for_and_forgets_them,
        listening::keys_of_those_who_connect_are_taken_up_live,
        listening::port_that_is_taken_is_told_and_nothing_else_suffers,
        listening::who_connects_while_descriptors_are_short_waits_for_one,
        listening::members_of_a_range_sign_with_its_key,
        listening::of_our_connection_and_the_routers_one_is_left,
        listening::frr_with_the_higher_identifier_that_dials_too_has_one_session,
        listening::frr_with_the_lower_identifier_that_dials_too_has_one_session,
        listening::frr_may_be_the_one_that_dials,
        listening::frr_with_ttl_security_wants_it_of_us,
        unnumbered::what_keeps_a_router_from_being_found_is_told,
        unnumbered::frr_on_a_link_without_addresses_is_found_and_found_again,
        unnumbered::frr_that_is_no_default_router_is_found,
        unnumbered::a_link_is_told_that_the_node_leaves_for_good,
        bird::bird_learns_both_families_with_their_communities,
        bird::bird_takes_an_ipv6_session,
        bird::bird_without_four_octet_numbers_understands_the_path,
        bird::bird_without_four_octet_numbers_learns_a_long_one,
        bird::bird_takes_fifteen_hundred_prefixes_in_one_extended_update_each_way,
        soak::tables_equal_what_is_desired_whenever_things_come_to_rest,
    ];
    run(own.into_iter().chain(matrix::tests()))
}

fn route(prefix: &str) -> RouteChange {
    route_with(prefix, Attributes::default())
}

fn route_with(prefix: &str, attributes: Attributes) -> RouteChange {
    RouteChange {
        prefix: prefix.parse().unwrap(),
        paths: vec![Path::to_all(Arc::new(attributes))],
    }
}

/// Withdraws what these announce.
fn gone(routes: Vec<RouteChange>) -> Vec<RouteChange> {
    let without = |route| RouteChange { paths: vec![], ..route };
    routes.into_iter().map(without).collect()
}

/// Makes that many host routes with equal attributes.
fn host_routes(count: u32) -> Vec<RouteChange> {
    (0..count)
        .map(|n| route(&format!("192.168.{}.{}/32", n / 256, n % 256)))
        .collect()
}

/// Starts the shell without peers and routes.
fn shell() -> BgpHandle {
    let (handle, run) = metallb_dataplane::bgp::start(tokio_util::sync::CancellationToken::new());
    tokio::spawn(run);
    handle
}

/// Starts the shell with one peer and these routes.
fn speaker(peer: PeerConfig, routes: Vec<RouteChange>) -> BgpHandle {
    let handle = shell();
    handle.change_routes(routes);
    handle.routes_known();
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
