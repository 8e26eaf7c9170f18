//! FRRNodeState: what FRR on a node runs with, as frr-k8s tells it.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::spec::optional_spec;

/// Nothing: all is in the status.
#[derive(CustomResource, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "frrk8s.metallb.io",
    version = "v1beta1",
    kind = "FRRNodeState",
    status = "FRRNodeStateStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "FRRNodeState tells what FRR on the node of its name runs with."
)]
#[serde(remote = "Self")]
pub struct FRRNodeStateSpec {}
optional_spec!(FRRNodeStateSpec);

/// What became of the FRRConfigurations of the node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FRRNodeStateStatus {
    /// `success`, or why they could not be made a configuration of FRR.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub last_conversion_result: String,

    /// `success`, or why FRR did not take the configuration.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub last_reload_result: String,

    /// The configuration that FRR runs with.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub running_config: String,
}
