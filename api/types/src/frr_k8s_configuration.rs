//! FRRK8sConfiguration: settings of frr-k8s itself.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{LogLevel, schema::EmptyStatus, spec::optional_spec};

/// What holds for all of its programs.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "frrk8s.metallb.io",
    version = "v1beta1",
    kind = "FRRK8sConfiguration",
    plural = "frrk8sconfigurations",
    namespaced,
    status = "EmptyStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "FRRK8sConfiguration holds settings of frr-k8s itself."
)]
#[serde(rename_all = "camelCase", remote = "Self")]
pub struct FRRK8sConfigurationSpec {
    /// How much frr-k8s logs; as its flags say when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_level: Option<LogLevel>,
}
optional_spec!(FRRK8sConfigurationSpec);
