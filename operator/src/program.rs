//! The program: flags, logs, exit code. It is a function, so that one file can hold several programs.

use std::process::ExitCode;

use metallb_runtime::cause::explain;
use metallb_runtime::{shutdown, telemetry, tls};
use tracing::error;

use crate::{Args, run};

/// Runs until the process is told to stop.
#[tokio::main]
pub async fn main() -> ExitCode {
    let args = Args::read(std::env::args_os()).unwrap_or_else(|error| error.exit());
    match start(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!(event = "exit", error = explain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

async fn start(args: Args) -> anyhow::Result<()> {
    telemetry::init("metallb-operator", &args.log_level)?;
    tls::install_crypto_provider();
    let stop = shutdown::signal()?;
    run(args, stop).await
}
