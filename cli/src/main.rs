//! `kubectl-metallb`.

use std::process::ExitCode;

fn main() -> ExitCode {
    metallb_cli::main()
}
