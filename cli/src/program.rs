//! The program: reads, reports, prints, and says by its exit code what was found.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use serde::Serialize;

use crate::args::{Args, Command, Global, Output};
use crate::input::Failure;
use crate::report::Report;
use crate::table::Style;
use crate::{bgp, completion, explain, l2, lint, plan, status, version};

/// What a command printed, and the exit code.
pub(crate) type Printed = Result<(String, u8), Failure>;

/// Runs the command of the command line.
pub fn main() -> ExitCode {
    let mut words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    if words.next().is_some_and(|called| completion::asks(&called)) {
        return printed(&completion::answer(&words.collect::<Vec<_>>()), 0);
    }
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Nowhere to report that the terminal is gone.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let (text, failed, code) = run(&args);
    if !failed.is_empty() {
        eprintln!("{failed}");
    }
    printed(&text, code)
}

fn printed(text: &str, code: u8) -> ExitCode {
    // Who reads no further wants no more: `| head` is no failure.
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => ExitCode::from(2),
        _ => ExitCode::from(code),
    }
}

/// What commands run on.
pub(crate) fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    // Fails only if there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Runs a command; returns what goes to standard output, to standard error, and the exit code.
#[must_use]
pub fn run(args: &Args) -> (String, String, u8) {
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return (String::new(), format!("error: {error}"), 2),
    };
    let ran = runtime.block_on(async {
        match &args.command {
            Command::Bgp(what) => bgp::run(&args.global, what).await,
            Command::Explain(what) => explain::run(&args.global, what).await,
            Command::L2(what) => l2::run(&args.global, what).await,
            Command::Lint(lint) => lint::run(&args.global, lint).await,
            Command::Status(status) => status::run(&args.global, status).await,
            Command::Plan(change) => plan::run(&args.global, change).await,
            Command::Completion(shell) => Ok((completion::script(shell), 0)),
            Command::Version => version::run(&args.global).await,
        }
    });
    match ran {
        Ok((text, code)) => (text, String::new(), code),
        Err(Failure::Usage(error)) => (String::new(), format!("error: {error:#}"), 2),
        Err(Failure::Cluster(error)) => (String::new(), format!("error: {error:#}"), 3),
    }
}

/// Judges a report, and prints it.
pub(crate) fn finish<T: Serialize>(
    report: Report<T>,
    global: &Global,
    text: impl FnOnce(&Report<T>, Style) -> String,
) -> Printed {
    let report = report.judged(global.fail_on);
    let printed = print(&report, global.output, |style| text(&report, style), Style::of(global));
    Ok((printed.map_err(Failure::Usage)?, report.exit_code))
}

/// Prints a report in the way that is asked for; only text can be made otherwise.
pub(crate) fn print<T: Serialize>(
    report: &T,
    output: Output,
    text: impl FnOnce(Style) -> String,
    style: Style,
) -> Result<String> {
    match output {
        Output::Text | Output::Wide => Ok(style.finish(&text(style))),
        Output::Json => Ok(serde_json::to_string_pretty(report)? + "\n"),
        // By way of JSON, so that both are the same value.
        Output::Yaml => serde_saphyr::to_string(&serde_json::to_value(report)?).context("cannot write YAML"),
        Output::Sarif | Output::Github => anyhow::bail!("-o sarif and -o github are for lint"),
    }
}
