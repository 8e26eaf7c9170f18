//! The tools beside a real FRR.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod copying;
#[path = "../../../../dataplane/frr/tests/frr/daemons.rs"]
mod daemons;
mod exporting;
mod reloading;

use std::process::ExitCode;

use metallb_test_runner::{main as run, tests};

fn main() -> ExitCode {
    run(tests![
        copying::the_copy_is_as_executable_as_the_file,
        copying::whatever_goes_wrong_is_said_and_the_code_is_zero,
        exporting::sessions_are_shown_to_whoever_has_a_token_and_life_to_everybody,
        exporting::a_daemon_that_hangs_holds_up_neither_answers_nor_programs,
        reloading::what_the_speaker_wants_is_applied_and_told,
        reloading::routes_come_and_go_without_a_reload,
        reloading::a_file_that_frr_cannot_read_changes_nothing_and_is_told_in_its_words,
        reloading::what_is_half_applied_is_taken_back,
        reloading::a_daemon_that_starts_anew_is_told_again,
        reloading::what_is_wanted_before_frr_runs_is_applied_when_it_does,
        reloading::a_new_reloader_applies_what_the_last_one_did_not,
        reloading::what_a_dead_daemon_could_not_be_told_is_told_to_its_successor,
        reloading::what_dead_daemons_could_not_be_told_is_told_to_their_successors,
        reloading::signals_during_a_reload_lead_to_the_newest_file,
        reloading::a_burst_of_changes_is_one_reload,
    ])
}
