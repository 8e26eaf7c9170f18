//! The program: flags, logs, exit code. It is a function, so that one file can hold several programs.

use std::process::ExitCode;

use metallb_runtime::cause::explain;
use metallb_runtime::{shutdown, telemetry, tls};
use tracing::error;

use crate::{Args, run};

/// Runs until the process is told to stop.
#[tokio::main]
pub async fn main() -> ExitCode {
    let args = match Args::parse_go(std::env::args_os()) {
        Ok(args) => args,
        Err(error) => {
            // Nowhere to report that the terminal is gone.
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    match start(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!(op = "run", error = explain(error.as_ref()), "metallb-controller failed");
            ExitCode::FAILURE
        }
    }
}

async fn start(args: Args) -> anyhow::Result<()> {
    if let Err(error) = telemetry::init("metallb-controller", &args.log_level) {
        eprintln!("{error}");
        return Err(error.into());
    }
    tls::install_crypto_provider();
    run(args, shutdown::signal()?).await
}
