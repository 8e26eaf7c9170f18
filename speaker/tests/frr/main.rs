//! The back-ends `frr` and `frr-k8s` from the API server to the router: the speaker, the reloader and FRR as in one pod, or
//! with frr-k8s' own program in between; another FRR as the router.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod changes;
#[path = "../../../dataplane/frr/tests/frr/daemons.rs"]
mod daemons;
mod handed;
mod node;
mod whole;

use std::process::ExitCode;

use metallb_test_runner::{main as run, tests};

fn main() -> ExitCode {
    // As the image does: what this is depends on how it is called.
    if std::env::args()
        .next()
        .is_some_and(|called| called.ends_with(node::RELOADER))
    {
        return metallb_frr_tools::reloader();
    }
    run(tests![
        whole::services_and_peers_come_and_go_at_the_router,
        whole::a_new_speaker_resets_no_session_and_a_new_bgpd_learns_all_again,
        whole::frr_may_start_after_the_speaker,
        whole::a_router_with_graceful_restart_keeps_the_routes_while_all_of_the_pod_is_gone,
        whole::what_frr_refuses_is_told_in_its_words_and_changes_nothing,
        handed::frr_k8s_announces_what_it_is_handed,
        handed::the_webhook_of_frr_k8s_takes_all_that_it_is_handed,
        handed::what_frr_k8s_refuses_is_told_in_its_words,
        changes::frr_takes_a_hundred_services_more_and_less_without_a_flap,
        changes::from_back_end_to_back_end_the_router_ends_with_the_routes_that_are_wanted,
        changes::with_graceful_restart_a_change_of_back_ends_costs_no_route,
    ])
}
