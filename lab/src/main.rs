//! `metallb-lab demo` shows MetalLB at work; `metallb-lab up` keeps a cluster to play with.

use std::process::ExitCode;

fn main() -> ExitCode {
    metallb_lab::cli::main::<metallb_lab::cli::Embedded>()
}
