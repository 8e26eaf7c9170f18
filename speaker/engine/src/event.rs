//! What was seen.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use metallb_announce::{Endpoints, NodeView, ServiceView};
use metallb_config::Resources;

use crate::{Mac, Member, ServiceKey};

/// What was seen.
#[derive(Clone, Debug)]
pub enum Event {
    /// A Service is there, or gone.
    Service(ServiceKey, Option<Arc<ServiceFacts>>),
    /// An EndpointSlice (namespace, name) is there, or gone.
    Slice(ServiceKey, Option<Arc<Slice>>),
    /// A Node is there, or gone.
    Node(String, Option<NodeView>),
    /// Services, slices and nodes were listed completely.
    Listed,
    /// Everything that configuration is made of.
    Resources(Box<Resources>),
    /// Whose speakers are alive; to be sent first when that can be trusted.
    Members(BTreeSet<String>),
    /// What the members say of themselves, this one included; `None` = they are not of our kind. It counts while there is
    /// something of every member.
    Said(BTreeMap<String, Option<Member>>),
    /// The nodes that have a Service by what its status objects say; only with [`Failback::Never`](crate::Failback).
    Owners(ServiceKey, BTreeSet<String>),
    /// All status objects were listed; waited for with [`Failback::Never`](crate::Failback) only.
    OwnersListed,
    /// Members that may be gone, perhaps this one: layer 2 goes by the others while there are any.
    Suspects(BTreeSet<String>),
    /// Those among them that as far as is known have not heard of it: they may go on announcing.
    Unaware(BTreeSet<String>),
    /// The interfaces of this node; to be sent first when they were scanned.
    Interfaces(Links),
    /// Another host claims an address that this node announces, or has yielded.
    Conflict(Conflict),
    /// Nobody else claims an address any more.
    ClaimsEnded(IpAddr),
    /// What the BGP sessions that are up do not carry although they should, by peer. Of the others stays what was known.
    Uncarried(BTreeMap<String, Families>),
}

/// A Service as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceFacts {
    /// What decides.
    pub view: ServiceView,
    /// `metadata.uid`, for events.
    pub uid: Option<String>,
}

/// An EndpointSlice as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slice {
    /// Name of its Service.
    pub service: String,
    /// Its endpoints.
    pub endpoints: Endpoints,
}

/// A claim of an announced address by another host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The address.
    pub ip: IpAddr,
    /// The interface on which the claim was heard.
    pub interface: String,
    /// Hardware address of the claimant.
    pub mac: Mac,
    /// Which claim it is.
    pub claim: Claim,
}

/// Which of the claims by another host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The first. It may be the new owner of a planned move, heard before this node knows of it.
    First,
    /// Another, at least a second later.
    Repeated,
    /// It cannot be a planned move any more: users should be told.
    Confirmed,
}

/// Names of the interfaces of this node, without those that are excluded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// All of them.
    pub known: BTreeSet<String>,
    /// Those on which addresses can be announced: up, with carrier, able to do ARP.
    pub usable: BTreeSet<String>,
}

/// Address families.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Families {
    /// IPv4 unicast.
    pub ipv4: bool,
    /// IPv6 unicast.
    pub ipv6: bool,
}
