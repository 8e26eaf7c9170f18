//! A router that only counts: it takes messages off the wire as fast as they come, and notes when.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::Command,
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use ipnet::Ipv4Net;
use metallb_bgp::wire::{AsPath, Attribute, Capability, Codec, Family, Message, Open, Origin, Update};
use metallb_dataplane::bgp::PeerConfig;

pub(crate) const ASN: u32 = 64501;
const HEADER: usize = 19;
/// How many prefixes a router that floods puts into one UPDATE.
const EACH: usize = 800;
const PATIENCE: Duration = Duration::from_secs(300);

/// Gives this namespace an address for each router, and segments of the usual size.
pub(crate) fn prepare_addresses(count: usize) {
    let mut script = "ip link set lo up mtu 1500; ip addr add 10.0.0.1/32 dev lo".to_owned();
    for index in 0..count {
        script += &format!("; ip addr add {}/32 dev lo", address(index));
    }
    assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
}

fn address(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 1, u8::try_from(index).unwrap())
}

/// Waits to be dialled.
pub(crate) struct Listener {
    listener: TcpListener,
    pub(crate) address: SocketAddr,
}

impl Listener {
    pub(crate) fn new(index: usize) -> Self {
        let listener = TcpListener::bind((address(index), 0)).unwrap();
        let address = listener.local_addr().unwrap();
        Self { listener, address }
    }

    /// Describes this router to the speaker.
    pub(crate) fn peer(&self) -> PeerConfig {
        let SocketAddr::V4(address) = self.address else {
            panic!("IPv4")
        };
        crate::peer(&self.address.to_string(), *address.ip(), address.port())
    }

    /// Takes a connection to Established.
    pub(crate) fn accept(&self) -> Reader {
        let (mut stream, _) = self.listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        let families = [Family::IPV4_UNICAST, Family::IPV6_UNICAST].map(Capability::Multiprotocol);
        let capabilities = families.into_iter().chain([Capability::FourOctetAsn(ASN)]).collect();
        let open = Message::Open(Open::new(ASN, 90, [10, 0, 0, 2].into(), capabilities));
        let codec = Codec::default();
        read_message(&mut stream);
        stream.write_all(&codec.encode(&open).unwrap()).unwrap();
        read_message(&mut stream);
        let (sender, arrivals) = channel();
        let (established, cpu) = (Instant::now(), crate::cpu());
        stream.write_all(&codec.encode(&Message::Keepalive).unwrap()).unwrap();
        let writer = stream.try_clone().unwrap();
        thread::spawn(move || count(stream, &sender));
        Reader {
            established,
            cpu,
            arrivals,
            stream: writer,
            prefixes: 0,
            messages: 0,
        }
    }

    /// Likewise, while the other end does its part in this process, too.
    pub(crate) fn accept_while(&self, establish: impl FnOnce() + Send) -> Reader {
        thread::scope(|scope| {
            scope.spawn(establish);
            self.accept()
        })
    }
}

fn read_message(stream: &mut TcpStream) {
    let mut header = [0; HEADER];
    stream.read_exact(&mut header).unwrap();
    let length = usize::from(u16::from_be_bytes([header[16], header[17]]));
    stream.read_exact(&mut vec![0; length - HEADER]).unwrap();
}

/// What one read brought.
struct Arrival {
    at: Instant,
    octets: usize,
    updates: usize,
    prefixes: u32,
}

/// The router's end of a session.
pub(crate) struct Reader {
    /// When the last message before the UPDATEs was sent.
    pub(crate) established: Instant,
    /// How much CPU time this process had used then.
    pub(crate) cpu: Duration,
    arrivals: Receiver<Arrival>,
    stream: TcpStream,
    prefixes: u32,
    messages: usize,
}

impl Reader {
    /// Announces that many prefixes to the speaker, as fast as it takes them.
    pub(crate) fn flood(&self, prefixes: u32) -> thread::JoinHandle<()> {
        let mut stream = self.stream.try_clone().unwrap();
        thread::spawn(move || {
            for first in (0..prefixes).step_by(EACH) {
                stream.write_all(&update(first)).unwrap();
            }
        })
    }

    /// Waits until so many prefixes were announced; says when that was, and how many UPDATEs it took.
    pub(crate) fn wait_for(&mut self, prefixes: u32) -> (Instant, usize) {
        let mut at = Instant::now();
        while self.prefixes < prefixes {
            at = self.take().at;
        }
        (at, self.messages)
    }

    /// Waits for the next UPDATE; says when it came.
    pub(crate) fn next_update(&mut self) -> Instant {
        loop {
            let arrival = self.take();
            if arrival.updates > 0 {
                return arrival.at;
            }
        }
    }

    fn take(&mut self) -> Arrival {
        let arrival = self.arrivals.recv_timeout(PATIENCE).expect("more to read");
        self.prefixes += arrival.prefixes;
        self.messages += arrival.updates;
        arrival
    }

    /// Counts the octets that came since someone looked, of UPDATEs only.
    pub(crate) fn octets_meanwhile(&mut self) -> usize {
        let arrivals = self.arrivals.try_iter().filter(|arrival| arrival.updates > 0);
        arrivals.map(|arrival| arrival.octets).sum()
    }
}

/// Makes an UPDATE with some prefixes, all of its own.
fn update(first: u32) -> Vec<u8> {
    let codec = Codec {
        as4: true,
        ..Codec::default()
    };
    let prefix = |index| Ipv4Net::from(Ipv4Addr::from_bits(0x0b00_0000 + index));
    let update = Update {
        withdrawn: vec![],
        attributes: vec![
            Attribute::Origin(Origin::Igp),
            Attribute::AsPath(AsPath::sequence([ASN])),
            Attribute::NextHop(Ipv4Addr::new(10, 0, 1, 0)),
        ],
        announced: (first..).take(EACH).map(prefix).collect(),
    };
    codec.encode(&Message::Update(update)).unwrap().to_vec()
}

fn count(mut stream: TcpStream, arrivals: &Sender<Arrival>) {
    let mut buffer = vec![0; 1 << 20];
    let mut filled = 0;
    while let Ok(octets @ 1..) = stream.read(&mut buffer[filled..]) {
        let at = Instant::now();
        filled += octets;
        let (mut taken, mut updates, mut prefixes) = (0, 0, 0);
        while let Some(message) = message(&buffer[taken..filled]) {
            taken += message.len();
            if message[18] == 2 {
                updates += 1;
                prefixes += announced(&message[HEADER..]);
            }
        }
        buffer.copy_within(taken..filled, 0);
        filled -= taken;
        let arrival = Arrival {
            at,
            octets,
            updates,
            prefixes,
        };
        if arrivals.send(arrival).is_err() {
            return;
        }
    }
}

fn message(bytes: &[u8]) -> Option<&[u8]> {
    let length = bytes.get(16..18)?;
    bytes.get(..usize::from(u16::from_be_bytes([length[0], length[1]])))
}

/// Counts the prefixes, which are all of 32 bits.
fn announced(update: &[u8]) -> u32 {
    let length = |at: usize| usize::from(u16::from_be_bytes([update[at], update[at + 1]]));
    let withdrawn = length(0);
    let attributes = length(2 + withdrawn);
    u32::try_from((update.len() - 4 - withdrawn - attributes) / 5).unwrap()
}
