//! The back-ends `frr` and `frr-k8s` from the API server to the router: the speaker, the reloader and FRR as in one pod, or
//! with frr-k8s' own program in between; another FRR as the router.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

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
        handed::what_frr_k8s_refuses_is_told_in_its_words,
    ])
}
