//! The product under faults of its API server, in the lab: components behind a proxy that plays a script, the test
//! beside it.

mod chaos;
mod churn;
mod etiquette;
mod faults;
mod frames;
mod judge;
mod memory;
mod plan;
mod world;

use std::process::ExitCode;

use metallb_test_support::ClusterKind;
use metallb_test_support::harness::{Test, main as run};

fn main() -> ExitCode {
    run(&[
        Test {
            name: "random_faults_break_no_promise",
            on: ClusterKind::NEWEST,
            skip: || None,
            body: chaos::random_faults,
        },
        Test {
            name: "requests_are_few_and_each_fault_is_survived",
            on: ClusterKind::NEWEST,
            skip: || None,
            body: faults::one_by_one,
        },
    ])
}
