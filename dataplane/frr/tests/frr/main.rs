//! Golden files, and what a real FRR makes of them.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::disallowed_methods, reason = "only the crate itself reads no clock")]

mod cases;
mod daemons;
mod golden;
mod load;
mod routes;

use std::process::ExitCode;

use metallb_test_runner::{main as run, tests};

fn main() -> ExitCode {
    run(tests![
        golden::every_desire_gives_the_recorded_file,
        load::vtysh_understands_every_golden_file,
        load::a_second_reload_of_any_golden_file_changes_nothing,
        load::passwords_of_every_sort_load,
        routes::routes_arrive_with_their_communities_and_preferences_and_bfd_is_up,
        routes::routes_of_both_families_arrive_without_numbered_addresses,
        routes::users_own_lines_let_routes_in,
    ])
}
