//! What the operator is told by its environment variables.

use semver::Version;

use crate::{Image, ImageError, Platform, architecture};

/// Everything that decides on the objects besides the MetalLB resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// The namespace of the operator and of all that it deploys (`OPERATOR_NAMESPACE`).
    pub namespace: String,
    /// `CONTROLLER_IMAGE`.
    pub controller_image: Image,
    /// `SPEAKER_IMAGE`.
    pub speaker_image: Image,
    /// `FRR_IMAGE`, of the back-ends that run FRR. Upstream: mandatory whatever the back-end.
    pub frr_image: Option<Image>,
    /// `FRRK8S_IMAGE`, of back-end frr-k8s.
    pub frr_k8s_image: Option<Image>,
    /// `FRRK8S_EXTERNAL_NAMESPACE`, the namespace of an frr-k8s that somebody else deploys.
    pub frr_k8s_external_namespace: Option<String>,
    /// `ARCHITECTURES`: those of the nodes that controller and speakers run on, by default what releases are built for.
    pub architectures: Vec<String>,
    /// The ports of the deployed processes.
    pub ports: Ports,
    /// TLS settings that are passed on to the deployed processes, as they were told; see [`TlsSettings::effective`].
    pub tls: TlsSettings,
    /// `DEPLOY_PODMONITORS` or `DEPLOY_SERVICEMONITORS`: how Prometheus is told where the metrics are.
    pub monitors: Monitors,
    /// `DEPLOY_PROMETHEUSRULES`: whether alerts are deployed. Upstream: only its chart has any.
    pub alerts: bool,
    /// Not `DISABLE_NETWORK_POLICIES`: whether the traffic of our pods is narrowed.
    pub network_policies: bool,
    /// `KUBERNETES_API_PORTS`: where API servers listen, for those policies; any port if empty. Upstream: 6443.
    pub api_server_ports: Vec<u16>,
    /// `DEPLOY_FRRK8S_FROM_CNO`: the network operator of OpenShift deploys frr-k8s.
    pub frr_k8s_from_network_operator: bool,
    /// `CNO_MIN_FRRK8S_VERSION`: the oldest network operator that can.
    pub network_operator_min_version: Option<Version>,
    /// What is set and has no effect, for the log and the status.
    pub warnings: Vec<&'static str>,
    /// What the cluster offers; nothing until it was asked.
    pub platform: Platform,
}

/// How Prometheus is told where the metrics are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Monitors {
    /// Not at all.
    #[default]
    None,
    /// By PodMonitors.
    Pods,
    /// By ServiceMonitors, each with a Service.
    Services,
}

/// What W-12 is about: upstream documents the variable, and nothing reads it.
const BGP_TYPE_IGNORED: &str =
    "METALLB_BGP_TYPE on the operator has no effect: set spec.bgpBackend of the MetalLB resource";

/// The ports of the deployed processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// `MEMBER_LIST_BIND_PORT`: membership of the speakers.
    pub memberlist: u16,
    /// `METRICS_PORT`: metrics of controller and speaker.
    pub metrics: u16,
    /// `FRR_METRICS_PORT`: metrics of FRR beside the speaker.
    pub frr_metrics: u16,
    /// `OPERAND_LIVENESS_PORT`: health of controller and speaker.
    pub health: u16,
    /// `FRRK8S_HTTPS_METRICS_PORT`: metrics of frr-k8s.
    pub frr_k8s_metrics: u16,
    /// `FRRK8S_FRR_HTTPS_METRICS_PORT`: metrics of FRR beside frr-k8s.
    pub frr_k8s_frr_metrics: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Self {
            memberlist: 7946,
            metrics: 9120,
            frr_metrics: 9121,
            health: 17472,
            frr_k8s_metrics: 9140,
            frr_k8s_frr_metrics: 9141,
        }
    }
}

/// TLS settings as texts; empty means the default of whoever gets them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// `TLS_CIPHER_SUITES`: IANA names, separated by commas.
    pub cipher_suites: String,
    /// `TLS_CURVE_PREFERENCES`: numbers of curves, separated by commas.
    pub curve_preferences: String,
    /// `TLS_MIN_VERSION`: such as `VersionTLS13`.
    pub min_version: String,
}

impl TlsSettings {
    /// What of it can be had: nobody here speaks less than TLS 1.2, and cipher suites have no effect where TLS 1.3 leaves
    /// no choice. An frr-k8s of 0.0.25 does not even start with them then.
    #[must_use]
    pub fn effective(mut self) -> Self {
        if matches!(self.min_version.as_str(), "VersionTLS10" | "VersionTLS11") {
            "VersionTLS12".clone_into(&mut self.min_version);
        }
        if matches!(self.min_version.as_str(), "" | "VersionTLS13") {
            self.cipher_suites.clear();
        }
        self
    }

    /// Gives the flags of controller and speaker for what is set.
    pub(crate) fn args(&self) -> impl Iterator<Item = String> {
        [
            ("--tls-cipher-suites", &self.cipher_suites),
            ("--tls-curve-preferences", &self.curve_preferences),
            ("--tls-min-version", &self.min_version),
        ]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(flag, value)| format!("{flag}={value}"))
    }
}

/// Why the environment cannot be used. Messages name the variable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentError {
    /// A mandatory variable is missing or empty.
    #[error("environment variable {0} must be set")]
    Missing(&'static str),
    /// A port is no number from 1 to 65535.
    #[error("environment variable {variable}: {value:?} is not a port")]
    Port {
        /// The variable.
        variable: &'static str,
        /// What it holds.
        value: String,
    },
    /// A list of ports is none.
    #[error("environment variable KUBERNETES_API_PORTS: {0:?} is not a comma-separated list of ports")]
    Ports(String),
    /// A list of architectures is none.
    #[error("environment variable ARCHITECTURES: {0:?} is not a comma-separated list such as amd64,arm64")]
    Architectures(String),
    /// PodMonitors and ServiceMonitors would count everything twice.
    #[error("environment variables DEPLOY_PODMONITORS and DEPLOY_SERVICEMONITORS exclude each other")]
    BothMonitors,
    /// The oldest fitting network operator is wanted and not said.
    #[error("environment variable CNO_MIN_FRRK8S_VERSION must be set when DEPLOY_FRRK8S_FROM_CNO is true")]
    NoNetworkOperatorVersion,
    /// A version is none.
    #[error("environment variable CNO_MIN_FRRK8S_VERSION: {0:?} is not a semantic version")]
    NetworkOperatorVersion(String),
    /// An image reference is malformed.
    #[error("environment variable {variable}: {source}")]
    Image {
        /// The variable.
        variable: &'static str,
        /// What is wrong with it.
        source: ImageError,
    },
}

impl Environment {
    /// Reads the variables through `variable`, which gives the value of a name.
    ///
    /// # Errors
    /// Names the variable that is missing or malformed.
    pub fn from_variables(variable: impl Fn(&'static str) -> Option<String>) -> Result<Self, EnvironmentError> {
        let text = |name| variable(name).filter(|value| !value.is_empty());
        let image = |name| text(name).map(|value| parse_image(name, &value)).transpose();
        let mandatory_image = |name| image(name)?.ok_or(EnvironmentError::Missing(name));
        let port = |name, default| text(name).map_or(Ok(default), |value| parse_port(name, value));
        let is_true = |name| variable(name).is_some_and(|value| value == "true");
        let ports = Ports::default();
        let from_network_operator = is_true("DEPLOY_FRRK8S_FROM_CNO");
        Ok(Self {
            namespace: text("OPERATOR_NAMESPACE").ok_or(EnvironmentError::Missing("OPERATOR_NAMESPACE"))?,
            controller_image: mandatory_image("CONTROLLER_IMAGE")?,
            speaker_image: mandatory_image("SPEAKER_IMAGE")?,
            frr_image: image("FRR_IMAGE")?,
            frr_k8s_image: image("FRRK8S_IMAGE")?,
            frr_k8s_external_namespace: text("FRRK8S_EXTERNAL_NAMESPACE"),
            architectures: text("ARCHITECTURES").map_or_else(|| Ok(architecture::released()), parse_architectures)?,
            ports: Ports {
                memberlist: port("MEMBER_LIST_BIND_PORT", ports.memberlist)?,
                metrics: port("METRICS_PORT", ports.metrics)?,
                frr_metrics: port("FRR_METRICS_PORT", ports.frr_metrics)?,
                health: port("OPERAND_LIVENESS_PORT", ports.health)?,
                frr_k8s_metrics: port("FRRK8S_HTTPS_METRICS_PORT", ports.frr_k8s_metrics)?,
                frr_k8s_frr_metrics: port("FRRK8S_FRR_HTTPS_METRICS_PORT", ports.frr_k8s_frr_metrics)?,
            },
            tls: TlsSettings {
                cipher_suites: text("TLS_CIPHER_SUITES").unwrap_or_default(),
                curve_preferences: text("TLS_CURVE_PREFERENCES").unwrap_or_default(),
                min_version: text("TLS_MIN_VERSION").unwrap_or_default(),
            },
            monitors: monitors(is_true("DEPLOY_PODMONITORS"), is_true("DEPLOY_SERVICEMONITORS"))?,
            alerts: is_true("DEPLOY_PROMETHEUSRULES"),
            network_policies: !is_true("DISABLE_NETWORK_POLICIES"),
            api_server_ports: text("KUBERNETES_API_PORTS").map_or_else(|| Ok(vec![]), parse_ports)?,
            frr_k8s_from_network_operator: from_network_operator,
            network_operator_min_version: min_version(text("CNO_MIN_FRRK8S_VERSION"), from_network_operator)?,
            warnings: text("METALLB_BGP_TYPE").map(|_| BGP_TYPE_IGNORED).into_iter().collect(),
            platform: Platform::default(),
        })
    }
}

const fn monitors(pods: bool, services: bool) -> Result<Monitors, EnvironmentError> {
    match (pods, services) {
        (true, true) => Err(EnvironmentError::BothMonitors),
        (true, false) => Ok(Monitors::Pods),
        (false, true) => Ok(Monitors::Services),
        (false, false) => Ok(Monitors::None),
    }
}

/// Upstream falls over the missing version when it first looks at the network operator.
fn min_version(version: Option<String>, needed: bool) -> Result<Option<Version>, EnvironmentError> {
    match version {
        None if needed => Err(EnvironmentError::NoNetworkOperatorVersion),
        None => Ok(None),
        // A leading v is fine, as in Go.
        Some(text) => Version::parse(text.strip_prefix('v').unwrap_or(&text))
            .map(Some)
            .map_err(|_| EnvironmentError::NetworkOperatorVersion(text)),
    }
}

fn parse_architectures(text: String) -> Result<Vec<String>, EnvironmentError> {
    architecture::parse(&text).ok_or(EnvironmentError::Architectures(text))
}

fn parse_ports(text: String) -> Result<Vec<u16>, EnvironmentError> {
    let ports: Option<Vec<_>> = text
        .split(',')
        .map(|port| port.trim().parse().ok().filter(|port| *port > 0))
        .collect();
    ports.ok_or(EnvironmentError::Ports(text))
}

fn parse_image(variable: &'static str, value: &str) -> Result<Image, EnvironmentError> {
    value
        .parse()
        .map_err(|source| EnvironmentError::Image { variable, source })
}

fn parse_port(variable: &'static str, value: String) -> Result<u16, EnvironmentError> {
    match value.parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(EnvironmentError::Port { variable, value }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(extra: &'static [(&'static str, &'static str)]) -> Result<Environment, EnvironmentError> {
        let base = [
            ("OPERATOR_NAMESPACE", "metallb-system"),
            ("CONTROLLER_IMAGE", "controller:1"),
            ("SPEAKER_IMAGE", "speaker:1"),
        ];
        Environment::from_variables(move |name| {
            let found = extra.iter().chain(&base).find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    // OP-27
    #[test]
    fn ports_have_defaults_and_follow_their_variables() {
        assert_eq!(with(&[]).unwrap().ports, Ports::default());
        let ports = with(&[("METRICS_PORT", "1"), ("MEMBER_LIST_BIND_PORT", "2")])
            .unwrap()
            .ports;
        assert_eq!((ports.metrics, ports.memberlist), (1, 2));
    }

    // OP-27
    #[test]
    fn a_port_that_is_none_is_an_error_naming_the_variable() {
        for value in ["x", "0", "65536", "-1"] {
            let extra: &'static [_] = Box::leak(Box::new([("OPERAND_LIVENESS_PORT", value)]));
            let error = with(extra).unwrap_err().to_string();
            assert!(error.contains("OPERAND_LIVENESS_PORT"), "{error}");
        }
    }

    // OP-28
    #[test]
    fn a_missing_variable_is_an_error_naming_it() {
        for (name, extra) in [
            ("OPERATOR_NAMESPACE", &[("OPERATOR_NAMESPACE", "")]),
            ("CONTROLLER_IMAGE", &[("CONTROLLER_IMAGE", "")]),
            ("SPEAKER_IMAGE", &[("SPEAKER_IMAGE", "")]),
        ] {
            assert_eq!(with(extra).unwrap_err(), EnvironmentError::Missing(name));
        }
    }

    // OP-52
    #[test]
    fn cipher_suites_count_only_where_they_can_be_chosen() {
        let effective = |min_version: &str| {
            let told = TlsSettings {
                cipher_suites: "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256".to_owned(),
                min_version: min_version.to_owned(),
                ..TlsSettings::default()
            };
            let had = told.effective();
            (had.min_version, had.cipher_suites.is_empty())
        };
        assert_eq!(effective(""), (String::new(), true));
        assert_eq!(effective("VersionTLS13"), ("VersionTLS13".to_owned(), true));
        for version in ["VersionTLS10", "VersionTLS11", "VersionTLS12"] {
            assert_eq!(effective(version), ("VersionTLS12".to_owned(), false), "{version}");
        }
    }

    #[test]
    fn a_malformed_image_is_an_error_naming_the_variable() {
        assert!(
            with(&[("FRR_IMAGE", "a b")])
                .unwrap_err()
                .to_string()
                .contains("FRR_IMAGE")
        );
    }
}
