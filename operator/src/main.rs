//! Deploys MetalLB as the MetalLB resource says.

use std::process::ExitCode;

use metallb_operator::Args;
use metallb_runtime::{shutdown, telemetry, tls};
use tracing::error;

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::read(std::env::args_os()).unwrap_or_else(|error| error.exit());
    match start(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!(event = "exit", error = format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn start(args: Args) -> anyhow::Result<()> {
    telemetry::init("metallb-operator", &args.log_level)?;
    tls::install_crypto_provider();
    let stop = shutdown::signal()?;
    metallb_operator::run(args, stop).await
}
