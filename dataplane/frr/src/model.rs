//! The desired state.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use ipnet::IpNet;

use crate::{
    Community, Level,
    word::{Device, Host, Password, ProfileName, Refusal},
};

/// Everything that FRR is to do on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// How much it logs.
    pub level: Level,
    /// The host name that FRR shows in its logs; FRR's own when absent.
    pub hostname: Option<Host>,
    /// Sessions with other routers, in any order. Of two with one neighbour in one VRF the first describes the session.
    pub sessions: Vec<Session>,
    /// All BFD profiles, used or not, in any order.
    pub bfd_profiles: Vec<BfdProfile>,
    /// The user's own lines, which follow all others.
    pub extras: Extras,
}

/// A BGP instance of FRR, which sessions belong to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Router {
    /// Our autonomous system.
    pub asn: u32,
    /// Our BGP identifier; FRR chooses when absent.
    pub id: Option<Ipv4Addr>,
    /// The VRF that the sessions are in; the default one when absent.
    pub vrf: Option<Device>,
}

/// A session: our side, the neighbour, and what is announced to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Our side.
    pub router: Router,
    /// The neighbour.
    pub neighbour: Neighbour,
    /// What is announced. Prefixes of a family that the session does not carry are left out.
    pub routes: Routes,
}

impl Session {
    /// Describes a session without routes.
    pub fn new(router: Router, neighbour: Neighbour) -> Self {
        Self {
            router,
            neighbour,
            routes: Routes::new(),
        }
    }
}

/// Prefixes with their attributes.
pub type Routes = BTreeMap<IpNet, Attributes>;

/// Where a neighbour is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// At an address.
    Address(IpAddr),
    /// At the other end of an interface (unnumbered).
    Interface(Device),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Interface(device) => device.fmt(f),
        }
    }
}

/// Says which autonomous system a neighbour may be in. Displayed as FRR has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoteAs {
    /// Exactly this one.
    Asn(u32),
    /// The same as ours (iBGP).
    Internal,
    /// Any other than ours (eBGP).
    External,
}

impl fmt::Display for RemoteAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asn(asn) => asn.fmt(f),
            Self::Internal => f.write_str("internal"),
            Self::External => f.write_str("external"),
        }
    }
}

/// A neighbour, and how the session with it behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Where it is.
    pub endpoint: Endpoint,
    /// Which autonomous system it may be in.
    pub remote: RemoteAs,
    /// Our AS number towards it, if not that of the router.
    pub local_asn: Option<u32>,
    /// Its TCP port.
    pub port: u16,
    /// Keepalive interval and hold time; FRR's 60 s and 180 s when absent.
    pub timers: Option<Timers>,
    /// Seconds between attempts to connect; FRR's 120 when absent.
    pub connect: Option<u16>,
    /// The key of TCP MD5.
    pub password: Option<Password>,
    /// The local address.
    pub source: Option<IpAddr>,
    /// Whether we ask it to keep our routes while we restart (RFC 4724).
    pub graceful_restart: bool,
    /// The BFD profile that guards the session, if any does.
    pub bfd_profile: Option<ProfileName>,
    /// Whether an eBGP neighbour may be more than one hop away.
    pub ebgp_multihop: bool,
    /// Whether the session carries both address families instead of its own.
    pub dual_stack: bool,
}

impl Neighbour {
    /// RFC 4271 §8.2.1.
    pub const DEFAULT_PORT: u16 = 179;

    /// Describes a neighbour with FRR's defaults.
    pub fn new(endpoint: Endpoint, remote: RemoteAs) -> Self {
        Self {
            endpoint,
            remote,
            local_asn: None,
            port: Self::DEFAULT_PORT,
            timers: None,
            connect: None,
            password: None,
            source: None,
            graceful_restart: false,
            bfd_profile: None,
            ebgp_multihop: false,
            dual_stack: false,
        }
    }

    /// Tells whether IPv4 prefixes travel on the session.
    pub fn carries_ipv4(&self) -> bool {
        self.dual_stack || !matches!(self.endpoint, Endpoint::Address(IpAddr::V6(_)))
    }

    /// Tells whether IPv6 prefixes do.
    pub fn carries_ipv6(&self) -> bool {
        self.dual_stack || !matches!(self.endpoint, Endpoint::Address(IpAddr::V4(_)))
    }

    /// Tells whether prefixes of the family of this one do.
    pub fn carries(&self, prefix: IpNet) -> bool {
        match prefix {
            IpNet::V4(_) => self.carries_ipv4(),
            IpNet::V6(_) => self.carries_ipv6(),
        }
    }
}

/// Keepalive interval and hold time in seconds; both zero switch liveness off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// Between two KEEPALIVE messages.
    pub keepalive: u16,
    /// Of silence, until the session ends.
    pub hold: u16,
}

/// Attributes of a prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// LOCAL_PREF; FRR's default when zero.
    pub local_pref: u32,
    /// Standard and large communities.
    pub communities: BTreeSet<Community>,
}

impl Attributes {
    /// Adds another announcement of the same prefix: the higher preference wins, communities unite.
    pub fn merge(&mut self, other: &Self) {
        self.local_pref = self.local_pref.max(other.local_pref);
        self.communities.extend(&other.communities);
    }
}

/// BFD settings; what is absent has FRR's default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BfdProfile {
    /// The name that neighbours refer to.
    pub name: ProfileName,
    /// Minimum interval at which we can receive, in whole milliseconds; FRR's default is 300 ms.
    pub receive_interval: Option<Duration>,
    /// Minimum interval at which we send; FRR's default is 300 ms.
    pub transmit_interval: Option<Duration>,
    /// Number of missed packets after which the session is down; FRR's default is 3.
    pub detect_multiplier: Option<u8>,
    /// Interval of echo packets, sent and accepted; FRR's default is 50 ms.
    pub echo_interval: Option<Duration>,
    /// Whether echoes are sent.
    pub echo_mode: bool,
    /// Whether the other side starts the session.
    pub passive_mode: bool,
    /// Lowest TTL accepted on multihop sessions; FRR's default is 254.
    pub minimum_ttl: Option<u8>,
}

impl BfdProfile {
    /// Names a profile of FRR's defaults.
    pub fn new(name: ProfileName) -> Self {
        Self {
            name,
            receive_interval: None,
            transmit_interval: None,
            detect_multiplier: None,
            echo_interval: None,
            echo_mode: false,
            passive_mode: false,
            minimum_ttl: None,
        }
    }
}

/// A user's own lines of configuration, verbatim. They may contain anything, so they can also override all else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extras(String);

impl Extras {
    /// Wraps lines.
    ///
    /// # Errors
    /// If there is a control character among them, other than those that end and indent lines.
    pub fn new(lines: &str) -> Result<Self, Refusal> {
        if lines.contains(|c: char| c.is_control() && !"\n\r\t".contains(c)) {
            return Err(Refusal::Control("the extra lines"));
        }
        Ok(Self(lines.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}
