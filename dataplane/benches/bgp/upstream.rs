//! Upstream's native way, as its source has it: every event makes a new table for each peer, keyed by the prefix's text,
//! compares it with the one before, and sends an UPDATE for each difference.

use std::{
    collections::HashMap,
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    thread,
};

use metallb_bgp::wire::{AsPath, Attribute, Capability, Codec, Family, Message, Open, Origin, Update};
use metallb_dataplane::bgp::{Attributes, RouteChange};

use crate::reader::{Listener, Reader};

const CODEC: Codec = Codec {
    as4: true,
    extended_message: false,
    ipv4: true,
    ipv6: true,
    extended_next_hop: false,
    enhanced_refresh: false,
};

/// One speaker with its peers.
pub(crate) struct Upstream {
    peers: Vec<Peer>,
}

struct Peer {
    stream: TcpStream,
    sent: HashMap<String, Attributes>,
}

impl Upstream {
    pub(crate) fn dial(listeners: &[&Listener]) -> Self {
        let dial = |listener: &&Listener| {
            let stream = TcpStream::connect(listener.address).unwrap();
            stream.set_nodelay(true).unwrap();
            Peer {
                stream,
                sent: HashMap::new(),
            }
        };
        Self {
            peers: listeners.iter().map(dial).collect(),
        }
    }

    pub(crate) fn establish(&mut self) {
        self.peers.iter_mut().for_each(Peer::establish);
    }

    pub(crate) fn establish_all(&mut self, listeners: &[Listener]) -> Vec<Reader> {
        thread::scope(|scope| {
            let accepting: Vec<_> = listeners
                .iter()
                .map(|listener| scope.spawn(|| listener.accept()))
                .collect();
            self.establish();
            accepting.into_iter().map(|reader| reader.join().unwrap()).collect()
        })
    }

    /// Something has happened to a Service: all peers get the whole table.
    pub(crate) fn event(&mut self, table: &[RouteChange]) {
        for peer in &mut self.peers {
            let mut wanted = HashMap::new();
            for route in table {
                wanted.insert(route.prefix.to_string(), (*route.paths[0].attributes).clone());
            }
            peer.set(wanted);
        }
    }
}

impl Peer {
    fn establish(&mut self) {
        let capabilities = vec![
            Capability::Multiprotocol(Family::IPV4_UNICAST),
            Capability::Multiprotocol(Family::IPV6_UNICAST),
            Capability::FourOctetAsn(64500),
        ];
        let open = Open::new(64500, 90, [10, 0, 0, 1].into(), capabilities);
        self.send(&Message::Open(open));
        self.send(&Message::Keepalive);
        let mut keepalive = [0; 19];
        // Their OPEN, then their KEEPALIVE.
        let mut header = [0; 19];
        self.stream.read_exact(&mut header).unwrap();
        let length = usize::from(u16::from_be_bytes([header[16], header[17]]));
        self.stream.read_exact(&mut vec![0; length - 19]).unwrap();
        self.stream.read_exact(&mut keepalive).unwrap();
    }

    fn set(&mut self, wanted: HashMap<String, Attributes>) {
        for (prefix, attributes) in &wanted {
            if self.sent.get(prefix) != Some(attributes) {
                let update = announce(prefix, attributes);
                self.send(&Message::Update(update));
            }
        }
        let withdrawn: Vec<_> = self
            .sent
            .keys()
            .filter(|prefix| !wanted.contains_key(*prefix))
            .collect();
        let update = Update {
            withdrawn: withdrawn.into_iter().map(|prefix| prefix.parse().unwrap()).collect(),
            ..Update::default()
        };
        if !update.withdrawn.is_empty() {
            self.send(&Message::Update(update));
        }
        self.sent = wanted;
    }

    fn send(&mut self, message: &Message) {
        self.stream.write_all(&CODEC.encode(message).unwrap()).unwrap();
    }
}

fn announce(prefix: &str, attributes: &Attributes) -> Update {
    Update {
        withdrawn: vec![],
        attributes: vec![
            Attribute::Origin(Origin::Igp),
            Attribute::AsPath(AsPath::sequence([64500])),
            Attribute::NextHop(Ipv4Addr::new(10, 0, 0, 1)),
            Attribute::Communities(attributes.communities.iter().copied().collect()),
        ],
        announced: vec![prefix.parse().unwrap()],
    }
}
