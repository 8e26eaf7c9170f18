//! Who speaks BGP, and who decided so.

use std::fmt;

use metallb_api::{BgpBackend, MetalLBSpec, metallb::UnknownBackend};

use crate::Environment;

/// The back-end that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EffectiveBackend {
    /// The back-end.
    pub backend: BgpBackend,
    /// Who chose it.
    pub origin: Origin,
}

/// Who chose the back-end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The MetalLB resource.
    Resource,
    /// `DEPLOY_FRRK8S_FROM_CNO` on OpenShift, where the network operator deploys an frr-k8s for us.
    Environment,
    /// Nobody: native is the default on every platform.
    ///
    /// Upstream: frr on Kubernetes and frr-k8s on OpenShift. Whoever left the choice to upstream's operator goes on
    /// announcing, through native.
    Default,
}

impl EffectiveBackend {
    /// Tells the back-end for a resource in an environment.
    ///
    /// # Errors
    /// The resource names none of the known ones.
    pub fn of(spec: &MetalLBSpec, environment: &Environment) -> Result<Self, UnknownBackend> {
        let effective = |backend, origin| Self { backend, origin };
        if spec.bgp_backend.as_ref().is_some_and(|name| !name.is_empty()) {
            return Ok(effective(spec.backend()?, Origin::Resource));
        }
        if environment.platform.openshift && environment.frr_k8s_from_network_operator {
            return Ok(effective(BgpBackend::FrrK8sExternal, Origin::Environment));
        }
        Ok(effective(BgpBackend::default(), Origin::Default))
    }
}

impl fmt::Display for EffectiveBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = match self.origin {
            Origin::Resource => "spec.bgpBackend",
            Origin::Environment => "DEPLOY_FRRK8S_FROM_CNO",
            Origin::Default => "the default",
        };
        write!(f, "BGP back-end {} ({origin})", self.backend)
    }
}
