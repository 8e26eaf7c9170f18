//! The verdict over one admission request: a pure function of the request and of what exists.
//!
//! Webhooks answer with it, and `kubectl metallb lint` says it beforehand. [`convert`] is the other thing that the API
//! server asks for.

mod configuration;
pub mod convert;
mod deletion;
mod holders;
mod kinds;
mod metallb;
#[cfg(test)]
mod tests;

use std::fmt;

use k8s_openapi::api::core::v1::Service;
use metallb_api::ServiceBGPStatus;
use metallb_config::{Backend, MyAsnScope, Options, Resources, Rule, View};
use serde_json::Value;

/// The kinds that are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `IPAddressPool`.
    IpAddressPool,
    /// `AddressPool`, of old.
    AddressPool,
    /// `L2Advertisement`.
    L2Advertisement,
    /// `BGPAdvertisement`.
    BgpAdvertisement,
    /// `BGPPeer`.
    BgpPeer,
    /// `BFDProfile`.
    BfdProfile,
    /// `Community`.
    Community,
    /// `MetalLB`, of the operator.
    MetalLb,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::IpAddressPool,
        Self::AddressPool,
        Self::L2Advertisement,
        Self::BgpAdvertisement,
        Self::BgpPeer,
        Self::BfdProfile,
        Self::Community,
        Self::MetalLb,
    ];

    /// The path that its requests are posted to.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::IpAddressPool => "/validate-metallb-io-v1beta1-ipaddresspool",
            Self::AddressPool => "/validate-metallb-io-v1beta1-addresspool",
            Self::L2Advertisement => "/validate-metallb-io-v1beta1-l2advertisement",
            Self::BgpAdvertisement => "/validate-metallb-io-v1beta1-bgpadvertisement",
            Self::BgpPeer => "/validate-metallb-io-v1beta2-bgppeer",
            Self::BfdProfile => "/validate-metallb-io-v1beta1-bfdprofile",
            Self::Community => "/validate-metallb-io-v1beta1-community",
            Self::MetalLb => "/validate-metallb-io-v1beta1-metallb",
        }
    }

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::IpAddressPool => "IPAddressPool",
            Self::AddressPool => "AddressPool",
            Self::L2Advertisement => "L2Advertisement",
            Self::BgpAdvertisement => "BGPAdvertisement",
            Self::BgpPeer => "BGPPeer",
            Self::BfdProfile => "BFDProfile",
            Self::Community => "Community",
            Self::MetalLb => "MetalLB",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Tells whether the verdict depends on other objects.
    #[must_use]
    pub const fn needs_resources(self) -> bool {
        !matches!(self, Self::MetalLb)
    }
}

/// What is being done to the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A new object.
    Create,
    /// A change.
    Update,
    /// A deletion.
    Delete,
    /// Anything else; always allowed.
    Other,
}

impl Operation {
    /// The name in reviews and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Other => "OTHER",
        }
    }
}

/// One admission request, as far as it is read. `Debug` shows no object: there may be a password in it.
#[derive(Clone, PartialEq)]
pub struct Request {
    /// Kind of the object, by the path that was called.
    pub kind: Kind,
    /// What is being done.
    pub operation: Operation,
    /// Namespace of the request, for objects that do not carry their own.
    pub namespace: Option<String>,
    /// The object as it shall be; null on deletion.
    pub object: Value,
    /// The object as it is; null on creation.
    pub old: Value,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("kind", &self.kind)
            .field("operation", &self.operation)
            .field("namespace", &self.namespace)
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}

impl Request {
    /// Name of the object.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        [&self.object, &self.old]
            .into_iter()
            .find_map(|object| object.pointer("/metadata/name").and_then(Value::as_str))
    }

    /// Tells whether the verdict depends on Services: it does when a pool is taken away from them, or a part of it.
    #[must_use]
    pub fn needs_services(&self) -> bool {
        let addresses = |object: &'_ Value| object.pointer("/spec/addresses").cloned();
        let loses = match self.operation {
            Operation::Delete => true,
            Operation::Update => addresses(&self.object) != addresses(&self.old),
            Operation::Create | Operation::Other => false,
        };
        loses && matches!(self.kind, Kind::IpAddressPool | Kind::AddressPool)
    }

    /// Tells whether the verdict depends on what is announced to whom: it does when a peer is deleted.
    #[must_use]
    pub fn needs_announced(&self) -> bool {
        self.operation == Operation::Delete && self.kind == Kind::BgpPeer
    }
}

/// What exists already.
#[derive(Clone, Copy, Debug)]
pub struct Existing<'a> {
    /// The configuration.
    pub resources: &'a Resources,
    /// The Services of all namespaces, where they matter.
    pub services: &'a [Service],
    /// Which node announces which Service to which peers, where it matters.
    pub announced: &'a [ServiceBGPStatus],
}

impl<'a> From<&'a Resources> for Existing<'a> {
    fn from(resources: &'a Resources) -> Self {
        Self {
            resources,
            services: &[],
            announced: &[],
        }
    }
}

/// What the verdict depends on besides objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// MetalLB's namespace.
    pub namespace: String,
    /// Who speaks BGP.
    pub backend: Backend,
    /// Among which peers `myASN` must be the same.
    pub my_asn_scope: MyAsnScope,
    /// The operator's own setting of the namespace of an external frr-k8s.
    pub frrk8s_external_namespace: Option<String>,
}

impl Rules {
    /// Whether an object of the configuration may be made in a namespace.
    ///
    /// # Errors
    /// It is not MetalLB's (N-1).
    pub fn place(&self, namespace: &str) -> Result<(), Problem> {
        if namespace == self.namespace {
            return Ok(());
        }
        let reason = format!("resource must be created in {} namespace", self.namespace);
        Err(Problem::new(Rule::N1, "metadata.namespace", reason))
    }

    /// How admission reads the configuration.
    #[must_use]
    pub fn options(&self) -> Options {
        Options {
            backend: self.backend,
            my_asn_scope: self.my_asn_scope,
            view: View::Admission,
            ..Options::default()
        }
    }
}

/// Something that is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The rule behind it; none if the object cannot even be read.
    pub rule: Option<Rule>,
    /// Path of the field; led by the object where that is another one.
    pub field: String,
    /// What is wrong.
    pub reason: String,
}

impl Problem {
    fn new(rule: Rule, field: impl Into<String>, reason: impl fmt::Display) -> Self {
        Self {
            rule: Some(rule),
            field: field.into(),
            reason: reason.to_string(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            f.write_str(&self.reason)
        } else {
            write!(f, "{}: {}", self.field, self.reason)
        }
    }
}

/// Whether the request is allowed, and everything to say about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Everything that is wrong; nothing means allowed.
    pub errors: Vec<Problem>,
    /// What the user is told either way.
    pub warnings: Vec<Problem>,
    /// The object could not be read at all.
    pub undecodable: bool,
}

impl Verdict {
    /// Tells whether the request is allowed.
    #[must_use]
    pub fn allowed(&self) -> bool {
        self.errors.is_empty()
    }

    /// All errors in one text.
    #[must_use]
    pub fn message(&self) -> String {
        self.errors
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("; ")
    }

    fn refused(problem: Problem) -> Self {
        Self {
            errors: vec![problem],
            ..Self::default()
        }
    }

    fn undecodable(error: &serde_json::Error) -> Self {
        let problem = Problem {
            rule: None,
            field: String::new(),
            reason: format!("cannot read the object: {error}"),
        };
        Self {
            undecodable: true,
            ..Self::refused(problem)
        }
    }
}

/// Judges a request.
///
/// `existing` holds the objects as they are; the object of the request takes the place of its older self. Only errors
/// in which it takes part count: a bad object that exists already blocks nobody else.
#[must_use]
pub fn judge<'a>(request: &Request, existing: impl Into<Existing<'a>>, rules: &Rules) -> Verdict {
    let verdict = match request.kind {
        Kind::MetalLb => metallb::judge(request, rules),
        kind => configuration::judge(kind, request, existing.into(), rules),
    };
    verdict.unwrap_or_else(|error| Verdict::undecodable(&error))
}
