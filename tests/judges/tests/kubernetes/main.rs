//! What Kubernetes itself says of the product: of its schemas, its manifests, its rules, its manners.
//!
//! No node of these labs carries traffic; what the product does there is in the target `e2e`.

#![allow(clippy::unwrap_used, reason = "clippy takes the helpers of tests for no tests")]

mod asking;
mod deletion;
mod doors;
mod handed;
mod kubectl;
mod limits;
mod managers;
mod migration;
mod namespace;
mod olm;
mod rules;
mod scrape;
mod tokens;

use std::process::ExitCode;

use metallb_test_support::ClusterKind;
use metallb_test_support::harness::{Test, main as run};
use metallb_tests::schemas;

fn main() -> ExitCode {
    run(&[
        Test {
            name: "every_field_is_judged_as_tabulated",
            on: ClusterKind::CONTROL_PLANES,
            skip: || None,
            body: schemas::fields,
        },
        Test {
            name: "the_manifests_are_accepted_without_a_warning",
            on: ClusterKind::CONTROL_PLANES,
            skip: || None,
            body: schemas::manifests,
        },
        Test {
            name: "every_rule_refuses_its_example_in_a_cluster",
            on: ClusterKind::NEWEST,
            skip: || None,
            body: rules::refusals,
        },
        Test {
            name: "field_managers_leave_each_other_alone",
            on: ClusterKind::CONTROL_PLANES,
            skip: || None,
            body: managers::leave_each_other_alone,
        },
        Test {
            name: "the_operator_works_as_olm_installs_it",
            on: ClusterKind::NODES,
            skip: || None,
            body: olm::installed::by_olm,
        },
        Test {
            name: "kubectl_shows_what_people_want_to_know",
            on: ClusterKind::NODES,
            skip: kubectl::obstacle,
            body: kubectl::outputs,
        },
        Test {
            name: "the_manifests_are_applied_by_kubectl_as_often_as_one_likes",
            on: ClusterKind::NEWEST,
            skip: kubectl::obstacle,
            body: doors::plain,
        },
        Test {
            name: "deleting_a_manifest_takes_away_what_it_made",
            on: ClusterKind::NODES,
            skip: kubectl::obstacle,
            body: deletion::of_the_files,
        },
        Test {
            name: "the_manifests_without_an_operator_give_way_to_it_and_come_back",
            on: ClusterKind::NODES,
            skip: kubectl::obstacle,
            body: migration::there_and_back,
        },
        Test {
            name: "deleting_the_operator_before_its_resource_ends",
            on: ClusterKind::NODES,
            skip: kubectl::obstacle,
            body: deletion::of_the_operator,
        },
        Test {
            name: "deleting_everything_at_once_ends",
            on: ClusterKind::NODES,
            skip: kubectl::obstacle,
            body: deletion::of_everything,
        },
        Test {
            name: "a_namespace_ends_though_nobody_serves_its_webhooks",
            on: ClusterKind::CONTROL_PLANES,
            skip: || None,
            body: namespace::without_a_server,
        },
        Test {
            name: "no_webhook_outlives_the_namespace_of_its_server",
            on: ClusterKind::NEWEST,
            skip: || None,
            body: metallb_tests::namespace::with_everything,
        },
        Test {
            name: "kubectl_metallb_asks_speakers_through_the_api_server",
            on: ClusterKind::NEWEST,
            skip: || None,
            body: asking::speakers,
        },
        Test {
            name: "metrics_are_given_to_those_who_may_read_them",
            on: ClusterKind::NODES,
            skip: || None,
            body: scrape::by_rights,
        },
        Test {
            name: "frr_k8s_is_handed_what_its_definitions_take",
            on: ClusterKind::NEWEST,
            skip: handed::obstacle,
            body: handed::to_frr_k8s,
        },
        Test {
            name: "tokens_die_with_their_pods",
            on: ClusterKind::NODES,
            skip: || None,
            body: tokens::die_with_their_pods,
        },
        Test {
            name: "a_thousand_services_and_fifty_nodes_are_borne",
            on: ClusterKind::NEWEST,
            skip: || None,
            body: limits::many,
        },
    ])
}
