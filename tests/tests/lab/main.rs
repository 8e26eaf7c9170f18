//! The product in the lab, end to end: real binaries in network namespaces, judged from outside.
//!
//! Each test runs in namespaces of its own, which vanish with it. The judges run the same and more on real Kubernetes.

use std::process::ExitCode;

use metallb_test_support::harness::{Test, main as run};
use metallb_test_support::{ClusterKind, RouterKind};
use metallb_tests::{faults, graceful, memberless, monitoring, namespace, path, visible};

fn main() -> ExitCode {
    run(&[
        Test {
            name: "the_whole_path_works_with_the_built_in_router",
            on: ClusterKind::EMBEDDED,
            skip: || None,
            body: path::with_builtin,
        },
        Test {
            name: "users_see_who_announces_from_first_to_last",
            on: ClusterKind::EMBEDDED,
            skip: || None,
            body: visible::from_first_to_last,
        },
        Test {
            name: "without_membership_a_dead_node_loses_its_address",
            on: ClusterKind::EMBEDDED,
            skip: || None,
            body: memberless::dead_node_loses_its_address,
        },
        Test {
            name: "prometheus_gets_what_alerts_and_dashboard_ask_for",
            on: ClusterKind::EMBEDDED,
            skip: monitoring::obstacle,
            body: monitoring::with_prometheus,
        },
        Test {
            name: "restarts_move_no_address",
            on: ClusterKind::EMBEDDED,
            skip: || None,
            body: faults::restarts,
        },
        Test {
            name: "frr_loses_no_route_over_restarts_and_those_of_drained_nodes",
            on: ClusterKind::EMBEDDED,
            skip: || RouterKind::Frr.obstacle(),
            body: graceful::restarts_and_drains,
        },
        Test {
            name: "malformed_objects_stop_no_component",
            on: ClusterKind::EMBEDDED,
            skip: || None,
            body: faults::malformed_objects,
        },
        Test {
            name: "the_operator_repairs_what_is_changed_behind_its_back",
            on: ClusterKind::EMBEDDED,
            skip: || None,
            body: faults::drift,
        },
        Test {
            name: "no_webhook_outlives_the_namespace_of_its_server",
            on: ClusterKind::EMBEDDED,
            skip: || None,
            body: namespace::with_everything,
        },
    ])
}
