//! `frr-metrics`: exports the state of FRR's sessions to Prometheus and answers liveness probes for its daemons.

mod ask;
mod families;
mod sessions;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context, Result, ensure};
use axum::{Router, http::StatusCode, routing::get};
use clap::Parser;
use metallb_runtime::{
    admin::{Authorizer, MetricsOptions, Scraped, serve_metrics},
    cause, client, flags, listen, shutdown, telemetry, tls,
};
use prometheus::Registry;
use tracing::error;

use ask::Vtysh;

/// Exports FRR's state; the flags are upstream's.
#[derive(Debug, Parser)]
#[command(
    name = "frr-metrics",
    version,
    disable_help_subcommand = true,
    args_override_self = true
)]
struct Args {
    /// HTTPS port of /metrics and /livez
    #[arg(long, default_value_t = 9121)]
    metrics_port: u16,
    /// Address to listen on; 0.0.0.0 means both families
    #[arg(long, default_value = "0.0.0.0")]
    metrics_bind_address: IpAddr,
    /// Only /metrics
    #[arg(long, default_value = "/metrics")]
    metrics_path: String,
    /// File tls.crt in a folder with tls.key; self-signed without
    #[arg(long, default_value = "", hide_default_value = true)]
    tls_cert_file: String,
    /// File tls.key in the same folder
    #[arg(long, default_value = "", hide_default_value = true)]
    tls_private_key_file: String,
    /// VersionTLS12 or VersionTLS13 [default: VersionTLS13]
    #[arg(long, default_value = "", hide_default_value = true)]
    tls_min_version: String,
    /// Comma-separated names, for TLS 1.2; no effect with VersionTLS13
    #[arg(long, default_value = "", hide_default_value = true)]
    tls_cipher_suites: String,
    /// Comma-separated numbers
    #[arg(long, default_value = "", hide_default_value = true)]
    tls_curve_preferences: String,
    /// all, debug, info, warn, error or none
    #[arg(long, default_value = "info")]
    log_level: String,
}

impl Args {
    fn address(&self) -> SocketAddr {
        if self.metrics_bind_address == Ipv4Addr::UNSPECIFIED {
            return listen::everywhere(self.metrics_port);
        }
        SocketAddr::new(self.metrics_bind_address, self.metrics_port)
    }

    fn options(&self) -> Result<MetricsOptions> {
        ensure!(self.metrics_path == "/metrics", "--metrics-path can only be /metrics");
        let none = self.tls_cert_file.is_empty() && self.tls_private_key_file.is_empty();
        let (certificate, key) = (Path::new(&self.tls_cert_file), Path::new(&self.tls_private_key_file));
        let usual = certificate.ends_with("tls.crt") && key.ends_with("tls.key");
        let usual = usual && certificate.parent() == key.parent();
        ensure!(
            none || usual,
            "--tls-cert-file and --tls-private-key-file must be tls.crt and tls.key of one folder"
        );
        let tls = tls::Options {
            min_version: self.tls_min_version.clone(),
            cipher_suites: self.tls_cipher_suites.clone(),
            curve_preferences: self.tls_curve_preferences.clone(),
        };
        tls.check()?;
        Ok(MetricsOptions {
            tls,
            cert_dir: certificate.parent().filter(|_| !none).map(Into::into),
            ..MetricsOptions::default()
        })
    }
}

/// Serves until the process is told to stop.
pub fn main() -> ExitCode {
    let args = match Args::try_parse_from(flags::go_style(std::env::args_os())) {
        Ok(args) => args,
        Err(refusal) => {
            // If the terminal is gone there is nowhere to report that.
            let _ = refusal.print();
            return if refusal.use_stderr() {
                ExitCode::from(2)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    if let Err(refusal) = telemetry::init("frr-metrics", &args.log_level) {
        eprintln!("frr-metrics: {refusal}");
        return ExitCode::FAILURE;
    }
    tls::install_crypto_provider();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let work = || runtime.context("cannot start")?.block_on(serve(args));
    match work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!(event = "failed", error = cause::explain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

async fn serve(args: Args) -> Result<()> {
    let mut options = args.options()?;
    let stop = shutdown::signal()?;
    let vtysh = Vtysh::new(std::env::var_os("FRR_SOCKETS").unwrap_or_else(|| "/var/run/frr".into()));
    let asked = vtysh.clone();
    options.scraped = Some(Scraped::new(move || families::scrape(asked.clone())));
    let livez = get(move || async move { livez(&vtysh).await });
    let authorizer = Authorizer::new(client::connect("frr-metrics").await?);
    options.others = Router::new().route("/livez", livez);
    serve_metrics(args.address(), Registry::new(), options, authorizer, stop).await?;
    Ok(())
}

/// 200 if all daemons run, 404 if some do not, 500 if FRR cannot be asked.
async fn livez(vtysh: &Vtysh) -> (StatusCode, String) {
    match vtysh.ask("show daemons").await {
        Ok(answer) => judge(&answer),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}\n")),
    }
}

fn judge(answer: &str) -> (StatusCode, String) {
    let running: Vec<&str> = answer.split_whitespace().collect();
    let mut missing = vec!["bfdd", "bgpd", "staticd", "watchfrr", "zebra"];
    missing.retain(|daemon| !running.contains(daemon));
    match missing.is_empty() {
        true => (StatusCode::OK, "ok\n".to_owned()),
        false => (StatusCode::NOT_FOUND, format!("not running: {}\n", missing.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // FRR-42
    #[test]
    fn all_five_daemons_must_run() {
        assert_eq!(judge(" zebra bgpd watchfrr staticd bfdd ospfd\n").0, StatusCode::OK);
        let (status, words) = judge(" zebra bgpd staticd");
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert_eq!(words, "not running: bfdd, watchfrr\n");
    }

    // FRR-43
    #[test]
    fn certificate_and_key_are_of_one_folder() {
        let args = |flags: &[&str]| Args::try_parse_from([&["frr-metrics"], flags].concat()).unwrap();
        assert_eq!(args(&[]).options().unwrap().cert_dir, None);
        let pair = ["--tls-cert-file=/a/tls.crt", "--tls-private-key-file=/a/tls.key"];
        assert_eq!(args(&pair).options().unwrap().cert_dir, Some("/a".into()));
        assert!(args(&pair[..1]).options().is_err());
        assert!(args(&["--tls-min-version=VersionTLS10"]).options().is_err());
        assert_eq!(args(&[]).address(), listen::everywhere(9121));
    }
}
