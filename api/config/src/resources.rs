//! What is parsed, and how.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Namespace, Node, Secret};
use kube::ResourceExt;
use metallb_api::{AddressPool, BFDProfile, BGPAdvertisement, BGPPeer, Community, IPAddressPool, L2Advertisement};

use crate::selector::Selector;

/// Plain lists of all objects that configuration is made of.
///
/// The order of the lists never matters. Objects of another namespace than MetalLB's are not looked at.
#[derive(Clone, Debug, Default)]
pub struct Resources {
    /// MetalLB's namespace; empty means that all objects given belong to it.
    pub namespace: String,
    /// All IPAddressPools.
    pub pools: Vec<IPAddressPool>,
    /// All AddressPools, of the legacy kind.
    pub address_pools: Vec<AddressPool>,
    /// All L2Advertisements.
    pub l2_advertisements: Vec<L2Advertisement>,
    /// All BGPAdvertisements.
    pub bgp_advertisements: Vec<BGPAdvertisement>,
    /// All BGPPeers.
    pub peers: Vec<BGPPeer>,
    /// All BFDProfiles.
    pub bfd_profiles: Vec<BFDProfile>,
    /// All Communities.
    pub communities: Vec<Community>,
    /// All Nodes; only names and labels are read.
    pub nodes: Vec<Node>,
    /// All Namespaces; only names and labels are read.
    pub namespaces: Vec<Namespace>,
    /// The Secrets of MetalLB's namespace.
    pub secrets: Vec<Secret>,
}

impl Resources {
    /// Keeps the objects of MetalLB's namespace.
    pub(crate) fn ours<'a, K: ResourceExt>(&self, list: &'a [K]) -> impl Iterator<Item = &'a K> + use<'a, K> {
        let namespace = self.namespace.clone();
        list.iter()
            .filter(move |object| namespace.is_empty() || object.namespace().is_none_or(|own| own == namespace))
    }
}

/// Who speaks BGP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// The speaker itself.
    #[default]
    Native,
    /// FRR beside the speaker.
    Frr,
    /// frr-k8s.
    FrrK8s,
}

impl Backend {
    /// Tells whether FRR's limits apply.
    #[must_use]
    pub fn is_frr(self) -> bool {
        self != Self::Native
    }
}

/// Among which peers `myASN` must be the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MyAsnScope {
    /// Those that can meet on a node in one VRF.
    #[default]
    Node,
    /// All of the cluster in one VRF.
    Cluster,
    /// None; FRR, which has one AS number per VRF, keeps to `Node`.
    Off,
}

/// Why the resources are parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum View {
    /// To judge an object before it is stored: references to objects that do not exist yet are fine,
    /// and every conflict counts.
    Admission,
    /// To use the configuration: references must lead somewhere, old objects are read leniently.
    Load {
        /// Keeps only the peers and BGP advertisements of this node.
        node: Option<String>,
    },
}

impl Default for View {
    fn default() -> Self {
        Self::Load { node: None }
    }
}

/// Settings of the parser.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Who speaks BGP.
    pub backend: Backend,
    /// Among which peers `myASN` must be the same.
    pub my_asn_scope: MyAsnScope,
    /// Why the resources are parsed.
    pub view: View,
}

impl Options {
    pub(crate) fn strict(&self) -> bool {
        self.view == View::Admission
    }

    pub(crate) fn node(&self) -> Option<&str> {
        match &self.view {
            View::Load { node } => node.as_deref(),
            View::Admission => None,
        }
    }
}

/// Names and labels of something that selectors select.
#[derive(Debug, Default)]
pub(crate) struct Labelled(BTreeMap<String, BTreeMap<String, String>>);

impl Labelled {
    pub(crate) fn of<K: ResourceExt>(list: &[K]) -> Self {
        Self(
            list.iter()
                .map(|object| (object.name_any(), object.labels().clone()))
                .collect(),
        )
    }

    /// Adds a name without labels, unless it is known already.
    pub(crate) fn ensure(&mut self, name: &str) {
        self.0.entry(name.to_owned()).or_default();
    }

    /// The names that any of the selectors selects.
    pub(crate) fn matching<'a>(&'a self, selectors: &'a [Selector]) -> impl Iterator<Item = String> + 'a {
        self.0
            .iter()
            .filter(|(_, labels)| selectors.iter().any(|selector| selector.matches(labels)))
            .map(|(name, _)| name.clone())
    }

    /// The names that any of the selectors selects; no selector selects all.
    pub(crate) fn matching_or_all<'a>(&'a self, selectors: &'a [Selector]) -> impl Iterator<Item = String> + 'a {
        self.0
            .iter()
            .filter(|(_, labels)| selectors.is_empty() || selectors.iter().any(|selector| selector.matches(labels)))
            .map(|(name, _)| name.clone())
    }
}
