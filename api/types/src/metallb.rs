//! MetalLB: the resource that makes the operator deploy MetalLB.

mod bgp;
mod component;
mod frr;
mod interval;
mod layer2;
mod metrics;
mod network;
mod overrides;

use std::{collections::BTreeMap, fmt, str::FromStr};

use k8s_openapi::{
    api::core::v1::{LocalObjectReference, Toleration},
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    GoDuration,
    schema::{conditions, is_false},
    spec::optional_spec,
};

pub use bgp::{DrainTrigger, SpeakerBgp};
pub use component::{ComponentConfig, DnsPolicy, ProbeTimes, SidecarConfig, UpdateStrategy, UpdateType};
pub use frr::{FrrConfig, FrrK8sConfig};
pub use layer2::{Failback, SpeakerLayer2};
pub use metrics::{Alerts, Metrics, MonitorKind};
pub use network::{ExcludeInterfaces, Memberlist, NetworkPolicies, Tls, TlsVersion};
pub use overrides::{OverriddenKind, Override};

/// How MetalLB is deployed.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "MetalLB",
    namespaced,
    status = "MetalLBStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "MetalLB makes the operator deploy MetalLB. The one named metallb counts.",
    printcolumn(
        name = "Available",
        type_ = "string",
        description = "Whether MetalLB is available.",
        json_path = ".status.conditions[?(@.type==\"Available\")].status"
    ),
    printcolumn(
        name = "Degraded",
        type_ = "string",
        description = "Whether MetalLB cannot be deployed as wanted.",
        json_path = ".status.conditions[?(@.type==\"Degraded\")].status"
    ),
    printcolumn(
        name = "Progressing",
        type_ = "string",
        description = "Whether MetalLB is being deployed.",
        json_path = ".status.conditions[?(@.type==\"Progressing\")].status"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        description = "How many pods are ready, of how many.",
        json_path = ".status.ready"
    ),
    printcolumn(
        name = "Backend",
        type_ = "string",
        description = "What speaks BGP.",
        json_path = ".status.bgpBackend"
    ),
    printcolumn(
        name = "Version",
        type_ = "string",
        description = "The version of the operator that deployed it.",
        json_path = ".status.version"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", remote = "Self")]
pub struct MetalLBSpec {
    /// Has no effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,

    /// The nodes that run a speaker, by their labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,

    /// Tolerations of the speakers, besides those for control-plane nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub speaker_tolerations: Vec<Toleration>,

    /// How much the components log; info when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_level: Option<LogLevel>,

    /// The class of the Services that MetalLB serves; without it, those that have no class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^([a-z0-9A-Z]([\w.\-]*[a-z0-9A-Z])?/)?[a-z0-9A-Z]([\w.\-]*[a-z0-9A-Z])?$"))]
    pub load_balancer_class: Option<String>,

    /// The nodes that may run the controller, by their labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub controller_node_selector: BTreeMap<String, String>,

    /// Tolerations of the controller.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub controller_tolerations: Vec<Toleration>,

    /// More settings of the controller's pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller_config: Option<ComponentConfig>,

    /// More settings of the speakers' pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speaker_config: Option<ComponentConfig>,

    /// What speaks BGP: native (the default), frr, frr-k8s or frr-k8s-external.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bgp_backend: Option<String>,

    /// Settings of the frr-k8s back-ends.
    #[serde(rename = "frrk8sConfig", default, skip_serializing_if = "Option::is_none")]
    pub frrk8s_config: Option<FrrK8sConfig>,

    /// Settings of the containers that run FRR.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frr_config: Option<FrrConfig>,

    /// When the images are pulled; Kubernetes decides by the tag when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<PullPolicy>,

    /// Secrets of all pods for pulling the images.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<LocalObjectReference>,

    /// Whether nodes labelled node.kubernetes.io/exclude-from-external-load-balancers announce all the same.
    #[serde(rename = "ignoreExcludeLB", default, skip_serializing_if = "is_false")]
    pub ignore_exclude_lb: bool,

    /// The interfaces that layer 2 leaves alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclude_interfaces: Option<ExcludeInterfaces>,

    /// How speakers find each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memberlist: Option<Memberlist>,

    /// Time between unasked repetitions of addresses announced in layer 2, in whole seconds such as 90s or 1m30s; 0s or
    /// unset for none.
    #[serde(
        rename = "speakerGratuitousARPInterval",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub speaker_gratuitous_arp_interval: Option<GoDuration>,

    /// Who announces in layer 2, and how it moves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speaker_layer2: Option<SpeakerLayer2>,

    /// How speakers restart and leave BGP.
    #[serde(rename = "speakerBGP", default, skip_serializing_if = "Option::is_none")]
    pub speaker_bgp: Option<SpeakerBgp>,

    /// Milliseconds that the FRR back-ends wait for more changes before they apply them; with frr-k8s 3000 when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 600_000))]
    pub bgp_debounce_timeout: Option<i32>,

    /// What is measured, and who is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Metrics>,

    /// TLS of what the components serve; as the operator's environment says where unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,

    /// What the traffic of our pods is narrowed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_policies: Option<NetworkPolicies>,

    /// Changes of deployed objects, for what no other field can say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<Override>,
}
optional_spec!(MetalLBSpec);

/// How much the components log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Everything.
    All,
    /// Decisions, and all below.
    Debug,
    /// Changes that matter to an administrator, and all below.
    #[default]
    Info,
    /// Things that may go wrong, and all below.
    Warn,
    /// Failures.
    Error,
    /// Nothing.
    None,
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "all",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::None => "none",
        })
    }
}

/// When images are pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PullPolicy {
    /// At every start of a container.
    Always,
    /// When the node has none.
    IfNotPresent,
    /// Somebody else brings them.
    Never,
}

impl PullPolicy {
    /// Gives the name that Kubernetes uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// What speaks BGP, as `spec.bgpBackend` names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BgpBackend {
    /// The speaker itself.
    #[default]
    Native,
    /// FRR beside the speaker.
    Frr,
    /// An frr-k8s that the operator deploys.
    FrrK8s,
    /// An frr-k8s that somebody else deploys.
    FrrK8sExternal,
}

impl BgpBackend {
    /// All of them, in the order that messages list them.
    pub const ALL: [Self; 4] = [Self::Native, Self::Frr, Self::FrrK8s, Self::FrrK8sExternal];

    /// Gives the name used in the MetalLB resource.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Frr => "frr",
            Self::FrrK8s => "frr-k8s",
            Self::FrrK8sExternal => "frr-k8s-external",
        }
    }
}

impl fmt::Display for BgpBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for BgpBackend {
    type Err = UnknownBackend;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|backend| backend.name() == text)
            .ok_or_else(|| UnknownBackend(text.to_owned()))
    }
}

/// A `spec.bgpBackend` that is none of the known ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownBackend(pub String);

impl fmt::Display for UnknownBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = BgpBackend::ALL.map(BgpBackend::name).join(", ");
        write!(f, "unknown bgpBackend {:?}, must be one of {known}", self.0)
    }
}

impl std::error::Error for UnknownBackend {}

impl MetalLBSpec {
    /// Tells what is to speak BGP; unset and empty mean native.
    ///
    /// # Errors
    /// The name is none of the known ones.
    pub fn backend(&self) -> Result<BgpBackend, UnknownBackend> {
        match self.bgp_backend.as_deref() {
            None | Some("") => Ok(BgpBackend::default()),
            Some(name) => name.parse(),
        }
    }
}

/// How the deployment goes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetalLBStatus {
    /// Available, Upgradeable, Progressing and Degraded, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,

    /// What speaks BGP, as it results from the spec and the defaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bgp_backend: Option<String>,

    /// The version of the operator that deployed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,

    /// How many pods of all workloads are ready, of how many: such as 4/5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<String>,

    /// The workloads, one by one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<ComponentStatus>,

    /// The namespaces where speakers have handed routes to an frr-k8s that are not withdrawn yet.
    #[serde(rename = "frrk8sNamespaces", default, skip_serializing_if = "Vec::is_empty")]
    pub frrk8s_namespaces: Vec<String>,
}

/// How far one workload is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ComponentStatus {
    /// The kind of the workload: DaemonSet or Deployment.
    pub kind: String,

    /// The name of the workload.
    pub name: String,

    /// How many pods there shall be.
    pub desired: i32,

    /// How many pods have the wanted template.
    pub updated: i32,

    /// How many pods are ready.
    pub ready: i32,
}
