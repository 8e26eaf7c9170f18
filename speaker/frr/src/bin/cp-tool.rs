//! The program `cp-tool`.

use std::process::ExitCode;

fn main() -> ExitCode {
    metallb_frr_tools::cp_tool()
}
