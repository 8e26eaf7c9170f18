//! What Kubernetes itself says of the product: of its schemas, its manifests, its rules, its manners.
//!
//! No node of these labs carries traffic; what the product does there is in `tests/e2e`.

mod ask;
mod schemas;
mod table;

use std::process::ExitCode;

use metallb_lab::ControlPlaneKind;
use metallb_lab::harness::{Test, main as run};

fn main() -> ExitCode {
    run(&[
        Test {
            name: "every_field_is_judged_as_tabulated",
            on: ControlPlaneKind::ALL,
            skip: || None,
            body: schemas::fields,
        },
        Test {
            name: "the_manifests_are_accepted_without_a_warning",
            on: ControlPlaneKind::REAL,
            skip: || None,
            body: schemas::manifests,
        },
    ])
}
