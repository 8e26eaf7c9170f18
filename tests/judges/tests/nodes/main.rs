//! The product on real nodes: what only a kubelet judges, and only a real kube-proxy forwards.

mod bfd;
mod doors;
mod families;
mod frr;
mod processes;
mod rights;
mod upgrade;

use std::process::ExitCode;

use metallb_test_support::harness::{Test, main as run};
use metallb_test_support::{ClusterKind, RouterKind};

fn main() -> ExitCode {
    run(&[
        Test {
            name: "the_plain_manifest_leads_to_answers_and_goes_again",
            on: ClusterKind::NODES_BOTH,
            skip: || None,
            body: doors::plain,
        },
        Test {
            name: "everything_is_reached_on_nodes_with_ipv6_alone",
            on: ClusterKind::NODES,
            skip: || None,
            body: families::six,
        },
        Test {
            name: "everything_is_reached_on_nodes_with_both_families",
            on: ClusterKind::NODES_NFTABLES,
            skip: || None,
            body: families::both,
        },
        Test {
            name: "pods_can_do_what_they_must_and_no_more",
            on: ClusterKind::NODES,
            skip: || None,
            body: rights::of_processes,
        },
        Test {
            name: "neither_a_restart_nor_an_upgrade_loses_a_request",
            on: ClusterKind::NODES,
            skip: || None,
            body: upgrade::under_load,
        },
        Test {
            name: "bfd_takes_the_routes_out_when_the_router_falls_silent",
            on: ClusterKind::NODES,
            skip: || RouterKind::Frr.obstacle(),
            body: bfd::from_pods,
        },
        Test {
            name: "frr_beside_the_speaker_announces_withdraws_and_is_told_anew",
            on: ClusterKind::NODES,
            skip: || RouterKind::Frr.obstacle(),
            body: frr::in_pods,
        },
    ])
}
