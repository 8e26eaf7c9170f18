//! The program: flags, logs, exit code. It is a function, so that one file can hold several programs.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::error::ErrorKind;
use metallb_runtime::{cause, shutdown, telemetry, tls};
use tokio::runtime::{Builder, Runtime};
use tracing::error;

use crate::{args::Args, run};

/// Threads for frames and sessions: a router that sends without end keeps one of them busy.
const DATA_PLANE: usize = 2;

/// Runs until the process is told to stop.
pub fn main() -> ExitCode {
    let args = match Args::read(std::env::args_os()) {
        Ok(args) => args,
        Err(refusal) => return explain(&refusal),
    };
    if let Err(refusal) = telemetry::init("metallb-speaker", &args.log_level) {
        eprintln!("metallb-speaker: {refusal}");
        return ExitCode::FAILURE;
    }
    tls::install_crypto_provider();
    match work(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!(event = "failed", error = cause::explain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// Talks with the API server and decides on this thread, and has the data plane on others: neither waits while a long
/// list is decoded, and of the many tasks that a write to the API server passes through none wakes another thread.
fn work(args: Args) -> Result<()> {
    let data_plane = Builder::new_multi_thread()
        .worker_threads(DATA_PLANE)
        .thread_name("data-plane")
        .enable_all()
        .build();
    let data_plane = data_plane.context("cannot start threads")?;
    let own = Builder::new_current_thread().enable_all().build();
    let result = own.map_err(Into::into).and_then(|own: Runtime| {
        own.block_on(async {
            let stop = shutdown::signal()?;
            run(args, stop, data_plane.handle()).await
        })
    });
    data_plane.shutdown_background();
    result
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
