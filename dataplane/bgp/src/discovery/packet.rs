//! Router solicitations and advertisements (RFC 4861 §4.1, §4.2), after the checksum, which the kernel computes.
//!
//! ```text
//! solicitation   133 0 checksum | reserved (4)                                          | options
//! advertisement  134 0 checksum | hop limit, flags, lifetime (2) | reachable | retrans  | options
//! ```

use bytes::{BufMut, Bytes, BytesMut};

const SOLICITATION: u8 = 133;
const ADVERTISEMENT: u8 = 134;
/// The link address of the sender, RFC 4861 §4.6.1.
const SOURCE_LINK_ADDRESS: u8 = 1;
/// Octets before the options.
const SOLICITATION_LEN: usize = 8;
const ADVERTISEMENT_LEN: usize = 16;

/// The type of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A router solicitation.
    Solicitation,
    /// A router advertisement.
    Advertisement,
}

/// Returns the type of an ICMPv6 packet; `None` if it is another type, or malformed (RFC 4861 §6.1).
pub(super) fn kind(packet: &[u8]) -> Option<Kind> {
    let (kind, fixed) = match packet {
        [SOLICITATION, 0, ..] => (Kind::Solicitation, SOLICITATION_LEN),
        [ADVERTISEMENT, 0, ..] => (Kind::Advertisement, ADVERTISEMENT_LEN),
        _ => return None,
    };
    let mut options = packet.get(fixed..)?;
    while let [_, units, ..] = options {
        // A length of zero would never end.
        let length = usize::from(*units) * 8;
        options = options.get(length..).filter(|_| length > 0)?;
    }
    options.is_empty().then_some(kind)
}

/// Makes a solicitation.
pub(super) fn solicitation(mac: Option<[u8; 6]>) -> Bytes {
    let mut packet = BytesMut::from(&[SOLICITATION, 0, 0, 0, 0, 0, 0, 0][..]);
    put_link_address(&mut packet, mac);
    packet.freeze()
}

/// Makes an advertisement with this router lifetime in seconds; zero means that the sender is no longer a router.
///
/// Everything else is left to the other routers of the link: hop limit, times, prefixes.
pub(super) fn advertisement(mac: Option<[u8; 6]>, lifetime: u16) -> Bytes {
    let mut packet = BytesMut::from(&[ADVERTISEMENT, 0, 0, 0, 0, 0][..]);
    packet.put_u16(lifetime);
    packet.put_bytes(0, 8);
    put_link_address(&mut packet, mac);
    packet.freeze()
}

fn put_link_address(packet: &mut BytesMut, mac: Option<[u8; 6]>) {
    if let Some(mac) = mac {
        packet.put_slice(&[SOURCE_LINK_ADDRESS, 1]);
        packet.put_slice(&mac);
    }
}
