//! What OpenShift says about itself and we go by: its network operator and its TLS profile.
//!
//! Both are watched like what we deploy, so a change takes effect at once. Upstream: looks at the network operator every
//! two minutes, and restarts itself for the TLS profile.

pub(crate) mod routing;
pub(crate) mod tls_config;
pub(crate) mod tls_profile;

/// The objects that count: API group, kind and name of each. All are of version v1.
pub(crate) const OBJECTS: [(&str, &str, &str); 3] = [
    ("config.openshift.io", "APIServer", tls_profile::NAME),
    ("config.openshift.io", "ClusterOperator", routing::OPERATOR),
    ("operator.openshift.io", "Network", routing::NETWORK),
];
