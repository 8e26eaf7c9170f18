//! The bodies of the fuzz targets in `tests/fuzz`, which stable tests call, too.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use crate::{Arrival, Bfd, Control, Event, Hops, SessionConfig, SessionKey};

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// The discriminator of the only session, so that packets can meet it.
const DISCRIMINATOR: u32 = 0x0101_0101;

/// Reads a packet; what was understood is the same when it is written and read again.
///
/// # Panics
/// When it is not.
pub fn decode(bytes: &[u8]) {
    if let Ok(packet) = Control::decode(bytes) {
        assert_eq!(Control::decode(&packet.encode()), Ok(packet));
    }
}

/// Has a session take in what is in `bytes`: packets of 24 octets, each after another part of a second.
///
/// # Panics
/// When the session is gone thereafter, or nothing is due.
pub fn session(start: Instant, bytes: &[u8]) {
    let mut bfd = Bfd::new(|buffer| buffer.fill(1));
    let key = SessionKey::new(PEER, Hops::Single);
    let config = SessionConfig {
        echo_transmit: Some(Duration::from_millis(50)),
        ..SessionConfig::default()
    };
    bfd.handle(start, Event::Sessions(BTreeMap::from([(key, config)])));
    let mut now = start;
    for packet in bytes.chunks(24) {
        let arrival = Arrival {
            hops: Hops::Single,
            peer: PEER,
            local: LOCAL,
            interface: "eth0",
            device: None,
            ttl: 255,
        };
        bfd.handle(now, Event::Control { arrival, bytes: packet });
        bfd.handle(
            now,
            Event::Echo {
                ttl: 254,
                bytes: packet,
            },
        );
        now += Duration::from_millis(u64::from(packet.last().copied().unwrap_or_default()) * 10);
        bfd.handle(now, Event::Tick);
    }
    let discriminators: Vec<_> = bfd.sessions().map(|(_, status)| status.local_discriminator).collect();
    assert_eq!(discriminators, [DISCRIMINATOR]);
    assert!(bfd.next_deadline().is_none_or(|at| at > now), "everything due was done");
}
