//! The program `frr-reloader`.

use std::process::ExitCode;

fn main() -> ExitCode {
    metallb_frr_tools::reloader()
}
