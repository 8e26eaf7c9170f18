//! Deploys MetalLB as the MetalLB resource says.

use std::process::ExitCode;

fn main() -> ExitCode {
    metallb_operator::main()
}
