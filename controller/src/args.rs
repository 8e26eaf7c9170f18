//! Flags and environment, under upstream's names.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgAction, Parser, ValueEnum};
use metallb_api::names;
use metallb_config::{Backend, MyAsnScope};
use metallb_runtime::{flags, tls};

/// Whether this process answers admission requests, assigns addresses, or both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum WebhookMode {
    /// Both.
    #[default]
    Enabled,
    /// Addresses only.
    Disabled,
    /// Admission only.
    Onlywebhook,
}

impl WebhookMode {
    /// Tells whether admission requests are answered.
    #[must_use]
    pub fn serves_webhooks(self) -> bool {
        self != Self::Disabled
    }

    /// Tells whether addresses are assigned.
    #[must_use]
    pub fn assigns(self) -> bool {
        self != Self::Onlywebhook
    }
}

/// Assigns addresses to Services of type LoadBalancer and answers MetalLB's admission requests.
#[derive(Clone, Debug, Parser)]
#[command(name = "metallb-controller", version, args_override_self = true)]
pub struct Args {
    /// Port of HTTPS metrics, 0 for none.
    #[arg(long, default_value_t = 9120)]
    pub port: u16,
    /// MetalLB's namespace; by default that of the service account.
    #[arg(long, env = "METALLB_NAMESPACE", default_value = "", hide_default_value = true)]
    pub namespace: String,
    /// Secret with the key of the membership protocol, made if it does not exist; empty for none.
    #[arg(long, env = "METALLB_ML_SECRET_NAME", default_value = "", hide_default_value = true)]
    pub ml_secret_name: String,
    /// Deployment that owns that Secret.
    #[arg(long, env = "METALLB_DEPLOYMENT", default_value = "", hide_default_value = true)]
    pub deployment: String,
    /// The Pod that this is.
    #[arg(long, env = "METALLB_POD_NAME", default_value = "", hide_default_value = true)]
    pub pod_name: String,
    /// One of all, debug, info, warn, error, none.
    #[arg(long, default_value = "info")]
    pub log_level: String,
    /// Accepted for compatibility: there is no Go profiler.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub pprof_bind_address: String,
    /// Port of /healthz and /readyz.
    #[arg(long, default_value_t = 17472)]
    pub health_probe_port: u16,
    /// Somebody else writes the certificate of the webhooks into --cert-dir.
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false)]
    pub disable_cert_rotation: bool,
    /// Folder with tls.crt and tls.key of the webhooks.
    #[arg(long, default_value_os_t = std::env::temp_dir().join("k8s-webhook-server/serving-certs"))]
    pub cert_dir: PathBuf,
    /// Service by which the API server calls the webhooks.
    #[arg(long, default_value = names::WEBHOOK_SERVICE)]
    pub cert_service_name: String,
    /// Secret with the certificate of the webhooks.
    #[arg(long, default_value = names::WEBHOOK_SECRET)]
    pub webhook_secret: String,
    /// Whether webhooks are served besides, not at all, or alone.
    #[arg(long, value_enum, default_value_t = WebhookMode::Enabled)]
    pub webhook_mode: WebhookMode,
    /// Offers HTTP/2 on the webhook port.
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false)]
    pub webhook_http2: bool,
    /// Serves only Services of this loadBalancerClass; empty means those without one.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub lb_class: String,
    /// Tells on each Service, by the condition metallb.io/Allocated, whether it has an address and why not.
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = true)]
    pub service_conditions: bool,
    /// What the speakers' flag of this name says; without it no Service is said to be announced by nobody for the exclude
    /// label of nodes.
    #[arg(long, env = "METALLB_IGNORE_EXCLUDE_LB", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub ignore_exclude_lb: Option<bool>,
    /// VersionTLS12 or VersionTLS13; empty means the latter.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub tls_min_version: String,
    /// Names separated by commas, for TLS 1.2; no effect with VersionTLS13.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub tls_cipher_suites: String,
    /// IANA numbers separated by commas.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub tls_curve_preferences: String,
    /// Folder with tls.crt and tls.key of the metrics; without them one is made.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub metrics_cert_dir: String,
    /// Kubeconfig file, outside of a Pod.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub kubeconfig: String,
    /// Who speaks BGP: native, frr or frr-k8s.
    #[arg(long = "bgp-type", env = "METALLB_BGP_TYPE", default_value = "native", hide = true)]
    pub bgp_type: String,
    /// Among which peers the webhooks want one myASN: those of a node, of the cluster, or off.
    #[arg(long, env = "METALLB_MY_ASN_SCOPE", default_value = "node", value_parser = ["node", "cluster", "off"])]
    pub my_asn_scope: String,
}

impl Args {
    /// Understands a command line in Go's manner: one dash is as good as two.
    ///
    /// # Errors
    /// Says which flag or value is not known.
    pub fn parse_go(line: impl IntoIterator<Item = impl Into<OsString>>) -> Result<Self, clap::Error> {
        Self::try_parse_from(flags::go_style(line.into_iter().map(Into::into)))
    }

    /// TLS options of metrics and webhooks.
    #[must_use]
    pub fn tls(&self) -> tls::Options {
        tls::Options {
            min_version: self.tls_min_version.clone(),
            cipher_suites: self.tls_cipher_suites.clone(),
            curve_preferences: self.tls_curve_preferences.clone(),
        }
    }

    /// Who speaks BGP; an unknown name only skips the checks of the back-end, as upstream.
    #[must_use]
    pub fn backend(&self) -> Backend {
        match self.bgp_type.as_str() {
            "frr" => Backend::Frr,
            "frr-k8s" | "frr-k8s-external" => Backend::FrrK8s,
            _ => Backend::Native,
        }
    }

    /// The scope of the rule about `myASN`.
    #[must_use]
    pub fn asn_scope(&self) -> MyAsnScope {
        match self.my_asn_scope.as_str() {
            "cluster" => MyAsnScope::Cluster,
            "off" => MyAsnScope::Off,
            _ => MyAsnScope::Node,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(flags: &[&str]) -> Result<Args, clap::Error> {
        Args::parse_go(
            std::iter::once("controller")
                .chain(flags.iter().copied())
                .map(OsString::from),
        )
    }

    #[test]
    fn the_defaults_are_upstreams() {
        let args = parse(&[]).unwrap();
        assert_eq!((args.port, args.health_probe_port), (9120, 17472));
        assert_eq!(
            (args.webhook_mode, args.log_level.as_str()),
            (WebhookMode::Enabled, "info")
        );
        assert_eq!(
            (args.cert_service_name.as_str(), args.webhook_secret.as_str()),
            ("metallb-webhook-service", "metallb-webhook-cert")
        );
        assert!(!args.disable_cert_rotation && args.lb_class.is_empty());
    }

    #[test]
    fn flags_are_written_as_in_go() {
        let args = parse(&[
            "--port=9",
            "-port=0",
            "--log-level",
            "debug",
            "-disable-cert-rotation",
            "--webhook-http2=false",
            "--webhook-mode=onlywebhook",
        ]);
        let args = args.unwrap();
        assert_eq!((args.port, args.log_level.as_str()), (0, "debug"));
        assert!(args.disable_cert_rotation && !args.webhook_http2);
        assert!(args.webhook_mode.serves_webhooks() && !args.webhook_mode.assigns());
    }

    #[test]
    fn whether_speakers_heed_the_exclude_label_is_known_only_if_said() {
        let said = |flags: &[&str]| parse(flags).unwrap().ignore_exclude_lb;
        assert_eq!(said(&[]), None);
        assert_eq!(said(&["--ignore-exclude-lb"]), Some(true));
        assert_eq!(said(&["--ignore-exclude-lb=false"]), Some(false));
    }

    #[test]
    fn unknown_flags_and_modes_are_refused() {
        // CTL-139
        assert!(parse(&["--no-such-flag"]).is_err());
        assert!(parse(&["--webhook-mode=sometimes"]).is_err());
    }
}
