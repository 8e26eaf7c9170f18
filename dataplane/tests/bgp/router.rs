//! A scripted router: accepts our connection and does exactly what a test says.

use std::{
    collections::BTreeSet,
    io::Write,
    mem::MaybeUninit,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use metallb_bgp::{
    RemoteAs,
    wire::{Capability, Codec, Family, Framer, Message, Notification, Open, Update},
};
use metallb_dataplane::bgp::PeerConfig;
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::PATIENCE;

pub(crate) const OUR_ASN: u32 = 64500;
pub(crate) const ROUTER_ASN: u32 = 64501;

/// Waits to be dialled.
pub(crate) struct Router {
    pub(crate) listener: TcpListener,
    address: SocketAddr,
}

impl Router {
    pub(crate) async fn listen() -> Self {
        Self::listen_on(Ipv4Addr::LOCALHOST.into()).await
    }

    pub(crate) async fn listen_on(address: IpAddr) -> Self {
        Self::listen_at(SocketAddr::new(address, 0)).await
    }

    pub(crate) async fn listen_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { listener, address }
    }

    /// Describes this router to the shell.
    pub(crate) fn peer(&self, name: &str) -> PeerConfig {
        PeerConfig {
            port: self.address.port(),
            router_id: Some(Ipv4Addr::new(10, 0, 0, 1)),
            ..PeerConfig::new(name, OUR_ASN, RemoteAs::Asn(ROUTER_ASN), self.address.ip())
        }
    }

    pub(crate) async fn accept(&self) -> Line {
        let accepted = tokio::time::timeout(PATIENCE, self.listener.accept()).await;
        let (stream, _) = accepted.expect("dialled in time").unwrap();
        Line::over(stream)
    }

    /// Accepts a connection and takes it to Established.
    pub(crate) async fn establish(&self) -> Line {
        let mut line = self.accept().await;
        line.establish().await;
        line
    }

    /// Tells whether someone dials within a moment.
    pub(crate) async fn is_dialled(&self) -> bool {
        tokio::time::timeout(std::time::Duration::from_millis(300), self.listener.accept())
            .await
            .is_ok()
    }
}

/// The router's end of a connection.
pub(crate) struct Line {
    stream: TcpStream,
    framer: Framer,
    codec: Codec,
}

impl Line {
    pub(crate) fn over(stream: TcpStream) -> Self {
        Self {
            stream,
            framer: Framer::default(),
            codec: Codec::default(),
        }
    }

    /// Sends as if from further away.
    pub(crate) fn set_ttl(&self, ttl: u32) {
        SockRef::from(&self.stream).set_ttl_v4(ttl).unwrap();
    }

    /// Says that this is a router of another AS.
    pub(crate) async fn open_as(&mut self, asn: u32) {
        let capabilities = vec![Capability::FourOctetAsn(asn)];
        let open = Open::new(asn, 90, Ipv4Addr::new(10, 0, 0, 2), capabilities);
        self.send(&Message::Open(open)).await;
    }

    pub(crate) async fn establish(&mut self) {
        self.establish_with(&[Family::IPV4_UNICAST, Family::IPV6_UNICAST]).await;
    }

    /// Takes the connection to Established, offering these families only.
    pub(crate) async fn establish_with(&mut self, families: &[Family]) {
        self.establish_offering(families, &[]).await;
    }

    /// Takes the connection to Established, offering these families and capabilities; returns the speaker's OPEN.
    pub(crate) async fn establish_offering(&mut self, families: &[Family], more: &[Capability]) -> Open {
        let Some(Message::Open(theirs)) = self.next().await else {
            panic!("no OPEN")
        };
        let families = families.iter().map(|family| Capability::Multiprotocol(*family));
        let mut capabilities: Vec<_> = families.chain([Capability::FourOctetAsn(ROUTER_ASN)]).collect();
        capabilities.extend_from_slice(more);
        let codec = Codec::negotiate(&capabilities, &theirs.capabilities);
        let open = Open::new(ROUTER_ASN, 90, Ipv4Addr::new(10, 0, 0, 2), capabilities);
        self.send(&Message::Open(open)).await;
        self.send(&Message::Keepalive).await;
        assert_eq!(self.next().await, Some(Message::Keepalive));
        self.codec = codec;
        theirs
    }

    pub(crate) async fn send(&mut self, message: &Message) {
        self.stream
            .write_all(&self.codec.encode(message).unwrap())
            .await
            .unwrap();
    }

    /// Sends KEEPALIVEs from a thread, as fast as they are taken, until `over`.
    pub(crate) fn flood(self, over: &Arc<AtomicBool>) -> JoinHandle<()> {
        let mut stream = self.stream.into_std().unwrap();
        stream.set_nonblocking(false).unwrap();
        let (over, messages) = (
            Arc::clone(over),
            self.codec.encode(&Message::Keepalive).unwrap().repeat(1000),
        );
        thread::spawn(move || while !over.load(Ordering::Relaxed) && stream.write_all(&messages).is_ok() {})
    }

    /// Tells whether the other end has closed the connection already, whatever it said before. Asks the kernel: the
    /// runtime may not have heard yet.
    pub(crate) fn is_closed(&self) -> bool {
        let socket = SockRef::from(&self.stream);
        let mut buffer = [MaybeUninit::uninit(); 8192];
        loop {
            match socket.recv(&mut buffer) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(_) => return false,
            }
        }
    }

    /// Reads the next message; `None` at the end of the connection.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        tokio::time::timeout(PATIENCE, self.read())
            .await
            .expect("a message in time")
    }

    async fn read(&mut self) -> Option<Message> {
        let mut buffer = [0; 8192];
        loop {
            if let Some(frame) = self.framer.next(self.codec.extended_message).unwrap() {
                return Some(self.codec.decode(&frame).unwrap());
            }
            match self.stream.read(&mut buffer).await.unwrap() {
                0 => return None,
                length => self.framer.push(&buffer[..length]),
            }
        }
    }

    /// Reads until the next UPDATE.
    pub(crate) async fn update(&mut self) -> Update {
        loop {
            match self.next().await {
                Some(Message::Update(update)) => return update,
                Some(Message::Keepalive) => {}
                other => panic!("no UPDATE but {other:?}"),
            }
        }
    }

    /// Reads until the NOTIFICATION, after which the connection must end.
    pub(crate) async fn notification(&mut self) -> Notification {
        loop {
            match self.next().await {
                Some(Message::Notification(notification)) => {
                    assert_eq!(self.next().await, None);
                    return notification;
                }
                Some(_) => {}
                None => panic!("connection ended without NOTIFICATION"),
            }
        }
    }

    /// Reads UPDATEs until exactly these prefixes are known; returns how many it took.
    pub(crate) async fn learn(&mut self, known: &mut BTreeSet<String>, wanted: &BTreeSet<String>) -> usize {
        let mut updates = 0;
        while known != wanted {
            let update = self.update().await;
            let gone: Vec<_> = update.all_withdrawn().map(|prefix| prefix.to_string()).collect();
            known.retain(|prefix| !gone.contains(prefix));
            known.extend(update.all_announced().map(|prefix| prefix.to_string()));
            updates += 1;
        }
        updates
    }
}
