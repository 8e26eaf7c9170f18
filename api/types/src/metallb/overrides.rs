//! The last word of the user on what is deployed.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::schema::any_object;

/// A change of one deployed object, for what no other field can say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Override {
    /// The kind of the object.
    pub kind: OverriddenKind,

    /// The name of the object.
    #[schemars(length(min = 1))]
    pub name: String,

    /// What to merge into the object, as a strategic merge patch: lists of named items by their names, maps by their
    /// keys, all else is replaced. Nothing can be removed. Name, namespace and selector cannot be changed,
    /// nor what could give a pod more rights, such as its image, volumes, security context or variables; for the rest
    /// see docs/security.md.
    #[schemars(schema_with = "any_object")]
    pub patch: BTreeMap<String, Value>,
}

/// The kinds of objects that can be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OverriddenKind {
    /// A DaemonSet: `speaker` or `frr-k8s`.
    DaemonSet,
    /// A Deployment: `controller` or `statuscleaner`.
    Deployment,
    /// A NetworkPolicy.
    NetworkPolicy,
    /// A PodDisruptionBudget.
    PodDisruptionBudget,
    /// A Service.
    Service,
    /// A ServiceAccount.
    ServiceAccount,
}

impl OverriddenKind {
    /// Gives the name of the kind.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DaemonSet => "DaemonSet",
            Self::Deployment => "Deployment",
            Self::NetworkPolicy => "NetworkPolicy",
            Self::PodDisruptionBudget => "PodDisruptionBudget",
            Self::Service => "Service",
            Self::ServiceAccount => "ServiceAccount",
        }
    }
}
