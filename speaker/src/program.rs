//! The program: flags, logs, exit code. It is a function, so that one file can hold several programs.

use std::process::ExitCode;

use clap::error::ErrorKind;
use metallb_runtime::{cause, shutdown, telemetry, tls};
use tracing::error;

use crate::{args::Args, run};

/// Runs until the process is told to stop.
///
/// One thread for frames and sessions while the other decodes a long list.
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
pub async fn main() -> ExitCode {
    let args = match Args::read(std::env::args_os()) {
        Ok(args) => args,
        Err(refusal) => return explain(&refusal),
    };
    if let Err(refusal) = telemetry::init("metallb-speaker", &args.log_level) {
        eprintln!("metallb-speaker: {refusal}");
        return ExitCode::FAILURE;
    }
    tls::install_crypto_provider();
    let result = match shutdown::signal() {
        Ok(stop) => run(args, stop).await,
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!(event = "failed", error = cause::explain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// Upstream: 2 for flags that do not exist, 1 for values that make no sense.
fn explain(refusal: &clap::Error) -> ExitCode {
    // Nowhere to say that the terminal is gone.
    let _ = refusal.print();
    match refusal.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
        ErrorKind::ValueValidation => ExitCode::FAILURE,
        _ => ExitCode::from(2),
    }
}
