//! The product on a real control plane, end to end: real binaries in network namespaces, judged from outside.
//!
//! Each test runs in namespaces of its own, which vanish with it; what this machine cannot run is skipped aloud.

mod admission;
mod load;
mod operator;
mod process;

use std::process::ExitCode;

use metallb_test_support::harness::{Test, main_proving_rights as run};
use metallb_test_support::{ClusterKind, RouterKind};
use metallb_tests::{faults, path, visible};

fn main() -> ExitCode {
    run(&[
        Test {
            name: "the_whole_path_works_with_frr",
            on: ClusterKind::NODES,
            skip: || RouterKind::Frr.obstacle(),
            body: path::with_frr,
        },
        Test {
            name: "the_whole_path_works_with_bird",
            on: ClusterKind::NODES_NFTABLES,
            skip: || RouterKind::Bird.obstacle(),
            body: path::with_bird,
        },
        Test {
            name: "the_whole_path_works_with_the_built_in_router",
            on: ClusterKind::OLDEST,
            skip: || None,
            body: path::with_builtin,
        },
        Test {
            name: "what_is_gone_is_withdrawn",
            on: ClusterKind::NODES,
            skip: || None,
            body: path::withdrawals,
        },
        Test {
            name: "users_see_who_announces_from_first_to_last",
            on: ClusterKind::OLDEST,
            skip: || None,
            body: visible::from_first_to_last,
        },
        Test {
            name: "restarts_move_no_address",
            on: ClusterKind::NODES_AND_OLDEST,
            skip: || None,
            body: faults::restarts,
        },
        Test {
            name: "five_restarts_under_load_move_no_address",
            on: ClusterKind::NODES,
            skip: || None,
            body: load::restarts_under_load,
        },
        Test {
            name: "malformed_objects_stop_no_component",
            on: ClusterKind::NODES_AND_OLDEST,
            skip: || None,
            body: faults::malformed_objects,
        },
        Test {
            name: "the_operator_repairs_what_is_changed_behind_its_back",
            on: ClusterKind::NODES_AND_OLDEST,
            skip: || None,
            body: faults::drift,
        },
        Test {
            name: "every_back_end_is_deployed_with_the_shipped_rights_and_leaves_nothing_behind",
            on: ClusterKind::CONTROL_PLANES,
            skip: || None,
            body: operator::back_ends,
        },
        Test {
            name: "settings_of_the_resource_roll_out_and_back",
            on: ClusterKind::NODES,
            skip: || None,
            body: operator::roll_outs,
        },
        Test {
            name: "what_a_deletion_orphans_runs_on_until_another_resource_takes_it_over",
            on: ClusterKind::NODES,
            skip: || None,
            body: operator::orphans,
        },
        Test {
            name: "an_operator_that_ends_holds_up_no_deletion",
            on: ClusterKind::NODES_AND_OLDEST,
            skip: || None,
            body: operator::last_one_out,
        },
        Test {
            name: "a_resource_that_has_no_effect_is_refused_and_otherwise_says_so",
            on: ClusterKind::NODES,
            skip: || None,
            body: admission::misplaced,
        },
        Test {
            name: "no_request_fails_while_the_operators_certificate_is_renewed_ahead_of_its_end",
            on: ClusterKind::NODES,
            skip: || None,
            body: admission::renewal,
        },
        Test {
            name: "the_operator_is_ready_when_its_webhook_can_serve_and_not_before",
            on: ClusterKind::NEWEST,
            skip: || None,
            body: process::by_itself,
        },
    ])
}
