//! How a new version of a workload replaces the old one.

use k8s_openapi::{
    api::apps::v1::{DaemonSetUpdateStrategy, DeploymentStrategy, RollingUpdateDaemonSet, RollingUpdateDeployment},
    apimachinery::pkg::util::intstr::IntOrString,
};
use metallb_api::{
    ComponentConfig,
    metallb::{UpdateStrategy, UpdateType},
};

/// The strategy of a Deployment, one after the other unless the user wants otherwise.
pub(crate) fn deployment(config: Option<&ComponentConfig>) -> DeploymentStrategy {
    let (type_, strategy) = wanted(config, UpdateType::Recreate);
    let rolling = |strategy: &UpdateStrategy| RollingUpdateDeployment {
        max_surge: strategy.max_surge.clone(),
        max_unavailable: strategy.max_unavailable.clone(),
    };
    DeploymentStrategy {
        rolling_update: limits(type_, strategy).map(rolling),
        type_: Some(type_.name().to_owned()),
    }
}

/// The strategy of a DaemonSet. Two of its pods cannot share a node, so there is no surge.
pub(crate) fn daemon_set(config: Option<&ComponentConfig>) -> DaemonSetUpdateStrategy {
    let (type_, strategy) = wanted(config, UpdateType::OnDelete);
    let rolling = |max_unavailable: Option<IntOrString>| RollingUpdateDaemonSet {
        max_surge: None,
        max_unavailable,
    };
    let max_unavailable = limits(type_, strategy).and_then(|strategy| strategy.max_unavailable.clone());
    DaemonSetUpdateStrategy {
        rolling_update: max_unavailable.map(|it| rolling(Some(it))),
        type_: Some(type_.name().to_owned()),
    }
}

/// The user's strategy and its type, if the kind of workload knows that type.
fn wanted(config: Option<&ComponentConfig>, other: UpdateType) -> (UpdateType, Option<&UpdateStrategy>) {
    let strategy = config.and_then(|config| config.update_strategy.as_ref());
    let type_ = strategy.and_then(|strategy| strategy.type_);
    let known = type_.filter(|type_| *type_ == other);
    (known.unwrap_or(UpdateType::RollingUpdate), strategy)
}

fn limits(type_: UpdateType, strategy: Option<&UpdateStrategy>) -> Option<&UpdateStrategy> {
    strategy.filter(|it| type_ == UpdateType::RollingUpdate && (it.max_surge.is_some() || it.max_unavailable.is_some()))
}
