//! What was read, as plain data.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::jiff::Timestamp;
use metallb_api::{AddressPool, BFDProfile, BGPAdvertisement, BGPPeer, Community, IPAddressPool, L2Advertisement};
use metallb_api::{BGPSessionState, ConfigurationState, ServiceBGPStatus, ServiceL2Status};
use schemars::JsonSchema;
use serde::Serialize;

use crate::ask::Asked;

/// All objects of a kind, or why they are not known.
#[derive(Clone, Debug, Default)]
pub enum Read<T> {
    /// These are all.
    Got(Vec<T>),
    /// The API server forbids it, in its words.
    Denied(String),
    /// The cluster does not know the kind.
    NotServed,
    /// The request failed; the text says why.
    Failed(String),
    /// Not asked for, or not in the files.
    #[default]
    NotGiven,
}

impl<T> Read<T> {
    /// The objects that are known.
    #[must_use]
    pub fn list(&self) -> &[T] {
        match self {
            Self::Got(list) => list,
            _ => &[],
        }
    }

    /// Tells whether it is known which objects there are. Of a kind that is not served there are none.
    #[must_use]
    pub fn is_known(&self) -> bool {
        matches!(self, Self::Got(_) | Self::NotServed)
    }

    /// Why they are not known, if so.
    #[must_use]
    pub fn why_not(&self) -> Option<String> {
        match self {
            Self::Got(_) | Self::NotServed => None,
            Self::Denied(text) => Some(format!("forbidden: {text}")),
            Self::Failed(text) => Some(text.clone()),
            Self::NotGiven => Some("not in the input".to_owned()),
        }
    }

    /// Why it is not known which `what` there are, as a sentence.
    pub(crate) fn lacks(&self, what: &str) -> Option<String> {
        self.why_not().map(|why| format!("{what} cannot be listed: {why}"))
    }
}

/// Everything that reports are made of. Reports look at nothing else.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// When the objects were as they are here.
    pub now: Timestamp,
    /// Where they were read.
    pub source: Source,
    /// The namespace of the kubeconfig's context.
    pub namespace: Option<String>,
    /// Services.
    pub services: Read<Service>,
    /// EndpointSlices.
    pub slices: Read<EndpointSlice>,
    /// Nodes.
    pub nodes: Read<Node>,
    /// Namespaces.
    pub namespaces: Read<Namespace>,
    /// MetalLB's pods.
    pub pods: Read<Pod>,
    /// MetalLB's Deployments.
    pub deployments: Read<Deployment>,
    /// MetalLB's DaemonSets.
    pub daemon_sets: Read<DaemonSet>,
    /// IPAddressPools.
    pub pools: Read<IPAddressPool>,
    /// AddressPools, of the legacy kind.
    pub address_pools: Read<AddressPool>,
    /// L2Advertisements.
    pub l2_advertisements: Read<L2Advertisement>,
    /// BGPAdvertisements.
    pub bgp_advertisements: Read<BGPAdvertisement>,
    /// BGPPeers.
    pub peers: Read<BGPPeer>,
    /// BFDProfiles.
    pub bfd_profiles: Read<BFDProfile>,
    /// Communities.
    pub communities: Read<Community>,
    /// BGPSessionStates.
    pub session_states: Read<BGPSessionState>,
    /// ServiceBGPStatuses.
    pub bgp_statuses: Read<ServiceBGPStatus>,
    /// ServiceL2Statuses.
    pub l2_statuses: Read<ServiceL2Status>,
    /// ConfigurationStates.
    pub config_states: Read<ConfigurationState>,
    /// The Leases of MetalLB's namespace.
    pub leases: Read<Lease>,
    /// What speakers have said.
    pub asked: Asked,
}

impl Facts {
    /// Why the configuration is not known, if so: without it nothing can be said.
    #[must_use]
    pub fn lacks_configuration(&self) -> Option<String> {
        let needed = [
            self.pools.lacks("IPAddressPools"),
            self.address_pools.lacks("AddressPools"),
            self.l2_advertisements.lacks("L2Advertisements"),
            self.bgp_advertisements.lacks("BGPAdvertisements"),
            self.peers.lacks("BGPPeers"),
            self.communities.lacks("Communities"),
        ];
        needed.into_iter().flatten().next()
    }

    /// The Service of that name.
    pub(crate) fn service(&self, namespace: &str, name: &str) -> Option<&Service> {
        let same = |own: &&Service| {
            let meta = &own.metadata;
            meta.name.as_deref() == Some(name) && meta.namespace.as_deref().unwrap_or_default() == namespace
        };
        self.services.list().iter().find(same)
    }
}

/// Where objects were read.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// The API server at this address.
    Cluster(String),
    /// This many files.
    Files(usize),
    /// Nowhere.
    #[default]
    Nothing,
}
