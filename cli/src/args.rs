//! The command line.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args as Group, Parser, Subcommand, ValueEnum};
use metallb_config::Backend;

use crate::completion::Completion;
use crate::facts::Facts;

/// Explains what MetalLB does, and checks its configuration. Nothing in the cluster is changed.
///
/// Exit code: 0 nothing found, 1 something found, 2 the command line or an input cannot be read, 3 could not tell.
#[derive(Debug, Parser)]
#[command(
    name = "kubectl metallb",
    bin_name = "kubectl metallb",
    version,
    disable_help_subcommand = true
)]
pub struct Args {
    /// What all commands have in common.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command.
#[derive(Clone, Debug, Group)]
pub struct Global {
    /// Path of the kubeconfig.
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig.
    #[arg(long, global = true)]
    pub context: Option<String>,
    /// User to impersonate.
    #[arg(long = "as", global = true, value_name = "USER")]
    pub user: Option<String>,
    /// Group to impersonate; repeatable.
    #[arg(long = "as-group", global = true, value_name = "GROUP")]
    pub groups: Vec<String>,
    /// Namespace of Services; NAMESPACE/NAME in an argument wins.
    #[arg(short, long, global = true)]
    pub namespace: Option<String>,
    /// Where MetalLB runs; found by its objects, else metallb-system.
    #[arg(long, global = true, value_name = "NAMESPACE")]
    pub metallb_namespace: Option<String>,
    /// Read objects from a file, folder, .tar, .tar.gz or - (standard input) instead of a cluster; repeatable.
    #[arg(long, global = true, value_name = "PATH")]
    pub from: Vec<PathBuf>,
    /// What the input does not say: lb-class=CLASS, ignore-exclude-lb=true, backend=native|frr|frr-k8s,
    /// speakers=NODE,NODE; repeatable.
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    pub assume: Vec<String>,
    /// How speakers are asked what they do; none = objects alone.
    #[arg(long, global = true, value_enum, default_value_t)]
    pub via: Via,
    /// How long each request may take, in seconds.
    #[arg(long, global = true, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub request_timeout: Duration,
    /// How the report is written; sarif and github are for lint.
    #[arg(short, long, global = true, value_enum, default_value_t)]
    pub output: Output,
    /// Print only problems and the last line.
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// What makes exit code 1: an error, if not said otherwise; for plan a warning.
    #[arg(long, global = true, value_enum)]
    pub fail_on: Option<FailOn>,
    /// When to use colours; NO_COLOR and a pipe mean none.
    #[arg(long, global = true, value_enum, default_value_t)]
    pub color: Color,
    /// Print ASCII alone.
    #[arg(long, global = true)]
    pub ascii: bool,
}

/// How a report is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// For people who want to know more.
    Wide,
    /// For programs.
    Json,
    /// The same as YAML.
    Yaml,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
    /// Annotations of GitHub Actions.
    Github,
}

/// How speakers are asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Via {
    /// Through the API server, else directly.
    #[default]
    Auto,
    /// Through the API server (pods/proxy).
    Proxy,
    /// At the address of the Pod.
    Direct,
    /// Not at all.
    None,
}

/// What makes exit code 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// An error.
    Error,
    /// An error or a warning.
    Warning,
    /// Nothing.
    Never,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say why something is as it is.
    #[command(subcommand)]
    Explain(Explain),
    /// The BGP sessions of speakers, and what they have sent over them.
    #[command(subcommand)]
    Bgp(Bgp),
    /// Who answers for addresses on the local network, and who else claims them.
    #[command(subcommand)]
    L2(L2),
    /// Check files as one configuration, as admission would.
    Lint(Lint),
    /// Say how MetalLB is doing, and what is wrong.
    Status(Status),
    /// Say what a change would do to addresses, owners, routes and sessions, without making it.
    Plan(Plan),
    /// Print a script that lets a shell complete `kubectl-metallb`.
    Completion(Completion),
    /// Print the versions of this program and of the components.
    Version,
}

/// What to explain.
#[derive(Debug, Subcommand)]
pub enum Explain {
    /// Why a Service has its address or none, and who announces it.
    #[command(visible_alias = "service")]
    Svc {
        /// [NAMESPACE/]NAME of the Service.
        name: String,
    },
    /// Whose an address is.
    Ip {
        /// The address.
        address: IpAddr,
    },
    /// How full a pool is, who may have its addresses, and who announces them.
    Pool {
        /// Name of the IPAddressPool or AddressPool.
        name: String,
    },
    /// What a node may announce and what not, and to whom.
    Node {
        /// Name of the Node.
        name: String,
    },
    /// Which nodes have a session with a BGP peer, and what they tell it.
    Peer {
        /// Name of the BGPPeer.
        name: String,
    },
}

/// Say how MetalLB is doing.
#[derive(Clone, Copy, Debug, Group)]
pub struct Status {
    /// Look again and again, with this pause, until interrupted.
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true, default_missing_value = "5s", value_parser = duration)]
    pub watch: Option<Duration>,
}

/// What of BGP to show.
#[derive(Debug, Subcommand)]
pub enum Bgp {
    /// Sessions, and how they are doing.
    Peers {
        /// Name of the BGPPeer.
        peer: Option<String>,
        /// Sessions of this node alone.
        #[arg(long)]
        node: Option<String>,
    },
    /// Routes that peers have been sent, beside those that they should have been.
    Routes {
        /// Prefix, address, or [NAMESPACE/]NAME of a Service.
        #[arg(value_name = "PREFIX|SERVICE")]
        what: Option<String>,
        /// Routes to this BGPPeer alone.
        #[arg(long)]
        peer: Option<String>,
        /// Routes of this node alone.
        #[arg(long)]
        node: Option<String>,
        /// Those alone that are decided and not sent, or sent and not decided.
        #[arg(long)]
        diff: bool,
    },
}

/// What of layer 2 to show.
#[derive(Debug, Subcommand)]
pub enum L2 {
    /// Who answers for each address, what for, and who would take over.
    Owners {
        /// Address, or [NAMESPACE/]NAME of a Service.
        #[arg(value_name = "ADDRESS|SERVICE")]
        what: Option<String>,
        /// Addresses of this node alone.
        #[arg(long)]
        node: Option<String>,
    },
    /// Other hosts that have claimed announced addresses.
    Conflicts,
}

impl Global {
    /// Namespace and name of a Service that is called `[NAMESPACE/]NAME`.
    pub(crate) fn named<'a>(&'a self, facts: &'a Facts, name: &'a str) -> (&'a str, &'a str) {
        let own = || self.namespace.as_deref().or(facts.namespace.as_deref());
        name.split_once('/')
            .unwrap_or_else(|| (own().unwrap_or("default"), name))
    }
}

/// Check files as one configuration.
#[derive(Debug, Group)]
pub struct Lint {
    /// Files, folders, or - for standard input.
    #[arg(value_name = "FILE", required_unless_present_any = ["rules", "explain"])]
    pub files: Vec<PathBuf>,
    /// Judge beside the objects of the cluster (or of --from); those in FILE take the place of theirs.
    #[arg(long)]
    pub with_cluster: bool,
    /// Who speaks BGP.
    #[arg(long, value_parser = backends())]
    pub backend: Option<Backend>,
    /// Leave out a warning, everywhere or of one object; repeatable.
    #[arg(long, value_name = "RULE[=KIND/NAME]")]
    pub suppress: Vec<String>,
    /// Warnings make exit code 1, too.
    #[arg(long)]
    pub strict: bool,
    /// Files without an object of MetalLB are fine.
    #[arg(long)]
    pub allow_empty: bool,
    /// List all rules.
    #[arg(long, conflicts_with_all = ["files", "explain"])]
    pub rules: bool,
    /// Say what a rule means, with an example.
    #[arg(long, value_name = "RULE", conflicts_with = "files")]
    pub explain: Option<String>,
}

/// Say what a change would do.
#[derive(Debug, Group)]
pub struct Plan {
    /// Files, folders, or - for standard input, with objects as they are to be.
    #[arg(value_name = "FILE", required_unless_present = "delete")]
    pub files: Vec<PathBuf>,
    /// Delete an object, before those of FILE are applied; repeatable.
    #[arg(long, value_name = "KIND/[NAMESPACE/]NAME")]
    pub delete: Vec<String>,
    /// FILE is the whole configuration of MetalLB: delete what else there is of it.
    #[arg(long, requires = "files")]
    pub replace_all: bool,
}

/// Reads the name of a back-end.
fn backends() -> impl TypedValueParser<Value = Backend> {
    let names = PossibleValuesParser::new(Backend::ALL.map(Backend::name));
    names.try_map(|name| Backend::named(&name).ok_or("there is no such back-end"))
}

/// Reads `10s`, `500ms`, `2m`, or seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let at = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let scale = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        _ => return Err(format!("{unit:?} is none of ms, s, m")),
    };
    let number: f64 = number.parse().map_err(|_| format!("{number:?} is no number"))?;
    Duration::try_from_secs_f64(number * scale).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn durations_are_written_as_in_go() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("10"), Ok(Duration::from_secs(10)));
        assert!(duration("1h").is_err() && duration("s").is_err());
    }
}
