//! The program `metallb-speaker`.

use std::process::ExitCode;

fn main() -> ExitCode {
    metallb_speaker::main()
}
