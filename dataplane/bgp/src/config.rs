//! The configuration of a session.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use crate::{GracefulRestart, wire::Family};

/// Describes one BGP peer: its address, our identity towards it, and the parameters of the session.
///
/// Two equal configurations describe the same session: a shell need not touch a session whose configuration stays equal.
/// [`PeerConfig::resets`] names what makes it a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerConfig {
    /// The name of the peer; unique within a speaker.
    pub name: String,
    /// The address to dial; unspecified if the router on the link `zone` is to be found (unnumbered peering).
    pub address: IpAddr,
    /// The interface of a link-local `address`, or of the router to be found.
    pub zone: Option<String>,
    /// The TCP port to dial; 179 unless said otherwise.
    pub port: u16,
    /// The local address to dial from; the kernel chooses when absent.
    pub source: Option<IpAddr>,
    /// The device (VRF) that the socket is bound to.
    pub device: Option<String>,
    /// The TCP-MD5 key (RFC 2385).
    pub password: Option<Password>,
    /// Our autonomous system number.
    pub my_asn: u32,
    /// Replaces `my_asn` towards this peer, in the OPEN and in the AS path.
    pub local_asn: Option<u32>,
    /// The autonomous system that the peer may be in.
    pub remote: RemoteAs,
    /// Our BGP identifier; chosen from the connection when absent.
    pub router_id: Option<Ipv4Addr>,
    /// The name of this node; its hash is the last resort for the BGP identifier.
    pub node_name: String,
    /// The proposed hold time; zero switches hold and keepalive timers off, absent means [`PeerConfig::DEFAULT_HOLD_TIME`].
    pub hold_time: Option<Duration>,
    /// The keepalive interval; a third of the hold time when absent.
    pub keepalive_time: Option<Duration>,
    /// The fixed pause between attempts to connect, instead of the doubling one.
    pub connect_time: Option<Duration>,
    /// Allows an eBGP peer any number of hops away (TTL 255).
    pub ebgp_multihop: bool,
    /// Sends with TTL 255 and drops what arrives with less, so that only a neighbour can take part (GTSM, RFC 5082).
    pub ttl_security: bool,
    /// Carries both address families over the session instead of only its own.
    pub dual_stack: bool,
    /// Which side opens the connection.
    pub dialing: Dialing,
    /// Lists the optional capabilities to offer.
    pub offer: Offer,
    /// Graceful restart (RFC 4724): the peer keeps our routes while this speaker restarts. Off when absent.
    pub graceful_restart: Option<GracefulRestart>,
}

impl PeerConfig {
    /// Upstream's default of the native mode.
    pub const DEFAULT_HOLD_TIME: Duration = Duration::from_secs(90);
    /// RFC 4271 §8.
    pub const DEFAULT_PORT: u16 = 179;

    /// Describes a peer with the defaults of upstream's native mode.
    pub fn new(name: impl Into<String>, my_asn: u32, remote: RemoteAs, address: IpAddr) -> Self {
        Self {
            name: name.into(),
            address,
            zone: None,
            port: Self::DEFAULT_PORT,
            source: None,
            device: None,
            password: None,
            my_asn,
            local_asn: None,
            remote,
            router_id: None,
            node_name: String::new(),
            hold_time: None,
            keepalive_time: None,
            connect_time: None,
            ebgp_multihop: false,
            ttl_security: false,
            dual_stack: false,
            dialing: Dialing::default(),
            offer: Offer::default(),
            graceful_restart: None,
        }
    }

    /// Describes the router at the other end of an interface, whose address is learnt from its router advertisements; the
    /// session carries both families.
    pub fn unnumbered(name: impl Into<String>, my_asn: u32, remote: RemoteAs, interface: impl Into<String>) -> Self {
        Self {
            zone: Some(interface.into()),
            dual_stack: true,
            offer: Offer {
                extended_next_hop: true,
                ..Offer::default()
            },
            ..Self::new(name, my_asn, remote, Ipv6Addr::UNSPECIFIED.into())
        }
    }

    /// Tells whether the address of the peer has to be found first.
    pub fn is_unnumbered(&self) -> bool {
        self.address.is_unspecified()
    }

    /// Returns the AS number that this peer sees us with.
    pub fn asn(&self) -> u32 {
        self.local_asn.unwrap_or(self.my_asn)
    }

    /// Tells whether the session is meant to carry routes of a family: its own, or both.
    pub fn wants(&self, family: Family) -> bool {
        self.dual_stack || Family::of(self.address) == family
    }

    /// Lists the fields of `new` that a session with this configuration cannot take on: it has to end, and another one to
    /// begin. Empty if it goes on.
    pub fn resets(&self, new: &Self) -> Vec<&'static str> {
        macro_rules! differing {
            ($($field:ident),* $(,)?) => {{
                // Does not compile as long as a field is missing.
                let Self { $($field: _),* } = new;
                [$((stringify!($field), self.$field != new.$field)),*]
            }};
        }
        let all = differing![
            name,
            address,
            zone,
            port,
            source,
            device,
            password,
            my_asn,
            local_asn,
            remote,
            router_id,
            node_name,
            hold_time,
            keepalive_time,
            connect_time,
            ebgp_multihop,
            ttl_security,
            dual_stack,
            dialing,
            offer,
            graceful_restart,
        ];
        let differ = all.into_iter().filter(|(_, differs)| *differs);
        differ.map(|(field, _)| field).collect()
    }

    /// Returns the hold time to propose, in whole seconds as the wire has it.
    pub fn proposed_hold(&self) -> u16 {
        let hold = match (self.hold_time, self.keepalive_time) {
            (Some(hold), _) => hold,
            (None, Some(keepalive)) => keepalive.saturating_mul(3),
            (None, None) => Self::DEFAULT_HOLD_TIME,
        };
        u16::try_from(hold.as_secs()).unwrap_or(u16::MAX)
    }
}

/// Which side opens the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialing {
    /// We do; a connection that the peer opens is refused.
    #[default]
    Active,
    /// Either side does; of two connections one survives (RFC 4271 §6.8).
    Both,
    /// The peer does (PassiveTcpEstablishment, RFC 4271 §8.1.1).
    Passive,
}

impl Dialing {
    /// Tells whether a connection that the peer opens is taken.
    pub fn accepts(self) -> bool {
        self != Self::Active
    }
}

/// The autonomous system that a peer may be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RemoteAs {
    /// Exactly this one.
    Asn(u32),
    /// Ours, whatever it is.
    Internal,
    /// Any but ours.
    External,
}

impl RemoteAs {
    /// Tells whether a peer in `asn` is accepted by a speaker in `ours`.
    pub fn accepts(self, ours: u32, asn: u32) -> bool {
        match self {
            Self::Asn(expected) => asn == expected,
            Self::Internal => asn == ours,
            Self::External => asn != ours,
        }
    }
}

/// Lists the capabilities offered beyond upstream's fixed set (both families, 4-octet AS).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// RFC 2918: the router may ask for everything again.
    pub route_refresh: bool,
    /// RFC 7313: marks begin and end of the answer to such a request, so that the router can remove stale routes.
    pub enhanced_refresh: bool,
    /// The node's name, shown by the router (draft-walton-bgp-hostname-capability).
    pub host_name: bool,
    /// RFC 8654: messages of up to 65535 octets.
    pub extended_message: bool,
    /// RFC 8950: IPv4 routes with an IPv6 next hop.
    pub extended_next_hop: bool,
}

/// Holds a TCP-MD5 key, verbatim; never prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Box<[u8]>);

impl Password {
    /// Wraps the key bytes; nothing is trimmed.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into().into_boxed_slice())
    }

    /// Returns the key for the socket option.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_resets_a_session_is_named() {
        let peer = PeerConfig::new("tor", 64500, RemoteAs::External, IpAddr::V4(Ipv4Addr::LOCALHOST));
        assert_eq!(peer.resets(&peer.clone()), Vec::<&str>::new());
        let new = PeerConfig {
            password: Some(Password::new(*b"secret")),
            hold_time: Some(Duration::from_secs(30)),
            ..peer.clone()
        };
        assert_eq!(peer.resets(&new), ["password", "hold_time"]);
    }
}
