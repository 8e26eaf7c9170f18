//! Echoes: to ourselves, past our own routing table, through the peer (RFC 5881 §4).
//!
//! ```text
//!  session ──► IP packet from our address to our address ──► frame to the peer's link address
//!  session ◄── the same packet, TTL 254 ◄────────────────── the peer routes it back
//! ```
//! An ordinary socket would deliver such a packet locally, and drop it when it comes back; packet sockets do neither. The
//! link address of the peer, and our address that it knows, are taken from its control packets.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::IpAddr,
    os::fd::{AsFd, BorrowedFd},
};

use metallb_bfd::{Hops, SessionConfig, SessionKey, datagram::Datagram};
use metallb_net::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, Instruction, LinkAddress, LinkSocket, OpenError, PacketType};

use super::ports::control_port;

/// RFC 5881 §4.
const ECHO_PORT: u16 = 3785;
const TTL: u8 = 255;
const PACKET_LEN: usize = 256;

/// Where a session's control packets come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Path {
    pub(super) interface: u32,
    pub(super) peer: IpAddr,
    pub(super) local: IpAddr,
}

/// The packet sockets of one run, and what was learnt from them.
pub(super) struct Echoes {
    sockets: [LinkSocket; 2],
    /// Only of these peers link addresses are learnt.
    peers: HashSet<IpAddr>,
    neighbors: HashMap<(u32, IpAddr), LinkAddress>,
    buffer: [u8; PACKET_LEN],
}

/// An echo that has come back.
pub(super) struct Returned {
    pub(super) ttl: u8,
    pub(super) payload: Vec<u8>,
}

impl Echoes {
    /// Opens the sockets.
    pub(super) fn open() -> Result<Self, OpenError> {
        Ok(Self {
            sockets: [
                LinkSocket::open(ETHERTYPE_IPV4, &filter_v4())?,
                LinkSocket::open(ETHERTYPE_IPV6, &filter_v6())?,
            ],
            peers: HashSet::new(),
            neighbors: HashMap::new(),
            buffer: [0; PACKET_LEN],
        })
    }

    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sockets.iter().map(AsFd::as_fd)
    }

    /// These are now the peers that echoes are sent through.
    pub(super) fn set_peers(&mut self, peers: HashSet<IpAddr>) {
        self.neighbors.retain(|(_, peer), _| peers.contains(peer));
        self.peers = peers;
    }

    /// The next echo that has come back; on the way learns where peers are.
    pub(super) fn receive(&mut self) -> Option<Returned> {
        (0..self.sockets.len()).find_map(|socket| self.receive_on(socket))
    }

    fn receive_on(&mut self, socket: usize) -> Option<Returned> {
        loop {
            let received = match self.sockets[socket].receive(&mut self.buffer) {
                Ok(received) => received?,
                Err(error) => {
                    tracing::debug!(%error, "cannot receive BFD echoes");
                    return None;
                }
            };
            if received.packet_type != PacketType::Host {
                continue;
            }
            let Some(datagram) = Datagram::decode(&self.buffer[..received.len]) else {
                continue;
            };
            if datagram.destination_port != ECHO_PORT {
                let from = datagram.source;
                if datagram.ttl == TTL && self.peers.contains(&from) {
                    self.neighbors.insert((received.from.ifindex, from), received.from);
                }
                continue;
            }
            return Some(Returned {
                ttl: datagram.ttl,
                payload: datagram.payload.to_vec(),
            });
        }
    }

    /// Sends an echo through the peer of a session.
    pub(super) fn send(&self, path: &Path, payload: &[u8]) -> Result<(), String> {
        let neighbor = self.neighbors.get(&(path.interface, path.peer));
        let neighbor =
            neighbor.ok_or_else(|| format!("no echoes are sent: the link address of {} is not known", path.peer))?;
        let echo = Datagram {
            source: path.local,
            destination: path.local,
            ttl: TTL,
            source_port: ECHO_PORT,
            destination_port: ECHO_PORT,
            payload,
        };
        let packet = echo
            .encode()
            .ok_or("no echoes are sent: an echo does not fit a packet")?;
        let socket = &self.sockets[usize::from(path.local.is_ipv6())];
        let sent = socket.send(neighbor, &packet);
        sent.map_err(|error| format!("cannot send an echo through {}: {error}", path.peer))
    }
}

/// Whether this node forwards packets, as far as it was looked up.
#[derive(Default)]
pub(super) struct Forwarding(HashMap<String, bool>);

impl Forwarding {
    /// Whether the kernel returns the echoes of a peer that come in from an interface, if that is known. In IPv4 each
    /// interface has its own say, in IPv6 the whole node has (ip-sysctl of Linux).
    pub(super) fn is_on(&mut self, peer: IpAddr, interface: Option<&str>) -> bool {
        let setting = match (peer, interface) {
            // A dot in a name would be a slash to sysctl(8), but not here.
            (IpAddr::V4(_), Some(interface)) if !interface.is_empty() => format!("ipv4/conf/{interface}"),
            (IpAddr::V4(_), _) => "ipv4/conf/all".to_owned(),
            (IpAddr::V6(_), _) => "ipv6/conf/all".to_owned(),
        };
        *self.0.entry(setting).or_insert_with_key(|setting| {
            let text = std::fs::read_to_string(format!("/proc/sys/net/{setting}/forwarding"));
            text.is_ok_and(|text| text.trim() != "0")
        })
    }
}

/// The peers of sessions that send echoes.
pub(super) fn peers(sessions: &BTreeMap<SessionKey, SessionConfig>) -> HashSet<IpAddr> {
    let echoing = sessions
        .iter()
        .filter(|(key, config)| config.echo_transmit.is_some() && key.hops == Hops::Single);
    echoing.map(|(key, _)| key.peer).collect()
}

const LOAD_BYTE: u16 = 0x30;
const LOAD_HALF: u16 = 0x28;
const LOAD_HALF_BEHIND_HEADER: u16 = 0x48;
const LOAD_HEADER_LENGTH: u16 = 0xb1;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_BITS: u16 = 0x45;
const RETURN: u16 = 0x06;
const UDP: u32 = 17;

const fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> Instruction {
    Instruction { code, jt, jf, k }
}

/// Takes control packets over one hop, and echoes, as they are in IPv4.
fn filter_v4() -> Vec<Instruction> {
    let start = [
        instruction(LOAD_BYTE, 0, 0, 9),
        instruction(JUMP_EQUAL, 0, 6, UDP),
        instruction(LOAD_HALF, 0, 0, 6),
        instruction(JUMP_BITS, 4, 0, 0x1fff),
        instruction(LOAD_HEADER_LENGTH, 0, 0, 0),
        instruction(LOAD_HALF_BEHIND_HEADER, 0, 0, 2),
    ];
    start.into_iter().chain(ports()).collect()
}

/// The same in IPv6.
fn filter_v6() -> Vec<Instruction> {
    let start = [
        instruction(LOAD_BYTE, 0, 0, 6),
        instruction(JUMP_EQUAL, 0, 3, UDP),
        instruction(LOAD_HALF, 0, 0, 42),
    ];
    start.into_iter().chain(ports()).collect()
}

/// Takes the packet if a port was loaded that matters. Its third instruction drops it.
fn ports() -> [Instruction; 4] {
    [
        instruction(JUMP_EQUAL, 2, 0, u32::from(control_port(Hops::Single))),
        instruction(JUMP_EQUAL, 1, 0, u32::from(ECHO_PORT)),
        instruction(RETURN, 0, 0, 0),
        instruction(RETURN, 0, 0, 0xffff),
    ]
}
