//! Why a service is not announced.

use std::fmt;

/// Why a service is not announced from this node; the text is upstream's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The Service object is gone.
    ServiceDeleted,
    /// `spec.type` is not `LoadBalancer`.
    NotLoadBalancer,
    /// The load-balancer class is another one's.
    ///
    /// Upstream: such a Service is filtered out before any decision and stays announced; we withdraw it.
    ClassChanged,
    /// `status.loadBalancer.ingress` is empty.
    NoIpAllocated,
    /// An ingress entry has no parsable `ip`.
    InvalidIp,
    /// No single pool contains all addresses.
    IpNotAllowed,
    /// Another node announces; also: no usable endpoint, or no BGPAdvertisement for this node.
    NotOwner,
    /// No node may announce: none of those that the advertisements list is alive, not excluded, and has an endpoint
    /// where the traffic policy asks for one.
    ///
    /// Upstream: `notOwner`.
    NoCandidate,
    /// No advertisement of the pool covers this service on this node.
    NoMatchingAdvertisement,
    /// Two selected BGP advertisements disagree about the local preference.
    ConflictingAdvertisements,
    /// A shared address under an L2Advertisement with service selectors.
    SharedIpWithServiceSelector,
    /// This node has the condition `NetworkUnavailable`.
    NodeNetworkUnavailable,
    /// This node carries the exclude label.
    NodeLabeledExcludeBalancers,
    /// `externalTrafficPolicy: Local` and no usable endpoint on this node.
    NoLocalEndpoints,
    /// No usable endpoint anywhere.
    NoEndpoints,
}

impl Reason {
    /// Returns the exact text that logs carry.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ServiceDeleted => "serviceDeleted",
            Self::NotLoadBalancer => "notLoadBalancer",
            Self::ClassChanged => "loadBalancerClassChanged",
            Self::NoIpAllocated => "noIPAllocated",
            Self::InvalidIp => "invalidIP",
            Self::IpNotAllowed => "ipNotAllowed",
            Self::NotOwner => "notOwner",
            Self::NoCandidate => "noCandidate",
            Self::NoMatchingAdvertisement => "noMatchingAdvertisement",
            Self::ConflictingAdvertisements => "conflictingAdvertisements",
            Self::SharedIpWithServiceSelector => "sharedIPWithServiceSelector",
            Self::NodeNetworkUnavailable => "nodeNetworkUnavailable",
            Self::NodeLabeledExcludeBalancers => "nodeLabeledExcludeBalancers",
            Self::NoLocalEndpoints => "noLocalEndpoints",
            Self::NoEndpoints => "noEndpoints",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
