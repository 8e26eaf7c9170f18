//! Settings of the back-ends that run FRR.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SidecarConfig;
use crate::{GoDuration, schema::is_false};

/// Settings of the containers that run FRR, beside the speaker or in frr-k8s.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FrrConfig {
    /// The container frr.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frr: Option<SidecarConfig>,

    /// The container reloader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reloader: Option<SidecarConfig>,

    /// The container frr-metrics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frr_metrics: Option<SidecarConfig>,

    /// The container frr-status of frr-k8s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frr_status: Option<SidecarConfig>,

    /// The init containers, which copy files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_containers: Option<SidecarConfig>,
}

/// Settings of the frr-k8s back-ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FrrK8sConfig {
    /// Prefixes that are never accepted from peers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub always_block: Vec<String>,

    /// The namespace of an frr-k8s that the operator does not deploy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,

    /// Whether references to Secrets are passed on instead of their content.
    #[serde(default, skip_serializing_if = "is_false")]
    pub secret_passthrough: bool,

    /// Whether FRR in a bundled frr-k8s takes connections from peers, on port 179.
    #[serde(rename = "acceptIncomingBGPConnections", default, skip_serializing_if = "is_false")]
    pub accept_incoming_bgp_connections: bool,

    /// How often a bundled frr-k8s reads the state of its sessions; 2m when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_poll_interval: Option<GoDuration>,
}
