//! Flags and environment: upstream's names and meaning.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::{ArgAction, Parser};
use metallb_config::Backend;
use metallb_dataplane::members::Timing;
use metallb_engine::Failback;
use metallb_runtime::{listen, tls};

use crate::bgp_args::{BgpArgs, seconds};
use crate::frr;
use crate::frr_k8s::{self, Secrets};

/// Announces the addresses of LoadBalancer Services from this node.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "metallb-speaker",
    version,
    disable_help_subcommand = true,
    args_override_self = true
)]
pub struct Args {
    /// Namespace of MetalLB; the service account's by default
    #[arg(long, env = "METALLB_NAMESPACE", default_value = "", hide_default_value = true)]
    pub namespace: String,
    /// Name of the Node that this speaker runs on (required)
    #[arg(long, env = "METALLB_NODE_NAME", default_value = "", hide_default_value = true)]
    pub node_name: String,
    /// Name of the Pod of this speaker
    #[arg(long, env = "METALLB_POD_NAME", default_value = "", hide_default_value = true)]
    pub pod_name: String,
    /// Accepted and ignored (deprecated)
    #[arg(long, env = "METALLB_HOST", default_value = "", hide_default_value = true)]
    pub host: String,
    /// HTTPS port of the metrics; 0 switches them off
    #[arg(long, default_value_t = 9120)]
    pub port: u16,
    /// Port of /healthz and /readyz on the loopback interface
    #[arg(long, default_value_t = 17472)]
    pub health_probe_port: u16,
    /// Accepted and ignored: there is no pprof here
    #[arg(long, default_value = "", hide_default_value = true)]
    pub pprof_bind_address: String,
    /// all, debug, info, warn, error or none
    #[arg(long, default_value = "info")]
    pub log_level: String,
    /// Announce only Services of this load-balancer class
    #[arg(long, default_value = "", hide_default_value = true)]
    pub lb_class: String,
    /// Ignore the label node.kubernetes.io/exclude-from-external-load-balancers
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false)]
    pub ignore_exclude_lb: bool,
    /// Address of the membership; empty switches it off
    #[arg(
        long = "ml-bindaddr",
        env = "METALLB_ML_BIND_ADDR",
        default_value = "",
        hide_default_value = true
    )]
    pub ml_bind_addr: String,
    /// Port of the membership [default: 7946]
    #[arg(
        long = "ml-bindport",
        env = "METALLB_ML_BIND_PORT",
        default_value = "",
        hide_default_value = true
    )]
    pub ml_bind_port: String,
    /// Labels of the speaker Pods; empty switches the membership off
    #[arg(long, env = "METALLB_ML_LABELS", default_value = "", hide_default_value = true)]
    pub ml_labels: String,
    /// Directory with the file `secretkey`
    #[arg(
        long,
        env = "METALLB_ML_SECRET_KEY_PATH",
        default_value = "",
        hide_default_value = true
    )]
    pub ml_secret_key_path: String,
    /// Secret that this directory shows, to be read while the directory is empty
    #[arg(long, env = "METALLB_ML_SECRET_NAME", default_value = "", hide_default_value = true)]
    pub ml_secret_name: String,
    /// Nodes are far from each other: the membership takes its time
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false)]
    pub ml_wan_config: bool,
    /// Let others stand in for a silent node within half a second, while all speakers can
    #[arg(
        long,
        env = "METALLB_L2_FAST_FAILOVER",
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        default_value_t = true
    )]
    pub l2_fast_failover: bool,
    /// What happens when a node returns that would own an address: immediate (it has it at once), delayed or never
    #[arg(long, env = "METALLB_L2_FAILBACK", default_value = "", hide_default_value = true)]
    pub l2_failback: String,
    /// Seconds that a node has to be back before it has addresses again, with --l2-failback=delayed [default: 60s]
    #[arg(
        long,
        env = "METALLB_L2_FAILBACK_DELAY",
        default_value = "",
        hide_default_value = true
    )]
    pub l2_failback_delay: String,
    /// Ask the segment who has an address before it is announced for the first time
    #[arg(
        long,
        env = "METALLB_L2_CHECK_ADDRESSES",
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        default_value_t = false
    )]
    pub l2_check_addresses: bool,
    /// Milliseconds for which the FRR back-ends gather changes; unless given, frr does so only while FRR is busy, and
    /// frr-k8s for half a second
    #[arg(
        long,
        env = "METALLB_BGP_DEBOUNCE_TIMEOUT",
        default_value = "",
        hide_default_value = true
    )]
    pub bgp_debounce_timeout: String,
    /// Those of BGP that upstream does not have.
    #[command(flatten)]
    pub bgp: BgpArgs,
    /// Namespace of frr-k8s; MetalLB's by default
    #[arg(long, env = "FRRK8S_NAMESPACE", default_value = "", hide_default_value = true)]
    pub frrk8s_namespace: String,
    /// Pass references to password Secrets on to frr-k8s
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false)]
    pub frrk8s_secret_passthrough: bool,
    /// Seconds between unasked repetitions of announced addresses; 0 = never
    #[arg(
        long,
        env = "METALLB_GRATUITOUS_ARP_INTERVAL",
        default_value = "",
        hide_default_value = true
    )]
    pub gratuitous_arp_interval: String,
    /// VersionTLS12 or VersionTLS13 [default: VersionTLS13]
    #[arg(long, default_value = "", hide_default_value = true)]
    pub tls_min_version: String,
    /// Comma-separated names, for TLS 1.2; no effect with VersionTLS13
    #[arg(long, default_value = "", hide_default_value = true)]
    pub tls_cipher_suites: String,
    /// Comma-separated numbers
    #[arg(long, default_value = "", hide_default_value = true)]
    pub tls_curve_preferences: String,
    /// Directory with tls.crt and tls.key of the metrics; self-signed without
    #[arg(long, default_value = "", hide_default_value = true)]
    pub metrics_cert_dir: String,
}

/// Who speaks BGP.
const BGP_TYPE: &str = "METALLB_BGP_TYPE";
/// Port of upstream's membership.
const MEMBERS_PORT: u16 = 7946;
/// Longest interval of gratuitous ARP that upstream takes, in seconds.
const GARP_LIMIT: u64 = 2_147_483_647;

/// Seconds that a returning node waits: the default, and the longest.
const FAILBACK_DELAY: u64 = 60;
const FAILBACK_LIMIT: u64 = 86_400;

/// Who has an address when the node returns that would own it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailbackOptions {
    /// Whether that node takes the address back.
    pub failback: Failback,
    /// How long a node has to be back before it does, with [`Failback::Delayed`].
    pub delay: Duration,
}

/// How this speaker takes part in the membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Where it listens; the peers listen on the same port.
    pub bind: SocketAddr,
    /// Label selector of the speaker Pods.
    pub labels: String,
    /// File with the key, if there is to be one.
    pub key_file: Option<PathBuf>,
    /// The Secret that the file comes from, if its name is known.
    pub secret: Option<String>,
    /// How often and how long.
    pub timing: Timing,
    /// Whether others may stand in for a member before the membership is sure that it is dead.
    pub fast: bool,
}

impl Args {
    /// Parses a command line, one or two dashes alike.
    ///
    /// # Errors
    /// For an unknown flag or an illegible value; also for `--help`, which carries the text to print.
    pub fn read(args: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        Self::try_parse_from(metallb_runtime::flags::go_style(args))
    }

    /// Checks what a flag alone can get wrong, and the back-end that the environment chooses.
    ///
    /// # Errors
    /// When the speaker could not work with these flags.
    pub fn check(&self) -> Result<()> {
        ensure!(
            !self.node_name.is_empty(),
            "must specify --node-name or METALLB_NODE_NAME"
        );
        let backend = self.backend()?;
        ensure!(
            !self.frrk8s_secret_passthrough || backend == Backend::FrrK8s,
            "--frrk8s-secret-passthrough needs METALLB_BGP_TYPE=frr-k8s"
        );
        let debounce = &self.bgp_debounce_timeout;
        ensure!(
            debounce.is_empty() || debounce.parse::<u64>().is_ok_and(|ms| ms > 0),
            "--bgp-debounce-timeout {debounce:?} is not a positive number of milliseconds"
        );
        self.tls().check()?;
        self.garp_interval()?;
        self.failback()?;
        self.bgp.restart()?;
        self.bgp.drain()?;
        self.membership().map(drop)
    }

    /// Who speaks BGP, chosen by the environment as upstream has it.
    ///
    /// # Errors
    /// For a name that is none.
    pub fn backend(&self) -> Result<Backend> {
        backend(&std::env::var(BGP_TYPE).unwrap_or_default())
    }

    /// How long the FRR back-ends gather changes, if not as long as they think best.
    #[must_use]
    pub fn debounce(&self) -> Option<Duration> {
        self.bgp_debounce_timeout.parse().ok().map(Duration::from_millis)
    }

    /// The namespace of frr-k8s: that of MetalLB, `own`, unless it is told.
    #[must_use]
    pub fn frr_k8s_namespace<'a>(&'a self, own: &'a str) -> &'a str {
        match self.frrk8s_namespace.as_str() {
            "" => own,
            namespace => namespace,
        }
    }

    /// What the back-end `frr-k8s` is to know, beside one that runs in the namespace `own`.
    pub(crate) fn frr_k8s(&self, own: &str) -> frr_k8s::Settings {
        let namespace = self.frr_k8s_namespace(own);
        // As upstream: what is in its namespace frr-k8s reads itself.
        let named = namespace == own || self.frrk8s_secret_passthrough;
        frr_k8s::Settings {
            node: self.node_name.clone(),
            namespace: namespace.to_owned(),
            secrets: if named { Secrets::Named } else { Secrets::Told },
            window: self.debounce(),
            router_id: frr::router_id(&self.node_name),
        }
    }

    /// TLS settings of the metrics.
    #[must_use]
    pub fn tls(&self) -> tls::Options {
        tls::Options {
            min_version: self.tls_min_version.clone(),
            cipher_suites: self.tls_cipher_suites.clone(),
            curve_preferences: self.tls_curve_preferences.clone(),
        }
    }

    /// Where metrics are served, if at all.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        (self.port != 0).then(|| listen::everywhere(self.port))
    }

    /// How often announced addresses are repeated unasked.
    ///
    /// # Errors
    /// When it is not a number of seconds, or more than upstream takes.
    pub fn garp_interval(&self) -> Result<Option<Duration>> {
        let text = self.gratuitous_arp_interval.trim();
        if text.is_empty() {
            return Ok(None);
        }
        let seconds: u64 = text
            .parse()
            .with_context(|| format!("--gratuitous-arp-interval {text:?} is not a number of seconds"))?;
        ensure!(
            seconds <= GARP_LIMIT,
            "--gratuitous-arp-interval {seconds} is more than {GARP_LIMIT}"
        );
        Ok((seconds > 0).then(|| Duration::from_secs(seconds)))
    }

    /// Who has an address when the node returns that would own it.
    ///
    /// # Errors
    /// For an unknown setting, and for a delay that is not a number of seconds or more than a day.
    pub fn failback(&self) -> Result<FailbackOptions> {
        let failback = match self.l2_failback.as_str() {
            "" | "immediate" => Failback::Immediate,
            "delayed" => Failback::Delayed,
            "never" => Failback::Never,
            other => bail!("--l2-failback {other:?} is unknown: must be immediate, delayed or never"),
        };
        let text = &self.l2_failback_delay;
        let delay = seconds("--l2-failback-delay", text, FAILBACK_DELAY, FAILBACK_LIMIT)?;
        Ok(FailbackOptions { failback, delay })
    }

    /// The membership, unless it is switched off.
    ///
    /// # Errors
    /// When address or port are illegible.
    pub fn membership(&self) -> Result<Option<Membership>> {
        if self.ml_bind_addr.is_empty() || self.ml_labels.is_empty() {
            return Ok(None);
        }
        let address: IpAddr = self
            .ml_bind_addr
            .parse()
            .with_context(|| format!("--ml-bindaddr {:?} is not an IP address", self.ml_bind_addr))?;
        let port = match self.ml_bind_port.as_str() {
            "" => MEMBERS_PORT,
            text => text
                .parse()
                .with_context(|| format!("--ml-bindport {text:?} is not a port number"))?,
        };
        let path = Some(&self.ml_secret_key_path).filter(|path| !path.is_empty());
        Ok(Some(Membership {
            bind: (address, port).into(),
            labels: self.ml_labels.clone(),
            key_file: path.map(|path| PathBuf::from(path).join(metallb_api::names::MEMBERLIST_SECRET_KEY)),
            secret: Some(self.ml_secret_name.clone()).filter(|name| !name.is_empty()),
            timing: if self.ml_wan_config {
                Timing::wan()
            } else {
                Timing::lan()
            },
            fast: self.l2_fast_failover,
        }))
    }
}

fn backend(name: &str) -> Result<Backend> {
    match Backend::named(name) {
        Some(backend) => Ok(backend),
        None if name.is_empty() => Ok(Backend::default()),
        None => bail!("{BGP_TYPE}={name:?} is unknown: must be native, frr or frr-k8s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn args(flags: &[&str]) -> Result<Args, clap::Error> {
        let flags = ["speaker", "--node-name=n"].iter().chain(flags).map(OsString::from);
        Args::read(flags)
    }

    #[test]
    fn the_flags_of_the_manifests_are_understood() {
        let args = args(&[
            "--port=9120",
            "--log-level=info",
            "-lb-class=x",
            "--ignore-exclude-lb",
            "--ml-wan-config=true",
        ]);
        let args = args.unwrap();
        assert_eq!(
            (args.lb_class.as_str(), args.ignore_exclude_lb, args.ml_wan_config),
            ("x", true, true)
        );
        args.check().unwrap();
    }

    #[test]
    fn an_unknown_flag_is_refused() {
        assert_eq!(
            args(&["--no-such-flag"]).unwrap_err().kind(),
            clap::error::ErrorKind::UnknownArgument
        );
    }

    // L2-1
    #[test]
    fn without_a_node_name_the_start_fails() {
        let args = Args::read(["speaker", "--node-name="].map(OsString::from)).unwrap();
        assert!(args.check().unwrap_err().to_string().contains("--node-name"));
    }

    // L2-12
    #[test]
    fn without_address_or_labels_the_membership_is_off() {
        assert_eq!(
            args(&["--ml-bindaddr=", "--ml-labels=app=metallb"])
                .unwrap()
                .membership()
                .unwrap(),
            None
        );
        assert_eq!(
            args(&["--ml-bindaddr=192.0.2.1", "--ml-labels="])
                .unwrap()
                .membership()
                .unwrap(),
            None
        );
    }

    #[test]
    fn the_pods_address_may_be_of_either_family() {
        let flags = ["--host=fd00::1", "--ml-bindaddr=fd00::1", "--ml-labels=app=metallb"];
        let membership = args(&flags).unwrap().membership().unwrap().unwrap();
        assert_eq!(membership.bind.to_string(), "[fd00::1]:7946");
    }

    // L2-70
    #[test]
    fn far_nodes_have_upstreams_profile_for_them() {
        let flags = ["--ml-bindaddr=192.0.2.1", "--ml-labels=app=metallb", "--ml-wan-config"];
        let membership = args(&flags).unwrap().membership().unwrap().unwrap();
        assert_eq!(membership.timing, Timing::wan());
    }

    #[test]
    fn fast_failover_can_be_switched_off() {
        for (flag, expected) in [("--l2-fast-failover", true), ("--l2-fast-failover=false", false)] {
            let flags = ["--ml-bindaddr=192.0.2.1", "--ml-labels=app=metallb", flag];
            let membership = args(&flags).unwrap().membership().unwrap().unwrap();
            assert_eq!(membership.fast, expected);
        }
    }

    #[rstest]
    #[case(&[], Failback::Immediate, 60)]
    #[case(&["--l2-failback=immediate"], Failback::Immediate, 60)]
    #[case(&["--l2-failback=delayed", "--l2-failback-delay=300"], Failback::Delayed, 300)]
    #[case(&["--l2-failback=delayed", "--l2-failback-delay=90s"], Failback::Delayed, 90)]
    #[case(&["--l2-failback=never"], Failback::Never, 60)]
    fn failback_is_as_with_upstream_unless_told_otherwise(
        #[case] flags: &[&str],
        #[case] failback: Failback,
        #[case] seconds: u64,
    ) {
        let delay = Duration::from_secs(seconds);
        assert_eq!(
            args(flags).unwrap().failback().unwrap(),
            FailbackOptions { failback, delay }
        );
    }

    #[test]
    fn addresses_are_checked_only_on_request() {
        for (flags, expected) in [(&[][..], false), (&["--l2-check-addresses"], true)] {
            assert_eq!(args(flags).unwrap().l2_check_addresses, expected);
        }
    }

    #[test]
    fn the_membership_has_upstreams_port_and_file() {
        let args = args(&[
            "--ml-bindaddr=192.0.2.1",
            "--ml-labels=app=metallb",
            "--ml-secret-key-path=/etc/ml",
        ])
        .unwrap();
        let membership = args.membership().unwrap().unwrap();
        assert_eq!(membership.bind.to_string(), "192.0.2.1:7946");
        assert_eq!(membership.key_file, Some("/etc/ml/secretkey".into()));
        assert_eq!(membership.timing, Timing::lan());
    }

    // L2-98, FRR-28
    #[rstest]
    #[case("--ml-bindport=x")]
    #[case("--bgp-debounce-timeout=0")]
    #[case("--bgp-debounce-timeout=-1")]
    #[case("--bgp-debounce-timeout=3s")]
    #[case("--gratuitous-arp-interval=2147483648")]
    #[case("--gratuitous-arp-interval=1.5")]
    #[case("--gratuitous-arp-interval=-1")]
    #[case("--l2-failback=sometimes")]
    #[case("--l2-failback-delay=1m")]
    #[case("--l2-failback-delay=86401")]
    #[case("--bgp-restart-time=4096")]
    #[case("--bgp-drain=reboot")]
    #[case("--bgp-drain-wait=1m")]
    #[case("--frrk8s-secret-passthrough")]
    #[case("--tls-min-version=VersionTLS10")]
    fn a_value_that_cannot_work_is_refused_at_the_start(#[case] flag: &str) {
        let args = args(&["--ml-bindaddr=192.0.2.1", "--ml-labels=app=metallb", flag]).unwrap();
        assert!(args.check().is_err());
    }

    // L2-88
    #[test]
    fn port_zero_switches_the_metrics_off() {
        assert_eq!(args(&["--port=0"]).unwrap().metrics_address(), None);
        let given = args(&["--port=1"]).unwrap().metrics_address();
        assert_eq!(given, Some(listen::everywhere(1)), "on both families");
    }

    // FRR-51
    #[rstest]
    #[case(&[], "metallb-system", Secrets::Named)]
    #[case(&["--frrk8s-namespace=routers"], "routers", Secrets::Told)]
    #[case(&["--frrk8s-namespace=routers", "--frrk8s-secret-passthrough"], "routers", Secrets::Named)]
    #[case(&["--frrk8s-namespace=metallb-system"], "metallb-system", Secrets::Named)]
    fn frr_k8s_reads_the_secrets_where_it_runs(
        #[case] flags: &[&str],
        #[case] namespace: &str,
        #[case] secrets: Secrets,
    ) {
        let settings = args(flags).unwrap().frr_k8s("metallb-system");
        assert_eq!((settings.namespace.as_str(), settings.secrets), (namespace, secrets));
    }

    #[rstest]
    #[case("", Some(Backend::Native))]
    #[case("native", Some(Backend::Native))]
    #[case("frr", Some(Backend::Frr))]
    #[case("frr-k8s", Some(Backend::FrrK8s))]
    #[case("quagga", None)]
    fn the_back_end_has_upstreams_names(#[case] name: &str, #[case] expected: Option<Backend>) {
        assert_eq!(backend(name).ok(), expected);
    }
}
