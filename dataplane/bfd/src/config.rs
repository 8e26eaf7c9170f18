//! Key and parameters of a session.

use std::{fmt, net::IpAddr, time::Duration};

/// How far the peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hops {
    /// On the link: RFC 5881, port 3784, TTL 255.
    Single,
    /// Behind routers: RFC 5883, port 4784.
    Multi,
}

/// Identifies a session.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionKey {
    /// The peer's address.
    pub peer: IpAddr,
    /// Our address; absent if the routing table chooses it.
    pub local: Option<IpAddr>,
    /// The interface that the peer is on; needed for link-local addresses.
    pub zone: Option<String>,
    /// The device (VRF) whose routing table is used.
    pub device: Option<String>,
    /// How far the peer is.
    pub hops: Hops,
}

impl SessionKey {
    /// A session with a peer over the route of the main routing table.
    #[must_use]
    pub fn new(peer: IpAddr, hops: Hops) -> Self {
        Self {
            peer,
            local: None,
            zone: None,
            device: None,
            hops,
        }
    }
}

impl fmt::Display for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.peer)?;
        if let Some(zone) = &self.zone {
            write!(f, "%{zone}")?;
        }
        if let Some(device) = &self.device {
            write!(f, " in {device}")?;
        }
        match self.hops {
            Hops::Single => Ok(()),
            Hops::Multi => f.write_str(" multihop"),
        }
    }
}

/// The parameters of a session. Each field can be changed without loss of the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionConfig {
    /// We send no faster than this (`bfd.DesiredMinTxInterval`), once the session is up. Not zero.
    pub transmit_interval: Duration,
    /// The peer may send no faster than this (`bfd.RequiredMinRxInterval`). Not zero.
    pub receive_interval: Duration,
    /// The peer misses so many of our packets before it gives the session up (`bfd.DetectMult`). Not zero.
    pub multiplier: u8,
    /// We send echoes no faster than this; absent if we send none. Over several hops none are sent (RFC 5883 §3).
    pub echo_transmit: Option<Duration>,
    /// The peer may send echoes no faster than this (`bfd.RequiredMinEchoRxInterval`); absent if we return none. Over
    /// several hops none are returned.
    pub echo_receive: Option<Duration>,
    /// We send nothing until the peer does.
    pub passive: bool,
    /// The least TTL that is accepted over several hops.
    pub minimum_ttl: Option<u8>,
}

impl Default for SessionConfig {
    /// FRR's defaults.
    fn default() -> Self {
        Self {
            transmit_interval: Duration::from_millis(300),
            receive_interval: Duration::from_millis(300),
            multiplier: 3,
            echo_transmit: None,
            echo_receive: None,
            passive: false,
            minimum_ttl: None,
        }
    }
}

impl SessionConfig {
    /// Brings values into their ranges: an interval or multiplier of zero means something else on the wire, an interval has
    /// 32 bits there, and there are no echoes over several hops (RFC 5883 §3).
    pub(crate) fn possible(mut self, hops: Hops) -> Self {
        let (least, most) = (Duration::from_micros(1), Duration::from_micros(u32::MAX.into()));
        self.transmit_interval = self.transmit_interval.clamp(least, most);
        self.receive_interval = self.receive_interval.clamp(least, most);
        self.multiplier = self.multiplier.max(1);
        if hops == Hops::Multi {
            self.echo_transmit = None;
            self.echo_receive = None;
        }
        self.echo_transmit = self.echo_transmit.map(|interval| interval.clamp(least, most));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_no_echoes_over_several_hops() {
        let echoing = SessionConfig {
            echo_transmit: Some(Duration::from_millis(50)),
            echo_receive: Some(Duration::from_millis(50)),
            ..SessionConfig::default()
        };
        assert_eq!(echoing.clone().possible(Hops::Single), echoing);
        assert_eq!(echoing.possible(Hops::Multi), SessionConfig::default());
    }
}
