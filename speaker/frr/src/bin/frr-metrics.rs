//! The program `frr-metrics`.

use std::process::ExitCode;

fn main() -> ExitCode {
    metallb_frr_tools::frr_metrics()
}
