//! What our OPEN offers, what the peer's must satisfy, and what follows from both (RFC 4271 §4.2, §6.2).

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use super::{LinkAddresses, NextHops};
use crate::{
    Agreed, Egress, PeerConfig,
    wire::{Capability, Codec, ExtendedNextHop, Family, Notification, Open, OpenError, notification::Code},
};

/// What both sides agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// The local address of the connection.
    pub local: IpAddr,
    /// Our BGP identifier.
    pub router_id: Ipv4Addr,
    /// The AS of the peer.
    pub remote_asn: u32,
    /// The BGP identifier of the peer.
    pub remote_router_id: Ipv4Addr,
    /// The time without a message after which the session is down; absent if there is no such limit.
    pub hold_time: Option<Duration>,
    /// The interval of KEEPALIVEs; absent if none are sent.
    pub keepalive_time: Option<Duration>,
    /// What was agreed for restarts of this speaker; absent if the peer does not keep our routes.
    pub graceful_restart: Option<Agreed>,
    /// The parameters of the encoding of routes.
    pub egress: Egress,
}

/// The capabilities to leave out after a peer refused an OPEN (RFC 5492 §3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Withheld {
    /// The peer did not say which.
    All,
    /// The peer named these codes.
    Codes(Vec<u8>),
}

impl Withheld {
    /// Reads the refusal of an OPEN; `None` if it has nothing to do with capabilities.
    pub(super) fn from_refusal(notification: &Notification) -> Option<Self> {
        match (notification.code, notification.subcode) {
            (Code::Open, 4) => Some(Self::All),
            (Code::Open, 7) => Some(named_codes(&notification.data).map_or(Self::All, Self::Codes)),
            _ => None,
        }
    }

    fn contains(&self, code: u8) -> bool {
        match self {
            Self::All => true,
            Self::Codes(codes) => codes.contains(&code),
        }
    }
}

/// Reads the codes out of a list of capabilities; `None` if it is empty or broken.
fn named_codes(mut data: &[u8]) -> Option<Vec<u8>> {
    let mut codes = Vec::new();
    while let [code, length, rest @ ..] = data {
        codes.push(*code);
        data = rest.get(usize::from(*length)..)?;
    }
    (!codes.is_empty()).then_some(codes)
}

/// Makes our OPEN: upstream's three capabilities, then what the configuration adds.
pub(super) fn offer(config: &PeerConfig, link: &LinkAddresses, withheld: Option<&Withheld>, restarted: bool) -> Open {
    let asn = config.asn();
    let mut capabilities = vec![
        Capability::Multiprotocol(Family::IPV4_UNICAST),
        Capability::Multiprotocol(Family::IPV6_UNICAST),
        Capability::FourOctetAsn(asn),
    ];
    if config.offer.route_refresh {
        capabilities.push(Capability::RouteRefresh);
    }
    if config.offer.enhanced_refresh {
        capabilities.push(Capability::EnhancedRouteRefresh);
    }
    if config.offer.host_name && !config.node_name.is_empty() {
        capabilities.push(Capability::HostName {
            host: config.node_name.clone(),
            domain: String::new(),
        });
    }
    if config.offer.extended_next_hop {
        capabilities.push(Capability::ExtendedNextHop(vec![ExtendedNextHop::IPV4_OVER_IPV6]));
    }
    if config.offer.extended_message {
        capabilities.push(Capability::ExtendedMessage);
    }
    capabilities.extend(
        config
            .graceful_restart
            .map(|restart| restart.capability(config, restarted)),
    );
    capabilities.retain(|capability| !withheld.is_some_and(|withheld| withheld.contains(capability.code())));
    Open::new(asn, config.proposed_hold(), router_id(config, link), capabilities)
}

/// Checks the peer's OPEN and works out the session.
pub(super) fn negotiate(
    config: &PeerConfig,
    link: &LinkAddresses,
    ours: &Open,
    theirs: &Open,
) -> Result<Negotiated, OpenError> {
    let (asn, remote_asn) = (config.asn(), theirs.asn());
    let four_octet = theirs.four_octet_asn().is_some();
    if remote_asn == 0 || !config.remote.accepts(asn, remote_asn) {
        return Err(OpenError::PeerAs {
            asn: remote_asn,
            four_octet,
        });
    }
    let internal = remote_asn == asn;
    // RFC 6286 §2.2: any identifier but zero will do, and it may be ours on an external session.
    if theirs.router_id.is_unspecified() || (internal && theirs.router_id == ours.router_id) {
        return Err(OpenError::Identifier(theirs.router_id));
    }
    if matches!(theirs.hold_time, 1 | 2) {
        return Err(OpenError::HoldTime(theirs.hold_time));
    }
    let hold = ours.hold_time.min(theirs.hold_time);
    let hold_time = (hold > 0).then(|| Duration::from_secs(hold.into()));
    let codec = Codec::negotiate(&ours.capabilities, &theirs.capabilities);
    let next_hops = NextHops::choose(link, &codec, config.dual_stack);
    Ok(Negotiated {
        local: link.local,
        router_id: ours.router_id,
        remote_asn,
        remote_router_id: theirs.router_id,
        hold_time,
        keepalive_time: hold_time.map(|hold| keepalive(config, hold)),
        graceful_restart: Agreed::negotiate(ours, theirs),
        egress: Egress {
            codec,
            asn,
            internal,
            next_hops,
        },
    })
}

/// Returns a third of the hold time, or the configured interval scaled down with a hold time that the peer lowered.
fn keepalive(config: &PeerConfig, hold: Duration) -> Duration {
    let proposed = Duration::from_secs(config.proposed_hold().into());
    match config.keepalive_time {
        Some(keepalive) if !keepalive.is_zero() && !proposed.is_zero() => {
            keepalive.mul_f64(hold.as_secs_f64() / proposed.as_secs_f64()).min(hold)
        }
        _ => hold / 3,
    }
}

/// Chooses the BGP identifier in upstream's order.
fn router_id(config: &PeerConfig, link: &LinkAddresses) -> Ipv4Addr {
    let of_connection = match link.local {
        IpAddr::V4(local) => Some(local),
        IpAddr::V6(_) => link.ipv4,
    };
    config
        .router_id
        .or(of_connection)
        .unwrap_or_else(|| hashed_router_id(&config.node_name))
}

/// Returns the BGP identifier of a node without any IPv4 address: CRC-32 of its name, bytes little-endian.
pub fn hashed_router_id(node_name: &str) -> Ipv4Addr {
    let hash = !node_name.bytes().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    });
    // Zero is no identifier (RFC 6286 §2.1).
    Ipv4Addr::from(hash.max(1).to_le_bytes())
}
