//! The parsed configuration: what allocator, speaker and tools work with.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

pub use metallb_bgp::RemoteAs;
pub use metallb_l2::Interfaces;
use secrecy::ExposeSecret;

use crate::range::AddressRange;
use crate::selector::{Labels, Selector};

/// Holds everything that the accepted custom resources say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// Address pools by name; their ranges are disjoint over all pools.
    pub pools: BTreeMap<String, Pool>,
    /// BGP peers by name.
    pub peers: BTreeMap<String, Peer>,
    /// BFD profiles by name.
    pub bfd_profiles: BTreeMap<String, BfdProfile>,
}

impl Config {
    /// Finds the pool that owns an address.
    #[must_use]
    pub fn pool_of(&self, ip: IpAddr) -> Option<&Pool> {
        self.pools.values().find(|pool| pool.contains(ip))
    }

    /// Finds the pool that owns all of these addresses; there is none for no addresses.
    #[must_use]
    pub fn pool_holding(&self, addresses: &[IpAddr]) -> Option<&Pool> {
        let pool = self.pool_of(*addresses.first()?)?;
        pool.holds(addresses).then_some(pool)
    }
}

/// Tells which custom resource a pool was made from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PoolKind {
    /// The current kind; announced by the advertisements that select it.
    #[default]
    IpAddressPool,
    /// The legacy kind; brings its own advertisements.
    AddressPool,
}

impl PoolKind {
    /// The name of the kind.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::IpAddressPool => "IPAddressPool",
            Self::AddressPool => "AddressPool",
        }
    }
}

/// A set of addresses, who may use them and how they are announced.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pool {
    /// Name of the object.
    pub name: String,
    /// Kind of the object.
    pub kind: PoolKind,
    /// Ranges in the listed order.
    pub entries: Vec<AddressRange>,
    /// Whether Services that ask for nothing get addresses from here.
    pub auto_assign: bool,
    /// Whether IPv4 addresses that end in .0 or .255 are skipped.
    pub avoid_buggy_ips: bool,
    /// Pins the pool to namespaces or Services; its presence takes the pool out of the generic set.
    pub allocation: Option<ServiceAllocation>,
    /// Layer-2 announcements of the pool.
    pub l2: Vec<L2Advertisement>,
    /// BGP announcements of the pool.
    pub bgp: Vec<BgpAdvertisement>,
}

impl Pool {
    /// Tells whether the pool owns the address, buggy or not.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.entries.iter().any(|range| range.contains(ip))
    }

    /// Tells whether the pool owns all of these addresses, of which there must be one at least.
    #[must_use]
    pub fn holds(&self, addresses: &[IpAddr]) -> bool {
        !addresses.is_empty() && addresses.iter().all(|ip| self.contains(*ip))
    }

    /// Tells whether any range is IPv4.
    #[must_use]
    pub fn has_v4(&self) -> bool {
        self.entries.iter().any(AddressRange::is_ipv4)
    }

    /// Tells whether any range is IPv6.
    #[must_use]
    pub fn has_v6(&self) -> bool {
        self.entries.iter().any(|range| !range.is_ipv4())
    }
}

/// Namespaces that may take addresses from a pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Namespaces {
    /// Every namespace.
    #[default]
    Any,
    /// Only these; an empty set means nobody.
    Only(BTreeSet<String>),
}

/// The pinning of a pool.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServiceAllocation {
    /// Lower is tried first; 0 is last.
    pub priority: i64,
    /// Namespaces of Services that match.
    pub namespaces: Namespaces,
    /// Labels of Services that match: one selector is enough, none means all.
    pub services: Vec<Selector>,
}

impl ServiceAllocation {
    /// Tells whether a Service of this namespace with these labels may use the pool.
    #[must_use]
    pub fn allows(&self, namespace: &str, labels: &BTreeMap<String, String>) -> bool {
        let namespace_fits = match &self.namespaces {
            Namespaces::Any => true,
            Namespaces::Only(names) => names.contains(namespace),
        };
        namespace_fits && any_or_empty(&self.services, labels)
    }
}

/// One layer-2 announcement of a pool.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct L2Advertisement {
    /// Name of the object; none for the implicit one of a legacy pool.
    pub name: Option<String>,
    /// Names of the nodes that may announce.
    pub nodes: BTreeSet<String>,
    /// Interfaces to answer on.
    pub interfaces: Interfaces,
    /// Services covered; none means all of the pool.
    pub services: Vec<Selector>,
    /// Weight of the nodes that are preferred in the election.
    pub preferred: BTreeMap<String, i64>,
}

impl L2Advertisement {
    /// Tells whether a Service with these labels is covered.
    #[must_use]
    pub fn covers(&self, labels: &impl Labels) -> bool {
        any_or_empty(&self.services, labels)
    }
}

/// One BGP announcement of a pool.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BgpAdvertisement {
    /// Name of the object; none for the implicit one of a legacy pool.
    pub name: Option<String>,
    /// Names of the nodes that announce.
    pub nodes: BTreeSet<String>,
    /// Names of the peers to announce to; empty means all.
    pub peers: BTreeSet<String>,
    /// Services covered; none means all of the pool.
    pub services: Vec<Selector>,
    /// Prefix length announced for IPv4, 1 to 32.
    pub aggregation_v4: u8,
    /// Prefix length announced for IPv6, 0 to 128.
    pub aggregation_v6: u8,
    /// LOCAL_PREF towards internal peers; 0 when not given.
    pub local_pref: u32,
    /// Communities after the expansion of aliases.
    pub communities: BTreeSet<Community>,
}

impl BgpAdvertisement {
    /// Tells whether a Service with these labels is covered.
    #[must_use]
    pub fn covers(&self, labels: &impl Labels) -> bool {
        any_or_empty(&self.services, labels)
    }

    /// Tells whether the advertisement goes to this peer.
    #[must_use]
    pub fn reaches(&self, peer: &str) -> bool {
        self.peers.is_empty() || self.peers.contains(peer)
    }
}

fn any_or_empty(selectors: &[Selector], labels: &impl Labels) -> bool {
    selectors.is_empty() || selectors.iter().any(|selector| selector.matches(labels))
}

/// A BGP community.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Community {
    /// RFC 1997: `asn:value` in one number.
    Standard(u32),
    /// RFC 8092.
    Large {
        /// Global administrator.
        global: u32,
        /// First part of the data.
        data1: u32,
        /// Second part of the data.
        data2: u32,
    },
}

/// Where a peer is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    /// At an address.
    Address(IpAddr),
    /// At a link-local address of an interface (`fe80::1%eth0`).
    LinkLocal(Ipv6Addr, String),
    /// At the other end of an interface (unnumbered peering).
    Interface(String),
}

impl Endpoint {
    /// The address, where it is known beforehand.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Address(address) => Some(*address),
            Self::LinkLocal(address, _) => Some((*address).into()),
            Self::Interface(_) => None,
        }
    }

    /// The interface that the peer is on, where it is named.
    #[must_use]
    pub fn interface(&self) -> Option<&str> {
        match self {
            Self::Address(_) => None,
            Self::LinkLocal(_, interface) | Self::Interface(interface) => Some(interface),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::LinkLocal(address, interface) => write!(f, "{address}%{interface}"),
            Self::Interface(name) => f.write_str(name),
        }
    }
}

/// A BGP peer.
#[derive(Clone, Debug, PartialEq)]
pub struct Peer {
    /// Name of the object.
    pub name: String,
    /// Our autonomous system.
    pub my_asn: u32,
    /// Theirs.
    pub remote: RemoteAs,
    /// Shown to this peer instead of `my_asn` (no prepend, replace).
    pub local_asn: Option<u32>,
    /// Where the peer is.
    pub endpoint: Endpoint,
    /// TCP port of the peer.
    pub port: u16,
    /// Local address to connect from.
    pub source: Option<IpAddr>,
    /// Hold time; none leaves the default of the back-end, zero switches the timers off.
    pub hold_time: Option<Duration>,
    /// Keepalive interval; present exactly when `hold_time` is.
    pub keepalive_time: Option<Duration>,
    /// Pause between connection attempts, whole seconds.
    pub connect_time: Option<Duration>,
    /// BGP identifier.
    pub router_id: Option<Ipv4Addr>,
    /// Names of the nodes that open the session.
    pub nodes: BTreeSet<String>,
    /// Key of TCP MD5, given directly or read from the Secret.
    pub password: Option<SecretString>,
    /// The Secret reference, for back-ends that pass it through unresolved.
    pub password_secret: Option<SecretRef>,
    /// Name of the BFD profile.
    pub bfd_profile: Option<String>,
    /// Graceful restart (RFC 4724).
    pub graceful_restart: bool,
    /// Whether the peer is more than one hop away.
    pub ebgp_multihop: bool,
    /// Whether nothing is heard that crossed a router (GTSM, RFC 5082).
    pub ttl_security: bool,
    /// Whether both address families are exchanged over the one session.
    pub dual_stack: bool,
    /// VRF of the host to connect from.
    pub vrf: Option<String>,
}

impl Peer {
    /// Tells whether a session with this peer is for routes of IPv4, or of IPv6, if both ends agree on it.
    #[must_use]
    pub fn exchanges(&self, ipv4: bool) -> bool {
        // An unnumbered session is for both.
        let own = self.endpoint.address().is_none_or(|address| address.is_ipv4() == ipv4);
        own || self.dual_stack
    }
}

/// A reference to a Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretRef {
    /// Name of the Secret.
    pub name: String,
    /// Namespace as written; empty when not given.
    pub namespace: String,
}

/// BFD settings; absent values hold FRR's defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BfdProfile {
    /// Name of the object.
    pub name: String,
    /// Required minimum receive interval.
    pub receive_interval: Duration,
    /// Desired minimum transmit interval.
    pub transmit_interval: Duration,
    /// Detection multiplier.
    pub detect_multiplier: u8,
    /// Echo interval, both ways.
    pub echo_interval: Duration,
    /// Whether the echo function is used.
    pub echo_mode: bool,
    /// Whether the peer has to start.
    pub passive_mode: bool,
    /// Least TTL accepted from a multihop peer.
    pub minimum_ttl: Option<u8>,
}

/// A text that is compared by content and never printed.
#[derive(Clone, Default)]
pub struct SecretString(secrecy::SecretString);

impl SecretString {
    /// Wraps a text.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text.into())
    }
}

impl From<String> for SecretString {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&str> for SecretString {
    fn from(text: &str) -> Self {
        Self::new(text.to_owned())
    }
}

impl ExposeSecret<str> for SecretString {
    fn expose_secret(&self) -> &str {
        self.0.expose_secret()
    }
}

impl PartialEq for SecretString {
    fn eq(&self, other: &Self) -> bool {
        self.expose_secret() == other.expose_secret()
    }
}

impl Eq for SecretString {}

impl fmt::Debug for SecretString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[REDACTED]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_compared_by_content_and_never_printed() {
        let secret = SecretString::from("hunter2");
        assert_eq!(secret, SecretString::from("hunter2".to_owned()));
        assert_ne!(secret, SecretString::from("other"));
        assert!(!format!("{secret:?}").contains("hunter2"));
    }

    #[test]
    fn an_empty_namespace_set_allows_nobody() {
        // W-32
        let allocation = ServiceAllocation {
            namespaces: Namespaces::Only(BTreeSet::new()),
            ..ServiceAllocation::default()
        };
        assert!(!allocation.allows("default", &BTreeMap::new()));
        assert!(ServiceAllocation::default().allows("default", &BTreeMap::new()));
    }
}
