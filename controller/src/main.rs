//! `metallb-controller`.

use std::process::ExitCode;

fn main() -> ExitCode {
    metallb_controller::main()
}
