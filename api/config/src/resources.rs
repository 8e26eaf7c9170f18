//! What is parsed, and how.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::api::core::v1::{Namespace, Node, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt};
use metallb_api::{AddressPool, BFDProfile, BGPAdvertisement, BGPPeer, Community, IPAddressPool, L2Advertisement};

use crate::age::Age;
use crate::error::ObjectRef;
use crate::selector::Selector;

/// Plain lists of all objects that configuration is made of.
///
/// The order of the lists never matters. Objects of another namespace than MetalLB's are not looked at. `Debug` shows
/// names alone: passwords are in Secrets, in peers, and in what `kubectl apply` notes on peers.
#[derive(Clone, Default)]
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

impl fmt::Debug for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn names<K: Resource>(list: &[K]) -> Vec<String> {
            list.iter().map(ResourceExt::name_any).collect()
        }
        f.debug_struct("Resources")
            .field("namespace", &self.namespace)
            .field("pools", &names(&self.pools))
            .field("address_pools", &names(&self.address_pools))
            .field("l2_advertisements", &names(&self.l2_advertisements))
            .field("bgp_advertisements", &names(&self.bgp_advertisements))
            .field("peers", &names(&self.peers))
            .field("bfd_profiles", &names(&self.bfd_profiles))
            .field("communities", &names(&self.communities))
            .field("nodes", &names(&self.nodes))
            .field("namespaces", &names(&self.namespaces))
            .field("secrets", &names(&self.secrets))
            .finish()
    }
}

impl Resources {
    /// Tells whether an object is in MetalLB's namespace.
    fn owns(&self, object: &ObjectMeta) -> bool {
        self.namespace.is_empty() || object.namespace.as_ref().is_none_or(|own| *own == self.namespace)
    }
}

/// A change of one object that is thought through before it is made.
#[derive(Clone, Debug)]
pub struct Change<'a> {
    /// The object. It counts as the newest of all: what it collides with was there first.
    pub object: ObjectRef,
    /// Holds nothing but the object as it shall be, to take the place of its older self; `None` leaves it as it is.
    pub with: Option<&'a Resources>,
}

impl Change<'_> {
    pub(crate) fn concerns<K: Resource<DynamicType = ()>>(&self, object: &ObjectMeta) -> bool {
        object.name.as_deref() == Some(self.object.name.as_str()) && K::kind(&()) == self.object.kind.as_str()
    }
}

/// The objects to be parsed, and what is changed about them.
#[derive(Clone, Copy)]
pub(crate) struct Objects<'a> {
    pub(crate) resources: &'a Resources,
    pub(crate) change: Option<&'a Change<'a>>,
}

impl<'a> Objects<'a> {
    /// Iterates over the objects of MetalLB's namespace in one of the lists.
    pub(crate) fn ours<K: Resource<DynamicType = ()> + 'a>(
        self,
        list: fn(&Resources) -> &Vec<K>,
    ) -> impl Iterator<Item = &'a K> + use<'a, K> {
        let incoming = self.change.and_then(|change| change.with);
        let replaced = self.change.filter(|_| incoming.is_some());
        list(self.resources)
            .iter()
            .filter(move |object| replaced.is_none_or(|change| !change.concerns::<K>(object.meta())))
            .chain(incoming.into_iter().flat_map(list))
            .filter(move |object| self.resources.owns(object.meta()))
    }

    /// Tells whether it is this object that the change is about.
    pub(crate) fn judges<K: Resource<DynamicType = ()>>(self, object: &K) -> bool {
        self.change.is_some_and(|change| change.concerns::<K>(object.meta()))
    }

    /// How old an object is.
    pub(crate) fn age<K: Resource<DynamicType = ()>>(self, object: &K, kind: &'static str) -> Age {
        Age::of(object.meta(), kind, self.judges(object))
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
    /// All back-ends.
    pub const ALL: [Self; 3] = [Self::Native, Self::Frr, Self::FrrK8s];

    /// The back-end of this name in `METALLB_BGP_TYPE`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|backend| backend.name() == name)
    }

    /// Tells whether FRR's limits apply.
    #[must_use]
    pub fn is_frr(self) -> bool {
        self != Self::Native
    }

    /// The name in `METALLB_BGP_TYPE`, as upstream has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Frr => "frr",
            Self::FrrK8s => "frr-k8s",
        }
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

/// Who looks into the Secrets that BGPPeers name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Secrets {
    /// The parser, in the namespace of MetalLB.
    #[default]
    Read,
    /// An frr-k8s in another namespace, where they are.
    Elsewhere,
}

/// Settings of the parser.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Who speaks BGP.
    pub backend: Backend,
    /// Among which peers `myASN` must be the same.
    pub my_asn_scope: MyAsnScope,
    /// Who looks into the Secrets of peers.
    pub secrets: Secrets,
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
pub(crate) struct Labelled<'a>(BTreeMap<&'a str, &'a BTreeMap<String, String>>);

static NO_LABELS: BTreeMap<String, String> = BTreeMap::new();

impl<'a> Labelled<'a> {
    pub(crate) fn of<K: ResourceExt>(list: &'a [K]) -> Self {
        let named = |object: &'a K| (object.meta().name.as_deref().unwrap_or_default(), object.labels());
        Self(list.iter().map(named).collect())
    }

    /// Adds a name without labels, unless it is known already.
    pub(crate) fn ensure(&mut self, name: &'a str) {
        self.0.entry(name).or_insert(&NO_LABELS);
    }

    /// The names that any of the selectors selects.
    pub(crate) fn matching<'b>(&'b self, selectors: &'b [Selector]) -> impl Iterator<Item = String> + 'b {
        self.0
            .iter()
            .filter(|(_, labels)| selectors.iter().any(|selector| selector.matches(labels)))
            .map(|(name, _)| (*name).to_owned())
    }

    /// The names that any of the selectors selects; no selector selects all.
    pub(crate) fn matching_or_all<'b>(&'b self, selectors: &'b [Selector]) -> impl Iterator<Item = String> + 'b {
        self.0
            .iter()
            .filter(|(_, labels)| selectors.is_empty() || selectors.iter().any(|selector| selector.matches(labels)))
            .map(|(name, _)| (*name).to_owned())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_dump_shows_no_password() {
        let applied = r#"{"spec":{"password":"hunter2"}}"#;
        let peer: BGPPeer = serde_json::from_value(json!({
            "apiVersion": "metallb.io/v1beta2", "kind": "BGPPeer",
            "metadata": {"name": "tor", "annotations": {"kubectl.kubernetes.io/last-applied-configuration": applied}},
            "spec": {"myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.1", "password": "hunter2"},
        }))
        .unwrap();
        let secret: Secret = serde_json::from_value(json!({
            "metadata": {"name": "key"}, "type": "kubernetes.io/basic-auth", "data": {"password": "aHVudGVyMg=="},
        }))
        .unwrap();
        assert!(!format!("{:?}", peer.spec).contains("hunter2"));
        let resources = Resources {
            peers: vec![peer],
            secrets: vec![secret],
            ..Resources::default()
        };
        let dump = format!("{resources:#?}{resources:?}");
        assert!(dump.contains("tor") && dump.contains("key"), "{dump}");
        // Neither as text, nor in base64, nor byte by byte.
        assert!(
            !["hunter2", "aHVudGVy", "104"].iter().any(|form| dump.contains(form)),
            "{dump}"
        );
    }
}
