//! Flags, with upstream's names, defaults and meaning.

use std::{
    ffi::OsString,
    net::{AddrParseError, SocketAddr},
    path::PathBuf,
};

use clap::{ArgAction, Parser};
use metallb_api::names;
use metallb_runtime::{flags, listen};

/// Deploys MetalLB as the MetalLB resource says.
#[derive(Clone, Debug, PartialEq, Eq, Parser)]
#[command(name = "metallb-operator", version, args_override_self = true)]
pub struct Args {
    /// Address of the metrics over plain HTTP, such as :9090 or 127.0.0.1:9090; 0 for none.
    #[arg(long, default_value = "0", value_parser = metrics_address)]
    pub metrics_addr: MetricsAddress,

    /// Take part in the election of a leader; only the leader deploys.
    #[arg(long, action = ArgAction::Set, default_value_t = false, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub enable_leader_election: bool,

    /// Leave certificates to somebody else, who writes them into the directory.
    #[arg(long, action = ArgAction::Set, default_value_t = false, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub disable_cert_rotation: bool,

    /// Directory with the certificate of the webhook server.
    #[arg(long, default_value = "/tmp/k8s-webhook-server/serving-certs")]
    pub cert_dir: PathBuf,

    /// Name of the Service of the webhook server, for the certificate.
    #[arg(long, default_value = names::OPERATOR_WEBHOOK_SERVICE)]
    pub cert_service_name: String,

    /// Port of /healthz and /readyz.
    #[arg(long, default_value_t = 8080)]
    pub port: u16,

    /// Offer HTTP/2 on the webhook server.
    #[arg(long, action = ArgAction::Set, default_value_t = false, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub webhook_http2: bool,

    /// Taken for upstream's sake: the webhook server reads TLS settings by itself, so its pods are never restarted.
    #[arg(long, action = ArgAction::Set, default_value_t = false, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub external_metallb_webhook_server: bool,

    /// How much to log: all, debug, info, warn, error or none.
    #[arg(long, default_value = "info")]
    pub log_level: String,
}

impl Args {
    /// Reads the command line. Like Go's flags, long ones may have a single dash.
    ///
    /// # Errors
    /// Names the flag that is unknown or has a wrong value.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        Self::try_parse_from(flags::go_style(arguments))
    }
}

/// Where metrics are served, if anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricsAddress(pub Option<SocketAddr>);

/// Reads an address as Go does: without a host it means all addresses.
fn metrics_address(text: &str) -> Result<MetricsAddress, AddrParseError> {
    if matches!(text, "" | "0") {
        return Ok(MetricsAddress(None));
    }
    Ok(MetricsAddress(Some(listen::parse(text)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<Args, clap::Error> {
        Args::read(
            std::iter::once("manager")
                .chain(arguments.iter().copied())
                .map(OsString::from),
        )
    }

    // OP-49
    #[test]
    fn the_defaults_are_upstreams() {
        let args = read(&[]).unwrap();
        assert!(!args.enable_leader_election && !args.disable_cert_rotation && !args.webhook_http2);
        assert!(!args.external_metallb_webhook_server);
        assert_eq!(args.cert_dir.to_str(), Some("/tmp/k8s-webhook-server/serving-certs"));
        assert_eq!(
            (args.cert_service_name.as_str(), args.port),
            ("metallb-operator-webhook-service", 8080)
        );
    }

    // OP-49
    #[test]
    fn flags_are_written_as_in_go() {
        let args = read(&[
            "--enable-leader-election",
            "-disable-cert-rotation=true",
            "--port=9",
            "--port=1",
            "-cert-dir",
            "/x",
        ])
        .unwrap();
        assert!(args.enable_leader_election && args.disable_cert_rotation);
        assert_eq!((args.port, args.cert_dir.to_str()), (1, Some("/x")));
        assert!(!read(&["--webhook-http2=false"]).unwrap().webhook_http2);
    }

    #[test]
    fn metrics_are_off_unless_an_address_is_given() {
        let address = |text: &str| read(&["--metrics-addr", text]).map(|args| args.metrics_addr.0);
        assert_eq!(read(&[]).unwrap().metrics_addr.0, None);
        assert_eq!(address("0").unwrap(), None);
        assert_eq!(address(":9090").unwrap(), Some("[::]:9090".parse().unwrap()));
        assert_eq!(address("127.0.0.1:1").unwrap(), Some("127.0.0.1:1".parse().unwrap()));
        assert_eq!(address("[::1]:1").unwrap(), Some("[::1]:1".parse().unwrap()));
        assert!(address("nowhere").is_err());
    }

    #[test]
    fn unknown_flags_are_refused() {
        assert!(read(&["--no-such-flag"]).is_err());
    }
}
