//! What OpenShift says about itself and we go by: its network operator and its TLS profile.
//!
//! Both are watched like what we deploy, so a change takes effect at once. Upstream: looks at the network operator every
//! two minutes, and restarts itself for the TLS profile.

pub(crate) mod routing;
pub(crate) mod tls_config;
pub(crate) mod tls_profile;

use kube::core::{ApiResource, GroupVersionKind};

use crate::sync::kinds::Kind;

/// The kinds with the one object of each that counts.
pub(crate) fn kinds() -> [Kind; 3] {
    let config = |kind, name| watched("config.openshift.io", kind, name);
    [
        config("APIServer", tls_profile::NAME),
        config("ClusterOperator", routing::OPERATOR),
        watched("operator.openshift.io", "Network", routing::NETWORK),
    ]
}

fn watched(group: &'static str, kind: &'static str, name: &'static str) -> Kind {
    Kind::of_platform(ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind)), name)
}
