//! Bundle and catalog, judged by OLM's own tools.
//!
//! The tools are built once, by Go; without Go these tests are skipped.

#![allow(clippy::unwrap_used, reason = "clippy takes the helpers of tests for no tests")]

mod bundle;
mod catalog;

use std::process::ExitCode;

use metallb_test_runner::{main as run, tests};

fn main() -> ExitCode {
    run(tests![
        bundle::operator_verify_finds_nothing_in_the_bundle,
        bundle::operator_verify_finds_nothing_new_in_the_bundle_for_operator_hub,
        bundle::opm_accepts_the_catalog,
        bundle::opm_makes_the_same_of_the_bundle_as_the_catalog_has,
        catalog::the_catalog_is_served_with_package_channels_and_bundle,
    ])
}
