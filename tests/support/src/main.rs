//! `metallb-lab` with `--cluster envtest` (a real control plane) and `--cluster real` (real nodes).

use std::process::ExitCode;

fn main() -> ExitCode {
    metallb_test_support::lab_main()
}
