//! The charts, judged by Helm itself: what they render, what they refuse, and that it is what the operator deploys.
//!
//! Helm is built once, by Go; without Go these tests are skipped.

#![allow(clippy::unwrap_used, reason = "clippy takes the helpers of tests for no tests")]

mod alerts;
mod frr_k8s;
mod helm;
mod installer;
mod names;
mod operator;
mod refusals;
mod users;
#[path = "../../../../operator/manifests/tests/users/judge.rs"]
mod users_judge;
mod values;
mod whole;

use std::process::ExitCode;

use metallb_test_runner::{main as run, tests};

fn main() -> ExitCode {
    run(tests![
        alerts::every_alert_waits_a_minute_and_has_upstreams_severity,
        alerts::a_lost_session_is_reported_whoever_speaks,
        alerts::expressions_are_upstreams_with_the_users_exceptions,
        alerts::alerts_find_their_metrics_whatever_the_release_is_called,
        alerts::every_expression_is_promql,
        alerts::our_own_alerts_are_those_of_the_operator,
        alerts::the_dashboard_is_that_of_the_file,
        alerts::an_alert_can_be_left_out_and_others_added,
        alerts::pod_monitors_scrape_with_a_token_of_their_own,
        alerts::service_monitors_select_headless_services_with_the_metrics_ports,
        alerts::service_monitors_bring_their_token_and_name_no_file,
        alerts::a_certificate_is_checked_once_its_authority_is_named,
        alerts::annotations_for_scraping_name_the_scheme,
        alerts::policies_select_our_own_pods_and_ports_by_name,
        installer::the_operators_chart_installs_what_its_manifest_does,
        installer::everything_follows_the_releases_namespace,
        installer::values_reach_operator_and_webhook_server,
        installer::an_unknown_value_of_the_operators_chart_is_refused,
        names::a_release_has_upstreams_objects,
        names::selectors_are_upstreams_so_that_an_upgrade_keeps_the_workloads,
        names::names_start_with_the_release_or_what_replaces_it,
        names::upstreams_policy_holds,
        names::definitions_outlive_the_release_unless_told_otherwise,
        names::without_a_backend_there_is_no_webhook_and_no_conversion,
        names::no_authority_is_rendered_and_every_webhook_calls_into_the_releases_namespace,
        names::the_charts_are_of_the_release_of_their_sources,
        operator::the_same_intent_makes_the_same_objects,
        operator::rights_and_webhooks_are_those_of_the_other_ways_to_install,
        refusals::values_that_contradict_each_other_are_refused_with_what_to_change,
        refusals::an_unknown_value_is_refused_with_those_that_exist,
        refusals::a_value_of_the_wrong_kind_is_refused_by_its_name,
        refusals::a_scrape_interval_may_be_a_duration_or_seconds,
        users::what_the_charts_deploy_can_do_what_it_must,
        values::flags_come_in_upstreams_order,
        values::the_programs_understand_their_flags,
        values::metrics_certificates_are_mounted_where_the_flag_points,
        values::without_memberlist_nothing_of_it_is_left,
        values::memberlist_can_be_moved_and_renamed,
        values::pod_settings_reach_their_component_and_no_other,
        values::rollouts_happen_as_told,
        values::as_many_old_revisions_are_kept_as_told,
        values::upstreams_default_images_are_ours_and_pinned_ones_stay,
        values::excluded_interfaces_can_be_added_to_and_replaced,
        values::a_part_can_be_left_out,
        frr_k8s::values_of_frr_k8s_are_passed_on,
        frr_k8s::each_container_of_frr_has_its_values,
        frr_k8s::frr_is_started_without_a_shell_as_the_values_say,
        frr_k8s::frr_k8s_runs_where_the_speakers_do_unless_told_otherwise,
        values::pods_run_where_there_is_an_image_for_and_where_their_affinity_says,
        frr_k8s::the_speaker_may_write_frr_configurations_only_for_frr_k8s,
        whole::a_values_file_of_upstream_renders_as_it_is,
        whole::helm_finds_nothing_wrong,
        whole::no_object_is_rendered_twice,
        whole::the_charts_can_be_packed_and_are_small,
    ])
}
