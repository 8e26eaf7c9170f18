//! Why a Service gets no address. The texts of upstream come first, the details after them.

use std::fmt;
use std::net::IpAddr;

use metallb_api::names::allocation_reason as reason;
use thiserror::Error;

use crate::family::{Families, Family};
use crate::key::PoolName;
use crate::request::Port;

/// Why the request of a Service cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RequestError {
    /// Two ways of asking for addresses at once, even if they agree.
    #[error("service can not have both metallb.io/loadBalancerIPs and svc.Spec.LoadBalancerIP: remove one of them")]
    Both,
    /// The annotation is no list of addresses.
    #[error("invalid metallb.io/loadBalancerIPs: {}{}", clipped(.0), spelled(.0))]
    Annotation(String),
    /// The field is no address.
    #[error("invalid spec.loadBalancerIP {}{}", clipped(.0), spelled(.0))]
    Field(String),
    /// Two addresses of one family.
    #[error("IPFamilyForAddresses: same address family {}: a service has one address of each family", quoted(.0))]
    SameFamily(Vec<IpAddr>),
    /// None, or more than two addresses.
    #[error("IPFamilyForAddresses: invalid ips length {} {}: a service has one address of each family", .0.len(), quoted(.0))]
    Length(Vec<IpAddr>),
}

/// Why addresses are not given.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The request is not understood.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// Wanted addresses and cluster addresses differ in families.
    #[error("requested loadBalancer IP(s) {} does not match the ipFamily of the service: {}, and the service has {has}", quoted(.wanted), asked(.wanted))]
    Family {
        /// The addresses asked for.
        wanted: Vec<IpAddr>,
        /// Families of the cluster addresses.
        has: Families,
    },
    /// In no pool, excluded there, or spread over two pools.
    #[error("{} is not allowed in config{}", quoted(.ips), detail(.why))]
    NotInConfig {
        /// The addresses.
        ips: Vec<IpAddr>,
        /// More about it.
        why: Option<String>,
    },
    /// The pool is pinned to others.
    #[error("pool {0} not compatible for ip assignment: {why}", why = Why::NotAllowed)]
    PoolNotCompatible(PoolName),
    /// Wanted addresses are not in the wanted pool.
    #[error("requested loadBalancer IP(s) {} is not compatible with requested address pool {}", quoted(.ips), short(.pool))]
    PoolDisagrees {
        /// The addresses.
        ips: Vec<IpAddr>,
        /// The pool asked for.
        pool: String,
    },
    /// Held by Services with which it cannot be shared.
    #[error("can't change sharing key for \"{service}\", address also in use by {}{}", listed(.users), detail(.why))]
    InUse {
        /// Who asks.
        service: String,
        /// Who has it.
        users: Vec<String>,
        /// More about it.
        why: Option<String>,
    },
    /// Shared, but another Service has the port.
    #[error("port {port} is already in use on \"{ip}\"")]
    PortInUse {
        /// The address.
        ip: IpAddr,
        /// The port.
        port: Port,
    },
    /// No pool of this name.
    #[error("unknown pool {}{}", clipped(.0), one_only(.0))]
    UnknownPool(String),
    /// The pool asked for has nothing to give.
    #[error("no available IPs in pool {pool}{}: {why}", if *.dual { " for dual IPFamily" } else { "" })]
    Pool {
        /// The pool asked for.
        pool: PoolName,
        /// Whether two addresses are required.
        dual: bool,
        /// What it lacks.
        why: Why,
    },
    /// No pool has anything to give.
    #[error("no available IPs{}", tried(.0))]
    Exhausted(Vec<(PoolName, Why)>),
    /// Two cluster addresses under the policy SingleStack.
    #[error(
        "no available IPs: the service has cluster addresses of both families, but ipFamilyPolicy SingleStack: PreferDualStack and RequireDualStack allow for both"
    )]
    TwoForSingleStack,
}

impl Refusal {
    /// The stable name of the cause, for the condition.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Request(_) => reason::INVALID_REQUEST,
            Self::Family { .. } | Self::TwoForSingleStack => reason::FAMILY_MISMATCH,
            Self::NotInConfig { .. } => reason::ADDRESS_NOT_IN_POOL,
            Self::PoolNotCompatible(_) => reason::POOL_NOT_ALLOWED,
            Self::PoolDisagrees { .. } => reason::ADDRESS_NOT_IN_WANTED_POOL,
            Self::InUse { .. } => reason::ADDRESS_IN_USE,
            Self::PortInUse { .. } => reason::PORT_IN_USE,
            Self::UnknownPool(_) => reason::UNKNOWN_POOL,
            Self::Exhausted(pools) if pools.is_empty() => reason::NO_POOLS,
            Self::Pool { .. } | Self::Exhausted(_) => reason::NO_AVAILABLE_ADDRESSES,
        }
    }
}

/// What one pool lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It has no address of the family.
    NoAddresses(Family),
    /// All of the family end in .0 or .255.
    Avoided(Family),
    /// All of the family are in use, or cannot be shared by this Service.
    Full(Family),
    /// It is pinned to other namespaces or Services.
    NotAllowed,
    /// It gives only to those who ask for it.
    AutoAssignOff,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAddresses(family) => write!(f, "it has no {family} addresses"),
            Self::Avoided(family) => write!(f, "its avoidBuggyIPs excludes all {family} addresses that it has"),
            Self::Full(family) => write!(f, "all {family} addresses are in use"),
            Self::NotAllowed => f.write_str("its serviceAllocation does not match the service"),
            Self::AutoAssignOff => f.write_str("autoAssign is off"),
        }
    }
}

/// Go's `%q` of a list of addresses.
pub(crate) fn quoted(ips: &[IpAddr]) -> String {
    let quoted: Vec<_> = ips.iter().map(|ip| format!("\"{ip}\"")).collect();
    format!("[{}]", quoted.join(" "))
}

/// A quoted text of users, cut where it would flood an event.
fn clipped(text: &str) -> String {
    const LONGEST: usize = 200;
    match text.char_indices().nth(LONGEST) {
        None => format!("{text:?}"),
        Some((at, _)) => format!("{:?} (and {} more bytes)", &text[..at], text.len() - at),
    }
}

/// Which families these addresses are of.
fn asked(ips: &[IpAddr]) -> String {
    match Families::of(ips) {
        Some(families) => format!("it asks for {families}"),
        None => "it asks for two of one family".to_owned(),
    }
}

/// How to write what somebody must have meant; nothing if that cannot be told.
fn spelled(text: &str) -> String {
    const LONGEST: usize = 200;
    if text.len() > LONGEST {
        return String::new();
    }
    if let Some((first, last)) = text.split_once('-')
        && [first, last].iter().all(|end| end.trim().parse::<IpAddr>().is_ok())
    {
        return ": an address is asked for, not a range".to_owned();
    }
    let parts = text.split(|c: char| c.is_whitespace() || ",;|[]\"'".contains(c));
    let ips: Option<Vec<IpAddr>> = parts.filter(|part| !part.is_empty()).map(meant).collect();
    match ips.as_deref() {
        Some([one]) => format!(": write \"{one}\""),
        Some([one, two]) => format!(": write \"{one},{two}\" in metallb.io/loadBalancerIPs"),
        _ => String::new(),
    }
}

/// An address with the length of a prefix that has no other, or with needless zeros.
fn meant(text: &str) -> Option<IpAddr> {
    let bare = match text.rsplit_once('/') {
        Some((v4, "32")) if v4.contains('.') => v4,
        Some((v6, "128")) if v6.contains(':') => v6,
        _ => text,
    };
    let short: Vec<_> = bare.split('.').map(|part| part.trim_start_matches('0')).collect();
    let short: Vec<_> = short
        .into_iter()
        .map(|part| if part.is_empty() { "0" } else { part })
        .collect();
    bare.parse().ok().or_else(|| short.join(".").parse().ok())
}

/// A name by users, cut as above.
fn short(text: &str) -> String {
    if text.len() <= 253 {
        text.to_owned()
    } else {
        clipped(text)
    }
}

/// No name of a pool has these characters, so the user must have meant a list.
fn one_only(text: &str) -> &'static str {
    if text.contains([',', ' ', ';']) {
        ": one pool can be named, not a list"
    } else {
        ""
    }
}

/// Names joined by commas, not more than a few.
fn listed(names: &[String]) -> String {
    const MOST: usize = 5;
    let mut text = names.iter().take(MOST).cloned().collect::<Vec<_>>().join(",");
    if names.len() > MOST {
        text.push_str(&format!(" and {} more", names.len() - MOST));
    }
    text
}

fn detail(why: &Option<String>) -> String {
    why.as_ref().map_or_else(String::new, |why| format!(": {why}"))
}

/// Every pool with what it lacks; those that were open to the Service first.
fn tried(pools: &[(PoolName, Why)]) -> String {
    const MOST: usize = 100;
    if pools.is_empty() {
        return ": there are no pools".to_owned();
    }
    let open = |why: &Why| matches!(why, Why::NoAddresses(_) | Why::Avoided(_) | Why::Full(_));
    let (tried, closed): (Vec<_>, Vec<_>) = pools.iter().partition(|(_, why)| open(why));
    let mut text: Vec<_> = tried
        .into_iter()
        .chain(closed)
        .take(MOST)
        .map(|(pool, why)| format!("pool {pool}: {why}"))
        .collect();
    if pools.len() > MOST {
        text.push(format!("and {} more pools", pools.len() - MOST));
    }
    format!(": {}", text.join("; "))
}
